"""Storing telemetry that arrived: read, appended, counted. Uploads and files in parts end here."""

from __future__ import annotations

from typing import BinaryIO

import pandas as pd

from api.http.errors import MediaTypeError
from api.service import Service
from connectors.formats.files import CONTENT_TYPES, read_upload
from twin.storage.batch import Receipt


def check_type(content_type: str) -> None:
    """Refuse what is no format of telemetry, before anything is read.

    Raises:
        MediaTypeError: it is none.
    """
    if content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
        raise MediaTypeError(f"Content-Type '{content_type}': telemetry comes as {', '.join(CONTENT_TYPES)}")


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
        StoreError: the storage failed.
    """
    plant = app.catalog.plant(slug).plant
    batches = read_upload(stream, content_type, content_encoding, plant, timezone, app.settings.max_unpacked_bytes)
    receipt = app.store.plant(slug).append(batches, idempotency_key=idempotency_key)
    for fate in ("stored", "duplicate", "rejected"):
        app.metrics.rows.labels(slug, fate).inc(getattr(receipt, f"rows_{fate}"))
    if receipt.last_time is not None:
        app.metrics.last.labels(slug).set(pd.Timestamp(receipt.last_time).timestamp())
    return receipt
