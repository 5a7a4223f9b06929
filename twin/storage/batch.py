"""What an upload brings: rows to store, and the receipt that says what became of each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

TIME = "time"
QUALITY = "__quality"  # a quality column is called `<tag>__quality`
GOOD, UNCERTAIN, BAD = 192, 64, 0  # OPC DA quality codes; the two high bits are the quality, the rest says why
NAMED = 100  # rejections named in a receipt; all are counted


@dataclass(frozen=True)
class Rejection:
    """What was refused: the row (counted from 1 after the header), the tag (None: the whole row) and why."""

    row: int
    tag: str | None
    reason: str


@dataclass(frozen=True)
class Batch:
    """Some rows of an upload.

    Attributes:
        table: `time` (timestamp[us, UTC], never null), a float64 column a tag (null is missing, never NaN or
            infinite) and, where qualities were given, `<tag>__quality` (int16, an OPC DA code; null is good).
        received: rows of the upload these are, with the rejected ones.
        rejected: the first `NAMED` refusals.
        rows_rejected: rows of which nothing is kept.
        cells_rejected: refused values of rows that are kept.
        rows_empty: rows of a long upload without a value; they add nothing, and count as duplicates.
        unknown_tags: columns (or tags of a long upload) that are no tag of the plant; they are left out.
        long: the upload has a row a value, so that its rows are counted by value.
    """

    table: pa.Table
    received: int
    rejected: tuple[Rejection, ...] = ()
    rows_rejected: int = 0
    cells_rejected: int = 0
    rows_empty: int = 0
    unknown_tags: tuple[str, ...] = ()
    long: bool = False


@dataclass
class Receipt:
    """What became of an upload; received = stored + duplicate + rejected rows.

    Attributes:
        upload: its id, with which it can be taken back.
        rows_stored: rows that said something new; `rows_replaced` of them changed a value.
        rows_late: stored rows that are older than what was there before.
        rows_duplicate: rows whose every value a read would have answered already.
        rows_rejected: rows of which nothing could be kept; `cells_rejected` counts refused values of kept rows.
        rejected: the first refusals.
        first_time, last_time: of the rows received and readable, ISO 8601; None where there are none.
        unknown_tags: what was left out because the plant has no such tag.
        version: the version of the telemetry with this upload in it; a read `as_of` it stays what it was.
    """

    upload: str = ""
    rows_received: int = 0
    rows_stored: int = 0
    rows_duplicate: int = 0
    rows_replaced: int = 0
    rows_late: int = 0
    rows_rejected: int = 0
    cells_rejected: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    first_time: str | None = None
    last_time: str | None = None
    unknown_tags: list[str] = field(default_factory=list)
    version: int = 0

    def count(self, batch: Batch) -> None:
        """Count what the reader of the upload said of a batch."""
        self.rows_received += batch.received
        self.rows_rejected += batch.rows_rejected
        self.cells_rejected += batch.cells_rejected
        self.rows_duplicate += batch.rows_empty
        self.rejected += batch.rejected[: NAMED - len(self.rejected)]
        self.unknown_tags += [tag for tag in batch.unknown_tags if tag not in self.unknown_tags]

    def cover(self, times: np.ndarray) -> None:
        """Widen first and last time by (n,) sorted int64 microseconds."""
        first, last = (pd.Timestamp(int(t), unit="us", tz="UTC").isoformat() for t in (times[0], times[-1]))
        self.first_time = min(self.first_time or first, first)
        self.last_time = max(self.last_time or last, last)

    def to_json(self) -> dict[str, Any]:
        """The receipt as the REST contract writes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Receipt:
        """A receipt as it was stored."""
        known = {f.name for f in fields(cls)}
        rejected = [Rejection(**item) for item in body["rejected"]]
        return cls(**{k: v for k, v in body.items() if k in known and k != "rejected"}, rejected=rejected)


def of_frame(frame: pd.DataFrame) -> Iterator[Batch]:
    """The batch of measured rows at hand: a time-zone-aware index and a column a tag; NaN is missing."""
    index = pd.DatetimeIndex(frame.index).tz_convert("UTC").as_unit("us")
    columns: dict[str, pa.Array] = {TIME: pa.array(index.asi8, pa.int64()).cast(pa.timestamp("us", "UTC"))}
    values = frame.to_numpy(np.float64, na_value=np.nan)
    columns |= dict(zip(map(str, frame.columns), arrays(values, ~np.isfinite(values)), strict=True))
    yield Batch(pa.table(columns), len(frame))


def arrays(values: np.ndarray, missing: np.ndarray) -> list[pa.Array]:
    """The columns of (n, columns) numbers, null where they are missing; slices of one array, as each array costs."""
    rows, count = values.shape
    flat = pa.array(values.T.ravel(), mask=missing.T.ravel())
    return [flat.slice(i * rows, rows) for i in range(count)]
