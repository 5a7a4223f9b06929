"""Files of telemetry in parts, for links that break: tus 1.0.0, core with creation, termination and expiration.

POST makes room for a file, PATCH sends a part of it, HEAD tells how much has arrived; with the last byte the file is
stored as an upload is, and GET answers its receipt. Any tus client can send; see https://tus.io/protocols/.
"""

from __future__ import annotations

import base64
import binascii
from email.utils import formatdate
from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Path, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.deps import App, PlantSlug, Reader, Uploader
from api.http.answers import FileAnswer, json_answer
from api.http.errors import MediaTypeError
from api.incoming import Incoming
from api.service import Service
from api.uploading import check_type, store
from twin.errors import ConflictError, QuestionError, TelemetryError

TUS = "1.0.0"
OFFSET_STREAM = "application/offset+octet-stream"
BINARY = {"type": "string", "format": "binary"}
TOLD = ("content_type", "content_encoding", "timezone", "idempotency_key")
ABOUT = {"Tus-Resumable": TUS, "Tus-Version": TUS, "Tus-Extension": "creation,termination,expiration"}

FileId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="the end of the Location of the POST")]
Offset = Annotated[int, Header(ge=0, lt=2**53, description="bytes that have arrived: where this part begins")]
Length = Annotated[int, Header(ge=1, lt=2**53, description="bytes of the whole file")]
Metadata = Annotated[str, Header(description=f"tus's pairs of a name and base64: {', '.join(TOLD)}")]


async def _speaks_tus(
    tus_resumable: Annotated[str, Header(description="the version of the protocol, 1.0.0")] = TUS,
) -> None:
    if tus_resumable != TUS:
        raise HTTPException(412, f"Tus-Resumable: this service speaks {TUS}", headers=ABOUT)


router = APIRouter(prefix="/v1/plants/{plant}/telemetry/files", tags=["telemetry"], dependencies=[Depends(_speaks_tus)])


@router.options("", status_code=204, response_class=Response)
def about(app: App, _: Uploader, plant: PlantSlug) -> Response:
    """What of tus this service speaks, and the largest file."""
    return Response(status_code=204, headers=ABOUT | {"Tus-Max-Size": str(app.settings.max_upload_bytes)})


@router.post("", status_code=201, response_class=Response)
def create(app: App, _: Uploader, plant: PlantSlug, upload_length: Length, upload_metadata: Metadata = "") -> Response:
    """Make room for a file; its Location is where the parts go. `content_type` says what it is, CSV by default."""
    app.catalog.plant(plant)
    if upload_length > app.settings.max_upload_bytes:
        raise HTTPException(413, f"the file is over {app.settings.max_upload_bytes} bytes; send it as several")
    told = {"content_type": "text/csv"} | _told(upload_metadata)
    check_type(told["content_type"])
    file = app.inbox.create(plant, upload_length, told)
    return Response(
        status_code=201, headers={"Location": f"/v1/plants/{plant}/telemetry/files/{file.id}", **_where(file)}
    )


@router.head("/{file}", response_class=Response)
def offset(app: App, _: Uploader, plant: PlantSlug, file: FileId) -> Response:
    """How much has arrived, in Upload-Offset."""
    found = app.inbox.find(plant, file)
    return Response(headers=_where(found) | {"Upload-Length": str(found.length)})


@router.get("/{file}", response_model=FileAnswer)
def get_file(app: App, _: Reader, plant: PlantSlug, file: FileId) -> Response:
    """How much of a file has arrived; when it is whole and stored, its receipt."""
    found = app.inbox.find(plant, file)
    return json_answer({"file": found.id, "length": found.length, "offset": found.offset, "receipt": found.receipt})


@router.patch(
    "/{file}",
    status_code=204,
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "content": {OFFSET_STREAM: {"schema": {"type": "string", "format": "binary"}}},
            "required": True,
        }
    },
)
async def send_part(
    app: App,
    _: Uploader,
    request: Request,
    plant: PlantSlug,
    file: FileId,
    upload_offset: Offset,
    content_type: Annotated[str, Header()] = "",
) -> Response:
    """Send a part from Upload-Offset on; with the last byte the file is stored, all or nothing.

    A file that cannot be read is refused with the reasons and given up. Where storing failed for another reason, an
    empty part at the end tries again.
    """
    if content_type != OFFSET_STREAM:
        raise MediaTypeError(f"Content-Type '{content_type}': parts are sent as {OFFSET_STREAM}")
    found = app.inbox.find(plant, file)
    if found.receipt is None:
        await _append(app, found, upload_offset, request)
        if found.offset == found.length:
            await anyio.to_thread.run_sync(partial(_finish, app, found))
    elif upload_offset != found.length:
        raise ConflictError(f"Upload-Offset {upload_offset}: the file is whole, with {found.length} bytes")
    return Response(status_code=204, headers=_where(app.inbox.find(plant, file)))


@router.delete("/{file}", status_code=204)
def give_up(app: App, _: Uploader, plant: PlantSlug, file: FileId) -> Response:
    """Give up a file that is on its way; one that is stored stays so."""
    app.inbox.forget(app.inbox.find(plant, file))
    return Response(status_code=204, headers={"Tus-Resumable": TUS})


async def _append(app: Service, file: Incoming, begins: int, request: Request) -> None:
    with app.inbox.writing(file) as target:
        if begins != file.offset:
            raise ConflictError(f"Upload-Offset {begins}: {file.offset} bytes have arrived; go on from there")
        try:
            async for chunk in request.stream():
                if target.tell() + len(chunk) > file.length:
                    raise HTTPException(413, f"more than the {file.length} bytes that Upload-Length said")
                await anyio.to_thread.run_sync(target.write, chunk)
        except ClientDisconnect:
            return  # what has arrived is kept


def _finish(app: Service, file: Incoming) -> None:
    told = file.told
    try:
        with file.path.open("rb") as stream:
            about = (told["content_type"], told.get("content_encoding"), told.get("timezone"))
            receipt = store(app, file.plant, stream, *about, file.idempotency_key)
    except (TelemetryError, ConflictError):
        app.inbox.forget(file)
        raise
    app.inbox.stored(file, receipt.to_json())


def _where(file: Incoming) -> dict[str, str]:
    until = {} if file.receipt is not None else {"Upload-Expires": formatdate(file.expires, usegmt=True)}
    return {"Tus-Resumable": TUS, "Upload-Offset": str(file.offset), "Cache-Control": "no-store", **until}


def _told(metadata: str) -> dict[str, str]:
    """Upload-Metadata: comma-separated pairs of a name and a base64 value. What is not known here is left alone."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, metadata.split(","))):
        name, _, value = pair.partition(" ")
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise QuestionError.at(("Upload-Metadata", name), "is no base64 of text") from None
        if name in TOLD and text:
            found[name] = text
    return found
