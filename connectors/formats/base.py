"""What the readers of formats hand on: columns of any type, before a cell of them is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from twin.storage.batch import Rejection


@dataclass(frozen=True)
class Chunk:
    """Some rows of an upload.

    Attributes:
        columns: the columns that are of use, by name, each of n cells.
        numbers: (n,) int64, which row of the upload each is, counted from 1 after the header.
        lost: how many further rows could not be split into columns; `rejected` names the first.
    """

    columns: Mapping[str, pa.Array | pa.ChunkedArray]
    numbers: np.ndarray
    lost: int = 0
    rejected: tuple[Rejection, ...] = ()


class Reader(Protocol):
    """Reads one format.

    Attributes:
        names: of all columns, in the order of the upload.
        schema: with types and metadata, where the format has one.
        decimal: the decimal mark of numbers written as text.
        frames: columns whose cells are lists: frames of vector tags.
    """

    frames: frozenset[str]
    names: list[str]
    schema: pa.Schema | None
    decimal: str

    def chunks(self, columns: tuple[str, ...]) -> Iterator[Chunk]:
        """The rows in order, with these columns.

        Raises:
            TelemetryError: the upload is damaged or cut off.
        """
        ...
