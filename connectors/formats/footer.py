"""Where the columns of a Parquet file lie, read from its footer.

Arrow knows it too, but its Python objects of a damaged column chunk end the process (pyarrow 26 lets C++ exceptions
pass there), so they are not asked for. `FileMetaData` of https://github.com/apache/parquet-format, `parquet.thrift`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from connectors.formats import thrift
from connectors.formats.thrift import I64, LIST, STRUCT
from twin.errors import TelemetryError

ROW_GROUPS, COLUMNS, META = 4, 1, 3  # fields of FileMetaData, RowGroup and ColumnChunk
VALUES, SIZE, DATA, DICTIONARY = 5, 7, 9, 11  # of ColumnMetaData
TAIL = 8  # bytes: the footer's length and the mark


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column in one row group.

    Attributes:
        values: how many, nulls among them.
        size: bytes of its pages, packed.
        data, dictionary: where its first page of data lies, and that of its dictionary (0 where it has none).
    """

    values: int
    size: int
    data: int
    dictionary: int


def row_groups(file: IO[bytes]) -> Iterator[list[Chunk]]:
    """The chunks of each row group, in the order of the schema's leaves.

    Raises:
        TelemetryError: the footer is damaged.
    """
    end = file.seek(0, 2) - TAIL
    file.seek(max(end, 0))
    length = int.from_bytes(file.read(4), "little")
    if not 0 < length <= end:
        raise _damaged()
    file.seek(end - length)
    data = file.read(length)
    try:
        number, kind, at = thrift.field(data, 0, 0)
        while kind:
            if (number, kind) == (ROW_GROUPS, LIST):
                count, of, at = thrift.listed(data, at)
                for _ in range(count):
                    group, at = thrift.value(data, at, of, 1, apart=True)
                    yield [_chunk(one) for one in group[COLUMNS, LIST]]
            else:
                _, at = thrift.value(data, at, kind, 1)
            number, kind, at = thrift.field(data, at, number)
    except (IndexError, KeyError, ValueError, TypeError):
        raise _damaged() from None


def _chunk(found: thrift.Fields) -> Chunk:
    meta = found[META, STRUCT]
    return Chunk(meta[VALUES, I64], meta[SIZE, I64], meta[DATA, I64], meta.get((DICTIONARY, I64), 0))


def _damaged() -> TelemetryError:
    return TelemetryError("the Parquet file is damaged or cut off: its footer")
