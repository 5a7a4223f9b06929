"""Values a second that each source brings to the collector's disk on one core, and how late they are.

    python tests/benchmarks/collecting.py [--only opcua mqtt …] [--seconds 5] [--times 3]

The servers run in processes of their own (node-opcua, mosquitto, librdkafka's mock, pymodbus, SQLite, a folder); what
is counted is this process: source, unit conversion, and the buffer with its fsync. *Busy* offers more than can be
taken: values per second of CPU time, and per second of the clock on a machine that others use too. *Paced* offers
about 3,000 values a second: lag is the clock minus the source's time stamp when the sample is on disk, p50 and p99.
Modbus samples are stamped by us half way through their request; a file a second is stamped when it is written, into a
folder that is looked at every 0.2 s. SQL has no lag but its period. Each figure is the median of the runs; of values
per CPU second the least and the most stand beside it, and the load of the machine (its 1-minute average).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
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
    "modbus, 1,000 registers": (lambda: feeds.modbus(0.005), lambda: feeds.modbus(1 / 3)),
    "sql, SQLite, wide": (lambda: feeds.sql("wide"), None),
    "sql, SQLite, long": (lambda: feeds.sql("long"), None),
    "files, CSV": (lambda: feeds.files("csv"), lambda: feeds.dropped("csv", 1)),
    "files, Parquet": (lambda: feeds.files("parquet"), lambda: feeds.dropped("parquet", 1)),
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
    late = np.concatenate([*lags, []])
    p50, p99 = np.quantile(late, [0.5, 0.99]).tolist() if len(late) else (float("nan"), float("nan"))
    clock, used = last[0] - begin, last[1] - cpu
    return {"values": count, "cpu_s": used, "clock_s": clock, "lag_p50_s": p50, "lag_p99_s": p99}


def measured(
    busy: Callable[[], feeds.Feed], paced: Callable[[], feeds.Feed] | None, seconds: float, times: int
) -> dict[str, Any]:
    """The figures of one source over several runs."""
    most, late = [], []
    for _ in range(times):
        with busy() as given:
            most.append(asyncio.run(taken(dict(given), seconds)))
        if paced is not None:
            with paced() as given:
                late.append(asyncio.run(taken(dict(given), seconds)))
    per_cpu_s = [run["values"] / max(run["cpu_s"], 1e-9) for run in most]
    return {
        "values": statistics.median(run["values"] for run in most),
        "per_cpu_s": statistics.median(per_cpu_s),
        "least": min(per_cpu_s),
        "most": max(per_cpu_s),
        "cpu_s": statistics.median(run["cpu_s"] for run in most),
        "per_s": statistics.median(run["values"] / max(run["clock_s"], 1e-9) for run in most),
        "lag_p50_s": statistics.median(run["lag_p50_s"] for run in late) if late else None,
        "lag_p99_s": statistics.median(run["lag_p99_s"] for run in late) if late else None,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    path = RESULTS / "collecting.json"
    results: dict[str, dict[str, Any]] = json.loads(path.read_text())["sources"] if asked.only and path.exists() else {}
    heads = ("values", "CPU s", "/ CPU s", "least", "most", "/ s", "lag p50 s", "p99 s", "load")
    print(f"{'':34}" + "".join(f"{head:>11}" for head in heads))
    for name, (busy, paced) in CASES.items():
        if asked.only and not any(name.startswith(only) for only in asked.only):
            continue
        results[name] = row = measured(busy, paced, asked.seconds, asked.times)
        rates = f"{row['values']:11.0f}{row['cpu_s']:11.2f}"
        rates += "".join(f"{row[key]:11.0f}" for key in ("per_cpu_s", "least", "most", "per_s"))
        lags = "".join(
            f"{row[key]:11.3f}" if row[key] is not None else f"{'':11}" for key in ("lag_p50_s", "lag_p99_s")
        )
        print(f"{name:34}{rates}{lags}{row['load']:11.1f}", flush=True)
        RESULTS.mkdir(exist_ok=True)
        document = {"seconds": asked.seconds, "times": asked.times, "cores": os.cpu_count(), "sources": results}
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
