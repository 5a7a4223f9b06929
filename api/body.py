"""A request's body as a file that a thread reads while it arrives."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import anyio.from_thread

from api.errors import TooLargeError


class BodyFile(io.RawIOBase):
    """Reads chunks of an asynchronous stream from a worker thread of the event loop.

    The next chunk is asked for when the one before is used up, so that a slow reader slows the sender and
    memory stays constant.

    Args:
        chunks: the body, as it arrives on the event loop.
        limit: the most bytes that may come.
    """

    def __init__(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._received = 0
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = anyio.from_thread.run(self._next)
            if chunk is None:
                return 0
            self._received += len(chunk)
            if self._received > self._limit:
                raise TooLargeError(f"the upload is over {self._limit} bytes; send it in parts")
            self._rest = memoryview(chunk)
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)
