"""What performs the commands of flows: a wire that blocks, and one that awaits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, TypeVar

import httpx

from api.client.flow import Command, Content, Flow, Give, Line, Open, Pause, Request, Send

T = TypeVar("T")

CONNECT_S = 5.0
ASKING = httpx.Timeout(120.0, connect=CONNECT_S)
UPLOADING = httpx.Timeout(None, connect=CONNECT_S)  # a receipt comes when everything is stored
STREAMING = httpx.Timeout(60.0, connect=CONNECT_S)  # an idle stream sends a comment every 15 s


class Wire:
    """Performs commands, and blocks."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._open: httpx.Response | None = None
        self._lines: Iterator[str] = iter(())

    def do(self, command: Command) -> Any:
        """The outcome of a command; raises `httpx.TransportError` where the connection fails."""
        match command:
            case Send(request):
                body = None if request.content is None else request.content.chunks()
                return self._http.send(_built(self._http, request, body))
            case Open(request):
                self.close()
                self._open = self._http.send(_built(self._http, request, None, STREAMING), stream=True)
                self._lines = self._open.iter_lines()
                if self._open.is_error:
                    self._open.read()
                return self._open
            case Line():
                return next(self._lines, None)
            case Pause(seconds):
                return time.sleep(seconds)
        raise TypeError(command)

    def close(self) -> None:
        """Close the open answer, if there is one."""
        if self._open is not None:
            self._open.close()


class AsyncWire:
    """Performs commands under asyncio."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._open: httpx.Response | None = None
        self._lines: AsyncIterator[str] | None = None

    async def do(self, command: Command) -> Any:
        """As `Wire.do`."""
        match command:
            case Send(request):
                body = None if request.content is None else _chunks(request.content)
                return await self._http.send(_built(self._http, request, body))
            case Open(request):
                await self.close()
                self._open = await self._http.send(_built(self._http, request, None, STREAMING), stream=True)
                self._lines = self._open.aiter_lines()
                if self._open.is_error:
                    await self._open.aread()
                return self._open
            case Line():
                return None if self._lines is None else await anext(self._lines, None)
            case Pause(seconds):
                return await asyncio.sleep(seconds)
        raise TypeError(command)

    async def close(self) -> None:
        """Close the open answer, if there is one."""
        if self._open is not None:
            await self._open.aclose()


def perform(flow: Flow[T], wire: Wire) -> Generator[Any, None, T]:
    """Perform a flow: yields the items that it gives, returns its result."""
    try:
        command = next(flow)
        while True:
            if isinstance(command, Give):
                yield command.item
                command = flow.send(None)
                continue
            try:
                outcome = wire.do(command)
            except httpx.TransportError as error:
                command = flow.throw(error)
            else:
                command = flow.send(outcome)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()
        wire.close()


async def perform_async(flow: Flow[T], wire: AsyncWire, results: list[T]) -> AsyncIterator[Any]:
    """As `perform`; an asynchronous generator returns nothing, so the result goes into a list."""
    try:
        command = next(flow)
        while True:
            if isinstance(command, Give):
                yield command.item
                command = flow.send(None)
                continue
            try:
                outcome = await wire.do(command)
            except httpx.TransportError as error:
                command = flow.throw(error)
            else:
                command = flow.send(outcome)
    except StopIteration as end:
        results.append(end.value)
    finally:
        flow.close()
        await wire.close()


def _built(
    http: httpx.Client | httpx.AsyncClient, request: Request, body: Any, timeout: httpx.Timeout | None = None
) -> httpx.Request:
    headers = dict(request.headers)
    if request.content is not None and request.content.size is not None:
        headers["Content-Length"] = str(request.content.size)
    return http.build_request(
        request.method,
        request.path,
        params=request.params,
        headers=headers,
        json=request.json,
        content=body,
        timeout=timeout or (ASKING if request.content is None else UPLOADING),
    )


async def _chunks(content: Content) -> AsyncIterator[bytes]:
    """The chunks of a body, read beside the event loop."""
    chunks = content.chunks()
    while chunk := await asyncio.to_thread(next, chunks, b""):
        yield chunk
