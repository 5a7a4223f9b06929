"""The Delta table of one plant: what its log says, its files, and commits.

The table has three partitions by `_kind`: `rows` (telemetry), `receipt` (one row an upload) and `take_back`
(uploads taken back). Rows and receipt of an upload go in with one commit, so there is never one without the
other. Nothing is ever changed in place. Each commit uses up at least one sequence number; the last one used rides on
it as a Delta application transaction, so that of two writers who took the same number one fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Field, Transaction
from deltalake.exceptions import DeltaError
from deltalake.exceptions import TableNotFoundError as NoTable
from deltalake.fs import DeltaStorageHandler
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, RemoveAction

from twin.errors import StoreError
from twin.storage.batch import QUALITY, TIME
from twin.storage.merge import SEQUENCE, Rows
from twin.storage.recent import FEW, Recent

KIND, BODY = "_kind", "_body"
KINDS = ROWS, RECEIPT, TAKE_BACK = "rows", "receipt", "take_back"
GROUP = 1 << 14  # rows of a Parquet row group: what a read must decode at least
CONFIGURATION = {
    "delta.dataSkippingStatsColumns": f"{TIME},{SEQUENCE}",
    "delta.logRetentionDuration": "interval 1 hours",  # each commit lists the log
    "delta.deletedFileRetentionDuration": "interval 1 days",
    "delta.setTransactionRetentionDuration": "interval 30 days",  # of Idempotency-Keys, which else are kept for ever
}
BASE = pa.schema({KIND: pa.string(), TIME: pa.timestamp("us", "UTC"), SEQUENCE: pa.int64(), BODY: pa.string()})

BASIC = frozenset(BASE.names)


@dataclass(frozen=True)
class Files:
    """Files of one kind: path, rows, first and last time (int64 microseconds), lowest and highest sequence number."""

    path: np.ndarray
    size: np.ndarray
    rows: np.ndarray
    first: np.ndarray
    last: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int:
        return len(self.path)

    def where(self, keep: np.ndarray) -> Files:
        """Some of the files."""
        return Files(*(getattr(self, f.name)[keep] for f in fields(self)))

    def plus(self, other: Files) -> Files:
        """These files and others."""
        return Files(*(np.r_[getattr(self, f.name), getattr(other, f.name)] for f in fields(self)))

    def between(self, start: int, end: int) -> Files:
        """The files that may hold rows with start <= time <= end."""
        return self.where((self.first <= end) & (self.last >= start))

    def estimate(self, start: int, end: int) -> float:
        """About how many rows lie in start <= time <= end, were each file's rows spread evenly."""
        share = (np.minimum(self.last, end) - np.maximum(self.first, start) + 1) / (self.last - self.first + 1)
        return float(np.clip(share, 0, 1) @ self.rows)

    @classmethod
    def none(cls) -> Files:
        """No files."""
        return cls(np.empty(0, object), *(np.empty(0, np.int64) for _ in range(6)))


@dataclass(frozen=True)
class Snapshot:
    """One committed state of the table.

    Attributes:
        version: of the Delta log.
        sequence: the last sequence number used.
        columns: of the table.
        files: by kind.
    """

    version: int
    sequence: int
    columns: tuple[str, ...]
    files: Mapping[str, Files]

    @classmethod
    def none(cls) -> Snapshot:
        """The state of a table that is not there yet."""
        return cls(-1, 0, (), dict.fromkeys(KINDS, Files.none()))


class Log:
    """The files and the commit log of one table, at `uri` (a folder or an object store's URL).

    Attributes:
        recent: rows of the files written last, so that they need not be read.
    """

    def __init__(self, uri: str, storage_options: Mapping[str, str] | None, recent: Recent) -> None:
        self.uri, self.recent = uri, recent
        self._options = dict(storage_options or {})
        self._table: DeltaTable | None = None
        self._snapshot: Snapshot | None = None
        self._seen: int | None = None
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._folder = Path(uri) if "://" not in uri else None
        self._fs = (
            pafs.SubTreeFileSystem(uri, pafs.LocalFileSystem())
            if self._folder
            else pafs.PyFileSystem(DeltaStorageHandler(uri, self._options))
        )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the one place of a writer, among the threads and processes of this machine."""
        name = f"plant-twin-{hashlib.sha256(self.uri.encode()).hexdigest()[:16]}.lock"
        path = self._folder.with_suffix(".lock") if self._folder else Path(tempfile.gettempdir()) / name
        with self._writing, contextlib.ExitStack() as held:
            with errors(self.uri):
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context(path.open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def snapshot(self) -> Snapshot:
        """The state committed last; an empty one where there is no table yet."""
        with self._guard, errors(self.uri):
            try:
                table = self._current()
            except NoTable:
                return Snapshot.none()
            if self._snapshot is None or self._snapshot.version != table.version():
                self._snapshot = _snapshot(table)
            return self._snapshot

    def _current(self) -> DeltaTable:
        """The table as it is now: two looks for a file, where listing a long log takes its time.

        The commit known last must be the very file it was: the table may have been deleted, and made anew.
        """
        if self._table is not None:
            version = self._table.version()
            here, following = self._fs.get_file_info([_commit(version), _commit(version + 1)])
            if here.mtime_ns != self._seen:
                self._table = self._snapshot = None
            elif following.type != pafs.FileType.NotFound:
                self._table.update_incremental()
        if self._table is None:
            self._table = DeltaTable(self.uri, storage_options=self._options)
        self._remember()
        return self._table

    def _remember(self) -> None:
        """Note which file the last known commit is."""
        if self._table is not None:
            self._seen = self._fs.get_file_info(_commit(self._table.version())).mtime_ns

    def read(self, files: Files, columns: Sequence[str], where: ds.Expression | None = None) -> pa.Table:
        """The rows of some files; columns a file lacks are null."""
        schema = pa.schema([(c, _arrow_type(c)) for c in dict.fromkeys((TIME, SEQUENCE, *columns))])
        form = ds.ParquetFileFormat()
        with errors(self.uri):
            parts = [form.make_fragment(str(path), filesystem=self._fs) for path in files.path]
            return ds.FileSystemDataset(parts, schema, form, self._fs).to_table(
                columns=list(columns), filter=where, use_threads=len(parts) > 1
            )

    def write_rows(self, rows: Rows) -> tuple[Files, tuple[str, ...]]:
        """Write a file of telemetry, which nobody may change any more; the file and its columns."""
        table = rows.table()
        files = self.write(ROWS, table)
        self.recent.keep(files.path[0], rows)
        return files, tuple(table.column_names)

    def write(self, kind: str, table: pa.Table) -> Files:
        """Write a file of rows with `time` and `_sequence`; nobody sees it before it is committed."""
        path = f"{KIND}={kind}/{uuid.uuid4().hex}.parquet"
        small = len(table) < FEW  # to compress it would win nothing, and take most of the time of a wide row
        floats = () if small else tuple(f.name for f in table.schema if pa.types.is_floating(f.type))
        encoding = {TIME: "DELTA_BINARY_PACKED", SEQUENCE: "DELTA_BINARY_PACKED"}
        with errors(self.uri):
            if self._folder:
                (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
            with self._fs.open_output_stream(path) as sink:
                pq.write_table(
                    table,
                    sink,
                    row_group_size=GROUP,
                    compression="none" if small else "zstd",
                    compression_level=None if small else 1,
                    store_schema=False,  # as long again as a row; who reads brings one
                    write_statistics=[TIME, SEQUENCE],
                    use_dictionary=[c for c in table.column_names if c.endswith(QUALITY)],
                    column_encoding=encoding | dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
                )
                size = sink.tell()
        times, numbers = table[TIME].cast(pa.int64()).to_numpy(), table[SEQUENCE].to_numpy()
        row = (path, size, len(table), times.min(), times.max(), numbers.min(), numbers.max())
        return Files(*(np.array([value], object if i == 0 else np.int64) for i, value in enumerate(row)))

    def discard(self, files: Files) -> None:
        """Remove files that were never committed."""
        for path in files.path:
            with contextlib.suppress(OSError):
                self._fs.delete_file(str(path))

    def commit(
        self,
        sequence: int,
        added: Mapping[str, Files],
        removed: Mapping[str, Files] | None = None,
        columns: Iterable[str] = (),
        key: str | None = None,
    ) -> None:
        """Make files part of the table, all or none, creating the table and its columns where they are new.

        Args:
            sequence: the last sequence number used by then.
            added, removed: files by kind; where some are removed, the others are their rows anew, or those of them
                that are kept.
            columns: of the files added.
            key: an Idempotency-Key; it rides on the commit with the sequence number.

        Raises:
            StoreError: another writer committed in between, or the store failed. Nothing was changed.
        """
        with self._guard, errors(self.uri):
            try:
                table = self._current()
            except NoTable:
                table = self._table = self._create()
            schema = table.schema()  # takes milliseconds of a wide plant
            fresh = sorted(set(columns) - {f.name for f in schema.fields})
            if fresh:
                table.alter.add_columns([Field(c, _delta_type(c)) for c in fresh])
                schema = table.schema()
            actions: list[AddAction | RemoveAction] = [a for k, f in added.items() for a in _adds(k, f, not removed)]
            actions += [a for k, f in (removed or {}).items() for a in _removes(k, f)]
            marks = [Transaction("sequence", sequence)]  # without a time, so that it never expires
            if key:
                marks.append(Transaction(_mark(key), sequence, int(time.time() * 1000)))
            properties = CommitProperties(app_transactions=marks, max_commit_retries=0)
            table.create_write_transaction(actions, "append", schema, [KIND], commit_properties=properties)
            self._remember()

    def committed(self, key: str) -> int | None:
        """The sequence number that was committed last under an Idempotency-Key."""
        with self._guard, errors(self.uri):
            try:
                return self._current().transaction_version(_mark(key))
            except NoTable:
                return None

    def tidy(self) -> None:
        """Forget old log entries and remove files that no state of the last day needs."""
        with self._guard, errors(self.uri):
            if self._table is not None:
                if not self._table.metadata().configuration.items() >= CONFIGURATION.items():
                    self._table.alter.set_table_properties(CONFIGURATION)  # made by an earlier version
                self._table.create_checkpoint()
                self._table.cleanup_metadata()
                self._table.vacuum(dry_run=False, full=True)
                self._remember()

    def missing(self) -> list[str]:
        """Files that the table is made of, and that are not there or not of the size they were written with."""
        files = list(self.snapshot().files.values())
        sizes = {path: int(size) for kind in files for path, size in zip(kind.path, kind.size, strict=True)}
        with errors(self.uri):
            found = self._fs.get_file_info(list(sizes))
        return [info.path for info in found if info.type != pafs.FileType.File or info.size != sizes[info.path]]

    def delete(self) -> None:
        """Remove the table with everything in it."""
        with self._guard, errors(self.uri):
            everything = self._fs.get_file_info(pafs.FileSelector("", allow_not_found=True, recursive=True))
            paths = [found.path for found in everything if found.type == pafs.FileType.File]
            for path in sorted(paths, key=lambda path: not path.startswith("_delta_log")):  # the log goes first:
                self._fs.delete_file(path)  # a reader finds the table whole, or none
            self._table = self._snapshot = None

    def _create(self) -> DeltaTable:
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
        return DeltaTable.create(
            self.uri,
            BASE,
            mode="ignore",
            partition_by=[KIND],
            configuration=CONFIGURATION,
            storage_options=self._options,
        )


@contextlib.contextmanager
def errors(uri: str) -> Iterator[None]:
    """What the storage raises, as ours."""
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise StoreError(f"the telemetry at {uri} cannot be read or written: {error}") from error


def _snapshot(table: DeltaTable) -> Snapshot:
    log = pa.table(table.get_add_actions(flatten=True))
    kinds = log[f"partition.{KIND}"].to_numpy() if len(log) else np.empty(0, object)

    def column(name: str) -> np.ndarray:
        return log[name].cast(pa.int64()).to_numpy()

    everything = Files.none()
    if len(log):
        names = ("size_bytes", "num_records", f"min.{TIME}", f"max.{TIME}", f"min.{SEQUENCE}", f"max.{SEQUENCE}")
        everything = Files(log["path"].to_numpy().astype(object), *(column(name) for name in names))
    return Snapshot(
        table.version(),
        table.transaction_version("sequence") or 0,
        tuple(f.name for f in table.schema().fields),
        {kind: everything.where(kinds == kind) for kind in KINDS},
    )


def _adds(kind: str, files: Files, new_data: bool) -> Iterator[AddAction]:
    for i, path in enumerate(files.path):
        stats = {
            "numRecords": int(files.rows[i]),
            "minValues": {TIME: _iso(files.first[i]), SEQUENCE: int(files.low[i])},
            "maxValues": {TIME: _iso(files.last[i]), SEQUENCE: int(files.high[i])},
            "nullCount": {TIME: 0, SEQUENCE: 0},
        }
        now = int(time.time() * 1000)
        yield AddAction(str(path), int(files.size[i]), {KIND: kind}, now, new_data, json.dumps(stats))


def _removes(kind: str, files: Files) -> Iterator[RemoveAction]:
    now = int(time.time() * 1000)
    for path, size in zip(files.path, files.size, strict=True):
        yield RemoveAction(str(path), False, now, int(size), {KIND: kind})


def _commit(version: int) -> str:
    return f"_delta_log/{version:020d}.json"


def _mark(key: str) -> str:
    return f"key:{key}"


def _iso(microseconds: int) -> str:
    return f"{np.datetime64(int(microseconds), 'us')}Z"


def _arrow_type(column: str) -> pa.DataType:
    if column in BASIC:
        return BASE.field(column).type
    return pa.int16() if column.endswith(QUALITY) else pa.float64()


def _delta_type(column: str) -> PrimitiveType:
    return PrimitiveType("short" if column.endswith(QUALITY) else "double")
