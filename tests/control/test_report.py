"""The report of a handful of records, worked out by hand; and running on time, with what is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from api.control.clock import NS, SteadyClock
from api.control.link import LinkError
from api.control.modes import Mode
from api.control.report import summarize
from api.control.runner import Runner
from tests.control.support import PERIOD_S, rig


def cycle(n: int, mode: str, cost: float, value: float, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "cycle",
        "run": "r",
        "n": n,
        "at": f"t{n}",
        "mode": mode,
        "cost": cost,
        "values": {"level": value},
        "setpoints": {"level": 2.0},
        "next": {"valve": 1.0},
        "jitter_s": 0.01 * n,
        "took_s": 0.1,
        **fields,
    }


RECORDS = [
    cycle(1, "shadow", 4.0, 4.0),
    cycle(2, "shadow", 2.0, 3.0, held={"valve": "manual"}, clamped={"valve": "held"}),
    {"kind": "mode", "from": "shadow", "to": "closed", "event": "closed", "by": "k", "reason": "go"},
    cycle(4, "closed", 1.0, 2.0, written={"valve": 1.0}, predicted={"level": 2.5}, clamped={"valve": "high"}),
    cycle(5, "closed", 1.0, 3.0, written={"valve": 1.0}, predicted={"level": 3.5}, clamped={"valve": "rate"}),
    cycle(6, "closed", 0.0, 3.0, fault={"code": "late", "detail": ""}, findings=[{"code": "stale", "tag": "feed"}]),
    {"kind": "mode", "at": "t6", "from": "closed", "to": "shadow", "event": "shed", "by": "it", "reason": "late"},
    cycle(8, "shadow", 6.0, 4.0, missed=2),
]


def test_a_report_worked_out_by_hand() -> None:
    report = summarize(RECORDS)
    assert (report["start"], report["end"], report["cycles"], report["missed"]) == ("t1", "t8", 6, 2)
    assert report["by_mode"] == {"off": 0, "shadow": 3, "advisory": 0, "closed": 3, "shedding": 0}
    assert report["service_factor"] == 2 / 8
    assert report["written_share_of_closed"] == 2 / 3
    assert report["faults"] == {"late": 1}
    assert report["findings"] == {"feed": {"stale": 1}}
    valve = report["mvs"]["valve"]
    assert (valve["at_high"], valve["at_rate"], valve["held"], valve["clamped"]) == (1 / 6, 1 / 6, 1 / 6, 3 / 6)
    assert valve["held_because"] == {"manual": 1}
    ends = [{"at": "t6", "event": "shed", "to": "shadow", "by": "it", "reason": "late"}]
    assert report["overrides"] == ends
    # Errors of the two forecasts: 3 − 2.5 and 3 − 3.5.
    assert report["prediction"]["level"] == {"bias": 0.0, "rmse": 0.5, "rows": 2}
    assert report["benefit"]["baseline"]["mean_cost"] == 4.0
    assert report["benefit"]["closed"]["mean_cost"] == pytest.approx(2 / 3)
    assert report["benefit"]["saved_per_row"] == pytest.approx(4 - 2 / 3)
    # Errors in closed loop: 0, 1, 1.
    assert report["benefit"]["closed"]["cvs"]["level"]["rms_error"] == pytest.approx((2 / 3) ** 0.5)
    assert report["timing"]["jitter_s"] == {"p50": 0.05, "p99": 0.08, "max": 0.08}
    assert report["timing"]["late"] == 1


def test_a_report_of_nothing() -> None:
    assert summarize([])["service_factor"] is None


class Desk:
    """Where the controller reports: keeps everything, and answers what is wanted."""

    def __init__(self) -> None:
        self.reports: list[Mapping[str, Any]] = []
        self.wanted: dict[str, Any] | None = None
        self.gone = False

    async def exchange(self, report: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if self.gone:
            raise LinkError("service_lost", "gone")
        self.reports.append(report)
        return {"wanted": self.wanted}

    def ask(self, number: int, **wanted: Any) -> None:
        self.wanted = {"id": number, "by": "k", "reason": "", "age_s": 1.0, **wanted}


def test_cycles_are_due_on_a_steady_grid_and_missed_ones_are_counted() -> None:
    async def run() -> None:
        r, desk = rig(), Desk()
        runner = Runner(r.controller, desk, r.pace, PERIOD_S, PERIOD_S)
        dues = []
        inner = r.controller.cycle

        async def seen(due: float, missed: int = 0) -> dict[str, Any]:
            dues.append((due, r.pace.steady(), missed))
            r.pace.go(25.0 if len(dues) == 2 else 3.0)
            return await inner(due, missed)

        r.controller.cycle = seen  # type: ignore[method-assign]
        await runner.run(asyncio.Event(), 4)
        # The second cycle, due at 10, ends at 35: those due at 20 and 30 are missed, the next is on the grid again.
        assert dues == [(0.0, 0.0, 0), (10.0, 10.0, 0), (40.0, 40.0, 2), (50.0, 50.0, 0)]
        assert runner.missed == 2

    asyncio.run(run())


def test_wishes_are_taken_once_in_time_and_answered() -> None:
    async def run() -> None:
        r, desk = rig(), Desk()
        runner = Runner(r.controller, desk, r.pace, PERIOD_S, PERIOD_S)
        r.controller.tell = runner.tell
        await runner.start()
        await r.cycle()
        desk.ask(1, mode="closed", confirmed=True, age_s=61.0)
        await runner.exchange()
        assert r.controller.mode is Mode.SHADOW  # a confirmation is good for a minute
        await runner.exchange()
        assert "confirmation" in desk.reports[-1]["state"]["request"]["detail"]
        desk.ask(2, mode="closed", confirmed=True)
        await runner.exchange()
        assert r.controller.mode is Mode.CLOSED
        await r.controller.request(Mode.OFF, "somebody", "")
        await runner.exchange()  # the same wish again is not taken again
        assert r.controller.mode is Mode.OFF
        desk.ask(3, setpoints={"temperature": 300.0})
        await runner.exchange()
        await runner.exchange()
        assert "outside what may be asked" in desk.reports[-1]["state"]["request"]["detail"]

    asyncio.run(run())


def test_after_a_restart_it_is_never_closed_and_keeps_the_setpoints() -> None:
    async def run() -> None:
        for last, expected in (("closed", "shadow"), ("advisory", "advisory"), ("off", "off")):
            r, desk = rig(), Desk()
            desk.ask(7, last_mode=last, mode=last, confirmed=True, setpoints={"temperature": 90.0})
            runner = Runner(r.controller, desk, r.pace, PERIOD_S, PERIOD_S)
            await runner.start()
            await runner.exchange()
            assert r.controller.mode == expected
            assert r.controller.changed == {"temperature": 90.0}

    asyncio.run(run())


def test_records_wait_while_the_service_is_gone() -> None:
    async def run() -> None:
        r, desk = rig(), Desk()
        runner = Runner(r.controller, desk, r.pace, PERIOD_S, PERIOD_S)
        r.controller.tell = runner.tell
        desk.gone = True
        for _ in range(3):
            await r.cycle()
            await runner.exchange()
        desk.gone = False
        await runner.exchange()
        assert [record["n"] for record in desk.reports[0]["records"]] == [1, 2, 3]
        await runner.exchange()
        assert desk.reports[1]["records"] == []

    asyncio.run(run())


def test_a_stopped_controller_leaves_closed_in_order() -> None:
    async def run() -> None:
        r, desk = rig(), Desk()
        runner = Runner(r.controller, desk, r.pace, PERIOD_S, PERIOD_S)
        await r.close_loop()
        await runner.run(asyncio.Event(), 2)
        assert r.controller.mode is Mode.SHADOW
        assert r.plant.written[-1][1] == {"flow.mode": 0.0, "steam.mode": 0.0}

    asyncio.run(run())


class Hands:
    """The hands of a wall clock and of a monotonic one."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_000 * NS, 5.0

    def go(self, seconds: float, wall: float | None = None) -> None:
        self.monotonic += seconds
        self.wall += round((seconds if wall is None else wall) * NS)


def test_the_clock_follows_drift_and_not_steps() -> None:
    hands = Hands()
    clock = SteadyClock(wall=lambda: hands.wall, monotonic=lambda: hands.monotonic)
    hands.go(10.0)
    assert clock.now() == 1_010 * NS
    hands.go(10.0, wall=10.05)  # 5 s of 1,000 fast: followed within a hundredth of the time that passes
    assert clock.now() == 1_020 * NS + round(0.05 * NS)
    hands.go(10.0, wall=10.0 + 3_600)
    assert clock.now() == 1_030 * NS + round(0.05 * NS)
    assert clock.stepped_s() == pytest.approx(3_600)
    assert clock.steady() == 35.0


def test_a_fast_clock_runs_from_its_epoch() -> None:
    hands = Hands()
    clock = SteadyClock(25.0, 7_000 * NS, 1_000 * NS, wall=lambda: hands.wall, monotonic=lambda: hands.monotonic)
    assert clock.now() == 7_000 * NS
    hands.go(2.0)
    assert clock.now() == 7_050 * NS
    assert clock.real(50.0) == 2.0
