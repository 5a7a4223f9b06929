"""Storing telemetry that arrived: read, appended, counted. Uploads and files in parts end here."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO, cast

import pandas as pd

from api.http.errors import MediaTypeError
from api.service import Service
from connectors.formats.files import CONTENT_TYPES, read_upload
from twin.storage.batch import Receipt

PIECE = 1 << 20  # bytes read at once


def check_type(content_type: str) -> None:
    """Refuse what is no format of telemetry, before anything is read.

    Raises:
        MediaTypeError: it is none.
    """
    if content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
        raise MediaTypeError(f"Content-Type '{content_type}': telemetry comes as {', '.join(CONTENT_TYPES)}")


class Digested(io.RawIOBase):
    """A body that is digested while it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._hash = stream, hashlib.blake2b(digest_size=16)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        self._hash.update(piece)
        return len(piece)

    def digest(self) -> str:
        """Of the whole body: what nobody has read is read here."""
        while self.read(PIECE):
            pass
        return self._hash.hexdigest()


def store(
    app: Service,
    slug: str,
    stream: BinaryIO,
    content_type: str,
    content_encoding: str | None,
    timezone: str | None,
    idempotency_key: str | None,
) -> Receipt:
    """Store a body of telemetry, all or nothing; the receipt says what became of every row.

    Raises:
        TelemetryError: it cannot be read.
        ConflictError: the idempotency key is that of another body.
        StoreError: the storage failed.
    """
    plant = app.catalog.plant(slug).plant
    digested = Digested(stream)
    body = cast(BinaryIO, io.BufferedReader(digested, PIECE))
    batches = read_upload(body, content_type, content_encoding, plant, timezone, app.settings.max_unpacked_bytes)
    receipt = app.store.plant(slug).append(batches, idempotency_key=idempotency_key, digest=digested.digest)
    for fate in ("stored", "duplicate", "rejected"):
        app.metrics.rows.labels(slug, fate).inc(getattr(receipt, f"rows_{fate}"))
    if receipt.last_time is not None:
        app.metrics.last.labels(slug).set(pd.Timestamp(receipt.last_time).timestamp())
    return receipt
