"""What the pages of a Parquet file claim, read before Arrow believes it.

Arrow takes as much memory as a page's header says, up to 2 GiB of each column at once, and learns only then that the
page is another one; the footer may say less than the pages. So the headers are read first (`PageHeader` of
https://github.com/apache/parquet-format, `parquet.thrift`), for some microseconds a page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from connectors.formats import thrift
from connectors.formats.footer import Chunk, row_groups
from connectors.formats.thrift import I32, STRUCT
from twin.errors import TelemetryError

PAGE = 128 << 20  # bytes of a page, packed and unpacked; writers' pages are of about 1 MiB by default
FREE = 2 << 20  # bytes of a page that count for nothing: any number of columns may have such pages
TOGETHER = 1 << 30  # bytes of the largest pages of all columns: they are in memory at once
HEADER = 1 << 16  # bytes of a page's header
PADDING = 100  # bytes by which old writers' chunks are longer than they say (PARQUET-816)
SMALL = 1 << 16  # bytes of a chunk that is read at once
WINDOW = 1 << 10  # bytes read of others to find a header
COUNTS = {0: 5, 3: 8}  # by the kinds of pages that have values: the field of the header that counts them
KIND, UNPACKED, PACKED = (1, I32), (2, I32), (3, I32)  # fields of the header


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


def check(file: IO[bytes], leaves: Sequence[str], columns: Collection[str], max_bytes: int) -> None:
    """Read the headers of all pages of some columns.

    Args:
        leaves: the paths of the schema's leaves, as Arrow tells them.
        columns: names of fields of the schema.
        max_bytes: the pages may unpack to at most.

    Raises:
        TelemetryError: a page, the pages that are read at once, or all pages take too much, or a header is damaged.
    """
    fields = [(i, _field(path, columns)) for i, path in enumerate(leaves)]
    wanted = [(i, name) for i, name in fields if name is not None]
    largest, total = dict.fromkeys((i for i, _ in wanted), 0), 0
    for chunks in row_groups(file):
        if len(chunks) != len(leaves):
            raise TelemetryError(f"the Parquet file is damaged: {len(chunks)} columns in a group of {len(leaves)}")
        for i, name in wanted:
            for page in pages(file, chunks[i], name):
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


def pages(file: IO[bytes], chunk: Chunk, name: str) -> Iterator[Page]:
    """The pages of a column in a row group, as far as Arrow reads them.

    Args:
        name: of the column, for messages.

    Raises:
        TelemetryError: a header is damaged, or its page ends behind the column.
    """
    at = chunk.dictionary if 0 < chunk.dictionary < chunk.data else chunk.data
    length, left = chunk.size, chunk.values
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
        fields, end = thrift.struct(data, at)
        kind = fields[KIND]
        values = fields[COUNTS[kind], STRUCT][1, I32] if kind in COUNTS else 0
        return Page(end - at, fields[UNPACKED], fields[PACKED], values)
    except (IndexError, KeyError, ValueError):
        return None
