"""The telemetry store: append what was uploaded, read what it says, as known now or at an earlier version.

Uploads are only ever appended; of each (time, tag) a read answers the latest value given (`twin.storage.merge`).
The version of the telemetry is the sequence number used last: a read `as_of` a version answers the same for ever,
even when an upload was taken back or files were compacted since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from twin.errors import ConflictError, NotFoundError, QuestionError, StoreError
from twin.plant import SLUG
from twin.storage import ingest
from twin.storage.batch import QUALITY, TIME, Batch, Receipt
from twin.storage.delta import BODY, RECEIPT, ROWS, TAKE_BACK, Files, Log, Snapshot
from twin.storage.merge import SEQUENCE, Rows
from twin.storage.overview import bad_spans, thin
from twin.storage.recent import Recent
from twin.storage.view import View

TIER = 16  # files of about one size there may be before they are merged into one
ALWAYS = (np.iinfo(np.int64).min + 1, np.iinfo(np.int64).max)


class Store:
    """The telemetry of all plants, below one folder or object store URL.

    Args:
        url: a folder, or a URL such as "s3://bucket/path".
        storage_options: for object stores, as `deltalake` takes them.
    """

    def __init__(self, url: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        self.url = str(url).removeprefix("file://").rstrip("/")
        self._options = storage_options
        self._recent = Recent(ingest.CELLS)
        self._plants: dict[str, PlantTable] = {}

    def plant(self, slug: str) -> PlantTable:
        """The table of one plant; it comes into being with the first append.

        Raises:
            QuestionError: the slug is none.
        """
        if not SLUG.fullmatch(slug):
            raise QuestionError(f"'{slug}' is no plant's slug: small letters, digits, '-' and '_', at most 64")
        if slug not in self._plants:
            self._plants.setdefault(slug, PlantTable(Log(f"{self.url}/{slug}", self._options, self._recent)))
        return self._plants[slug]


@dataclass(frozen=True)
class Upload:
    """One upload as the store remembers it; `at` is when it was committed."""

    receipt: Receipt
    at: pd.Timestamp
    first_sequence: int
    key: str | None
    taken_back: bool


class PlantTable:
    """The telemetry of one plant: one writer at a time, any number of readers; safe to share among threads."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._withdrawals: tuple[tuple[str, ...], tuple[dict, ...]] = ((), ())

    @property
    def version(self) -> int:
        """The version of the telemetry: it grows with each upload; 0 where there is none."""
        return self._log.snapshot().sequence

    @property
    def rows(self) -> int:
        """Rows stored, from the log alone; rows of one time count one by one."""
        return int(self._view(None).files.rows.sum())

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that ever had a value."""
        return self._view(None).tags

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """First and last time there is a row of; None where there is none."""
        view = self._view(None)
        first, last = view.edge(last=False), view.edge(last=True)
        return None if first is None or last is None else (_time(first), _time(last))

    def append(
        self,
        batches: Iterable[Batch],
        *,
        idempotency_key: str | None = None,
        digest: Callable[[], str] | None = None,
    ) -> Receipt:
        """Store one upload, all of it or nothing.

        Args:
            batches: as a connector reads them; what they raise is passed on, and nothing is stored.
            idempotency_key: an upload of the same key is answered with its first receipt, and stored once (again
                only after it was taken back).
            digest: of the body that the batches are read from, once they are read or given up.

        Raises:
            ConflictError: the idempotency key is that of another body.
            StoreError: the storage failed; nothing was stored.
        """
        first = self._receipt(idempotency_key, digest)
        if first:
            return first
        receipt = Receipt()
        tables = ingest.pull(ingest.coalesce(batches, receipt))
        with self._log.writing():
            first = self._receipt(idempotency_key, digest)
            if first:
                return first
            view = self._view(None)
            upload = ingest.Upload(self._log, view, receipt, view.edge(last=True))
            try:
                for table, long in tables:
                    upload.take(table, long)
                done = upload.finish(idempotency_key, view.as_of, digest() if digest else None)
            except BaseException:
                self._log.discard(upload.parts)
                raise
            self._merge_small()
            return done

    def read(
        self,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        tags: Sequence[str] | None = None,
        as_of: int | None = None,
    ) -> pd.DataFrame:
        """The rows with start <= time <= end: a UTC index `time`, a float64 column a tag, NaN is missing.

        Args:
            tags: the columns wanted, in that order; a tag that never had a value is missing. None: all there are.
            as_of: a version; what came later is not seen.
        """
        view = self._view(as_of)
        names = view.tags if tags is None else tuple(tags)
        return _frame(view.answer(*_range(start, end), names))

    def scan(
        self,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        tags: Sequence[str] | None = None,
        as_of: int | None = None,
    ) -> Iterator[pd.DataFrame]:
        """What `read` answers, in parts of bounded size, in order of time."""
        view = self._view(as_of)
        names = view.tags if tags is None else tuple(tags)
        for span in view.spans(*_range(start, end), max(ingest.CELLS // (len(names) + 1), 1)):
            yield _frame(view.answer(*span, names))

    def last_rows(
        self, rows: int, period_s: float, *, tags: Sequence[str] | None = None, as_of: int | None = None
    ) -> pd.DataFrame:
        """What there is of the last `rows` sample periods up to the last row."""
        view = self._view(as_of)
        names = view.tags if tags is None else tuple(tags)
        last = view.edge(last=True)
        if last is None:
            return _frame(Rows.none(names))
        return _frame(view.answer(last - round((rows - 0.5) * period_s * 1e6), last, names))

    def overview(
        self,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        tags: Sequence[str] | None = None,
        max_points: int = 2000,
        as_of: int | None = None,
    ) -> pd.DataFrame:
        """The rows of a range, thinned out to at most `max_points` that keep each tag's extremes and the gaps."""
        view = self._view(as_of)
        names = view.tags if tags is None else tuple(tags)
        spans = list(view.spans(*_range(start, end), max(ingest.CELLS // (len(names) + 1), 1)))
        if len(spans) < 2:
            rows = view.answer(*spans[0], names) if spans else Rows.none(names)
            if len(rows) <= max_points:
                return _frame(rows)
        parts = (view.answer(*span, names) for span in spans)
        return _frame(thin(parts, names, spans[0][0], spans[-1][1], max_points))

    def bad_spans(
        self,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        tags: Sequence[str] | None = None,
        max_points: int = 2000,
        as_of: int | None = None,
    ) -> dict[str, list[tuple[pd.Timestamp, pd.Timestamp]]]:
        """First and last time of each span of bad quality by tag, as coarse as an overview of `max_points`."""
        view = self._view(as_of)
        names = tuple(tag for tag in (view.tags if tags is None else tags) if tag + QUALITY in view.columns)
        spans = list(view.spans(*_range(start, end), max(ingest.CELLS // (len(names) + 1), 1))) if names else []
        if not spans:
            return {}
        apart = 2 * (spans[-1][1] - spans[0][0]) // max(max_points, 2)
        found = bad_spans((view.answer(*span, names) for span in spans), names, apart)
        return {tag: [(_time(a), _time(b)) for a, b in pairs] for tag, pairs in found.items()}

    def uploads(self) -> list[Upload]:
        """All uploads, the last one first."""
        snapshot = self._log.snapshot()
        gone = {body["upload"] for body in self._taken_back(snapshot)}
        table = self._log.read(snapshot.files[RECEIPT], [TIME, SEQUENCE, BODY]).sort_by([(SEQUENCE, "descending")])
        return [
            Upload(
                Receipt.from_json(body["receipt"]),
                pd.Timestamp(at),
                body["first_sequence"],
                body["key"],
                body["receipt"]["upload"] in gone,
            )
            for at, body in zip(table[TIME].to_pylist(), map(json.loads, table[BODY].to_pylist()), strict=True)
        ]

    def take_back(self, upload: str) -> int:
        """Take an upload back: from the version returned on, reads answer as if it had never been.

        Raises:
            NotFoundError: there is no such upload, or it was taken back already.
        """
        with self._log.writing():
            snapshot = self._log.snapshot()
            body = self._ledger(snapshot, int(upload)) if upload.isdecimal() else None
            if body is None or upload in {b["upload"] for b in self._taken_back(snapshot)}:
                raise NotFoundError(f"there is no upload '{upload}', or it was taken back already")
            number = snapshot.sequence + 1
            entry = {"upload": upload, "low": body["first_sequence"], "high": int(upload), "at": number}
            self._log.commit(number, {TAKE_BACK: ingest.note(self._log, TAKE_BACK, number, entry)})
            return number

    def compact(self) -> None:
        """Merge small files and remove what no read needs any more; once a day does."""
        with self._log.writing():
            snapshot = self._log.snapshot()
            for kind in (ROWS, RECEIPT):
                files = snapshot.files[kind]
                self._merge(kind, files.where(files.rows * len(snapshot.columns) < ingest.CELLS // 2))
            self._log.tidy()

    def forget(self, before: pd.Timestamp) -> int:
        """Remove every row with time < `before` for good, at every version; how many rows were stored of it.

        The receipts stay. From then on a read `as_of` an earlier version is exact from `before` on only; the files go
        from the disk when no state of the last day needs them (`compact`).

        Raises:
            StoreError: the storage failed; nothing was removed.
        """
        edge = _microseconds(before.ceil("us"))
        with self._log.writing():
            snapshot = self._log.snapshot()
            files = snapshot.files[ROWS]
            old = files.where(files.first < edge)
            if not len(old):
                return 0
            known = [c for c in snapshot.columns if not c.startswith("_") and c != TIME]
            kept = Files.none()
            for i in np.flatnonzero(old.last >= edge):
                part = old.where(np.array([i]))
                rows = self._log.read(part, [TIME, SEQUENCE, *known], ds.field(TIME) >= ds.scalar(before))
                kept = kept.plus(self._log.write(ROWS, rows))
            number = snapshot.sequence + 1  # what is kept in memory of the telemetry is out of date
            self._log.commit(number, {ROWS: kept}, {ROWS: old})
            return int(old.rows.sum() - kept.rows.sum())

    def check(self) -> str:
        """See that every file of the table is there; what there is, in a sentence.

        Raises:
            StoreError: some are missing or cut off, or the log cannot be read.
        """
        lost = self._log.missing()
        if lost:
            raise StoreError(f"{len(lost)} files of {self._log.uri} are missing or cut off: {', '.join(lost[:3])}")
        return f"is whole; version {self.version}, {self.rows} rows"

    def delete(self) -> None:
        """Remove all telemetry of the plant."""
        with self._log.writing():
            if self.version:
                self._log.delete()

    def _view(self, as_of: int | None) -> View:
        snapshot = self._log.snapshot()
        seen = snapshot.sequence if as_of is None else as_of
        if not 0 <= seen <= snapshot.sequence:
            raise QuestionError(f"as_of {seen}: the telemetry has the versions 0 to {snapshot.sequence}")
        gone = tuple((b["low"], b["high"]) for b in self._taken_back(snapshot) if b["at"] <= seen)
        return View(self._log, snapshot.columns, snapshot.files[ROWS], seen, gone)

    def _taken_back(self, snapshot: Snapshot) -> tuple[dict, ...]:
        """What was taken back; read again only when more was."""
        files = snapshot.files[TAKE_BACK]
        paths, found = self._withdrawals
        if paths != tuple(files.path):
            found = tuple(map(json.loads, self._log.read(files, [BODY])[BODY].to_pylist()))
            self._withdrawals = (tuple(files.path), found)
        return found

    def _receipt(self, key: str | None, digest: Callable[[], str] | None) -> Receipt | None:
        """The receipt of the upload of this key."""
        number = self._log.committed(key) if key else None
        snapshot = self._log.snapshot()
        if number is None or str(number) in {b["upload"] for b in self._taken_back(snapshot)}:
            return None
        body = self._ledger(snapshot, number)
        if body and digest and body.get("digest") and body["digest"] != digest():
            raise ConflictError(
                f"the Idempotency-Key '{key}' is that of upload {number}, whose body was another; nothing was stored: "
                "send this one with a key of its own"
            )
        return Receipt.from_json(body["receipt"]) if body else None

    def _ledger(self, snapshot: Snapshot, number: int) -> dict | None:
        """What the ledger says of the upload of this sequence number."""
        files = snapshot.files[RECEIPT]
        files = files.where((files.low <= number) & (files.high >= number))
        found = self._log.read(files, [BODY, SEQUENCE], ds.field(SEQUENCE) == number)[BODY].to_pylist()
        return json.loads(found[0]) if found else None

    def _merge_small(self) -> None:
        """Merge files of about one size where there are many: over the years each row is rewritten a few times."""
        snapshot = self._log.snapshot()
        for kind in (ROWS, RECEIPT):
            files = snapshot.files[kind]
            tier = np.floor(np.log2(files.rows) / np.log2(TIER))
            for level, count in zip(*np.unique(tier, return_counts=True), strict=True):
                if count >= TIER:
                    self._merge(kind, files.where(tier == level))

    def _merge(self, kind: str, files: Files) -> None:
        """Merge files in order of time, as many at once as may be held in memory."""
        snapshot = self._log.snapshot()
        known = [BODY] if kind == RECEIPT else [c for c in snapshot.columns if not c.startswith("_") and c != TIME]
        files = files.where(np.argsort(files.first, kind="stable"))
        together = np.cumsum(files.rows) * len(known) // ingest.CELLS
        for group in np.unique(together):
            some = files.where(together == group)
            if len(some) < 2:
                continue
            kept = [rows for path in some.path if (rows := self._log.recent.get(path)) is not None]
            if len(kept) == len(some):
                tags = dict.fromkeys(tag for rows in kept for tag in rows.tags)
                merged, _ = self._log.write_rows(Rows.joined(kept, tuple(tags)))
            else:
                order = [(TIME, "ascending"), (SEQUENCE, "ascending")]
                table = self._log.read(some, [TIME, SEQUENCE, *known]).sort_by(order)
                merged = self._log.write(kind, table)
            self._log.commit(snapshot.sequence, {kind: merged}, {kind: some})
            self._log.recent.drop(some.path)


def _range(start: pd.Timestamp | None, end: pd.Timestamp | None) -> tuple[int, int]:
    """Start and end as int64 microseconds."""
    for time in (start, end):
        if time is not None and time.tzinfo is None:
            raise QuestionError(f"'{time}' has no time zone; write it with an offset, such as {time}Z")
    return (
        ALWAYS[0] if start is None else _microseconds(start.ceil("us")),
        ALWAYS[1] if end is None else _microseconds(end.floor("us")),
    )


def _microseconds(time: pd.Timestamp) -> int:
    return int(time.tz_convert("UTC").tz_localize(None).to_datetime64().astype("datetime64[us]").astype(np.int64))


def _time(microseconds: int) -> pd.Timestamp:
    return pd.Timestamp(microseconds, unit="us", tz="UTC")


def _frame(rows: Rows) -> pd.DataFrame:
    index = pd.DatetimeIndex(rows.times.view("datetime64[us]"), tz="UTC", name=TIME)
    return pd.DataFrame(rows.readable(), index=index, columns=list(rows.tags))
