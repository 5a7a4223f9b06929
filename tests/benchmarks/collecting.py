"""Values a second that each source brings to the collector's disk on one core, and how late they are.

    python tests/benchmarks/collecting.py [--only opcua mqtt …] [--seconds 5]

The servers run in processes of their own (node-opcua, mosquitto, librdkafka's mock, pymodbus, SQLite, a folder);
what is counted is this process: source, unit conversion, and the buffer with its fsync. *Busy* offers more than can be
taken: values per second of CPU time, and per second of the clock on a machine that others use too. *Paced* offers about
3,000 values a second: lag is the clock minus the source's time stamp when the sample is on disk, p50 and p99.
Sources that are polled or read from a store have no lag but their period.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support import feeds

from connectors.buffer import Buffer
from connectors.clock import SystemClock
from connectors.edge import SourceEdge
from connectors.kinds import Context, module_of
from twin.plant import Plant, Role, Tag

RESULTS = Path(__file__).parent / "results"
CASES: dict[str, tuple[Callable[[], feeds.Feed], Callable[[], feeds.Feed] | None]] = {
    "opcua, 3,000 nodes": (lambda: feeds.opcua(50), lambda: feeds.opcua(1000)),
    "mqtt, JSON of 20 values, QoS 1": (lambda: feeds.mqtt(0), lambda: feeds.mqtt(150)),
    "kafka, JSON of 20 values": (lambda: feeds.kafka("json", 0), lambda: feeds.kafka("json", 150)),
    "kafka, Arrow of 1,000 values": (lambda: feeds.kafka("arrow", 0), lambda: feeds.kafka("arrow", 3)),
    "modbus, 1,000 registers": (lambda: feeds.modbus(0.005), None),
    "sql, SQLite, wide": (lambda: feeds.sql("wide"), None),
    "sql, SQLite, long": (lambda: feeds.sql("long"), None),
    "files, CSV": (lambda: feeds.files("csv"), None),
    "files, Parquet": (lambda: feeds.files("parquet"), None),
}


async def taken(given: dict[str, Any], seconds: float) -> dict[str, float]:
    """Values, CPU seconds, clock seconds and lags from the first batch on, for so long or until there is no more."""
    then = given.pop("then", None)
    module = module_of(given["kind"])
    options = module.SourceOptions.model_validate(given)
    tags = (Tag("u", Role.DV), *(Tag(tag, Role.CV) for tag in options.tags))
    source = SourceEdge(module.source(options, Context()), options, Plant("Bench", 1.0, tags), SystemClock())
    with tempfile.TemporaryDirectory() as folder:
        buffer = Buffer(Path(folder), 8 << 30)
        async with source:
            publisher = subprocess.Popen(then, stdout=subprocess.DEVNULL) if then else None
            try:
                return await _counted(source, buffer, seconds)
            finally:
                buffer.close()
                if publisher:
                    publisher.kill()
                    publisher.wait()


async def _counted(source: SourceEdge, buffer: Buffer, seconds: float) -> dict[str, float]:
    lags: list[np.ndarray] = []
    count, begin, cpu, started, last = 0, 0.0, 0.0, 0, (0.0, 0.0)
    batches = source.batches()
    while True:
        try:
            batch = await asyncio.wait_for(anext(batches), 3.0 if count else 30.0)
        except (TimeoutError, StopAsyncIteration):
            break
        if not len(batch):
            continue
        if not begin:  # what connecting and subscribing cost is no part of it
            begin, cpu, started = time.perf_counter(), time.process_time(), time.time_ns()
            if source.health.kind == "opcua":  # the present values, from before
                continue
        await buffer.append("bench", batch)
        count += len(batch)
        lags.append((time.time_ns() - batch.times[batch.times > started]) / 1e9)  # not what had waited for us
        last = (time.perf_counter(), time.process_time())
        if last[0] - begin > seconds:
            break
    await batches.aclose()  # type: ignore[attr-defined]
    late = np.concatenate(lags)
    p50, p99 = np.quantile(late, [0.5, 0.99]).tolist() if len(late) else (float("nan"), float("nan"))
    clock, used = last[0] - begin, last[1] - cpu
    return {"values": count, "cpu_s": used, "clock_s": clock, "lag_p50_s": p50, "lag_p99_s": p99}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    results: dict[str, dict[str, float | None]] = {}
    print(f"{'':34}{'values':>10}{'/ CPU s':>10}{'/ s':>10}{'lag p50 s':>11}{'p99 s':>8}")
    for name, (busy, paced) in CASES.items():
        if asked.only and not any(name.startswith(only) for only in asked.only):
            continue
        with busy() as given:
            most = asyncio.run(taken(dict(given), asked.seconds))
        late: dict[str, float] = {}
        if paced is not None:
            with paced() as given:
                late = asyncio.run(taken(dict(given), asked.seconds))
        row = {
            "values": most["values"],
            "per_cpu_s": most["values"] / max(most["cpu_s"], 1e-9),
            "per_s": most["values"] / max(most["clock_s"], 1e-9),
            "lag_p50_s": late.get("lag_p50_s"),
            "lag_p99_s": late.get("lag_p99_s"),
        }
        results[name] = row
        lag = f"{row['lag_p50_s']:11.3f}{row['lag_p99_s']:8.3f}" if late else f"{'':>11}{'':>8}"
        print(f"{name:34}{row['values']:10.0f}{row['per_cpu_s']:10.0f}{row['per_s']:10.0f}{lag}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    document = {"seconds": asked.seconds, "cores": os.cpu_count(), "sources": results}
    (RESULTS / "collecting.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
