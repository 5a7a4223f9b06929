"""Is what was read fit to control by? Each check looks at one reading and what is remembered of its tag."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from api.control.clock import NS
from api.control.configuration import Input

GOOD_BITS = 0b11_000000  # of an OPC DA quality: 11 good, 01 uncertain, 00 bad
FUTURE_SHARE = 1.0  # a time stamp ahead of our clock by more than this share of its largest age is no measurement


@dataclass(frozen=True)
class Reading:
    """What a source says of one tag: time in ns UTC, value (NaN is missing), OPC DA quality."""

    time: int
    value: float
    quality: int


@dataclass(frozen=True)
class Memory:
    """What is remembered of one tag: its last good value with the cycle's time, and since when it has not changed."""

    value: float = math.nan
    time: int = 0
    since: int = 0

    def with_good(self, value: float, now: int) -> Memory:
        """After a good reading."""
        return Memory(value, now, self.since if value == self.value else now)


@dataclass(frozen=True)
class Finding:
    """Something wrong with an input, or a thing an operator should know."""

    code: str
    tag: str | None
    detail: str
    critical: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check(reading: Reading | None, asked: Input, past: Memory, now: int, period_s: float) -> Finding | None:
    """What is wrong with a reading; nothing where it is good.

    Args:
        reading: None where the source has nothing.
        now: the cycle's time, ns.
        period_s: between two cycles.
    """

    def bad(code: str, detail: str) -> Finding:
        return Finding(code, asked.name, f"{asked.name} {detail}", asked.critical)

    if reading is None or math.isnan(reading.value):
        return bad("missing", "has no value")
    if reading.quality & GOOD_BITS != GOOD_BITS:
        return bad("bad_quality", f"has quality {reading.quality}, which is not good")
    if math.isinf(reading.value):
        return bad("out_of_range", "is infinite")
    age_s = (now - reading.time) / NS
    if age_s > asked.max_age_s:
        return bad("stale", f"is {age_s:.1f} s old, more than {asked.max_age_s:g} s")
    if age_s < -FUTURE_SHARE * asked.max_age_s:
        return bad("future", f"is stamped {-age_s:.1f} s ahead of our clock")
    if not asked.low <= reading.value <= asked.high:
        return bad("out_of_range", f"= {reading.value:g} is outside its range, {asked.low:g} to {asked.high:g}")
    if not math.isnan(past.value):
        cycles = max((now - past.time) / NS / period_s, 1.0)
        step = abs(reading.value - past.value)
        if step > asked.max_step * cycles:
            return bad("spike", f"jumped by {step:.6g}, more than {asked.max_step * cycles:g} is not credible")
        still_s = (now - past.since) / NS
        if reading.value == past.value and still_s >= asked.frozen_after_s:
            return bad("frozen", f"has been {reading.value:g} for {still_s:.0f} s")
    return None
