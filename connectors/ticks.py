"""A steady rate for what is polled."""

from __future__ import annotations

from connectors.clock import Clock
from connectors.protocol import NS, Health


class Ticks:
    """The moments of a rate: whole multiples of the period since 1970, so that they are the same after a restart.

    A moment that has passed while the one before was still worked on is skipped, and counted as a gap.
    """

    def __init__(self, period_s: float, clock: Clock, health: Health) -> None:
        self._period = max(round(period_s * NS), 1)
        self._clock = clock
        self._health = health
        self._last: int | None = None

    async def next(self) -> None:
        """Wait for the next moment."""
        now = self._clock.now()
        tick = -(-now // self._period)
        if self._last is not None:
            tick = max(tick, self._last + 1)
            if tick > self._last + 1:
                self._health.gaps += tick - self._last - 1
        self._last = tick
        await self._clock.sleep(max(tick * self._period - now, 0) / NS)
