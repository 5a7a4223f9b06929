"""Files that appear in a folder or under an S3 prefix: CSV, Parquet and Arrow streams, each read once.

A file is read when it has not changed for a while, and counts as read when the last of it is safe on disk; the
position holds the files that were read. A damaged file is told, and stays where it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.fs as fs
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from connectors.base import LastValues
from connectors.errors import ConnectorError
from connectors.formats.base import Reader
from connectors.formats.files import ARROW, CSV, PARQUET, opened, read_upload
from connectors.formats.long import LongSurvey
from connectors.kinds import Context
from connectors.options import Mapped, Options
from connectors.protocol import NS, Health, Samples
from connectors.stated import of_metadata, of_name
from connectors.ticks import Ticks
from twin.errors import TelemetryError
from twin.plant import RESERVED, Plant, Role, Tag, near
from twin.storage.batch import GOOD, QUALITY, TIME, Batch

TYPES = {"csv": CSV, "txt": CSV, "parquet": PARQUET, "pq": PARQUET, "arrow": ARROW, "arrows": ARROW}

NEWEST = 20  # files whose columns are looked at before anything is collected
LONG = frozenset(("tag", "value"))
LOOK = 500_000  # rows of long files that are looked at for the tags they hold


@dataclass(frozen=True)
class Header:
    """What a file says before its rows: its columns, their types, and the units that their metadata state."""

    info: fs.FileInfo
    names: frozenset[str]
    types: Mapping[str, pa.DataType]
    units: Mapping[str, str]

    @property
    def long(self) -> bool:
        return self.names >= LONG


@dataclass(frozen=True)
class Shown:
    """What files show of the mapping, by tag: what is wrong, the units they state, and of what they show nothing."""

    faults: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)


class Column(Mapped):
    """A tag: its address is a column of wide files, or what the column `tag` of long ones says."""

    @field_validator("address")
    @classmethod
    def _free(cls, address: str) -> str:
        if address in RESERVED:
            raise ValueError(f"'{address}' is a word of the format, no column of values")
        return address


class SourceOptions(Options):
    """A folder to watch.

    Args:
        path: a folder, or a URL such as s3://bucket/prefix; `endpoint_override` and `region` go into its query.
        pattern: of file names.
        timezone: of times without an offset, such as "Europe/Berlin".
        period_s: how often it is looked at.
        settle_s: a file that changed so recently is still being written.
    """

    kind: Literal["files"] = "files"
    path: str = Field(min_length=1)
    pattern: str = "*"
    timezone: str | None = None
    period_s: float = Field(default=5.0, gt=0)
    settle_s: float = Field(default=2.0, ge=0)
    tags: Mapping[str, Column] = Field(default_factory=dict)


def source(options: SourceOptions, context: Context) -> FolderSource:
    """The source of a configuration."""
    return FolderSource(options, context)


class FolderSource(LastValues[SourceOptions]):
    """The files of one folder, in the order of their age."""

    def __init__(self, options: SourceOptions, context: Context) -> None:
        super().__init__(options, context)
        self._names = {mapped.address: tag for tag, mapped in options.tags.items()}
        # The readers look for the tags of a plant, and a plant has a CV and an input.
        tags = (*(Tag(address, Role.CV) for address in self._names), Tag("no column", Role.DV))
        self._shape = Plant("the files", 1.0, tags) if self._names else None
        self._fs: Any = None
        self._root = ""
        self._done: dict[str, str] = {}
        self._found: Shown | None = None  # what the newest files have shown
        self._looked = False  # whether the newest files were looked at before the first of them is read

    async def __aenter__(self) -> Self:
        def found() -> tuple[Any, str, Any]:
            path: Any = self._options.path
            system, root = fs.FileSystem.from_uri(path) if "://" in path else (fs.LocalFileSystem(), path)
            (info,) = system.get_file_info([root])
            return system, root, info

        try:
            self._fs, self._root, info = await asyncio.to_thread(found)
        except (OSError, pa.ArrowException) as error:
            raise ConnectorError(f"{self._options.path} cannot be read: {error}") from error
        if info.type is not fs.FileType.Directory and self._fs.type_name != "s3":
            raise ConnectorError(f"there is no folder {self._options.path}")
        self.health.connected = True
        self._found = None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.health.connected = False

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        self._done = json.loads(position) if position else {}
        ticks = Ticks(self._options.period_s, self._clock, Health("", ""))
        while True:
            fresh = await self._fresh()
            if fresh and not self._looked:
                self._found = None  # since the start others may have come
                shown = await self._shown()
                self._context.look(shown.faults, shown.units)
                self._looked = True  # not before: where that raised, it is looked at again
            for info in fresh:
                async for part in self._read(info):
                    yield self._arrived(part)
                self._done[_short(info.base_name)] = _state(info)
                yield Samples.of((), json.dumps(self._done))
            await ticks.next()

    async def faults(self) -> Mapping[str, str]:
        """Columns, or tags of long files, that none of the newest files has, or that hold no numbers there."""
        return (await self._shown()).faults

    async def units(self) -> Mapping[str, str]:
        """What the newest files state: the metadata of fields, the bracket behind a column's name, or the column
        `unit` of long files."""
        return (await self._shown()).units

    async def unseen(self) -> Mapping[str, str]:
        return (await self._shown()).unseen

    async def _shown(self) -> Shown:
        """What the newest files that can be read show of the mapping; they are looked at once."""
        if self._found is None and (headers := await self._headers()):
            self._found = await self._looked_at(headers)
        named = {tag: unit for address, tag in self._names.items() if (unit := of_name(address))}
        if self._found is None:
            return Shown(units=named, unseen=dict.fromkeys(self._names.values(), "there is no file yet"))
        return replace(self._found, units={**named, **self._found.units})

    async def _looked_at(self, headers: Sequence[Header]) -> Shown:
        wide, long = [h for h in headers if not h.long], [h for h in headers if h.long]
        columns = await asyncio.to_thread(self._columns, wide) if wide else None
        if not long:
            return columns or Shown()
        rows = await asyncio.to_thread(self._tags, long)
        if columns is None:
            return rows
        # A tag that is in files of one of the two kinds is no fault of the other.
        faults = {tag: why for tag, why in columns.faults.items() if tag in rows.faults or tag in rows.unseen}
        unseen = {tag: why for tag, why in rows.unseen.items() if tag in faults}
        faults = {tag: why for tag, why in faults.items() if tag not in unseen}
        return Shown(faults, {**rows.units, **columns.units}, unseen)

    def _columns(self, headers: Sequence[Header]) -> Shown:
        """What wide files show: their columns and types, and the words at the beginning of the newest."""
        found, units = {}, {}
        for address, tag in self._names.items():
            having = [header for header in headers if address in header.names]
            stated = (header.units.get(address, "") for header in headers)
            if unit := next((unit for unit in stated if unit), ""):
                units[tag] = unit
            if not having:
                known = {name for header in headers for name in header.names}
                found[tag] = f"none of the newest files has a column '{address}'{near(address, known)}"
            elif not _numbers(kind := having[0].types[address]):
                found[tag] = f"the column '{address}' of {having[0].info.base_name} holds {kind}, no numbers"
        return Shown(self._words(headers[0].info) | found, units)

    def _tags(self, headers: Sequence[Header]) -> Shown:
        """What the rows of long files show: their tags, whether these have numbers, and the units beside them."""
        survey = LongSurvey(frozenset(self._names))
        for header in headers:
            with suppress(TelemetryError, OSError, pa.ArrowException), self._opened(header.info) as reader:
                survey.look(reader, header.info.base_name, LOOK)
        tags = self._names.items()
        faults = {tag: why for address, tag in tags if (why := survey.fault(address))}
        units = {tag: survey.units[address] for address, tag in tags if address in survey.units}
        unseen = {tag: "the newest long files have no row of it so far" for a, tag in tags if survey.unknown(a)}
        return Shown(faults, units, unseen)

    def _words(self, info: fs.FileInfo) -> dict[str, str]:
        """Tags of which the beginning of a file holds words alone; a short one's last values are remembered too."""
        try:
            parts = self._batches(info)
            first, more = next(parts, None), next(parts, None)
        except (TelemetryError, OSError, pa.ArrowException):
            return {}
        if first is None:
            return {}
        if more is None:
            self._latest |= self._long(first.table).latest()
        told = {item.tag: f"row {item.row} of {info.base_name}: {item.reason}" for item in reversed(first.rejected)}
        held = [name for name in self._names if name in told and name in first.table.column_names]
        return {self._names[name]: told[name] for name in held if np.isnan(first.table[name].to_numpy()).all()}

    async def _headers(self) -> list[Header]:
        """Of the newest files that can be read, the newest first."""
        newest = [info for info in await self._settled() if _kind(info)][-NEWEST:]
        read = [await asyncio.to_thread(self._header, info) for info in reversed(newest)]
        return [header for header in read if header is not None]

    def _header(self, info: fs.FileInfo) -> Header | None:
        """What a file says before its rows; None where it cannot be read, which is told when it is collected."""
        try:
            if _kind(info) == PARQUET and not info.base_name.endswith(".gz"):
                schema = pq.read_schema(self._fs.open_input_file(info.path))
            else:
                with self._opened(info) as reader:
                    schema = reader.schema or pa.schema([(name, pa.string()) for name in reader.names])
        except (TelemetryError, OSError, pa.ArrowException):
            return None
        return Header(
            info,
            frozenset(schema.names),
            {field.name: field.type for field in schema},
            {field.name: of_metadata(field.metadata) for field in schema},
        )

    @contextmanager
    def _opened(self, info: fs.FileInfo) -> Iterator[Reader]:
        """The reader of a file.

        Raises:
            TelemetryError, OSError, ArrowException: it cannot be read.
        """
        body = cast(BinaryIO, self._fs.open_input_stream(info.path, compression=None))
        encoding = "gzip" if info.base_name.endswith(".gz") else None
        with body, opened(body, _kind(info) or "", encoding) as reader:
            yield reader

    async def _fresh(self) -> list[fs.FileInfo]:
        """Files that were not read, the oldest first."""
        files = await self._settled()
        kept = {_short(i.base_name) for i in files}
        self._done = {name: state for name, state in self._done.items() if name in kept}
        return [i for i in files if self._done.get(_short(i.base_name)) != _state(i)]

    async def _settled(self) -> list[fs.FileInfo]:
        """All files that are no longer being written, the oldest first."""
        selector = fs.FileSelector(self._root, allow_not_found=True)
        try:
            infos = await asyncio.to_thread(lambda: self._fs.get_file_info(selector) if self._fs else [])
        except (OSError, pa.ArrowException) as error:
            self.health.failed(error)
            return []
        self._answered()
        settled = self._clock.now() - round(self._options.settle_s * NS)
        files = [i for i in infos if i.type is fs.FileType.File and fnmatch(i.base_name, self._options.pattern)]
        return sorted((i for i in files if i.mtime_ns <= settled), key=lambda i: (i.mtime_ns, i.base_name))

    async def whole(self) -> list[Samples]:
        """All that the files hold now, whatever was read before."""
        self._done = {}
        return [part for info in await self._fresh() async for part in self._read(info)]

    async def _read(self, info: fs.FileInfo) -> AsyncIterator[Samples]:
        """The rows of a file; what is wrong with it is told."""
        parts = self._parts(info)
        while True:
            try:
                part = await asyncio.to_thread(next, parts, None)
            except (TelemetryError, OSError, pa.ArrowException) as error:
                self.health.refused += 1
                self.health.last_error = f"{info.base_name}: {getattr(error, 'detail', error)}"
                return
            if part is None:
                return
            yield part

    def _parts(self, info: fs.FileInfo) -> Iterator[Samples]:
        for batch in self._batches(info):
            if batch.rejected:
                first = batch.rejected[0]
                self.health.refused += batch.rows_rejected + batch.cells_rejected
                self.health.last_error = f"{info.base_name}, row {first.row}, '{first.tag}': {first.reason}"
            if len(batch.table):
                yield self._long(batch.table)

    def _batches(self, info: fs.FileInfo) -> Iterator[Batch]:
        kind, packed = _kind(info), info.base_name.endswith(".gz")
        if kind is None or self._shape is None or self._fs is None:
            raise TelemetryError(f"a file of no known kind; there are {', '.join(TYPES)}, and .gz of them")
        with self._fs.open_input_stream(info.path, compression=None) as stream:
            encoding = "gzip" if packed else None
            body = cast(BinaryIO, stream)
            yield from read_upload(body, kind, encoding, self._shape, self._options.timezone)

    def _long(self, table: pa.Table) -> Samples:
        """A wide table as samples."""
        times = table[TIME].cast(pa.int64()).to_numpy() * 1000
        parts = []
        for address, tag in self._names.items():
            if address not in table.column_names:
                continue
            values = table[address].to_numpy()
            codes = np.full(len(values), GOOD, np.int16)
            if address + QUALITY in table.column_names:
                codes = table[address + QUALITY].fill_null(GOOD).to_numpy().astype(np.int16)
            keep = ~np.isnan(values) | (codes != GOOD)
            names = np.full(int(keep.sum()), tag, object)
            parts.append(Samples(times[keep], names, values[keep], codes[keep]))
        return Samples.joined(parts)


def _kind(info: fs.FileInfo) -> str | None:
    """The content type that a file's name promises."""
    return TYPES.get(info.base_name.removesuffix(".gz").rpartition(".")[2].lower())


def _numbers(kind: pa.DataType) -> bool:
    """Whether a column of such a type may hold numbers, written as text too."""
    kinds = pa.types
    return not (
        kinds.is_temporal(kind) or kinds.is_nested(kind) or kinds.is_binary(kind) or kinds.is_large_binary(kind)
    )


def _short(name: str) -> str:
    return name if len(name) <= 40 else hashlib.sha256(name.encode()).hexdigest()[:24]


def _state(info: fs.FileInfo) -> str:
    return f"{info.size}:{info.mtime_ns}"
