"""Telemetry: uploaded with a receipt, read back, overviewed, judged."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, BinaryIO, cast

import anyio.to_thread
import pandas as pd
import pyarrow as pa
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.deps import App, PlantSlug, Reader, Uploader
from api.http.answers import ReceiptAnswer, SeriesAnswer, json_answer
from api.http.body import BodyFile
from api.http.examples import CSV, body
from api.http.schemas import Time
from api.records.audit import audit
from api.uploading import check_type, store
from twin.errors import QuestionError
from twin.plant import Plant
from twin.quality import assess
from twin.store import PlantTable
from twin.telemetry import Telemetry, sources, with_calculated
from twin.timeline import iso
from twin.training.readiness import readiness

router = APIRouter(prefix="/v1/plants/{plant}/telemetry", tags=["telemetry"])

ARROW = "application/vnd.apache.arrow.stream"
BAD_POINTS = 2000  # spans of bad quality are as coarse as an overview of so many
CHUNK_ROWS = 200_000  # about so many rows of an Arrow answer are in memory at once

Start = Annotated[Time | None, Query(description="the first row, by default the first there is")]
End = Annotated[Time | None, Query(description="the last row, by default the last there is")]
AsOf = Annotated[int | None, Query(ge=0, description="as known at this version of the telemetry")]
UploadId = Annotated[str, Path(pattern=r"^[0-9]{1,18}$", description="the `upload` of a receipt")]
Tags = Annotated[list[str] | None, Query(description="the tags wanted, repeated or with commas; by default all")]


@router.post("", response_model=ReceiptAnswer, openapi_extra=body(CSV, "text/csv"))
async def upload(
    app: App,
    _: Uploader,
    request: Request,
    plant: PlantSlug,
    content_type: Annotated[str, Header()] = "",
    content_encoding: Annotated[str | None, Header()] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
    timezone: Annotated[str | None, Query(description="of times without an offset, such as Europe/Berlin")] = None,
) -> Response:
    """Store CSV, Parquet or an Arrow stream, wide or long; the receipt says what became of every row.

    The body is read while it arrives; a repeated Idempotency-Key (within 30 days) answers the first receipt and
    stores nothing.
    """
    check_type(content_type)
    stream = cast(BinaryIO, io.BufferedReader(BodyFile(request.stream()), 1 << 20))
    keep = partial(store, app, plant, stream, content_type, content_encoding, timezone, idempotency_key)
    receipt = await anyio.to_thread.run_sync(keep)
    return json_answer(receipt.to_json())


@router.get("", response_model=SeriesAnswer, responses={200: {"content": {ARROW: {}}}})
def read(
    app: App,
    _: Reader,
    plant: PlantSlug,
    start: Start = None,
    end: End = None,
    tags: Tags = None,
    max_points: Annotated[
        int | None, Query(ge=4, le=100_000, description="thin out, keeping extremes and gaps")
    ] = None,
    as_of: AsOf = None,
    bad: Annotated[bool, Query(description="tell the spans of bad quality too, in JSON")] = False,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """The rows of a span: JSON of at most 5,000 points where not asked otherwise; by Accept, all of them as Arrow."""
    described = app.catalog.plant(plant).plant
    names = _names(described, tags)
    table = app.store.plant(plant)
    first, last = _stamp(start), _stamp(end)
    if ARROW in accept:
        version = table.version if as_of is None else as_of
        if max_points is None:
            parts = _in_parts(described, table, first, last, names, version)
        else:
            parts = iter([_overview(described, table, first, last, names, max_points, version)])
        return StreamingResponse(_arrow(parts, names), media_type=ARROW)
    points = max_points or 5_000
    frame = _overview(described, table, first, last, names, points, as_of)
    values = {name: frame[name].tolist() for name in names}
    answer: dict[str, Any] = {"times": iso(pd.DatetimeIndex(frame.index)), "values": values}
    if bad:
        spans = table.bad_spans(first, last, names, points, as_of)
        answer["bad"] = {tag: [{"start": a, "end": b} for a, b in pairs] for tag, pairs in spans.items()}
    return json_answer(answer)


@router.get("/quality", responses={200: {"content": {"text/html": {}}}})
def quality(
    app: App,
    _: Reader,
    plant: PlantSlug,
    start: Start = None,
    end: End = None,
    as_of: AsOf = None,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """Coverage, gaps, frozen, spiking and out-of-range spans by tag, bad quality, jumps of level, odd times; what the
    MVs' moves can and cannot show; what training would use and drop. JSON, or HTML with an overview by Accept."""
    described = app.catalog.plant(plant).plant
    table = app.store.plant(plant)
    first, last = _stamp(start), _stamp(end)
    frame = table.read(first, last, described.names, as_of)
    bad = table.bad_spans(first, last, described.names, BAD_POINTS, as_of)
    stamps = pd.DatetimeIndex(frame.index).tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ns]")
    telemetry = Telemetry.from_frame(described, frame)
    report = {**assess(telemetry, table.uploads(), stamps, bad), "readiness": readiness(telemetry)}
    if "text/html" not in accept:
        return json_answer(report)
    from twin.quality_page import POINTS, page  # matplotlib is loaded when a page is first asked for

    text = page(described, report, _overview(described, table, first, last, list(described.scalars), POINTS, as_of))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": policy})


@router.get("/uploads")
def uploads(app: App, _: Reader, plant: PlantSlug) -> Response:
    """The receipts of all uploads, the last one first."""
    app.catalog.plant(plant)
    items = [
        {**u.receipt.to_json(), "at": u.at.isoformat(), "taken_back": u.taken_back}
        for u in app.store.plant(plant).uploads()
    ]
    return json_answer({"items": items, "next": None})


@router.delete("/uploads/{upload}")
def take_back(app: App, key: Uploader, plant: PlantSlug, upload: UploadId) -> Response:
    """Take a wrong upload back: its rows are gone, also where a later upload repeated them as duplicates."""
    app.catalog.plant(plant)
    version = app.store.plant(plant).take_back(upload)
    with app.db.write() as session:
        audit(session, key.id, "upload.take_back", f"{plant}/{upload}", {"version": version})
    return json_answer({"upload": upload, "version": version})


def _names(plant: Plant, tags: list[str] | None) -> list[str]:
    """Those asked for, of a vector tag all elements; by default the tags of one value a row."""
    wanted = [name for part in tags or [] for name in part.split(",") if name]
    found = [
        plant.names[column] if name in plant.vectors else plant.tag(name).name
        for name in wanted
        for column in plant.vectors.get(name, (0,))
    ]
    return list(dict.fromkeys(found)) or list(plant.scalars)


def _stamp(time: Time | None) -> pd.Timestamp | None:
    try:
        return None if time is None else pd.Timestamp(time)
    except (ValueError, OverflowError):
        raise QuestionError(f"{time} is out of the range of times") from None


def _overview(
    plant: Plant,
    table: PlantTable,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    names: list[str],
    points: int,
    as_of: int | None,
) -> pd.DataFrame:
    """The rows of a span, thinned out, calculated tags with them."""
    return with_calculated(plant, table.overview(start, end, sources(plant, names), points, as_of), names)


def _in_parts(
    plant: Plant,
    table: PlantTable,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    names: list[str],
    version: int,
) -> Iterator[pd.DataFrame]:
    """The rows of a span, a bounded number at a time."""
    if table.span is None:
        return
    first, last = max(filter(None, (start, table.span[0]))), min(filter(None, (end, table.span[1])))
    count = -(-table.rows // CHUNK_ROWS)
    step = max((table.span[1] - table.span[0]) / count, pd.Timedelta(seconds=1)).ceil("us")
    while first <= last:
        frame = table.read(first, min(first + step - pd.Timedelta("1us"), last), sources(plant, names), version)
        yield with_calculated(plant, frame, names)
        first += step


def _arrow(parts: Iterator[pd.DataFrame], names: list[str]) -> Iterator[bytes]:
    schema = pa.schema([("time", pa.timestamp("us", "UTC")), *((name, pa.float64()) for name in names)])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for part in parts:
            writer.write_table(
                pa.Table.from_pandas(part.rename_axis("time").reset_index(), schema, preserve_index=False)
            )
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()
