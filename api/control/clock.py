"""The controller's time: cycles are due by a clock that never steps, and rows lie on its grid."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

NS = 1_000_000_000
SLEW = 0.01  # of the time that passes: how fast a small difference to the wall clock is worked off
STEP_S = 1.0  # a difference to the wall clock from which it has stepped: it is told, not followed


class Clock(Protocol):
    """Plant time (`now`, a superset of what connectors ask for) and its steady seconds."""

    def now(self) -> int:
        """Ns since 1970 UTC."""
        ...

    def latest(self) -> int:
        """The same: it never steps."""
        ...

    def steady(self) -> float:
        """Seconds of plant time since some moment; never steps."""
        ...

    def real(self, seconds: float) -> float:
        """How long so many seconds of plant time take on the wall."""
        ...

    def stepped_s(self) -> float:
        """By how much the wall clock has stepped away from `now`; 0 where it has not."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of plant time."""
        ...


class SteadyClock:
    """Follows the wall clock as far as that does not step.

    `now` runs with the monotonic clock and is drawn to the wall clock by at most `SLEW` of the time that passes, so
    the drift of a quartz is corrected, and a step of the wall clock leaves the grid of rows whole.

    Args:
        speed: plant seconds in a second, for simulated plants.
        epoch, since: where speed is not 1, the plant's time is epoch + speed · (wall clock − since), ns.
    """

    def __init__(
        self,
        speed: float = 1.0,
        epoch: int = 0,
        since: int = 0,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.speed, self._epoch, self._since = speed, epoch, since
        self._wall, self._monotonic = wall, monotonic
        self._seconds, self._told = monotonic(), self._plant()

    def now(self) -> int:
        seconds = self._monotonic()
        passed = (seconds - self._seconds) * self.speed
        self._seconds = seconds
        expected = self._told + round(passed * NS)
        apart = self._plant() - expected
        most = round(SLEW * passed * NS)
        if abs(apart) < STEP_S * max(self.speed, 1.0) * NS:
            expected += min(max(apart, -most), most)
        self._told = expected
        return expected

    def latest(self) -> int:
        return self.now()

    def steady(self) -> float:
        return self._monotonic() * self.speed

    def real(self, seconds: float) -> float:
        return seconds / self.speed

    def stepped_s(self) -> float:
        apart = (self._plant() - self.now()) / NS / self.speed
        return apart if abs(apart) >= STEP_S else 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds / self.speed, 0.0))

    def _plant(self) -> int:
        wall = self._wall()
        return wall if self.speed == 1.0 else self._epoch + round(self.speed * (wall - self._since))
