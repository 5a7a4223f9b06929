"""What keeps samples on disk until the service has them: one SQLite file, written through before anything is confirmed.

A batch and the position of its source are one transaction. What is sent goes as segments: a segment's rows and its key
are fixed on disk before it is sent the first time, so that sending it again stores nothing twice. Where samples have
filled the disk, a reserve is given up for what it takes to send them and take them off.
"""

from __future__ import annotations

import asyncio
import io
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from connectors.errors import ConnectorError
from connectors.protocol import Samples
from connectors.threads import whole

RESERVE = 1 << 20  # bytes
SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (id INTEGER PRIMARY KEY AUTOINCREMENT, rows INTEGER, body BLOB, segment INTEGER);
CREATE INDEX IF NOT EXISTS batch_segment ON batch (segment);
CREATE TABLE IF NOT EXISTS segment (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, refused TEXT);
CREATE TABLE IF NOT EXISTS position (source TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
R = TypeVar("R")
ARROW = pa.schema(
    [
        ("time", pa.timestamp("us", "UTC")),
        ("tag", pa.dictionary(pa.int32(), pa.string())),
        ("value", pa.float64()),
        ("quality", pa.int16()),
    ]
)


@dataclass(frozen=True)
class Segment:
    """Rows that are sent together.

    Attributes:
        key: to send with it, each time.
        rows: how many.
        body: an Arrow stream of time, tag, value and quality.
    """

    id: int
    key: str
    rows: int
    body: bytes


class Buffer:
    """A queue of samples on disk.

    Args:
        folder: made where it is missing; one collector at a time.
        max_bytes: `append` waits while more is on disk.

    Raises:
        ConnectorError: the disk does not take it, or another collector has it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._max = max_bytes
        self._reserve = folder / "reserve"
        self._lock = asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                folder / "samples.sqlite", check_same_thread=False, isolation_level=None, timeout=1
            )
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConnectorError(f"the buffer {folder} cannot be used: {error}; does another collector run?") from None
        self.bytes, self.rows = self._db.execute(
            "SELECT coalesce(sum(length(body)), 0), coalesce(sum(rows), 0) FROM batch"
        ).fetchone()
        self._measure()
        self._keep_reserve()

    @property
    def full(self) -> bool:
        """Whether sources have to wait."""
        return not self._room.is_set()

    def close(self) -> None:
        self._db.close()

    def position(self, source: str) -> str | None:
        """Where the source goes on; None at the very first start."""
        found = self._db.execute("SELECT value FROM position WHERE source = ?", (source,)).fetchone()
        return found[0] if found else None

    async def append(self, source: str, samples: Samples) -> None:
        """Keep a batch; it is on the disk when this returns.

        Raises:
            ConnectorError: the disk does not take it; nothing of it is kept.
        """
        await self._room.wait()
        await whole(self._append(source, samples))

    async def next(self, max_rows: int) -> Segment | None:
        """The oldest segment that was not sent; None when all were.

        Raises:
            ConnectorError: the disk does not take its key.
        """
        return await whole(self._next(max_rows))

    async def sent(self, segment: Segment) -> None:
        """The service has it.

        Raises:
            ConnectorError: the disk does not take that; the segment comes once more, with the same key.
        """
        await whole(self._sent(segment))

    async def refused(self, segment: Segment, why: str) -> None:
        """The service will never take it: it is kept aside, with the reason."""
        await whole(self._refused(segment, why))

    def aside(self) -> list[tuple[str, int, str]]:
        """The segments kept aside: key, rows and why."""
        return self._db.execute(
            "SELECT key, sum(rows), refused FROM segment JOIN batch ON batch.segment = segment.id "
            "WHERE refused IS NOT NULL GROUP BY segment.id ORDER BY segment.id"
        ).fetchall()

    async def _append(self, source: str, samples: Samples) -> None:
        body = packed(samples) if len(samples) else b""
        async with self._lock:
            await asyncio.to_thread(self._insert, source, samples, body)
            self.bytes += len(body)
            self.rows += len(samples)
            self._measure()

    async def _next(self, max_rows: int) -> Segment | None:
        async with self._lock:
            return await asyncio.to_thread(self._surely, lambda: self._sealed(max_rows))

    async def _sent(self, segment: Segment) -> None:
        async with self._lock:
            self.bytes -= await asyncio.to_thread(self._surely, lambda: self._delete(segment))
            self.rows -= segment.rows
            self._measure()
            await asyncio.to_thread(self._keep_reserve)

    async def _refused(self, segment: Segment, why: str) -> None:
        change = ("UPDATE segment SET refused = ? WHERE id = ?", (why, segment.id))
        async with self._lock:
            await asyncio.to_thread(self._surely, lambda: self._db.execute(*change))

    def _surely(self, job: Callable[[], R]) -> R:
        """Do what takes samples off the disk, with the reserve where the disk is full."""
        try:
            try:
                return job()
            except sqlite3.OperationalError:
                self._reserve.unlink(missing_ok=True)
                self._fold()
                return job()
        except (sqlite3.Error, OSError) as error:
            raise ConnectorError(f"the buffer cannot be written: {error}") from None

    def _fold(self) -> None:
        """Move what the write-ahead log holds into the file and give its place on the disk back, as far as it goes."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _keep_reserve(self) -> None:
        """Put the reserve aside, where there is room for it."""
        if not self._reserve.exists():
            try:
                self._reserve.write_bytes(bytes(RESERVE))
            except OSError:
                self._reserve.unlink(missing_ok=True)

    def _measure(self) -> None:
        (self._room.clear if self.bytes >= self._max else self._room.set)()

    def _insert(self, source: str, samples: Samples, body: bytes) -> None:
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                if body:
                    self._db.execute("INSERT INTO batch (rows, body) VALUES (?, ?)", (len(samples), body))
                if samples.position is not None:
                    self._db.execute(
                        "INSERT INTO position VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET value = excluded.value",
                        (source, samples.position),
                    )
        except sqlite3.Error as error:
            self._fold()
            raise ConnectorError(f"the buffer cannot be written: {error}") from None

    def _sealed(self, max_rows: int) -> Segment | None:
        found = self._db.execute("SELECT id, key FROM segment WHERE refused IS NULL ORDER BY id LIMIT 1").fetchone()
        if found is None:
            ids: list[int] = []
            rows = 0
            for batch, count in self._db.execute("SELECT id, rows FROM batch WHERE segment IS NULL ORDER BY id"):
                if ids and rows + count > max_rows:
                    break
                ids.append(batch)
                rows += count
            if not ids:
                return None
            key = uuid.uuid4().hex
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                made = self._db.execute("INSERT INTO segment (key) VALUES (?)", (key,)).lastrowid
                self._db.execute(
                    "UPDATE batch SET segment = ? WHERE segment IS NULL AND id BETWEEN ? AND ?", (made, ids[0], ids[-1])
                )
            found = (made, key)
        bodies = self._db.execute("SELECT body FROM batch WHERE segment = ? ORDER BY id", (found[0],)).fetchall()
        table = pa.concat_tables(unpacked(body) for (body,) in bodies)
        return Segment(found[0], found[1], len(table), _stream(table))

    def _delete(self, segment: Segment) -> int:
        where = (segment.id,)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            (size,) = self._db.execute("SELECT sum(length(body)) FROM batch WHERE segment = ?", where).fetchone()
            self._db.execute("DELETE FROM batch WHERE segment = ?", where)
            self._db.execute("DELETE FROM segment WHERE id = ?", where)
        return int(size or 0)


def packed(samples: Samples) -> bytes:
    """A batch as an Arrow stream; times are cut to microseconds, as the store keeps them."""
    names, which = np.unique(samples.tags.astype(str), return_inverse=True)
    columns = [
        pa.array(samples.times // 1000).cast(ARROW.field("time").type),
        pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(names.astype(object), pa.string())),
        pa.array(samples.values, from_pandas=True),
        pa.array(samples.quality, pa.int16()),
    ]
    return _stream(pa.Table.from_arrays(columns, schema=ARROW))


def unpacked(body: bytes) -> pa.Table:
    """The table of such a stream."""
    return pa.ipc.open_stream(body).read_all()


def _stream(table: pa.Table) -> bytes:
    plain = table.unify_dictionaries().combine_chunks()
    out = io.BytesIO()
    with pa.ipc.new_stream(out, plain.schema) as writer:
        writer.write_table(plain)
    return out.getvalue()
