"""Bodies made to break the parsers of uploads: whatever comes is parsed or refused with a reason, in bounded memory.

    python tests/benchmarks/fuzz_uploads.py [--bodies 10000000] [--minutes 10]

Each body is a good one (CSV, Parquet, Arrow stream, wide or long, plain or gzip) with bytes flipped, cut out, doubled
or replaced by what such files are made of, or it is nothing but noise. Anything raised other than `TelemetryError` is a
crash: its seed is kept. Resumes where it stopped: `results/fuzz_uploads.json` holds the count and the crashes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.formats.files import ARROW, CSV, PARQUET, read_upload
from twin.errors import TelemetryError
from twin.plant import Plant, Role, Tag

RESULTS = Path(__file__).parent / "results" / "fuzz_uploads.json"
PLANT = Plant("p", 1.0, (Tag("u", Role.MV), Tag("y", Role.CV)))
WORDS = [
    b",",
    b"\n",
    b'"',
    b"nan",
    b"-inf",
    b"1e999",
    b"time",
    b"tag",
    b"__quality",
    b"\x00",
    b"\xff\xfe",
    b"2026-01-01T00:00:00Z",
]
WORDS += [b"PAR1", b"ARROW1", b"\x1f\x8b", b"9" * 400, b"0000-00-00", b"u", b"y", b"+14:00", b";", b"\xff\xff\xff\xff"]
SAVE_S = 10.0


def good_bodies() -> list[tuple[bytes, str]]:
    """What is broken."""
    times = pa.array(np.arange(6) * 1_000_000, pa.timestamp("us", "UTC"))
    wide = pa.table(
        {"time": times, "u": np.arange(6.0), "y": np.arange(6.0), "y__quality": [192, 0, 192, 64, 192, 192]}
    )
    long = pa.table({"time": times, "tag": ["u", "y"] * 3, "value": np.arange(6.0), "quality": ["good"] * 6})
    found = []
    for table in (wide, long):
        text, parquet, arrow = io.StringIO(), io.BytesIO(), io.BytesIO()
        table.to_pandas().to_csv(text, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        pq.write_table(table, parquet)
        with pa.ipc.new_stream(arrow, table.schema) as writer:
            writer.write_table(table)
        found += [(text.getvalue().encode(), CSV), (parquet.getvalue(), PARQUET), (arrow.getvalue(), ARROW)]
    return found


def broken(body: bytes, rng: random.Random) -> bytes:
    """The body with up to six changes, or noise."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(300))
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 7)):
        at, kind = rng.randrange(len(changed) + 1), rng.randrange(5)
        end = min(at + rng.randrange(1, 20), len(changed))
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:end]
        elif kind == 2:
            changed[at:at] = changed[at:end] * rng.randrange(1, 4)
        elif kind == 3:
            changed[at:end] = rng.choice(WORDS)
        else:
            changed[at:at] = rng.choice(WORDS)
    return bytes(changed)


def tried(seed: int, bodies: list[tuple[bytes, str]]) -> str:
    """What became of one body: "parsed", "refused", or the crash."""
    rng = random.Random(seed)
    body, kind = rng.choice(bodies)
    body, encoding = broken(body, rng), None
    if rng.random() < 0.1:
        body, encoding = gzip.compress(body, 1), "gzip"
        body = broken(body, rng) if rng.random() < 0.5 else body
    zone = rng.choice((None, "Europe/Berlin"))
    try:
        for batch in read_upload(io.BytesIO(body), kind, encoding, PLANT, zone):
            if batch.table["time"].null_count:
                return "a row without a time"
    except TelemetryError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "parsed"


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    """Go on from where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    found = (
        json.loads(RESULTS.read_text()) if RESULTS.exists() else {"bodies": 0, "parsed": 0, "refused": 0, "crashes": {}}
    )
    bodies, until, saved = good_bodies(), time.monotonic() + 60 * asked.minutes, time.monotonic()
    for seed in range(2_000):
        tried(-1 - seed, bodies)  # warm
    start_mib, began, cpu = resident_mib(), found["bodies"], time.process_time()
    while found["bodies"] < asked.bodies and time.monotonic() < until:
        outcome = tried(found["bodies"], bodies)
        if outcome in ("parsed", "refused"):
            found[outcome] += 1
        else:
            found["crashes"][str(found["bodies"])] = outcome
        found["bodies"] += 1
        if time.monotonic() - saved > SAVE_S:
            saved = time.monotonic()
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    found["memory_mib"] = [round(start_mib), round(resident_mib())]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    done = found["bodies"] - began
    print(f"{done} bodies now, {done / max(time.process_time() - cpu, 1e-9):.0f} a CPU second; in all:")
    print({**found, "crashes": dict(list(found["crashes"].items())[:10])})


if __name__ == "__main__":
    main()
