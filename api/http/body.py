"""A request's body as a file that threads read while it arrives."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import anyio.from_thread
import anyio.lowlevel


class BodyFile(io.RawIOBase):
    """Reads the chunks of an asynchronous stream from other threads; made on the event loop.

    The next chunk is asked for when the one before is used up, so that a slow reader slows the sender and
    memory stays constant.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._loop = anyio.lowlevel.current_token()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = anyio.from_thread.run(self._next, token=self._loop)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)
