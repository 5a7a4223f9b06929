"""Parquet files and Arrow streams."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.formats import pages
from connectors.formats.base import Chunk
from connectors.formats.frames import Frames
from connectors.formats.streams import Body
from twin.errors import TelemetryError

ROWS = 1 << 16  # of a chunk
WHOLE = 64 << 20  # bytes of a Parquet file of which columns are read whole, not in pieces: of a small file with a
# damaged header the reader of pieces takes as much memory as the header says, up to 2 GiB
MARK = b"ARROW1"  # with which an Arrow file begins and ends
END = b"\xff\xff\xff\xff\0\0\0\0"  # the mark that ends an Arrow stream


class ParquetReader:
    """A Parquet file.

    Args:
        spool: an empty file to hold the body: the index of Parquet is at its end.

    Raises:
        TelemetryError: it is no Parquet file, cut off, or unpacks to more than `max_bytes`; while reading: its pages
            take more memory than `pages.check` allows.
    """

    decimal = "."

    def __init__(self, body: Body, spool: IO[bytes], max_bytes: int) -> None:
        shutil.copyfileobj(io.BufferedReader(body, 1 << 20), spool, 1 << 20)
        with _clear("the Parquet file"):
            piece = 1 << 20 if spool.tell() > WHOLE else 0
            self._file = pq.ParquetFile(spool, pre_buffer=False, buffer_size=piece)
            self.schema: pa.Schema | None = self._file.schema_arrow
            self._frames = Frames(self._file.schema_arrow)
            self.frames = self._frames.names
            self.names = self._file.schema_arrow.names
        meta = self._file.metadata
        unpacked = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        if unpacked > max_bytes:
            raise TelemetryError(f"the Parquet file unpacks to {unpacked} bytes; at most {max_bytes} are accepted")
        self._spool, self._max = spool, max_bytes

    def chunks(self, columns: tuple[str, ...]) -> Iterator[Chunk]:
        with _clear("the Parquet file"):
            stored = self._frames.stored(columns)
            schema = self._file.schema
            leaves = [schema.column(i).path for i in range(len(schema))]
            pages.check(self._spool, leaves, frozenset(stored), self._max)
            yield from _chunks(self._file.iter_batches(ROWS, columns=stored, use_threads=False), columns, self._frames)


class ArrowReader:
    """An Arrow IPC stream, or a file, which is one between a mark and an index.

    Raises:
        TelemetryError: it is neither.
    """

    decimal = "."

    def __init__(self, body: Body, max_bytes: int) -> None:
        self._body = body
        self._left = max_bytes
        with _clear("the Arrow stream"):
            self._source = io.BufferedReader(body, 1 << 20)
            self._end = END
            if body.head.startswith(MARK):
                self._source.read(len(END))  # the mark, padded
                self._end = MARK
            self._stream = pa.ipc.open_stream(self._source)
            self.schema: pa.Schema | None = self._stream.schema
            self._frames = Frames(self._stream.schema)
            self.frames = self._frames.names
            self.names = self._stream.schema.names

    def chunks(self, columns: tuple[str, ...]) -> Iterator[Chunk]:
        with _clear("the Arrow stream"):
            yield from _chunks(self._slices(), columns, self._frames)
        while self._source.read(1 << 20):
            pass  # the index of a file
        if not self._body.tail.endswith(self._end):
            raise TelemetryError("the Arrow stream is cut off: its end-of-stream mark is missing")

    def _slices(self) -> Iterator[pa.RecordBatch]:
        for batch in self._stream:
            batch.validate(full=True)  # offsets that point elsewhere would be read from there
            self._left -= batch.nbytes
            if self._left < 0:
                raise TelemetryError("the Arrow stream unpacks to more than is accepted; send it in parts")
            for start in range(0, len(batch), ROWS):
                yield batch.slice(start, ROWS)


@contextlib.contextmanager
def _clear(what: str) -> Iterator[None]:
    """What Arrow raises of a damaged file, as ours."""
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, OverflowError, UnicodeDecodeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise TelemetryError(f"{what} is damaged or cut off: {why[:200]}") from None


def _chunks(batches: Iterator[pa.RecordBatch], columns: tuple[str, ...], frames: Frames) -> Iterator[Chunk]:
    row = 1
    for batch in batches:
        batch.validate(full=True)
        yield Chunk(frames.columns(batch, columns, row), np.arange(row, row + len(batch)))
        row += len(batch)
