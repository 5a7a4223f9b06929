"""Whatever happens, nothing is ever written outside limits, faster than the rates, or in a mode that does not write.

Each example is a story of events, one a cycle, at a plant in memory whose planner answers anything at all; the test
keeps books of its own on what was written.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.control.link import LinkError
from api.control.modes import Event, Mode, RefusedModeError
from tests.control.support import AT_REST, PERIOD_S, Rig, rig

LIMITS = {"flow": (10.0, 90.0, 0.5), "steam": (0.0, 100.0, 1.0)}  # low, high, rate per second
NUMBER = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-20.0, 120.0),
    st.sampled_from([0.0, 10.0, math.nextafter(10.0, 0.0), 90.0, math.nextafter(90.0, 100.0), 55.0, 45.0]),
)
ASKED = [Mode.OFF, Mode.SHADOW, Mode.ADVISORY, Mode.CLOSED]
SAFE = {"flow": 30.0, "steam": 0.0}
STATUS = st.sampled_from(["optimal", "feasible", "relaxed", "abstained", "mystery", None])
EVENT = st.one_of(
    st.tuples(st.just("answer"), NUMBER, NUMBER, STATUS),
    st.tuples(st.just("mode"), st.sampled_from(ASKED), st.booleans(), st.booleans()),
    st.tuples(st.just("hand"), st.sampled_from(["flow", "steam"]), st.floats(-20.0, 120.0), st.none()),
    st.tuples(st.just("tag"), st.sampled_from(sorted(AT_REST)), NUMBER, st.sampled_from([0, 64, 192])),
    st.tuples(st.just("loop"), st.sampled_from(["flow.mode", "steam.mode", "switch"]), st.booleans(), st.none()),
    st.tuples(st.just("slow"), st.floats(0.0, 12.0), st.none(), st.none()),
    st.tuples(st.just("lost"), st.booleans(), st.none(), st.none()),
    st.tuples(st.just("refuse"), st.sampled_from(["flow", "heartbeat", ""]), st.none(), st.none()),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EVENT, min_size=1, max_size=25), st.booleans(), st.booleans())
def test_nothing_is_written_outside_limits_rates_or_closed(
    story: list[tuple[Any, ...]], allowed: bool, safe: bool
) -> None:
    asyncio.run(_tell(story, allowed, safe))


async def _tell(story: list[tuple[Any, ...]], allowed: bool, safe: bool) -> None:
    r = rig(closed_loop_allowed=allowed, mvs=_mvs(safe), patience=2)
    books = Books(r)
    if allowed:
        await r.close_loop()
    for event in story:
        await _happen(r, event)
        await r.cycle()
        books.check(allowed)


def _mvs(safe: bool) -> dict[str, Any]:
    mvs: dict[str, Any] = {
        "flow": {"low": 10.0, "high": 90.0, "mode_tag": "flow.mode"},
        "steam": {"mode_tag": "steam.mode"},
    }
    return {name: mv | ({"safe": SAFE[name]} if safe else {}) for name, mv in mvs.items()}


async def _happen(r: Rig, event: tuple[Any, ...]) -> None:
    kind, a, b, c = event
    if kind == "answer":
        r.planner.change = {"next": {"flow": a, "steam": b}, "status": c}
    elif kind == "mode":
        try:
            await r.controller.request(a, "operator", "", scope=b, confirmed=c)
        except RefusedModeError:
            return
    elif kind == "hand":
        r.plant.set({a: b})
    elif kind == "tag":
        r.plant.set({a: b}, quality=c)
    elif kind == "loop":
        r.plant.set({a: float(b)})
    elif kind == "slow":
        r.planner.takes_s = a
    elif kind == "lost":
        r.planner.broken = LinkError("service_lost", "") if a else None
    elif kind == "refuse":
        r.plant.refuse = {a: "interlock"} if a else {}


class Books:
    """Judges every write by itself: the mode when it was made, the present value before it, limits and rates."""

    def __init__(self, r: Rig) -> None:
        self._rig = r
        self.wrong: list[str] = []
        self.writes = 0
        write = r.plant.write

        async def judged(values: Mapping[str, float]) -> None:
            self.writes += 1
            if r.controller.mode not in (Mode.CLOSED, Mode.SHEDDING):
                self.wrong.append(f"{values} in {r.controller.mode}")
            for mv, (low, high, rate) in LIMITS.items():
                if mv in values:
                    present = r.plant._now[mv][1]
                    if not low <= values[mv] <= high:
                        self.wrong.append(f"{mv} = {values[mv]!r} outside its limits")
                    if not abs(values[mv] - present) <= rate * PERIOD_S:
                        self.wrong.append(f"{mv}: {present!r} to {values[mv]!r} too fast")
                    if r.controller.mode is Mode.SHEDDING and not _between(values[mv], present, SAFE[mv]):
                        self.wrong.append(f"{mv}: {present!r} to {values[mv]!r} leads away from {SAFE[mv]!r}")
                    if r.plant._now[f"{mv}.mode"][1] != 1.0:
                        self.wrong.append(f"{mv} written in manual")
            if set(values) - {"flow", "steam", "heartbeat", "flow.mode", "steam.mode"}:
                self.wrong.append(f"{values} is not on the list")
            await write(values)

        r.plant.write = judged  # type: ignore[method-assign]

    def check(self, allowed: bool) -> None:
        assert self.wrong == []
        assert allowed or self.writes == 0


def _between(value: float, one: float, other: float) -> bool:
    return min(one, other) <= value <= max(one, other)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([e for e in Event if e is not Event.CLOSED]), st.booleans()), max_size=20))
def test_no_story_without_a_request_for_closed_writes_anything(story: list[tuple[Event, bool]]) -> None:
    async def tell() -> None:
        r = rig()
        for event, good in story:
            r.plant.set({"temperature": 75.0}, quality=192 if good else 0)
            await r.controller.change(event, "operator", "")
            await r.cycle()
        assert r.plant.written == []

    asyncio.run(tell())
