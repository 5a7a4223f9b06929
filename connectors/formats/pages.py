"""What the pages of a Parquet file claim, read before Arrow believes it.

Arrow takes as much memory as a page's header says, up to 2 GiB of each column at once, and learns only then that the
page is another one; the footer may say less than the pages. So the headers are read first (Thrift's compact protocol;
`PageHeader` of https://github.com/apache/parquet-format, `parquet.thrift`), for some microseconds a page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow.parquet as pq

from twin.errors import TelemetryError

PAGE = 128 << 20  # bytes of a page, packed and unpacked; writers' pages are of about 1 MiB by default
FREE = 2 << 20  # bytes of a page that count for nothing: any number of columns may have such pages
TOGETHER = 1 << 30  # bytes of the largest pages of all columns: they are in memory at once
HEADER = 1 << 16  # bytes of a page's header
PADDING = 100  # bytes by which old writers' chunks are longer than they say (PARQUET-816)
SMALL = 1 << 16  # bytes of a chunk that is read at once
WINDOW = 1 << 10  # bytes read of others to find a header
COUNTS = {0: 5, 3: 8}  # by the kinds of pages that have values: the field of the header that counts them
BOOLEANS, BYTE, I16, I32, I64, DOUBLE, BINARY, STRUCT = (1, 2), 3, 4, 5, 6, 7, 8, 12
DEEPEST = 4


@dataclass(frozen=True)
class Page:
    """A page: what its header says.

    Attributes:
        header: bytes of the header itself.
        unpacked, packed: bytes of the page.
        values: of the column, nulls among them; 0 for a page without.
    """

    header: int
    unpacked: int
    packed: int
    values: int


def check(file: IO[bytes], meta: pq.FileMetaData, columns: Collection[str], max_bytes: int) -> None:
    """Read the headers of all pages of some columns.

    Args:
        columns: names of fields of the schema.
        max_bytes: the pages may unpack to at most.

    Raises:
        TelemetryError: a page, the pages that are read at once, or all pages take too much, or a header is damaged.
    """
    leaves = [(i, _field(meta.schema.column(i).path, columns)) for i in range(meta.num_columns)]
    wanted = [(i, name) for i, name in leaves if name is not None]
    largest, total = dict.fromkeys((i for i, _ in wanted), 0), 0
    for group in range(meta.num_row_groups):
        chunks = meta.row_group(group)
        for i, name in wanted:
            for page in pages(file, chunks.column(i), name):
                size = max(page.unpacked, page.packed)
                if size > PAGE:
                    raise TelemetryError(
                        f"the Parquet file has a page of {size} bytes in the column '{name}'; at most {PAGE} are "
                        "accepted: write it with smaller pages (data_page_size)"
                    )
                largest[i] = max(largest[i], size)
                total += page.unpacked
    if total > max_bytes:
        raise TelemetryError(f"the Parquet file unpacks to {total} bytes; at most {max_bytes} are accepted")
    together = sum(size for size in largest.values() if size > FREE)
    if together > TOGETHER:
        raise TelemetryError(
            f"the Parquet file has pages of {together} bytes that must be read at once; at most {TOGETHER} are "
            "accepted: write it with smaller pages (data_page_size)"
        )


def pages(file: IO[bytes], chunk: Any, name: str) -> Iterator[Page]:
    """The pages of a column in a row group, as far as Arrow reads them.

    Args:
        chunk: pyarrow's ColumnChunkMetaData.
        name: of the column, for messages.

    Raises:
        TelemetryError: a header is damaged, or its page ends behind the column.
    """
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < at:
        at = chunk.dictionary_page_offset
    length, left = chunk.total_compressed_size, chunk.num_values
    if at < 0 or length < 0:
        raise _damaged("a place outside of the file", name)
    end = at + length + PADDING
    data, start = b"", at  # what was read last, and from where on
    while left > 0 and at < end:
        page, size = None, SMALL if length <= SMALL else WINDOW
        while page is None:
            page = _header(data, at - start)
            if page is None:
                if size > HEADER:
                    raise _damaged("a page's header", name)
                file.seek(at)
                data, start = file.read(min(size, end - at)), at
                size = size * 4 if len(data) == size else HEADER + 1  # there is no more to read
        at += page.header + page.packed
        if min(page.packed, page.unpacked, page.values) < 0 or at > end:
            raise _damaged(f"a page of {page.packed} bytes", name)
        left -= page.values
        yield page


def _damaged(what: str, column: str) -> TelemetryError:
    return TelemetryError(f"the Parquet file is damaged or cut off: {what} in the column '{column}'")


def _field(path: str, columns: Collection[str]) -> str | None:
    """The field that a leaf of the schema belongs to, of those asked for; names may have dots, as paths do."""
    while path not in columns:
        path, _, inner = path.rpartition(".")
        if not inner and not path:
            return None
    return path


def _header(data: bytes, at: int) -> Page | None:
    """The page whose header begins there; None where it is damaged, or goes on behind the data."""
    try:
        fields, end = _struct(data, at, 1)
        kind = fields[1]
        values = fields[COUNTS[kind]][1] if kind in COUNTS else 0
        return Page(end - at, fields[2], fields[3], values)
    except (IndexError, KeyError, ValueError, TypeError, AttributeError):
        return None


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """A struct's fields that are 32-bit integers or structs, the last where there are two of a kind; and its end.

    Raises:
        IndexError, ValueError: the data end first, or hold what no page's header has.
    """
    fields: dict[int, Any] = {}
    field = 0
    while byte := data[at]:
        at += 1
        kind = byte & 15
        if byte >> 4:
            field += byte >> 4
        else:
            number, at = _varint(data, at)
            field = _signed(number)
        field = (field + 0x8000 & 0xFFFF) - 0x8000  # Thrift keeps 16 bits of it, and 32 of an integer
        if kind in (I16, I32, I64):
            number, at = _varint(data, at)
            if kind == I32:
                fields[field] = _signed(number & 0xFFFFFFFF)
        elif kind == STRUCT and depth < DEEPEST:
            fields[field], at = _struct(data, at, depth + 1)
        elif kind == BINARY:
            number, at = _varint(data, at)
            at += number
        elif kind == BYTE:
            at += 1
        elif kind == DOUBLE:
            at += 8
        elif kind not in BOOLEANS:
            raise ValueError(kind)
    return fields, at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer, seven bits a byte, the low ones first; and its end."""
    number, shift = 0, 0
    while (byte := data[at]) > 127:
        number |= (byte & 127) << shift
        shift += 7
        at += 1
        if shift > 63:
            raise ValueError(shift)
    return number | byte << shift, at + 1


def _signed(number: int) -> int:
    """Of a zigzag encoding: 0, -1, 1, -2, …"""
    return number >> 1 ^ -(number & 1)
