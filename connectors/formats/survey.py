"""What an upload would be, found out without storing it: columns, tags, units, times, refused rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from connectors.formats.base import Chunk
from connectors.formats.cells import Clock, Column, shown
from connectors.formats.files import MAX_BYTES, opened
from connectors.formats.rows import Layout, batches, layout
from twin.errors import TelemetryError
from twin.plant import Plant, near
from twin.storage.batch import NAMED, QUALITY, TIME, Batch, Rejection


@dataclass
class Seen:
    """The values of one tag in the upload.

    Attributes:
        count: values that are there.
        low, high: the least and the largest.
        outside: values outside the tag's range; many of them look like another unit.
    """

    count: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    outside: int = 0


@dataclass
class Survey:
    """What would become of an upload.

    Attributes:
        long: a row is one value.
        columns: what each is taken for: its own name where it is used, "quality of …", else "" or near matches.
        seen: the values of each tag that has any.
        first_written, first_read: the time of the first row as it stands in the upload, and as it is read.
        first_time, last_time: the earliest and the latest.
    """

    long: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    first_written: str | None = None
    first_read: str | None = None
    first_time: str | None = None
    last_time: str | None = None
    rows_received: int = 0
    rows_rejected: int = 0
    cells_rejected: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    unknown_tags: tuple[str, ...] = ()


def survey(
    stream: BinaryIO, content_type: str, content_encoding: str | None, plant: Plant, timezone: str | None = None
) -> Survey:
    """Read an upload to its end as the service would; see `connectors.formats.files.read_upload`.

    Raises:
        TelemetryError: the upload as a whole cannot be read.
    """
    with opened(stream, content_type, content_encoding, MAX_BYTES) as reader:
        shape = layout(reader.names, plant, reader.frames)
        found = Survey(shape.long, {name: _use(name, shape, plant) for name in reader.names})
        chunks = _noting(reader.chunks(shape.columns), found, timezone)
        for batch in batches(chunks, shape, timezone, reader.decimal):
            _count(found, batch, plant)
    if not found.rows_received:
        raise TelemetryError("the body has no rows")
    return found


def _use(name: str, shape: Layout, plant: Plant) -> str:
    if name not in shape.columns:
        return near(name, plant.names).removeprefix("; ")
    if name == TIME or shape.long or name in plant.names:
        return name
    return f"quality of {name.removesuffix(QUALITY)}"


def _noting(chunks: Iterable[Chunk], found: Survey, timezone: str | None) -> Iterator[Chunk]:
    """The chunks; how the first time is written and read is noted in passing."""
    for chunk in chunks:
        if found.first_written is None and len(chunk.columns[TIME]):
            found.first_written = shown(chunk.columns[TIME], 0)
            found.first_read = _read(chunk.columns[TIME].slice(0, 1), timezone)
        yield chunk


def _read(cell: Column, timezone: str | None) -> str | None:
    """The time of one cell; none where it is refused."""
    try:
        times, refused = Clock(timezone).read(cell)
    except TelemetryError:  # of the upload as a whole, where it is one
        return None
    return None if refused else pd.Timestamp(int(times[0]), unit="us", tz="UTC").isoformat()


def _count(found: Survey, batch: Batch, plant: Plant) -> None:
    found.rows_received += batch.received
    found.rows_rejected += batch.rows_rejected
    found.cells_rejected += batch.cells_rejected
    found.rejected = [*found.rejected, *batch.rejected][:NAMED]
    found.unknown_tags = tuple(dict.fromkeys([*found.unknown_tags, *batch.unknown_tags]))
    if len(batch.table):
        bounds = pc.min_max(batch.table[TIME])
        first, last = (bounds[side].as_py().isoformat() for side in ("min", "max"))
        found.first_time = min(filter(None, (found.first_time, first)))
        found.last_time = max(filter(None, (found.last_time, last)))
    for name in batch.table.column_names:
        if name in plant.names:
            values = batch.table[name].drop_null().to_numpy()
            if len(values):
                _look(found.seen.setdefault(name, Seen()), values, plant.tag(name).low, plant.tag(name).high)


def _look(seen: Seen, values: np.ndarray, low: float | None, high: float | None) -> None:
    seen.count += len(values)
    seen.low, seen.high = min(seen.low, float(values.min())), max(seen.high, float(values.max()))
    below = values < low if low is not None else np.zeros(len(values), bool)
    above = values > high if high is not None else np.zeros(len(values), bool)
    seen.outside += int((below | above).sum())
