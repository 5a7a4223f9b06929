"""Read an upload: CSV, Parquet or an Arrow stream, wide or long, streamed in bounded memory.

Wide is `time` and a column a tag, with qualities in `<tag>__quality`; long is `time, tag, value, quality`.
Qualities are good, uncertain or bad, or OPC DA codes 0 to 255; a bad value is kept with its quality, and read as
missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from connectors.formats.arrow import ArrowReader, ParquetReader
from connectors.formats.base import Reader
from connectors.formats.csv import CsvReader
from connectors.formats.rows import batches, layout
from connectors.formats.streams import Body, looks_like
from twin.errors import TelemetryError
from twin.plant import Plant
from twin.storage.batch import Batch

CSV, PARQUET, ARROW = "text/csv", "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
CONTENT_TYPES = (CSV, PARQUET, ARROW)
FORMS = {CSV: "text", PARQUET: "Parquet", ARROW: "an Arrow stream"}
SPOOL = 64 << 20  # bytes held in memory of a body that must be read back and forth; a longer one goes to a file
MAX_BYTES = 256 << 30  # unpacked


def read_upload(
    stream: BinaryIO,
    content_type: str,
    content_encoding: str | None,
    plant: Plant,
    timezone: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Iterator[Batch]:
    """The rows of an upload, as batches for the store.

    Args:
        stream: the body.
        content_type: one of `CONTENT_TYPES`; parameters such as charset are ignored.
        content_encoding: None, "identity" or "gzip".
        plant: whose tags are looked for.
        timezone: of times without an offset, such as "Europe/Berlin"; None refuses them.
        max_bytes: the body may unpack to at most.

    Raises:
        TelemetryError: the upload as a whole cannot be read: another format than said, cut off, damaged, empty,
            without times or tags. Where batches came before, the store keeps none of them.
    """
    with opened(stream, content_type, content_encoding, max_bytes) as reader:
        shape = layout(reader.names, plant, reader.frames)
        count = 0
        for batch in batches(reader.chunks(shape.columns), shape, timezone, reader.decimal):
            count += batch.received
            yield batch
    if not count:
        raise TelemetryError("the body has no rows")


@contextmanager
def opened(
    stream: BinaryIO, content_type: str, content_encoding: str | None, max_bytes: int = MAX_BYTES
) -> Iterator[Reader]:
    """The reader of an upload; see `read_upload`."""
    kind = content_type.partition(";")[0].strip().lower()
    body = Body(stream, content_encoding, max_bytes)
    form = looks_like(body.head)
    if form == "empty":
        raise TelemetryError("the body is empty")
    if kind not in FORMS:
        raise TelemetryError(f"Content-Type '{content_type}': send {', '.join(FORMS)}; the body looks like {form}")
    if form != FORMS[kind] and (kind, form) != (ARROW, "an Arrow file"):
        raise TelemetryError(f"Content-Type '{content_type}', but the body looks like {form}")
    with tempfile.SpooledTemporaryFile(SPOOL) as spool:
        yield _reader(kind, body, spool, max_bytes)


def _reader(kind: str, body: Body, spool: IO[bytes], max_bytes: int) -> Reader:
    if kind == CSV:
        return CsvReader(body)
    return ParquetReader(body, spool, max_bytes) if kind == PARQUET else ArrowReader(body, max_bytes)
