"""The telemetry store beside plain pyarrow: append, read, overview, tail, live appends. Prints a table.

    python tests/benchmarks/store.py [long|wide|small] [--rows 5000000] [--tags 20] [--live 1000] [--step 60]
        [--uploads 6000] [--json FILE]

`long` is many rows of few tags, `wide` a day of 10,000 tags, a sample every `--step` seconds, `small` many uploads of a
row, each with an Idempotency-Key, by what has gathered in the commit log; without a word it is `long`. Times are of one
run; memory is the peak of the process above its start, sampled (in `small` what it holds).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from connectors.formats.files import ARROW, CSV, PARQUET, read_upload
from twin.plant import Plant, Role, Tag
from twin.storage.batch import of_frame
from twin.store import PlantTable, Store

START = pd.Timestamp("2024-01-01", tz="UTC")


def write_files(folder: Path, rows: int, tags: int) -> Plant:
    """The same telemetry as CSV, Parquet and Arrow stream: a sample a second, random walks of five digits."""
    names = [f"TAG{i:02d}" for i in range(tags)]
    rng, step = np.random.default_rng(0), 250_000
    schema = pa.schema([("time", pa.timestamp("us", "UTC")), *((name, pa.float64()) for name in names)])
    level = np.zeros(tags)
    with (
        pq.ParquetWriter(folder / "t.parquet", schema) as parquet,
        pa.OSFile(str(folder / "t.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as stream,
        pacsv.CSVWriter(folder / "t.csv", pa.schema([("time", pa.string()), *list(schema)[1:]])) as text,
    ):
        for first in range(0, rows, step):
            n = min(step, rows - first)
            walk = level + np.cumsum(rng.normal(0, 0.1, (n, tags)), axis=0)
            level = walk[-1]
            times = START.tz_localize(None).to_datetime64().astype("datetime64[us]") + np.arange(
                first, first + n
            ) * np.timedelta64(10**6, "us")
            columns = [pa.array(np.round(50 + walk[:, i], 5)) for i in range(tags)]
            table = pa.table([pa.array(times).cast(pa.timestamp("us", "UTC")), *columns], schema=schema)
            parquet.write_table(table)
            stream.write_table(table)
            stamps = pa.array(np.char.add(np.datetime_as_string(times.astype("datetime64[s]")), "Z"))
            text.write_table(table.set_column(0, "time", stamps))
    return Plant("bench", 1.0, (Tag(names[0], Role.MV), *(Tag(name, Role.CV) for name in names[1:])))


def measure(work: Callable[[], Any]) -> tuple[float, float, float, Any]:
    """Wall seconds, CPU seconds, peak MiB above the start, and what came out."""
    process, peak, done = psutil.Process(), 0, threading.Event()
    start = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, process.memory_info().rss - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    before, cpu = time.perf_counter(), time.process_time()
    try:
        result = work()
    finally:
        seconds, cpu = time.perf_counter() - before, time.process_time() - cpu
        done.set()
        watcher.join()
    return seconds, cpu, peak / 2**20, result


def line(table: list[dict[str, Any]], what: str, work: Callable[[], Any]) -> Any:
    """Measure, print and note; what came out."""
    seconds, cpu, peak, result = measure(work)
    table.append({"what": what, "wall_s": round(seconds, 4), "cpu_s": round(cpu, 4), "peak_mib": round(peak)})
    print(f"{what:55s} {seconds:8.3f} s wall {cpu:8.3f} s CPU {peak:6.0f} MiB", flush=True)
    return result


def run_wide(folder: Path, tags: int, step_s: int, live: int) -> list[dict[str, Any]]:
    """A day of many tags: as one wide Parquet file, and as a long one in the order of time."""
    names, rows, table = [f"TAG{i:05d}" for i in range(tags)], 86_400 // step_s, list[dict[str, Any]]()
    plant = Plant("bench", step_s, (Tag(names[0], Role.MV), *(Tag(name, Role.CV) for name in names[1:])))
    rng, level = np.random.default_rng(0), np.zeros(tags)
    schema = pa.schema([("time", pa.timestamp("us", "UTC")), *((name, pa.float64()) for name in names)])
    tall = pa.schema([("time", pa.timestamp("us", "UTC")), ("tag", pa.string()), ("value", pa.float64())])
    with pq.ParquetWriter(folder / "w.parquet", schema) as wide, pq.ParquetWriter(folder / "l.parquet", tall) as long:
        for first in range(0, rows, 360):
            n = min(360, rows - first)
            walk = level + np.cumsum(rng.normal(0, 0.1, (n, tags)), axis=0)
            level = walk[-1]
            values = np.round(50 + walk, 5)
            times = START.value // 1000 + np.arange(first, first + n) * step_s * 1_000_000
            wide.write_table(pa.table([pa.array(times).cast(schema[0].type), *values.T], schema=schema))
            columns = [np.repeat(times, tags), np.tile(np.array(names, object), n), values.ravel()]
            long.write_table(pa.table([pa.array(columns[0]).cast(tall[0].type), *columns[1:]], schema=tall))
    store = Store(folder / "store")
    for name, slug in (("w.parquet", "w"), ("l.parquet", "l")):
        line(table, f"plain pyarrow: {name} read whole", lambda name=name: pq.read_table(folder / name).num_rows)
        with (folder / name).open("rb") as stream:
            batches = read_upload(stream, PARQUET, None, plant)
            what = f"upload {name}: {rows:,} stamps of {tags:,} tags"
            receipt = line(table, what, lambda batches=batches, slug=slug: store.plant(slug).append(batches))
            if receipt.rows_rejected or receipt.rows_received != (rows if slug == "w" else rows * tags):
                raise SystemExit(f"{name}: {receipt}")
        _reads(table, slug, store.plant(slug), names)
    _rows(table, store.plant("w"), names, START + pd.Timedelta("1D"), step_s, live)
    return table


def run_row(folder: Path, tags: int, step_s: int, live: int) -> list[dict[str, Any]]:
    """One row of many tags after the other, behind two hours of them."""
    names, table = [f"TAG{i:05d}" for i in range(tags)], list[dict[str, Any]]()
    there, rows = Store(folder).plant("r"), 7200 // step_s
    walk = 50 + np.cumsum(np.random.default_rng(0).normal(0, 0.1, (rows, tags)), axis=0)
    index = START + pd.to_timedelta(np.arange(rows) * step_s, unit="s")
    there.append(of_frame(pd.DataFrame(walk.round(5), index=index, columns=names)))
    _rows(table, there, names, index[-1], step_s, live)
    return table


def _rows(
    table: list[dict[str, Any]], there: PlantTable, names: list[str], last: pd.Timestamp, step_s: int, live: int
) -> None:
    """Append a row of all tags, and read the last ones, over and over: mergers of small files are among them."""
    walk = 50 + np.cumsum(np.random.default_rng(1).normal(0, 0.1, (live, len(names))), axis=0)
    spent: dict[str, list[tuple[float, float]]] = {"live append of one row of all tags": [], "last 120 rows of all": []}
    for i in range(live):
        index = [last + pd.Timedelta(seconds=(i + 1) * step_s)]
        frame = pd.DataFrame(walk[i : i + 1].round(5), index=index, columns=names)
        works = (lambda frame=frame: there.append(of_frame(frame)), lambda: there.last_rows(120, float(step_s)))
        for kept, work in zip(spent.values(), works, strict=True):
            kept.append(measure(work)[:2])
    for what, values in spent.items():
        told: dict[str, Any] = {"what": what, "n": live}
        for name, column in zip(("wall", "cpu"), np.array(values).T, strict=True):
            told |= {f"{name}_mean_s": round(column.mean(), 4)}
            told |= {f"{name}_p{q}_s": round(float(np.percentile(column, q)), 4) for q in (50, 99)}
        table.append(told)
        print(
            f"{what:55s} CPU: p50 {told['cpu_p50_s']:.3f} s, p99 {told['cpu_p99_s']:.3f} s, mean "
            f"{told['cpu_mean_s']:.3f} s; wall p50 {told['wall_p50_s']:.3f} s ({live} times)",
            flush=True,
        )


def _reads(table: list[dict[str, Any]], slug: str, there: PlantTable, names: list[str]) -> None:
    middle = START + pd.Timedelta("8h")
    line(table, f"{slug}: read 8 h of 3 tags", lambda: there.read(middle, middle + pd.Timedelta("8h"), names[5:8]))
    line(table, f"{slug}: read the day of 500 tags", lambda: there.read(tags=names[:500]))
    line(table, f"{slug}: overview of 20 tags", lambda: there.overview(tags=names[:20]))
    line(table, f"{slug}: compact", there.compact)


def run(folder: Path, rows: int, tags: int, live: int) -> list[dict[str, Any]]:
    """All measurements."""
    plant, table = write_files(folder, rows, tags), list[dict[str, Any]]()
    store = Store(folder / "store")

    def upload(name: str, kind: str, slug: str) -> Any:
        with (folder / name).open("rb") as stream:
            return store.plant(slug).append(read_upload(stream, kind, None, plant))

    line(table, "plain pyarrow: Parquet read whole", lambda: pq.read_table(folder / "t.parquet").num_rows)
    line(table, "plain pyarrow: CSV streamed, types known", lambda: sum(map(len, pacsv.open_csv(folder / "t.csv"))))
    for name, kind, slug in (("t.parquet", PARQUET, "p"), ("t.arrow", ARROW, "a"), ("t.csv", CSV, "c")):
        receipt = line(table, f"upload {name}", lambda name=name, kind=kind, slug=slug: upload(name, kind, slug))
        if receipt.rows_stored != rows:
            raise SystemExit(f"{name}: {receipt}")
    receipt = line(table, "upload t.parquet again (all duplicates)", lambda: upload("t.parquet", PARQUET, "p"))
    if receipt.rows_duplicate != rows:
        raise SystemExit(str(receipt))
    plant_table, middle = store.plant("p"), START + pd.Timedelta(seconds=rows // 2)
    window = (middle, middle + pd.Timedelta("8h"), plant.names[:3])
    line(table, "read 8 h of 3 tags", lambda: plant_table.read(*window))
    line(
        table,
        "plain pyarrow: the same window of the file",
        lambda: pq.read_table(
            folder / "t.parquet",
            columns=["time", *window[2]],
            filters=[("time", ">=", window[0]), ("time", "<=", window[1])],
        ),
    )
    line(table, "overview of everything, 3 tags, 2000 points", lambda: plant_table.overview(tags=plant.names[:3]))
    line(table, f"overview of everything, {tags} tags, 2000 points", lambda: plant_table.overview())
    appends, tails = [], []
    last = START + pd.Timedelta(seconds=rows)
    for i in range(live):
        frame = pd.DataFrame(
            np.full((1, tags), float(i)), index=[last + pd.Timedelta(seconds=i)], columns=list(plant.names)
        )
        appends.append(measure_ms(lambda frame=frame: plant_table.append(of_frame(frame))))
        tails.append(measure_ms(lambda: plant_table.last_rows(120, 1.0)))
    for what, values in (("live append of one row", appends), ("last 120 rows after it", tails)):
        p50, p99 = np.percentile(values, [50, 99])
        table.append({"what": what, "n": live, "p50_ms": round(p50, 2), "p99_ms": round(p99, 2)})
        print(f"{what:55s} p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  ({live} times)", flush=True)
    line(table, "compact", plant_table.compact)
    size = sum(f.stat().st_size for f in (folder / "store" / "p").rglob("*.parquet")) / 2**20
    print(f"on disk {size:.0f} MiB; the CSV has {(folder / 't.csv').stat().st_size / 2**20:.0f} MiB")
    return table


def run_small(folder: Path, tags: int, uploads: int) -> list[dict[str, Any]]:
    """One upload of a row after the other: what one takes, by entries of the commit log."""
    there = Store(folder).plant("small")
    values = {f"TAG{i:02d}": [1.0] for i in range(tags)}
    table, spent = [], []
    for i in range(uploads):
        rows = pd.DataFrame(values, index=pd.DatetimeIndex([START + pd.Timedelta(seconds=i)], name="time"))
        spent.append(measure_ms(partial(there.append, of_frame(rows), idempotency_key=f"key-{i}")))
        if (i + 1) % 500 == 0:
            entries = sum(1 for _ in (folder / "small" / "_delta_log").iterdir())
            resident = psutil.Process().memory_info().rss >> 20
            ms = float(np.median(spent))
            table.append({"uploads": i + 1, "entries": entries, "ms": ms, "mib": resident})
            print(f"{i + 1} uploads, {entries} entries: {ms:.1f} ms an upload, {resident} MiB", flush=True)
            spent.clear()
    return table


def measure_ms(work: Callable[[], Any]) -> float:
    """Milliseconds."""
    before = time.perf_counter()
    work()
    return (time.perf_counter() - before) * 1e3


def main() -> None:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", choices=("long", "wide", "row", "small"), default="long")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--tags", type=int, help="20, or 10,000 in `wide` and `row`")
    parser.add_argument("--step", type=int, default=60)
    parser.add_argument("--live", type=int, help="single rows: 1000, or 48 in `wide` and `row`")
    parser.add_argument("--uploads", type=int, default=6000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "wide":
            table = run_wide(Path(folder), options.tags or 10_000, options.step, options.live or 48)
        elif options.what == "row":
            table = run_row(Path(folder), options.tags or 10_000, options.step, options.live or 48)
        elif options.what == "small":
            table = run_small(Path(folder), options.tags or 20, options.uploads)
        else:
            table = run(Path(folder), options.rows, options.tags or 20, options.live or 1000)
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
