"""Chunks of an upload to batches of the store: wide (a column a tag) or long (time, tag, value, quality)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats.base import Chunk
from connectors.formats.cells import Clock, Column, as_text, numbers, qualities, refusal, shown
from twin.errors import TelemetryError
from twin.plant import Plant, near
from twin.storage.batch import GOOD, NAMED, QUALITY, TIME, Batch, Rejection

T = TypeVar("T")

CELLS = 8_000_000  # of one batch of a long upload, at most


@dataclass(frozen=True)
class Layout:
    """How an upload is laid out.

    Attributes:
        tags: of the plant, as far as they have a column; of a long upload all tags of the plant.
        columns: the columns that are of use.
        unknown: columns that are no tag.
        long: a row is one value.
    """

    tags: tuple[str, ...]
    columns: tuple[str, ...]
    unknown: tuple[str, ...]
    long: bool


def layout(names: Sequence[str], plant: Plant, frames: frozenset[str] = frozenset()) -> Layout:
    """The layout of an upload with these columns.

    Args:
        frames: those whose cells are frames: of a vector tag of the plant they are columns of its elements.

    Raises:
        TelemetryError: two columns of one name, no time, or no column that is a tag of the plant.
    """
    names = [
        part
        for name in names
        for part in ([plant.names[i] for i in plant.vectors[name]] if name in frames & plant.vectors.keys() else [name])
    ]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise TelemetryError(f"two columns have the name '{twice[0]}'; which one is meant?")
    if TIME not in names:
        hint = near(TIME, names) or f"; there are {_listed(names)}"
        raise TelemetryError(f"no column 'time'{hint}")
    if "tag" in names and "value" in names:
        used = [name for name in (TIME, "tag", "value", "quality") if name in names]
        return Layout(plant.measured, tuple(used), tuple(name for name in names if name not in used), long=True)
    measured = frozenset(plant.measured)
    tags = tuple(name for name in names if name in measured)
    if not tags:
        raise TelemetryError(
            f"no column is a tag of the plant: there are {_listed(names)}, the plant has {_listed(plant.measured)}"
        )
    there = frozenset(names)
    used = [TIME, *(name for tag in tags for name in (tag, tag + QUALITY) if name in there)]
    useful = frozenset(used)
    return Layout(tags, tuple(used), tuple(name for name in names if name not in useful), long=False)


def batches(chunks: Iterable[Chunk], shape: Layout, timezone: str | None, decimal: str = ".") -> Iterator[Batch]:
    """Believe what can be believed of the chunks, and say what not."""
    clock = Clock(timezone)
    unknown: set[str] = set()
    for chunk in chunks:
        if shape.long:
            yield from _long(chunk, shape, clock, decimal, unknown)
        else:
            yield _wide(chunk, shape, clock, decimal)


def _wide(chunk: Chunk, shape: Layout, clock: Clock, decimal: str) -> Batch:
    times, untimed = clock.read(chunk.columns[TIME])
    keep = np.ones(len(times), bool)
    keep[list(untimed)] = False
    rejected = [*chunk.rejected, *_rows(chunk, untimed)]
    given, lost = np.zeros(len(times), bool), np.zeros(len(times), np.int64)
    columns: dict[str, np.ndarray] = {}
    for tag in shape.tags:
        cells = _Cells.of(chunk, tag, tag + QUALITY, decimal)
        refused = cells.refused & keep
        rejected += [Rejection(int(chunk.numbers[i]), tag, cells.why(i)) for i in np.flatnonzero(refused)[:NAMED]]
        given |= ~np.isnan(cells.values)
        lost += refused
        columns[tag] = cells.values
        if cells.codes is not None:
            columns[tag + QUALITY] = cells.codes
    keep &= given | (lost == 0)  # a row that lost all it had is rejected
    return Batch(
        _table(times, columns, keep),
        received=len(times) + chunk.lost,
        rejected=_first(rejected),
        rows_rejected=chunk.lost + int((~keep).sum()),
        cells_rejected=int(lost[keep].sum()),
        unknown_tags=shape.unknown,
    )


def _long(chunk: Chunk, shape: Layout, clock: Clock, decimal: str, unknown: set[str]) -> Iterator[Batch]:
    times, untimed = clock.read(chunk.columns[TIME])
    tags, strangers = _tags(chunk, shape)
    cells = _Cells.of(chunk, "value", "quality", decimal)
    rejected = [*chunk.rejected, *_rows(chunk, untimed)]
    keep = np.ones(len(times), bool)
    keep[list(untimed)] = False
    for i in np.flatnonzero(keep & (tags < 0)).tolist():
        name = strangers[i]
        if name not in unknown:  # an unknown tag is named once; all its rows are counted
            unknown.add(name)
            why = "unknown tag" if name else "the tag is missing"
            rejected.append(Rejection(int(chunk.numbers[i]), name or None, why))
    keep &= tags >= 0
    refused = np.flatnonzero(keep & cells.refused)[:NAMED]
    rejected += [Rejection(int(chunk.numbers[i]), shape.tags[tags[i]], cells.why(i)) for i in refused]
    keep &= ~cells.refused
    filled = keep & ~np.isnan(cells.values)
    codes = None if cells.codes is None else cells.codes[filled]
    tables = _pivot(times[filled], tags[filled], cells.values[filled], codes, shape.tags)
    yield Batch(
        next(tables, _table(times, {}, np.zeros(len(times), bool))),
        received=len(times) + chunk.lost,
        rejected=_first(rejected),
        rows_rejected=chunk.lost + int((~keep).sum()),
        rows_empty=int((keep & ~filled).sum()),
        unknown_tags=(*shape.unknown, *sorted(unknown - {""})),
        long=True,
    )
    for table in tables:
        yield Batch(table, 0, long=True)


@dataclass(frozen=True)
class _Cells:
    """A column of values with its qualities.

    Attributes:
        values: (n,) float64; NaN is missing or refused.
        codes: (n,) int16 OPC DA codes; None where all are good.
        refused: (n,) bool.
        why: says of a refused cell why.
    """

    values: np.ndarray
    codes: np.ndarray | None
    refused: np.ndarray
    why: Callable[[int], str]

    @classmethod
    def of(cls, chunk: Chunk, value: str, quality: str, decimal: str) -> _Cells:
        column = chunk.columns[value]
        values, refused = _named(value, lambda cells: numbers(cells, decimal), chunk)
        if quality not in chunk.columns:
            return cls(values, None, refused, lambda i: refusal(column, i, decimal))
        codes, odd = _named(quality, qualities, chunk)
        odd &= ~np.isnan(values)
        values[odd] = np.nan

        def why(i: int) -> str:
            if refused[i]:
                return refusal(column, i, decimal)
            said = shown(chunk.columns[quality], i)
            return f"the quality {said} is none of good, uncertain, bad or an OPC code 0 to 255"

        return cls(values, codes, refused | odd, why)


def _named(name: str, read: Callable[[Column], T], chunk: Chunk) -> T:
    """What is read of a column; a refusal names it."""
    try:
        return read(chunk.columns[name])
    except TelemetryError as error:
        raise TelemetryError(f"column '{name}': {error.detail}") from None


def _tags(chunk: Chunk, shape: Layout) -> tuple[np.ndarray, dict[int, str]]:
    """(n,) which tag each row is of, -1 for none of the plant; and the names of those by row."""
    coded = pc.dictionary_encode(_named("tag", as_text, chunk).fill_null(""))
    place = {tag: i for i, tag in enumerate(shape.tags)}
    names = coded.dictionary.to_pylist()
    which = coded.indices.to_numpy(zero_copy_only=False)
    tags = np.array([place.get(name, -1) for name in names] or [-1])[which]
    return tags, {int(i): names[which[i]] for i in np.flatnonzero(tags < 0)}


def _pivot(
    times: np.ndarray, tags: np.ndarray, values: np.ndarray, codes: np.ndarray | None, names: Sequence[str]
) -> Iterator[pa.Table]:
    """One value a row to one column a tag; of values for one tag and time, each has its own row, in order."""
    if not len(times):
        return
    order = np.lexsort((tags, times))
    times, tags, values = times[order], tags[order], values[order]
    begins = np.r_[True, (np.diff(times) != 0) | (np.diff(tags) != 0)]
    place = np.arange(len(times))
    repeat = place - np.maximum.accumulate(np.where(begins, place, 0))
    order2 = np.lexsort((repeat, times))
    fresh = np.r_[True, (np.diff(times[order2]) != 0) | (np.diff(repeat[order2]) != 0)]
    row = np.empty(len(times), np.int64)
    row[order2] = np.cumsum(fresh) - 1
    row_times = times[order2][fresh]
    used, column = np.unique(tags, return_inverse=True)
    step = max(CELLS // len(used), 1)
    for start in range(0, len(row_times), step):
        here = (row >= start) & (row < start + step)
        part = row_times[start : start + step]
        grid = np.full((len(part), len(used)), np.nan)
        grid[row[here] - start, column[here]] = values[here]
        columns = {names[tag]: grid[:, i] for i, tag in enumerate(used)}
        if codes is not None:
            marks = np.full(grid.shape, GOOD, np.int16)
            marks[row[here] - start, column[here]] = codes[order][here]
            columns |= {names[tag] + QUALITY: marks[:, i] for i, tag in enumerate(used)}
        yield _table(part, columns, np.ones(len(part), bool))


def _table(times: np.ndarray, columns: dict[str, np.ndarray], keep: np.ndarray) -> pa.Table:
    made = {TIME: pa.array(times[keep]).cast(pa.timestamp("us", "UTC"))}
    for name, cells in columns.items():
        if not name.endswith(QUALITY):
            made[name] = pa.array(cells[keep], from_pandas=True)
        elif (cells[keep] != GOOD).any():
            made[name] = pa.array(cells[keep], mask=cells[keep] == GOOD)
    return pa.table(made)


def _rows(chunk: Chunk, refused: dict[int, str]) -> list[Rejection]:
    return [Rejection(int(chunk.numbers[i]), None, refused[i]) for i in sorted(refused)[:NAMED]]


def _first(rejected: list[Rejection]) -> tuple[Rejection, ...]:
    return tuple(sorted(rejected, key=lambda r: r.row)[:NAMED])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
