"""The last check before a value is written to a plant, independent of whoever computed it.

It refuses and never clips: a value that must be corrected here shows an error elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from connectors.clock import Clock, SystemClock
from connectors.errors import ConnectorError, RefusedError
from connectors.protocol import NS, Sink
from twin.errors import Problem

EARLY = 0.1  # of a period that a write may come early, made up for by the ones before
ULPS = 1e-9  # of a period: sums of floats are not exact


@dataclass(frozen=True)
class Bounds:
    """What may be written to one tag, in its engineering unit.

    Args:
        low, high: absolute limits.
        rate_per_s: largest change per second; None is unlimited.
    """

    low: float
    high: float
    rate_per_s: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConnectorError(f"limits {self.low:g} to {self.high:g}: both are needed, the low one first")
        if self.rate_per_s is not None and not self.rate_per_s > 0:
            raise ConnectorError(f"a rate limit of {self.rate_per_s:g}: it must be positive")


class Guarded:
    """A sink behind an allow-list, absolute limits and a rate check.

    A call with one bad value writes nothing. Moves draw on an allowance that grows at the rate limit, up to what one
    period earns: a long hold earns no leap, and many small writes get no further than one. A move is judged from the
    last value written or `seen` (read back, or moved by hand); before that is known nothing is written to a tag with
    a rate.

    Args:
        sink: what it writes to, entered and left with the guard.
        allowed: the bounds by tag; no other tag is ever written.
        period_s: of the writes.
    """

    def __init__(self, sink: Sink, allowed: Mapping[str, Bounds], period_s: float, clock: Clock | None = None) -> None:
        if not period_s > 0:
            raise ConnectorError(f"a period of {period_s:g} s: it must be positive")
        self._sink = sink
        self._allowed = dict(allowed)
        self._clock = clock or SystemClock()
        self._period_s = period_s
        self._last: dict[str, tuple[int, float]] = {}  # when (ns) a value was seen or written, and the value
        self._earned: dict[str, tuple[int, float]] = {}  # when (ns), and the seconds of full-rate moves left then

    async def __aenter__(self) -> Self:
        await self._sink.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sink.__aexit__(kind, error, trace)

    def seen(self, values: Mapping[str, float], time: int | None = None) -> None:
        """Tell what the plant has now (ns; the clock's time by default): moves are judged from there."""
        now = self._clock.now()
        stamp = now if time is None else min(time, now)
        for tag, value in values.items():
            since, _ = self._last.get(tag, (stamp, 0.0))
            if tag in self._allowed and math.isfinite(value) and stamp >= since:
                self._last[tag] = (stamp, float(value))

    def check(self, values: Mapping[str, float]) -> tuple[Problem, ...]:
        """Why these values would be refused; nothing where they would be written."""
        found = ((tag, self._why(tag, value)) for tag, value in values.items())
        return tuple(Problem((tag,), why) for tag, why in found if why)

    async def write(self, values: Mapping[str, float]) -> None:
        """Write all of them, or nothing.

        Raises:
            RefusedError: with every value that may not be written; nothing was.
            ConnectorError: the sink failed.
        """
        problems = self.check(values)
        if problems:
            told = "; ".join(f"'{problem.loc[0]}': {problem.msg}" for problem in problems)
            raise RefusedError(f"refused, nothing was written: {told}", problems)
        for tag, value in values.items():  # spent before it is known to have arrived
            self._earned[tag] = (self._clock.now(), self._allowance_s(tag) - self._cost_s(tag, value))
        await self._sink.write(values)
        self.seen(values)

    async def faults(self) -> Mapping[str, str]:
        """What the sink says of its mapping."""
        return await self._sink.faults()

    def _why(self, tag: str, value: float) -> str:
        bounds = self._allowed.get(tag)
        if bounds is None:
            return "is not on the allow-list"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"{value} is no finite number"
        if not bounds.low <= value <= bounds.high:
            return f"{value:.17g} is outside {bounds.low:g} to {bounds.high:g}"
        if bounds.rate_per_s is None:
            return ""
        if tag not in self._last:
            return "its present value is not known, so its rate cannot be judged; read it back first"
        before, allowed = self._last[tag][1], self._allowance_s(tag)
        if self._cost_s(tag, value) > allowed + ULPS * self._period_s:
            return (
                f"{value:.6g} from {before:.6g} is faster than {bounds.rate_per_s:g} per second: "
                f"{allowed:.3g} s of moves are left"
            )
        return ""

    def _allowance_s(self, tag: str) -> float:
        """Seconds of moves at the full rate that the tag may make now."""
        if tag not in self._earned:
            return self._period_s
        since, left = self._earned[tag]
        earned = left + (self._clock.now() - since) / NS
        return min(max(earned, left), (1 + EARLY) * self._period_s)

    def _cost_s(self, tag: str, value: float) -> float:
        """Seconds that the move to a value takes at the full rate."""
        rate = self._allowed[tag].rate_per_s
        return 0.0 if rate is None else abs(value - self._last[tag][1]) / rate
