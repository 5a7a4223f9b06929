"""What the benchmark of connectors reads from: real servers in processes of their own, with something to tell."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[3]))  # a benchmark is run as a script
from tests.connectors.support import free_port, needed, process

NODE = Path(__file__).parents[2] / "connectors" / "node"
COLUMNS = 20
LOOK_S = 0.2  # between two looks into a folder
Feed = contextlib.AbstractContextManager[dict[str, Any]]  # the options of a source that has them

MQTT = """
import json, sys, time
import paho.mqtt.client as mqtt
port, count, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.max_queued_messages_set(0)
client.connect("127.0.0.1", port)
client.loop_start()
begin = time.time()
for i in range(count):
    body = {"at": time.time_ns() // 1000, **{f"v{c}": i + c / 100 for c in range(20)}}
    sent = client.publish("plant/all", json.dumps(body), qos=1)
    if rate:
        time.sleep(max(begin + i / rate - time.time(), 0))
    elif i % 500 == 499:
        sent.wait_for_publish()
time.sleep(600)
"""
KAFKA = """
import io, json, sys, time
import pyarrow as pa
from confluent_kafka import Producer
kind, count, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "queue.buffering.max.messages": 1000000})
broker = list(producer.list_topics(timeout=20).brokers.values())[0]
begin = time.time()
for i in range(count):
    now = time.time_ns() // 1000
    if kind == "json":
        body = json.dumps({"at": now, **{f"v{c}": i + c / 100 for c in range(20)}}).encode()
    else:
        out = io.BytesIO()
        table = pa.table({"time": pa.array([now + k for k in range(50)], pa.timestamp("us", "UTC")),
                          **{f"v{c}": [i + c / 100 + k for k in range(50)] for c in range(20)}})
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        body = out.getvalue()
    producer.produce("plant", body)
    producer.poll(0)
    if rate:
        time.sleep(max(begin + i / rate - time.time(), 0))
    if i == 0:
        producer.flush()
        print(f"listening {broker.host}:{broker.port}", flush=True)
producer.flush()
time.sleep(600)
"""
MODBUS = """
import asyncio, sys
from pymodbus.server import StartAsyncTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
words = SimData(0, count=2400, values=17000, datatype=DataType.REGISTERS)
bits = SimData(0, count=16, values=False, datatype=DataType.BITS)
device = SimDevice(1, simdata=([bits], [bits], [words], [words]))
asyncio.run(StartAsyncTcpServer(device, address=("127.0.0.1", int(sys.argv[1]))))
"""

FILES = """
import os, sys, time
import pyarrow as pa, pyarrow.csv, pyarrow.parquet
folder, form, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
begin = time.time()
for i in range(100000):
    now = time.time_ns() // 1000
    times = pa.array([now - 149 + k for k in range(150)], pa.timestamp("us", "UTC"))
    table = pa.table({"time": times} | {f"v{c}": [i + c / 100 + k for k in range(150)] for c in range(20)})
    part, whole = f"{folder}/{i}.part", f"{folder}/{i}.{form}"
    if form == "csv":
        pyarrow.csv.write_csv(table, part)
    else:
        pyarrow.parquet.write_table(table, part)
    os.rename(part, whole)
    time.sleep(max(begin + (i + 1) / rate - time.time(), 0))
"""


@contextlib.contextmanager
def opcua(every_ms: int) -> Iterator[dict[str, Any]]:
    """node-opcua with 3,000 nodes that change together."""
    port = free_port()
    with tempfile.TemporaryDirectory() as pki:
        command = (needed("node"), NODE / "opcua.mjs", str(port), pki, "3000")
        with process(*command) as running:
            _listening(running)
            running.stdin.write(json.dumps({"every": every_ms}) + "\n")
            running.stdin.flush()
            tags = {f"v{i}": f"ns=1;s=T{i}" for i in range(3000)}
            url = f"opc.tcp://127.0.0.1:{port}"
            yield {
                "kind": "opcua",
                "url": url,
                "tags": tags,
                "sampling_ms": max(every_ms / 2, 50.0),
                "publishing_ms": 100.0,
                "timeout_s": 60.0,
            }


@contextlib.contextmanager
def mqtt(rate: float) -> Iterator[dict[str, Any]]:
    """mosquitto, and a publisher of JSON messages of 20 values at QoS 1."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosquitto.conf"
        lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", "user root", "max_queued_messages 0")
        file.write_text("\n".join([*lines, "max_inflight_messages 0", ""]))
        fields = {f"v{c}": {"address": "plant/all", "field": f"v{c}", "time": "at"} for c in range(COLUMNS)}
        with process(needed("mosquitto"), "-c", file, port=port, stdout=subprocess.DEVNULL):
            command = (sys.executable, "-c", MQTT, str(port), "200000", str(rate))
            yield {"kind": "mqtt", "host": "127.0.0.1", "port": port, "tags": fields, "then": command}


@contextlib.contextmanager
def kafka(form: str, rate: float) -> Iterator[dict[str, Any]]:
    """librdkafka's mock cluster with messages of 20 values (JSON) or 1,000 (Arrow)."""
    count = 20_000 if form == "json" else 2_000
    with process(sys.executable, "-c", KAFKA, form, str(count), str(rate)) as running:
        broker = _listening(running).split()[1]
        time = {"time": "at"} if form == "json" else {}
        tags = {f"v{c}": {"address": "plant", "field": f"v{c}", **time} for c in range(COLUMNS)}
        yield {"kind": "kafka", "brokers": broker, "format": form, "tags": tags, "group": form}


@contextlib.contextmanager
def modbus(period_s: float) -> Iterator[dict[str, Any]]:
    """pymodbus' server with 1,000 floating-point registers."""
    port = free_port()
    with process(sys.executable, "-W", "ignore", "-c", MODBUS, str(port), port=port):
        tags = {f"v{i}": {"address": f"holding:{2 * i}", "type": "float32"} for i in range(1000)}
        yield {"kind": "modbus", "host": "127.0.0.1", "port": port, "tags": tags, "period_s": period_s}


@contextlib.contextmanager
def sql(layout: str) -> Iterator[dict[str, Any]]:
    """SQLite with 400,000 values."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/plant.db"
        engine, frame = sa.create_engine(url), _table(20_000).to_pandas()
        frame["time"] = frame["time"].dt.tz_localize(None)
        if layout == "long":
            frame = frame.melt("time", var_name="tag").sort_values("time", kind="stable")
        frame.to_sql("history", engine, index=False, chunksize=5000)
        engine.dispose()
        tags = {f"v{c}": f"v{c}" for c in range(COLUMNS)}
        yield {"kind": "sql", "url": url, "table": "history", "layout": layout, "tags": tags}


@contextlib.contextmanager
def dropped(form: str, rate: float) -> Iterator[dict[str, Any]]:
    """A folder into which so many files of 3,000 values are put a second, stamped when they are written."""
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-c", FILES, folder, form, str(rate))
        tags = {f"v{c}": f"v{c}" for c in range(COLUMNS)}
        given = {"kind": "files", "path": folder, "pattern": f"*.{form}", "tags": tags, "settle_s": 0.0}
        yield given | {"period_s": LOOK_S, "then": command}


@contextlib.contextmanager
def files(form: str) -> Iterator[dict[str, Any]]:
    """A folder with a file of 1,000,000 values."""
    with tempfile.TemporaryDirectory() as folder:
        table = _table(50_000)
        if form == "csv":
            pyarrow.csv.write_csv(table, f"{folder}/a.csv")
        else:
            pyarrow.parquet.write_table(table, f"{folder}/a.parquet")
        tags = {f"v{c}": f"v{c}" for c in range(COLUMNS)}
        yield {"kind": "files", "path": folder, "tags": tags, "settle_s": 0.0}


def _table(rows: int) -> pa.Table:
    times = pa.array(np.arange(rows) * 1_000_000 + 1_767_225_600_000_000).cast(pa.timestamp("us", "UTC"))
    rng = np.random.default_rng(0)
    return pa.table({"time": times} | {f"v{c}": rng.normal(size=rows) for c in range(COLUMNS)})


def _listening(running: subprocess.Popen[str]) -> str:
    while not (line := running.stdout.readline()).startswith("listening"):
        if not line:
            raise RuntimeError("the server did not start")
    return line
