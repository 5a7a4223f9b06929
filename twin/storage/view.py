"""One state of a plant's telemetry, as reads and appends see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from twin.storage.batch import QUALITY, TIME
from twin.storage.delta import Files, Log
from twin.storage.merge import SEQUENCE, Rows, answer


@dataclass(frozen=True)
class View:
    """The rows of some files, but for the uploads taken back.

    Attributes:
        log: where the files lie.
        columns: of the table.
        files: with telemetry.
        as_of: rows of a higher sequence number are not seen.
        withdrawn: (lowest, highest) sequence numbers of the uploads taken back.
    """

    log: Log
    columns: tuple[str, ...]
    files: Files
    as_of: int
    withdrawn: tuple[tuple[int, int], ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that ever had a value."""
        return tuple(c for c in self.columns if not c.startswith("_") and c != TIME and not c.endswith(QUALITY))

    def extended(self, files: Files, columns: Sequence[str], as_of: int) -> View:
        """The view with files that are not committed yet."""
        every = tuple(dict.fromkeys((*self.columns, *columns)))
        return replace(self, files=self.files.plus(files), columns=every, as_of=as_of)

    def answer(self, start: int, end: int, tags: Sequence[str]) -> Rows:
        """What a read answers in start <= time <= end (int64 microseconds), sorted, one row a time."""
        files = self.files.between(start, end)
        files = files.where(files.low <= self.as_of)
        kept = {path: rows for path in files.path if (rows := self.log.recent.get(path)) is not None}
        if not kept:
            return answer(self._read(files, start, end, tags))
        parts = [rows.at(self._seen(rows, start, end)) for rows in kept.values()]
        rest = files.where(np.array([path not in kept for path in files.path], bool))
        if len(rest):
            parts.append(self._read(rest, start, end, tags))
        return answer(Rows.joined(parts, tags))

    def _read(self, files: Files, start: int, end: int, tags: Sequence[str]) -> Rows:
        there = set(self.columns)
        known = [c for tag in tags for c in (tag, tag + QUALITY) if c in there]
        return Rows.of(self.log.read(files, [TIME, SEQUENCE, *known], self._where(files, start, end)), tags)

    def _seen(self, rows: Rows, start: int, end: int) -> np.ndarray:
        """(n,) bool: what `_where` lets through."""
        seen = (rows.times >= start) & (rows.times <= end) & (rows.sequence <= self.as_of)
        for low, high in self.withdrawn:
            seen &= (rows.sequence < low) | (rows.sequence > high)
        return seen

    def _where(self, files: Files, start: int, end: int) -> ds.Expression | None:
        """The filter these files need; most need none for the order of ingest."""
        parts = []
        if len(files) and (files.first.min() < start or files.last.max() > end):
            low, high = (ds.scalar(_stamp(t)) for t in (start, end))
            parts.append((ds.field(TIME) >= low) & (ds.field(TIME) <= high))
        if len(files) and files.high.max() > self.as_of:
            parts.append(ds.field(SEQUENCE) <= self.as_of)
        for low, high in self.withdrawn:
            if ((files.low <= high) & (files.high >= low)).any():
                parts.append(~((ds.field(SEQUENCE) >= low) & (ds.field(SEQUENCE) <= high)))
        where = parts[0] if parts else None
        for part in parts[1:]:
            where = where & part
        return where

    def edge(self, *, last: bool) -> int | None:
        """The last (or first) time there is a row of, int64 microseconds; the log knows it of all files seen whole."""
        files = self.files.where(self.files.low <= self.as_of)
        outward = files.last if last else -files.first
        found: int | None = None
        for i in np.argsort(-outward, kind="stable"):
            if found is not None and outward[i] <= found:
                break
            file, edge = files.where(np.array([i])), int(outward[i])
            where = self._where(file, int(file.first[0]), int(file.last[0]))
            if where is not None:
                times = self.log.read(file, [TIME], where)[TIME].cast(pa.int64()).to_numpy()
                if not len(times):
                    continue
                edge = int(times.max() if last else -times.min())
            found = edge if found is None else max(found, edge)
        return found if found is None or last else -found

    def spans(self, start: int, end: int, rows: float) -> Iterator[tuple[int, int]]:
        """Cut start <= time <= end into consecutive spans of about `rows` stored rows; empty ones are left out."""
        stored = self.files.between(start, end)
        if not len(stored):
            return
        start, end = max(start, int(stored.first.min())), min(end, int(stored.last.max()))
        if stored.estimate(start, end) <= rows or start == end:
            yield start, end
            return
        middle = (start + end) // 2
        yield from self.spans(start, middle, rows)
        yield from self.spans(middle + 1, end, rows)

    def beside(self, times: np.ndarray, rows: float) -> Iterator[tuple[slice, tuple[int, int] | None]]:
        """Cut sorted times into slices, each with the span to read to know what is stored at its times.

        A span holds at most about `rows` stored rows; None says that nothing is stored there.
        """
        first, last = int(times[0]), int(times[-1])
        stored = self.files.between(first, last)
        count = stored.estimate(first, last)
        if not len(stored):
            yield slice(0, len(times)), None
        elif count <= rows or first == last:
            yield slice(0, len(times)), (first, last)
        else:
            cut = int(np.searchsorted(times, (first + last) // 2, side="right"))
            for offset, part in ((0, times[:cut]), (cut, times[cut:])):
                for piece, span in self.beside(part, rows):
                    yield slice(offset + piece.start, offset + piece.stop), span


def _stamp(microseconds: int) -> pa.Scalar:
    return pa.scalar(microseconds, pa.int64()).cast(pa.timestamp("us", "UTC"))
