"""Columns whose cells are frames (lists, or lists of lists) of a vector tag: as a column for each element."""

from __future__ import annotations

from collections import Counter
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
    """The columns of frames of one upload, of as many elements as the plant describes."""

    def __init__(self, schema: pa.Schema) -> None:
        self.names = frozenset(field.name for field in schema if is_frames(field.type))

    def stored(self, columns: Sequence[str]) -> list[str]:
        """The columns to read for these, elements of frames among them."""
        return list(dict.fromkeys(self._stored(name) for name in columns))

    def columns(self, batch: pa.RecordBatch, columns: Sequence[str], row: int) -> dict[str, pa.Array]:
        """These columns of a batch, whose first row is `row` of the upload.

        Raises:
            TelemetryError: a frame has another number of elements than are asked for, or holds no numbers.
        """
        sizes = Counter(self._stored(name) for name in columns if self._stored(name) != name)
        grids = {name: _grid(_column(batch, name), size, name, row) for name, size in sizes.items()}
        made = {element(name, i): grid[:, i] for name, grid in grids.items() for i in range(grid.shape[1])}
        return {
            name: pa.array(made[name], from_pandas=True) if name in made else _column(batch, name) for name in columns
        }

    def _stored(self, name: str) -> str:
        vector = name.rpartition("[")[0]
        return vector if vector in self.names else name


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    try:
        return batch.column(name)
    except KeyError:  # of a type that pyarrow has no class for, such as intervals of months
        raise TelemetryError(f"column '{name}' is of a type that holds neither times, tags nor numbers") from None


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
        raise TelemetryError(f"row {where}: '{name}' has {counts[wrong[0]]} elements; the plant describes {size}")
    grid = np.full((len(frames), size), np.nan)
    try:
        values = kept.cast(pa.float64()).fill_null(np.nan)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TelemetryError(f"column '{name}': its frames hold no numbers ({error})") from None
    grid[known] = values.to_numpy(zero_copy_only=False).reshape(-1, size)
    return grid
