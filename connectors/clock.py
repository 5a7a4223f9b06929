"""The clock that connectors read, so that tests and replay can have their own."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

from connectors.protocol import NS


class Clock(Protocol):
    """What time it is, and how to wait."""

    def now(self) -> int:
        """Ns since 1970 UTC."""
        ...

    def latest(self) -> int:
        """Now, or what it would be now had nobody set the clock back since the start: ns since 1970 UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for so long by this clock."""
        ...


class SystemClock:
    """The clock of this machine."""

    def __init__(self) -> None:
        self._begun = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        return time.time_ns()

    def latest(self) -> int:
        return max(time.time_ns(), self._begun + time.monotonic_ns())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that goes only when it is told to.

    Args:
        now: ns since 1970 UTC.
    """

    def __init__(self, now: int = 0) -> None:
        self._now = now
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> int:
        return self._now

    def latest(self) -> int:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self._now + round(seconds * NS), next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Go on, waking who waited, each at its time."""
        end = self._now + round(seconds * NS)
        await _settle()
        while self._waiting and self._waiting[0][0] <= end:
            self._now, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
            await _settle()
        self._now = end


async def _settle() -> None:
    """Let all who are ready run."""
    for _ in range(20):
        await asyncio.sleep(0)
