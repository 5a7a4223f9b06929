"""Cycles of a controller around a plant in memory: what is written, when not, and how closed loop ends."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from api.control.journal import Journal, JournalError
from api.control.link import LinkError
from api.control.modes import Mode, RefusedModeError
from tests.control.support import SETTINGS, START, Rig, instant, rig


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that awaits."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@in_loop
async def test_shadow_and_advisory_compute_and_write_nothing() -> None:
    r = rig()
    for mode in (Mode.SHADOW, Mode.ADVISORY):
        await r.controller.request(mode, "operator", "")
        record = await r.cycle()
        assert record["ok"]
        assert record["next"] == {"flow": 52.0, "steam": 24.0}
        assert record["written"] is None
        assert r.controller.state()["advice"] == (None if mode is Mode.SHADOW else record["next"])
    assert r.plant.written == []


@in_loop
async def test_off_asks_nothing_and_keeps_the_rows() -> None:
    r = rig(mode=Mode.OFF)
    await r.cycle()
    assert r.planner.asked == []
    assert len(r.controller.rows) == 1


@in_loop
async def test_closed_writes_from_the_measured_values_on_and_reads_back() -> None:
    r = rig()
    await r.close_loop()
    first = await r.cycle()
    second = await r.cycle()
    # The first move starts from what is measured (50, 20), each is 2 and 4 long; the heartbeat counts with them.
    assert [w for _, w in r.plant.written] == [
        {"flow": 52.0, "steam": 24.0, "heartbeat": 1.0},
        {"flow": 54.0, "steam": 28.0, "heartbeat": 2.0},
    ]
    assert first["read_back"] == {"flow": 52.0, "steam": 24.0}
    assert second["mode"] == "closed"


@in_loop
async def test_the_question_is_the_last_rows_and_what_is_wanted() -> None:
    r = rig()
    await r.cycle()
    await r.cycle()
    asked = r.planner.asked[-1]
    assert [instant(t) - START / 1e9 for t in asked["history"]["times"]] == [0.0, 10.0]
    assert asked["history"]["values"]["temperature"] == [75.0, 75.0]
    assert asked["objective"]["setpoints"] == {"temperature": {"value": 80.0, "weight": 1.0}}
    assert asked["max_age_s"] == 30.0
    assert asked["hold_mvs"] == []
    assert asked["limits"] == {}


@in_loop
async def test_own_limits_inside_the_plants_go_with_the_question_and_hold() -> None:
    r = rig(mvs={"flow": {"high": 51.0, "rate_per_s": 0.1}, "steam": {}})
    await r.cycle()
    assert r.planner.asked[-1]["limits"] == {"flow": {"high": 51.0, "rate_per_s": 0.1}}
    r.planner.step = {"flow": 1.0, "steam": 4.0}
    await r.close_loop()
    await r.cycle()  # 51: as far as it may
    assert r.moves()[-1]["flow"] == 51.0
    record = await r.cycle()  # 52 is answered, and not believed
    assert record["fault"]["code"] == "limit"
    assert len(r.moves()) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"next": {"flow": 50.0 + 5.0000001, "steam": 20.0}}, "rate"),
        ({"next": {"flow": 45.0 - 1e-9, "steam": 20.0}}, "rate"),
        ({"next": {"flow": math.nan, "steam": 20.0}}, "no_value"),
        ({"next": {"flow": True, "steam": 20.0}}, "no_value"),
        ({"next": {"steam": 20.0}}, "no_value"),
        ({"next": None}, "no_moves"),
        ({"status": "abstained", "trust": {"reasons": [{"code": "outside_region"}]}}, "outside_region"),
        ({"status": "abstained", "trust": None}, "abstained"),
        ({"status": "infeasible"}, "status"),
        ({"trust": {"score": 0.09, "reasons": []}}, "trust"),
        ({"trust": {}}, "trust"),
        ({"at": "2026-01-01T00:00:00Z"}, "another_time"),
        ({"at": None}, "another_time"),
        ({"twin": "twin-2"}, "twin_changed"),
    ],
)
@in_loop
async def test_an_answer_that_is_not_right_is_not_written(change: dict[str, Any], code: str) -> None:
    r = rig()
    await r.close_loop()
    r.planner.change = change
    record = await r.cycle()
    assert record["fault"]["code"] == code
    assert r.moves() == []


@in_loop
async def test_relaxed_is_written_unless_the_configuration_says_no() -> None:
    for accepted in (True, False):
        r = rig(accept_relaxed=accepted)
        await r.close_loop()
        r.planner.change = {"status": "relaxed"}
        await r.cycle()
        assert len(r.moves()) == int(accepted)


@in_loop
async def test_a_late_plan_is_not_written() -> None:
    r = rig()
    await r.close_loop()
    r.planner.takes_s = 5.1  # half a period is allowed
    assert (await r.cycle())["fault"]["code"] == "late"
    assert r.moves() == []
    r.planner.takes_s = 4.9
    assert (await r.cycle())["ok"]
    assert len(r.moves()) == 1


@in_loop
async def test_failed_cycles_in_a_row_shed_and_hand_back() -> None:
    r = rig(patience=3)
    await r.close_loop()
    r.planner.broken = LinkError("service_lost", "no answer")
    await r.cycle()
    await r.cycle()
    assert r.controller.mode is Mode.CLOSED
    assert [w for _, w in r.plant.written] == [{"heartbeat": 1.0}, {"heartbeat": 2.0}]
    await r.cycle()
    assert r.controller.mode is Mode.SHADOW
    assert r.changes()[-1] == ("closed", "shadow", "shed")
    assert "service_lost" in r.records[-1]["reason"]
    assert r.plant.written[-1][1] == {"flow.mode": 0.0, "steam.mode": 0.0}
    beats = len(r.plant.written)
    r.planner.broken = None
    await r.cycle()
    assert len(r.plant.written) == beats  # the heart stands still
    assert r.controller.mode is Mode.SHADOW  # and nothing closes the loop again by itself


@in_loop
async def test_a_good_cycle_between_starts_the_count_again() -> None:
    r = rig(patience=2)
    await r.close_loop()
    for broken in (LinkError("late", ""), None, LinkError("late", ""), None):
        r.planner.broken = broken
        await r.cycle()
    assert r.controller.mode is Mode.CLOSED
    assert len(r.moves()) == 2


@in_loop
async def test_a_bad_critical_input_sheds_at_once_where_nothing_else_is_wanted() -> None:
    r = rig(critical_patience=1)
    await r.close_loop()
    r.plant.set({"temperature": 75.0}, quality=0)
    record = await r.cycle()
    assert record["fault"]["code"] == "bad_quality"
    assert r.changes()[-1] == ("closed", "shadow", "shed")
    assert r.moves() == []


def led(**mvs: dict[str, Any]) -> dict[str, Any]:
    """The MVs of the table, with more of some."""
    return {name: table | mvs.get(name, {}) for name, table in SETTINGS["mvs"].items()}


@in_loop
async def test_safe_values_are_reached_at_the_rate_limit_before_the_loops_are_handed_back() -> None:
    r = rig(critical_patience=1, mvs=led(flow={"safe": 40.0}, steam={"safe": 45.0}))
    await r.close_loop()
    r.plant.set({"temperature": 75.0}, quality=0)
    await r.cycle()
    assert r.controller.mode is Mode.SHEDDING
    assert r.plant.written == []
    modes = [(await r.cycle())["mode"] for _ in range(4)]
    # From 50 by 0.5 a second, so 5 a cycle; from 20 by 1 a second: two and three cycles. The fourth finds both there.
    assert [w for _, w in r.plant.written] == [
        {"flow": 45.0, "steam": 30.0, "heartbeat": 1.0},
        {"flow": 40.0, "steam": 40.0, "heartbeat": 2.0},
        {"steam": 45.0, "heartbeat": 3.0},
        {"flow.mode": 0.0, "steam.mode": 0.0},
    ]
    assert modes == ["shedding"] * 4
    assert r.changes()[-2:] == [("closed", "shedding", "ramp"), ("shedding", "shadow", "shed")]
    assert r.records[-1]["reason"] == "the safe values are reached"
    assert r.planner.asked[-1]["history"]["times"][-1] < r.records[-1]["at"]  # nothing was planned on the way


@in_loop
async def test_closed_is_not_to_be_had_on_the_way_to_the_safe_values_but_any_other_mode_is() -> None:
    r = rig(critical_patience=1, mvs=led(flow={"safe": 0.0}))
    await r.close_loop()
    r.plant.set({"temperature": 75.0}, quality=0)
    await r.cycle()
    with pytest.raises(RefusedModeError, match="from shedding, go to shadow or advisory first"):
        await r.controller.request(Mode.CLOSED, "operator", "", scope=True, confirmed=True)
    await r.cycle()
    await r.controller.request(Mode.OFF, "operator", "mine")
    assert r.plant.written[-1][1] == {"flow.mode": 0.0, "steam.mode": 0.0}
    writes = len(r.plant.written)
    await r.cycle()
    assert len(r.plant.written) == writes


@in_loop
async def test_the_operator_ends_the_way_to_the_safe_values() -> None:
    r = rig(critical_patience=1, mvs=led(flow={"safe": 0.0}))
    await r.close_loop()
    r.plant.set({"temperature": 75.0}, quality=0)
    await r.cycle()
    r.plant.set({"switch": 0.0})
    await r.cycle()
    assert r.changes()[-1] == ("shedding", "advisory", "override")
    assert r.moves() == []


@in_loop
async def test_an_mv_that_is_not_ours_is_not_led_and_is_named() -> None:
    r = rig(critical_patience=1, mvs=led(flow={"safe": 40.0}, steam={"safe": 45.0}))
    await r.close_loop()
    r.plant.set({"temperature": 75.0}, quality=0)
    r.plant.set({"steam.mode": 0.0})
    for _ in range(4):
        await r.cycle()
    assert r.moves() == [{"flow": 45.0}, {"flow": 40.0}]
    assert r.records[-1]["reason"] == "the safe values are reached, but for steam (manual)"


@in_loop
async def test_a_link_that_is_lost_on_the_way_ends_it_after_patience() -> None:
    r = rig(critical_patience=1, mvs=led(flow={"safe": 0.0}), patience=2)
    await r.close_loop()
    r.plant.set({"temperature": 75.0}, quality=0)
    await r.cycle()
    r.fresh = False
    r.plant.cut()
    assert (await r.cycle())["fault"]["code"] == "plant_lost"
    assert r.controller.mode is Mode.SHEDDING
    await r.cycle()
    assert r.changes()[-1] == ("shedding", "shadow", "shed")
    assert "the link is cut" in r.records[-1]["release_failed"]


@in_loop
async def test_by_default_one_bad_sample_of_a_critical_input_writes_nothing_and_a_second_in_a_row_sheds() -> None:
    r = rig(inputs={"temperature": {"max_step": 5.0}})
    await r.close_loop()
    for value, quality in ((75.0, 0), (90.0, 192), (75.0, 0)):  # each alone: no value, a spike, no value
        r.plant.set({"temperature": value}, quality=quality)
        assert (await r.cycle())["fault"] is not None
        assert r.controller.mode is Mode.CLOSED
        assert r.plant.written[-1][1].keys() == {"heartbeat"}
        r.plant.set({"temperature": 75.0})
        record = await r.cycle()
        assert record["written"] is not None
        # It counts again at once: a plan that forgot its setpoint would be worse than none.
        assert record["dropped"] == {}
        assert r.planner.asked[-1]["objective"]["setpoints"].keys() == {"temperature"}
    r.plant.set({"temperature": 75.0}, quality=0)
    await r.cycle()
    assert r.controller.mode is Mode.CLOSED
    await r.cycle()
    assert r.controller.mode is Mode.SHADOW
    assert r.changes()[-1] == ("closed", "shadow", "shed")


@in_loop
async def test_after_it_gave_up_closed_loop_needs_good_cycles_in_a_row() -> None:
    r = rig(critical_patience=1, return_cycles=3, release={})
    await r.close_loop()  # the first time two good cycles are more than enough
    r.plant.set({"temperature": 75.0}, quality=0)
    await r.cycle()
    assert r.controller.mode is Mode.SHADOW
    r.plant.set({"temperature": 75.0})
    for good in (True, True, False, True, True):  # a bad one between them begins the count anew
        r.planner.change = {} if good else {"trust": {"score": 0.01, "reasons": []}}
        assert (await r.cycle())["ok"] is good
        assert not r.controller.state()["ready"]
        with pytest.raises(RefusedModeError, match="several in a row after it gave up"):
            await r.controller.request(Mode.CLOSED, "operator", "", scope=True, confirmed=True)
    await r.cycle()
    await r.controller.request(Mode.CLOSED, "operator", "", scope=True, confirmed=True)
    assert r.controller.mode is Mode.CLOSED


@in_loop
async def test_a_cut_link_writes_nothing_and_sheds_after_patience() -> None:
    r = rig(patience=2)
    await r.close_loop()
    r.fresh = False
    r.plant.cut()
    assert (await r.cycle())["fault"]["code"] == "plant_lost"
    await r.cycle()
    assert r.controller.mode is Mode.SHADOW
    assert r.plant.written == []
    assert "the link is cut" in r.records[-1]["release_failed"]


@in_loop
async def test_an_mv_in_manual_becomes_a_dv_and_returns_without_a_bump() -> None:
    r = rig(return_cycles=2)
    await r.close_loop()
    r.plant.set({"flow.mode": 0.0})
    record = await r.cycle()
    assert record["held"] == {"flow": "manual"}
    assert r.planner.asked[-1]["hold_mvs"] == ["flow"]
    assert r.plant.written[-1][1] == {"steam": 24.0, "heartbeat": 1.0}
    r.plant.set({"flow": 70.0})  # the operator moves it
    await r.cycle()
    assert r.planner.asked[-1]["history"]["values"]["flow"][-1] == 70.0
    r.plant.set({"flow.mode": 1.0})
    await r.cycle()
    assert "flow" not in r.plant.written[-1][1]
    await r.cycle()
    assert r.plant.written[-1][1]["flow"] == 68.0  # from 70, where it stands, toward 60 by 2


@in_loop
async def test_all_mvs_in_manual_leave_nothing_to_do() -> None:
    r = rig()
    await r.close_loop()
    r.plant.set({"flow.mode": 0.0, "steam.mode": 0.0})
    record = await r.cycle()
    assert record["fault"]["code"] == "nothing_to_do"
    assert r.moves() == []


@in_loop
async def test_a_critical_mv_in_manual_sheds() -> None:
    r = rig(mvs={"flow": {"mode_tag": "flow.mode", "critical": True}, "steam": {}})
    await r.close_loop()
    r.plant.set({"flow.mode": 0.0})
    await r.cycle()
    await r.cycle()
    assert r.controller.mode is Mode.SHADOW
    assert r.moves() == []


@in_loop
async def test_an_mv_that_another_hand_moved_is_left_alone_until_it_rests() -> None:
    r = rig(return_cycles=2)
    await r.close_loop()
    await r.cycle()
    r.plant.set({"flow": 40.0})
    record = await r.cycle()
    assert record["held"] == {"flow": "moved_by_hand"}
    assert "flow" not in r.plant.written[-1][1]
    await r.cycle()
    assert "flow" not in r.plant.written[-1][1]
    await r.cycle()
    assert r.plant.written[-1][1]["flow"] == 42.0


@in_loop
async def test_an_mv_far_outside_its_limits_is_not_touched() -> None:
    r = rig(mvs={"flow": {"high": 60.0}, "steam": {}})
    r.plant.set({"flow": 90.0})
    await r.close_loop()
    record = await r.cycle()
    assert record["held"] == {"flow": "outside_limits"}
    assert "flow" not in r.plant.written[-1][1]


@in_loop
async def test_a_cv_that_is_not_critical_drops_out_and_is_what_the_twin_forecast() -> None:
    setpoints = {"temperature": {"value": 80.0}, "level": {"value": 5.5}}
    r = rig(setpoints=setpoints, inputs={"level": {"critical": False, "max_step": 0.2}}, return_cycles=2)
    await r.close_loop()
    r.plant.set({"level": 9.0})
    record = await r.cycle()
    assert record["dropped"] == {"level": "spike"}
    asked = r.planner.asked[-1]
    assert asked["history"]["values"]["level"][-1] == 5.1  # of the answer before
    assert set(asked["objective"]["setpoints"]) == {"temperature"}
    assert record["ok"]


@in_loop
async def test_a_bad_dv_holds_its_last_good_value() -> None:
    r = rig()
    await r.close_loop()
    r.plant.set({"ambient": -3.0}, quality=64)
    record = await r.cycle()
    assert record["ok"]
    assert record["dropped"] == {"ambient": "bad_quality"}
    assert r.planner.asked[-1]["history"]["values"]["ambient"][-1] == 20.0


@in_loop
async def test_the_operators_switch_overrides_and_does_not_close_again() -> None:
    r = rig()
    await r.close_loop()
    await r.cycle()
    r.plant.set({"switch": 0.0})
    await r.cycle()
    assert r.changes()[-1] == ("closed", "advisory", "override")
    assert len(r.moves()) == 1
    with pytest.raises(RefusedModeError, match="a good last cycle"):
        await r.controller.request(Mode.CLOSED, "operator", "", scope=True, confirmed=True)
    r.plant.set({"switch": 1.0, "flow.mode": 1.0, "steam.mode": 1.0})
    for _ in range(3):  # the MVs were handed back: they count again after three good cycles
        await r.cycle()
    assert r.controller.mode is Mode.ADVISORY
    await r.controller.request(Mode.CLOSED, "operator", "back", scope=True, confirmed=True)
    await r.cycle()
    assert r.moves()[-1] == {"flow": 54.0, "steam": 28.0}  # tracked: from where the plant stands


@in_loop
async def test_closed_needs_permission_configuration_and_a_good_cycle() -> None:
    r = rig(closed_loop_allowed=False)
    await r.cycle()
    with pytest.raises(RefusedModeError, match="closed_loop_allowed"):
        await r.controller.request(Mode.CLOSED, "operator", "", scope=True, confirmed=True)
    r = rig()
    with pytest.raises(RefusedModeError, match="a good last cycle"):
        await r.controller.request(Mode.CLOSED, "operator", "", scope=True, confirmed=True)
    await r.cycle()
    with pytest.raises(RefusedModeError, match="confirmation"):
        await r.controller.request(Mode.CLOSED, "operator", "", scope=True)


def test_a_controller_never_begins_closed() -> None:
    assert rig(mode=Mode.CLOSED).controller.mode is Mode.SHADOW


@in_loop
async def test_a_value_that_the_plant_does_not_take_is_a_failed_cycle() -> None:
    r = rig()
    await r.close_loop()
    r.plant.refuse["steam"] = "interlock"
    record = await r.cycle()
    assert record["fault"]["code"] == "write_failed"
    assert "interlock" in record["fault"]["detail"]
    del r.plant.refuse["steam"]
    r.plant.write = taken_short(r)  # type: ignore[method-assign]
    record = await r.cycle()
    assert record["fault"]["code"] == "read_back"


def taken_short(r: Rig) -> Callable[[dict[str, float]], Coroutine[Any, Any, None]]:
    async def write(values: dict[str, float]) -> None:
        r.plant.set({tag: value - 1.0 for tag, value in values.items()})

    return write


@in_loop
async def test_without_a_log_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    r = rig(tmp_path, patience=2)
    await r.close_loop()

    def full(*_: Any, **__: Any) -> None:
        raise JournalError("no space left on device")

    monkeypatch.setattr(Journal, "add", full)
    record = await r.cycle()
    assert record["fault"]["code"] == "journal"
    assert r.moves() == []
    await r.cycle()
    assert r.controller.mode is Mode.SHADOW
    assert "no space left" in r.records[-1]["log_failed"]


@in_loop
async def test_the_intent_is_logged_before_the_write(tmp_path: Path) -> None:
    r = rig(tmp_path)
    await r.close_loop()
    await r.cycle()
    logged = list(Journal(tmp_path / "log").records())
    kinds = [record["kind"] for record in logged]
    assert kinds == ["cycle", "cycle", "mode", "intent", "cycle"]
    assert logged[3]["moves"] == {"flow": 52.0, "steam": 24.0}
    numbers = [record["n"] for record in logged]
    assert sorted(numbers) == [1, 2, 3, 4, 5]


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add({"n": 1, "x": math.nan})
    path = next(tmp_path.glob("*.jsonl"))
    with path.open("ab") as file:
        file.write(b'{"n": 2, "half')
    journal.add({"n": 3}, safe=True)
    assert list(journal.records()) == [{"n": 1, "x": None}, {"n": 3}]
    assert json.loads(path.read_text().splitlines()[0]) == {"n": 1, "x": None}


@in_loop
async def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    journal = Journal(tmp_path)
    journal.add({"n": 1})
    path = next(tmp_path.glob("*.jsonl"))
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(JournalError, match=r"cannot be written: .*[Nn]o space"):
        journal.add({"n": 2})


@in_loop
async def test_a_step_of_the_wall_clock_is_told_and_changes_nothing() -> None:
    r = rig()
    await r.close_loop()
    r.pace.stepped = 3600.0
    record = await r.cycle()
    assert record["ok"]
    assert [f["code"] for f in record["findings"]] == ["clock_stepped"]


@in_loop
async def test_setpoints_change_within_their_range() -> None:
    r = rig()
    r.controller.set_setpoints({"temperature": 100.0}, "operator")
    await r.cycle()
    assert r.planner.asked[-1]["objective"]["setpoints"]["temperature"]["value"] == 100.0
    with pytest.raises(ValueError, match="40 to 120"):
        r.controller.set_setpoints({"temperature": 130.0}, "operator")
    with pytest.raises(ValueError, match="no setpoint"):
        r.controller.set_setpoints({"level": 5.0}, "operator")
    # (75 − 100)² / 200²
    assert (await r.cycle())["cost"] == pytest.approx(0.015625)
