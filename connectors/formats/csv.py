"""CSV: the separator, decimal mark and header are found out; a broken row costs no other row."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from connectors.formats.base import Chunk
from connectors.formats.streams import HEAD, Body
from twin.errors import TelemetryError
from twin.storage.batch import NAMED, TIME, Rejection

BLOCK = 4 << 20  # bytes parsed at once
PIECE = 1 << 18  # bytes read and decoded at once: as much memory is cleared for a small body, too
SEPARATORS = ",;\t|"
DECIMAL_COMMA = r"(?<![\d,.:])[+-]?\d+,\d+(?![\d,.])"
NULLS = ["", "NaN", "nan", "NAN", "null", "NULL", "None", "NA", "N/A"]


class CsvReader:
    """A CSV with a header; `separator`, `decimal` and `encoding` are found out by its first lines.

    Raises:
        TelemetryError: there is no column `time` in the first line, whatever the separator.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self.schema: pa.Schema | None = None
        self.frames: frozenset[str] = frozenset()
        self.encoding = _encoding(body.head)
        lines = body.head.decode(self.encoding, "replace").removeprefix("\ufeff").splitlines()
        for self.separator in SEPARATORS:
            self.names = [name.strip() for name in next(csv.reader(lines[:1], delimiter=self.separator), [])]
            if TIME in self.names and len(self.names) > 1:
                break
        else:
            first = lines[0][:120] if lines else ""  # nothing but a byte order mark
            raise TelemetryError(f"the first line must name the columns, 'time' among them; it is '{first}'")
        comma = self.separator != "," and re.search(DECIMAL_COMMA, "\n".join(lines[1:-1] or lines[1:]))
        self.decimal = "," if comma else "."

    def chunks(self, columns: tuple[str, ...]) -> Iterator[Chunk]:
        broken, good = _Broken(), 0
        try:
            for batch in self._open(columns, broken):
                numbers = broken.number(good, len(batch))
                yield Chunk(dict(zip(columns, batch.columns, strict=True)), numbers, *broken.hand_on())
                good += len(batch)
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise TelemetryError(f"the CSV cannot be read after about {good} rows: {error}") from None
        if broken.waiting:
            nothing = dict.fromkeys(columns, pa.array([], pa.binary()))
            yield Chunk(nothing, broken.number(good, 0), *broken.hand_on())

    def _open(self, columns: tuple[str, ...], broken: _Broken) -> pacsv.CSVStreamingReader:
        """Every cell stays text, and every row stays in order: on that the row numbers rest."""
        text, block = _Utf8(self._body, self.encoding), BLOCK
        source: Any = io.BufferedReader(text, BLOCK) if len(self._body.head) == HEAD else None
        if source is None:  # a small body needs no block of megabytes, and no calls back from Arrow's threads
            whole = text.read()
            source, block = pa.BufferReader(whole), min(len(whole) + 1, BLOCK)
        return pacsv.open_csv(
            source,
            pacsv.ReadOptions(use_threads=False, block_size=block, skip_rows=1, column_names=self.names),
            pacsv.ParseOptions(delimiter=self.separator, invalid_row_handler=broken.note),
            pacsv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(columns, pa.binary()),
                include_columns=columns,
                null_values=NULLS,
                strings_can_be_null=True,
            ),
        )


def _encoding(head: bytes) -> str:
    """UTF-8; or Windows-1252, in which spreadsheets write ü and °, where the names of the columns are no UTF-8."""
    try:
        head.partition(b"\n")[0].decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


class _Utf8(io.RawIOBase):
    """A body as UTF-8; bytes that are no text are replaced: of a broken row with such bytes the reader tells nobody."""

    def __init__(self, raw: io.RawIOBase, encoding: str) -> None:
        self._raw, self._left = raw, b""
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            block = self._raw.read(min(len(buffer), PIECE)) or b""
            self._left = self._decoder.decode(block, final=not block).encode()
            if not block:
                break
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


class _Broken:
    """The rows that cannot be split into columns, and the numbers of the others among them."""

    def __init__(self) -> None:
        self.waiting = 0
        self._named: list[Rejection] = []
        self._before: list[int] = []  # of each broken row: how many good rows come before it

    def note(self, row: pacsv.InvalidRow) -> str:
        """What the reader calls for each; rows are counted from 1, with the header."""
        self._before.append(row.number - 2 - len(self._before))
        self.waiting += 1
        if len(self._named) < NAMED:
            reason = f"{row.actual_columns} columns, where the header has {row.expected_columns}"
            self._named.append(Rejection(row.number - 1, None, reason))
        return "skip"

    def number(self, good: int, count: int) -> np.ndarray:
        """(count,) the row numbers of the good rows that follow the first `good` ones."""
        order = np.arange(good, good + count)
        return order + 1 + np.searchsorted(np.array(self._before, np.int64), order, side="right")

    def hand_on(self) -> tuple[int, tuple[Rejection, ...]]:
        """How many there were since the last time, and the first of them."""
        count, named = self.waiting, tuple(self._named)
        self.waiting, self._named = 0, []
        return count, named
