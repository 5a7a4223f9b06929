"""The last step before any MV value leaves the library: inside limits and rate limits, to the last bit.

Everything is float64 in engineering units, and every path that returns MV values ends here, holds included.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from twin.plant import Tag


@dataclass(frozen=True)
class Envelope:
    """Where one MV may go: its limits, its largest change per second and in a row; absent ones are infinite."""

    low: float
    high: float
    rate_per_s: float
    period_s: float
    max_move: float = math.inf

    @cached_property
    def reach(self) -> float:
        """The largest change in a row."""
        return min(self.rate_per_s * self.period_s, self.max_move)

    @classmethod
    def of(cls, tag: Tag, period_s: float) -> Envelope:
        """The envelope of an MV as its plant states it."""
        low = -math.inf if tag.low is None else tag.low
        high = math.inf if tag.high is None else tag.high
        rate = math.inf if tag.rate_limit_per_s is None else tag.rate_limit_per_s
        return cls(low, high, rate, period_s)

    def admits(self, value: float, previous: float) -> bool:
        """Whether one row may follow another: the check that `strict` makes true for every row it returns.

        A value outside the limits is admitted only where it comes back at the full rate (or rests at the float
        beside it).
        """
        if not self._slow_enough(value, previous):
            return False
        if self.low <= value <= self.high:
            return True
        limit = self.low if value < self.low else self.high
        return value == self._toward(limit, previous)

    def _toward(self, target: float, previous: float) -> float:
        """The value nearest to `target` that may follow `previous`."""
        reach = self.reach
        value = min(max(target, previous - reach), previous + reach)
        while not self._slow_enough(value, previous):
            value = math.nextafter(value, previous)
        return value

    def _slow_enough(self, value: float, previous: float) -> bool:
        change = abs(value - previous)
        return change <= self.reach and change / self.period_s <= self.rate_per_s


def strict(asked: Iterable[float], present: float, envelope: Envelope) -> np.ndarray:
    """The values nearest to those asked that keep the limits, |u[k] − u[k−1]| ≤ rate · T and
    |u[k] − u[k−1]| / T ≤ rate as float64 computes them; u[−1] is the present value.

    Plain clipping breaks the rate limit by one unit in the last place in about one move of six, so each value is
    moved toward the previous one, float by float, until the check holds. Where the present value is outside the
    limits the rate limit wins, and the plan returns at the full rate.

    Args:
        asked: (K,) values, engineering units; a value that is not a number asks for the previous one.
        present: the value now in force, finite.
        envelope: the limits to keep.

    Returns:
        (K,) float64.
    """
    previous = present
    kept = []
    for value in asked:
        wanted = previous if math.isnan(value) else float(value)
        previous = envelope._toward(min(max(wanted, envelope.low), envelope.high), previous)
        kept.append(previous)
    return np.array(kept, np.float64)
