"""Bodies made to break the parsers of uploads: whatever comes is parsed or refused with a reason, in bounded memory.

    python tests/benchmarks/fuzz_uploads.py [--bodies 10000000] [--minutes 10]

Each body is a good one (`support/broken_bodies.py`: CSV, Parquet and Arrow streams of many kinds, wide or long) with
bytes changed, cut out, doubled or replaced by what such files are made of, plain or as gzip (packed before or behind
the change). A body with an outcome that was not seen before joins those to be broken further. One in two hundred goes
through the survey that `twin upload --dry-run` makes, one in three thousand is large or a bomb.

It is a crash if anything other than `TelemetryError` is raised, if the parsers hand on what a store must never see, or
if they end their process, take a minute of CPU or 300 MiB more memory for one body: the body is kept in
`results/fuzz_uploads.json`. The parsers run in a process of their own, in pieces of 2,000 bodies; each is added to the
results when it is done, and a run that was stopped goes on with the next. `--again` tries the kept bodies once more.
"""

from __future__ import annotations

import argparse
import base64
import gc
import gzip
import hashlib
import io
import json
import mmap
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from support.broken_bodies import ARROW, CSV, KINDS, PARQUET, PLANT, Sample, broken, packed_bombs, samples

from connectors.formats.cells import EARLIEST, LATEST
from connectors.formats.files import read_upload
from connectors.formats.survey import survey
from twin.errors import TelemetryError
from twin.storage.batch import QUALITY, TIME, Batch

RESULTS = Path(__file__).parent / "results" / "fuzz_uploads.json"
LEARNT = Path(__file__).parent / "cache" / "fuzz_uploads"
PIECE = 2_000
LARGE = 1 / 3_000
SURVEYED = 1 / 200
GZIP = 0.25
OTHER_KIND = 0.01
MAX_BYTES = 4 << 20  # a body may unpack to
LEARN = 500  # bodies of each kind that are kept for a new outcome, and no larger than
LEARN_BYTES = 6_000
SEEN = 20_000  # outcomes that are told from each other
HUNGRY_MIB = 300
HANGS_S = 60.0  # of CPU
HEADER = 32  # bytes before the body in the shared file: its length, its content type
VARIES = re.compile(r"'[^']*'|\d+|[^\x20-\x7e]+")


def unsound(batch: Batch) -> str | None:
    """What is wrong with rows that the parsers hand on."""
    table = batch.table
    times = table[TIME]
    if times.type != pa.timestamp("us", "UTC") or times.null_count:
        return "times are missing, or of another type"
    stamps = times.cast(pa.int64()).to_numpy()
    if len(stamps) and (stamps.min() < EARLIEST or stamps.max() > LATEST):
        return "a time outside the years 1900 to 2199"
    if not 0 <= batch.rows_rejected <= batch.received or batch.rows_rejected + len(table) > max(batch.received, 1) * (
        1 if not batch.long else 10**9
    ):
        return f"{batch.received} rows came, {batch.rows_rejected} are refused and {len(table)} stored"
    for name in table.column_names[1:]:
        column = table[name]
        if name.endswith(QUALITY):
            codes = column.drop_null().to_numpy()
            if column.type != pa.int16() or (len(codes) and not 0 <= codes.min() <= codes.max() <= 255):
                return f"qualities of the type {column.type}, or no OPC codes"
        elif column.type != pa.float64() or not np.isfinite(column.drop_null().to_numpy()).all():
            return f"values of the type {column.type}, or not finite"
        if name.removesuffix(QUALITY) not in PLANT.names:
            return f"a column '{name}'"
    return None


def parsed(body: bytes, kind: str, encoding: str | None, zone: str | None, dry: bool) -> tuple[str, str]:
    """What became of a body ("parsed", "refused" or "crashed"), and how, in words without its own values."""
    words = []
    try:
        if dry:
            found = survey(io.BytesIO(body), kind, encoding, PLANT, zone)
            return "parsed", f"survey {found.long} {bool(found.rows_rejected)}"
        for batch in read_upload(io.BytesIO(body), kind, encoding, PLANT, zone, MAX_BYTES):
            if wrong := unsound(batch):
                return "crashed", wrong
            why = batch.rejected[0].reason if batch.rejected else ""
            words.append(f"{batch.long}{bool(batch.cells_rejected)}{bool(batch.unknown_tags)}{why}")
    except TelemetryError as error:
        return "refused", VARIES.sub("#", str(error))[:90]
    except Exception as error:
        return "crashed", f"{type(error).__name__}: {error}"[:200]
    return "parsed", VARIES.sub("#", "|".join(words))[:90]


class Maker:
    """Makes bodies, and learns which of them to break further."""

    def __init__(self) -> None:
        self.small = samples()
        self.large = [s for s in samples(8_000) if len(s.body) < MAX_BYTES]
        self.bombs = packed_bombs()
        self.seen: set[tuple[str, str, str]] = set()
        self.learnt: list[Sample] = []
        for path in sorted(LEARNT.glob("*.body")):
            kind, shape, _ = path.stem.split("-")
            self.learnt.append(Sample(path.read_bytes(), {v: k for k, v in KINDS.items()}[kind], shape))
        self._counts = Counter(s.kind for s in self.learnt)
        for sample in self.learnt:
            self.seen.add((sample.kind, *parsed(sample.body, sample.kind, None, None, dry=False)))

    def make(self, rng: random.Random) -> tuple[Sample, str | None]:
        """A broken body, and its Content-Encoding."""
        r = rng.random
        if r() < LARGE:
            if r() < 0.2:
                return self.bombs[int(r() * len(self.bombs))], "gzip"
            pool = self.large
        else:
            pool = self.learnt if self.learnt and r() < 0.5 else self.small
        sample = pool[int(r() * len(pool))]
        body = sample.body
        packed = r() < GZIP
        before = packed and r() < 0.5  # the change is in what is packed, otherwise in the gzip itself
        if packed and not before:
            body = gzip.compress(body, 1)
        body = broken(body, self.small, rng)
        kind = sample.kind if r() > OTHER_KIND else (CSV, PARQUET, ARROW)[int(r() * 3)]
        return Sample(gzip.compress(body, 1) if before else body, kind, sample.shape), "gzip" if packed else None

    def learn(self, sample: Sample, encoding: str | None, what: str, how: str) -> None:
        if encoding is not None or (sample.kind, what, how) in self.seen:
            return
        if len(self.seen) < SEEN:
            self.seen.add((sample.kind, what, how))
        if len(sample.body) > LEARN_BYTES or self._counts[sample.kind] >= LEARN:
            return
        self._counts[sample.kind] += 1
        self.learnt.append(sample)
        name = hashlib.sha256(sample.body).hexdigest()[:16]
        (LEARNT / f"{KINDS[sample.kind]}-{sample.shape}-{name}.body").write_bytes(sample.body)


def work(shared: Path, first: int) -> None:
    """The process of the parsers: piece after piece, a line of JSON for each."""
    LEARNT.mkdir(parents=True, exist_ok=True)
    with shared.open("r+b") as file:
        held = mmap.mmap(file.fileno(), 0)
    maker, piece = Maker(), first
    run_piece(maker, held, -1)  # warm: pools and caches of all libraries
    while True:
        print(json.dumps(run_piece(maker, held, piece)), flush=True)
        piece += 1


def note(held: mmap.mmap, sample: Sample, encoding: str | None) -> None:
    """The body that is tried now, where the process that watches finds it whatever becomes of this one."""
    size = len(sample.body)
    held[0:8] = size.to_bytes(8, "little")
    held[8:9] = bytes([(CSV, PARQUET, ARROW).index(sample.kind)])
    held[9:10] = b"\1" if encoding else b"\0"
    held[HEADER : HEADER + size] = sample.body


def run_piece(maker: Maker, held: mmap.mmap, piece: int) -> dict[str, Any]:
    rng = random.Random(piece)
    counts: Counter[str] = Counter()
    wrong: list[dict[str, str]] = []
    begun, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(PIECE):
        sample, encoding = maker.make(rng)
        note(held, sample, encoding)
        zone = (None, None, "Europe/Berlin")[int(rng.random() * 3)]
        dry = rng.random() < SURVEYED
        what, how = parsed(sample.body, sample.kind, encoding, zone, dry)
        counts[f"{KINDS[sample.kind]}, {sample.shape}{', gzip' if encoding else ''}: {what}"] += 1
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if what == "crashed" or now - peak > HUNGRY_MIB << 10:
            how = how if what == "crashed" else f"{(now - peak) >> 10} MiB more memory"
            wrong.append(kept(how, sample.body, sample.kind, encoding, piece, zone, dry))
        peak = max(peak, now)
        maker.learn(sample, encoding, what, how)
    gc.collect()
    return {
        "counts": counts,
        "wrong": wrong,
        "cpu_s": time.process_time() - begun,
        "outcomes": len(maker.seen),
        "mib": resident_mib(),
        "arrow_bytes": pa.total_allocated_bytes(),
    }


def kept(
    how: str, body: bytes, kind: str, encoding: str | None, piece: int, zone: str | None = None, dry: bool = False
) -> dict[str, Any]:
    """What is written of a body that is a crash."""
    text = base64.b64encode(body[: 1 << 16]).decode()
    about = {"how": how, "kind": kind, "encoding": encoding, "zone": zone, "dry": dry, "piece": piece}
    return about | {"body": text}


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watched:
    """The process of the parsers, ended when it takes too much CPU for one body; what it was at is known then."""

    def __init__(self, folder: Path, piece: int) -> None:
        self._shared = folder / "body"
        self._shared.write_bytes(bytes(HEADER + (64 << 20)))
        command = [sys.executable, __file__, "--work", str(self._shared), "--piece", str(piece)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        seen, since = b"", 0.0
        while self.process.poll() is None:
            time.sleep(1.0)
            try:
                now, used = self.at(), cpu_s(self.process.pid)
            except OSError:
                return
            digest = hashlib.sha256(now[0]).digest()
            if digest != seen:
                seen, since = digest, used
            elif used - since > HANGS_S:
                self.process.kill()

    def at(self) -> tuple[bytes, str, str | None]:
        """The body it tries now, its content type and encoding."""
        with self._shared.open("rb") as file:
            head = file.read(HEADER)
            body = file.read(int.from_bytes(head[:8], "little"))
        return body, (CSV, PARQUET, ARROW)[head[8]], "gzip" if head[9] else None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def add(found: dict[str, Any], told: dict[str, Any]) -> None:
    """Add a piece to the results."""
    found["pieces"] += 1
    found["bodies"] += sum(told["counts"].values())
    for name, count in sorted(told["counts"].items()):
        form, _, what = name.partition(": ")
        counts = found["by_format"].setdefault(form, {"parsed": 0, "refused": 0, "crashed": 0})
        counts[what] += count
    found["cpu_s"] += told["cpu_s"]
    found["outcomes"] = told["outcomes"]
    for wrong in told["wrong"]:
        same = [known for known in found["crashes"] if known["how"][:60] == wrong["how"][:60]]
        if len(same) < 3 and len(found["crashes"]) < 60:
            found["crashes"].append(wrong)


def write(found: dict[str, Any]) -> None:
    fresh = RESULTS.with_suffix(".tmp")
    fresh.write_text(json.dumps(found, indent=1) + "\n")
    fresh.replace(RESULTS)


def session(found: dict[str, Any], bodies: int, until: float) -> None:
    """Piece after piece in a process of its own, as long as it lives."""
    memory: list[tuple[int, float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder), found["pieces"])
        timer = threading.Timer(max(until - time.monotonic(), 0), watched.process.send_signal, (signal.SIGTERM,))
        timer.daemon = True
        timer.start()
        try:
            assert watched.process.stdout is not None
            for line in watched.process.stdout:
                told = json.loads(line)
                add(found, told)
                memory.append((found["bodies"], told["mib"], told["arrow_bytes"]))
                write(found)
                if found["bodies"] >= bodies or time.monotonic() > until:
                    break
            else:
                ended = watched.process.wait()
                if ended > 0:
                    raise RuntimeError("the process of the parsers ended by an error of this script")
                if ended != -signal.SIGTERM:
                    body, kind, encoding = watched.at()
                    how = f"the process was ended by signal {-ended}"
                    found["crashes"].append(kept(how, body, kind, encoding, found["pieces"]))
                    found["pieces"] += 1
        finally:
            timer.cancel()
            watched.end()
    if len(memory) > 2:
        count, mib, arrow = (np.array(part, float) for part in zip(*memory, strict=True))
        slope = float(1e6 * np.polyfit(count, mib, 1)[0])
        run = {"bodies": int(count[-1] - count[0]), "mib_first": mib[0], "mib_last": mib[-1], "mib_most": mib.max()}
        run |= {"mib_per_million_bodies": slope, "arrow_bytes_last": arrow[-1]}
        found["memory"].append({name: round(value, 2) for name, value in run.items()})
    write(found)


def table(found: dict[str, Any]) -> None:
    print(f"{'':28}{'bodies':>12}{'parsed':>12}{'refused':>12}{'crashed':>9}")
    for form, counts in sorted(found["by_format"].items()):
        print(
            f"{form:28}{sum(counts.values()):12,}"
            + "".join(f"{n:{w},}" for n, w in zip(counts.values(), (12, 12, 9), strict=True))
        )
    print(f"{found['bodies']:,} bodies, {found['bodies'] / max(found['cpu_s'], 1e-9):.0f} a CPU second;", end=" ")
    print(f"{found['outcomes']} different outcomes, {len(found['crashes'])} crashes kept")
    for run in found["memory"][-5:]:
        print(run)
    for crash in found["crashes"][:10]:
        print(crash["kind"], crash["encoding"], crash["how"])


def main() -> None:
    """Go on from where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--again", action="store_true", help="only try the kept crashes once more")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--piece", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(asked.work, asked.piece)
    empty = {"bodies": 0, "pieces": 0, "cpu_s": 0.0, "outcomes": 0, "by_format": {}, "crashes": [], "memory": []}
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else empty
    if asked.again:
        for crash in found["crashes"]:
            body = base64.b64decode(crash["body"])
            print(crash["how"][:60], "→", parsed(body, crash["kind"], crash["encoding"], crash["zone"], crash["dry"]))
        return
    until = time.monotonic() + 60 * asked.minutes
    while found["bodies"] < asked.bodies and time.monotonic() < until:
        session(found, asked.bodies, until)
    table(found)


if __name__ == "__main__":
    main()
