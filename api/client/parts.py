"""A file in parts, by the tus protocol (1.0.0): what has arrived is not sent again, whatever breaks off.

`Parts.send` makes room for the file, or asks how much of it has arrived, sends the rest part by part, and reads the
receipt. A part that breaks off costs what of it had not arrived.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.client.errors import NotFoundError, UnreachableError, refusal
from api.client.flow import Content, Flow, Request, Send
from api.client.retry import LATER, Retry, said, send
from api.client.uploads import CHUNK, Progress

TUS = {"Tus-Resumable": "1.0.0"}
PART = {"Content-Type": "application/offset+octet-stream"}
PART_BYTES = 8 << 20
CONFLICT = httpx.codes.CONFLICT


@dataclass(frozen=True)
class Parts:
    """Sends a file.

    Attributes:
        files: the path of the files of a plant.
        source: what is sent; it must not change meanwhile.
        told: its content_type, content_encoding, timezone and idempotency_key.
        part_bytes: of one request; a proxy may bound it.
        on_progress: called with the bytes that were sent and those of the file.
    """

    files: str
    source: Path
    told: Mapping[str, str]
    retry: Retry
    part_bytes: int = PART_BYTES
    on_progress: Progress | None = None

    def send(self, at: str | None, on_begin: Callable[[str], None] | None) -> Flow[Any]:
        """Send what has not arrived; the receipt.

        Args:
            at: where an earlier attempt was going; where that is forgotten, the file is sent from its start.
            on_begin: called with where it goes, to go on from there in another life.
        """
        size = self.source.stat().st_size
        if not size:
            raise ValueError(f"{self.source.name} is empty")
        arrived = None if at is None else (yield from self._arrived(at))
        if at is None or arrived is None:
            at, arrived = (yield from self._begin(size)), 0
        if on_begin is not None:
            on_begin(at)
        yield from self._rest(at, arrived, size)
        answer = yield from self._asked(Request("GET", at))
        return answer.json()["receipt"]

    def _begin(self, size: int) -> Flow[str]:
        pairs = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in self.told.items())
        headers = TUS | {"Upload-Length": str(size), "Upload-Metadata": pairs}
        answer = yield from self._asked(Request("POST", self.files, headers=headers))
        location: str = answer.headers["Location"]
        return location

    def _arrived(self, at: str) -> Flow[int | None]:
        """Bytes of it that are there; None where it is forgotten."""
        try:
            answer = yield from self._asked(Request("HEAD", at, headers=TUS))
        except NotFoundError:
            return None
        return int(answer.headers["Upload-Offset"])

    def _rest(self, at: str, offset: int, size: int) -> Flow[None]:
        failures, done = 0, False
        while not done:
            answer, why = None, ""
            try:
                answer = yield Send(self._part(at, offset, size))
            except httpx.TransportError as error:
                why = said(error)
            if answer is not None and answer.is_success:
                failures, offset = 0, int(answer.headers["Upload-Offset"])
                done = offset == size
                continue
            if answer is not None and answer.status_code not in (*LATER, CONFLICT):
                raise refusal(answer)
            failures += 1
            if failures > self.retry.times:
                raise UnreachableError(f"{self.source.name}: broken off at {offset} of {size} bytes {why}".rstrip())
            yield self.retry.pause(failures, answer)
            arrived = yield from self._arrived(at)
            if arrived is None:
                raise UnreachableError(f"{self.source.name}: the service has forgotten what had arrived; send it again")
            failures = 0 if arrived > offset else failures
            offset = arrived

    def _part(self, at: str, offset: int, size: int) -> Request:
        """The next part; an empty one at the end asks again to have the file stored."""
        length = min(self.part_bytes, size - offset)
        headers = TUS | PART | {"Upload-Offset": str(offset)}
        content = Content(lambda: self._chunks(offset, length, size), length)
        return Request("PATCH", at, headers=headers, content=content)

    def _chunks(self, offset: int, length: int, size: int) -> Iterator[bytes]:
        with self.source.open("rb") as file:
            file.seek(offset)
            end = offset + length
            while offset < end and (chunk := file.read(min(CHUNK, end - offset))):
                yield chunk
                offset += len(chunk)
                if self.on_progress is not None:
                    self.on_progress(offset, size)

    def _asked(self, request: Request) -> Flow[httpx.Response]:
        answer = yield from send(request, self.retry)
        if answer.is_error:
            raise refusal(answer)
        return answer
