"""Columns whose cells are frames (lists, or lists of lists) of a vector tag: as a column for each element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from twin.errors import TelemetryError
from twin.plant import element

LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def is_frames(kind: pa.DataType) -> bool:
    """Whether cells of this type are lists."""
    return any(test(kind) for test in LISTS)


class Frames:
    """The columns of frames of one upload.

    Args:
        first: rows of it, by which the size of its frames is known; None where it has no such column.
    """

    def __init__(self, first: pa.RecordBatch | None) -> None:
        self._sizes: dict[str, int] = {}
        self._of: dict[str, tuple[str, int]] = {}
        if first is None:
            return
        for name, column in zip(first.schema.names, first.columns, strict=True):
            if is_frames(column.type):
                frames = column.drop_null()
                size = len(_flat(frames.slice(0, 1))) if len(frames) else 0
                self._sizes[name] = size
                self._of |= {element(name, i): (name, i) for i in range(size)}

    def names(self, names: Sequence[str]) -> list[str]:
        """The columns of the upload, behind one of frames those of its elements."""
        return [part for name in names for part in (name, *(element(name, i) for i in range(self._sizes.get(name, 0))))]

    def stored(self, columns: Sequence[str]) -> list[str]:
        """The columns to read for these."""
        return list(dict.fromkeys(self._of[name][0] if name in self._of else name for name in columns))

    def columns(self, batch: pa.RecordBatch, columns: Sequence[str], row: int) -> dict[str, pa.Array]:
        """These columns of a batch, whose first row is `row` of the upload.

        Raises:
            TelemetryError: a frame has another number of elements than the first.
        """
        wanted = {self._of[name][0] for name in columns if name in self._of}
        grids = {name: _grid(batch.column(name), self._sizes[name], name, row) for name in wanted}
        found = {}
        for name in columns:
            if name in self._of:
                vector, i = self._of[name]
                found[name] = pa.array(grids[vector][:, i], from_pandas=True)
            else:
                found[name] = batch.column(name)
        return found


def _grid(frames: pa.Array, size: int, name: str, row: int) -> np.ndarray:
    """(n, size) float64; a missing frame, or element, is NaN."""
    known = frames.is_valid().to_numpy(zero_copy_only=False)
    kept, counts = frames.drop_null(), np.ones(int(known.sum()), np.int64)
    of = np.arange(len(kept))
    while is_frames(kept.type):
        lengths = pc.list_value_length(kept).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        of, kept = np.repeat(of, lengths), kept.flatten()
    counts = np.bincount(of, minlength=len(counts))
    wrong = np.flatnonzero(counts != size)
    if len(wrong):
        where = row + int(np.flatnonzero(known)[wrong[0]])
        raise TelemetryError(f"row {where}: '{name}' has {counts[wrong[0]]} elements; the first frame has {size}")
    grid = np.full((len(frames), size), np.nan)
    try:
        values = kept.cast(pa.float64()).fill_null(np.nan)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TelemetryError(f"column '{name}': its frames hold no numbers ({error})") from None
    grid[known] = values.to_numpy(zero_copy_only=False).reshape(-1, size)
    return grid


def _flat(frames: pa.Array) -> pa.Array:
    while is_frames(frames.type):
        frames = frames.flatten()
    return frames
