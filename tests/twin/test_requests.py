"""What a request can ask for beyond setpoints: zones, steady states, terminal weights, ramped limits, largest moves,
MVs in manual, critical tags, other solvers; and requests that make little sense, each with its answer."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.twin.conftest import GAINS, history_of
from twin import optimize
from twin.errors import QuestionError
from twin.limits import Limit
from twin.objective import Objective, Setpoint, Steady, Zone, extrapolation
from twin.optimize import plan, warm_up
from twin.planning.question import SOLVERS
from twin.timeline import Step

GAIN = 0.2 * sum(GAINS) / 2  # degC per m3/h
AT_50 = Objective({"temperature": Setpoint(50.0)})


def at(value, **kwargs):
    return Objective({"temperature": Setpoint(value, **kwargs)})


def answer(twin, objective, limits=None, history=None, **kwargs):
    history = history_of(40.0, 50.0) if history is None else history
    return plan(twin, history, objective, limits or {}, **{"horizon_s": 200.0, **kwargs})


def strictly(moves, present, low=0.0, high=100.0, reach=5.0):
    previous = present
    for value in moves:
        assert low <= value <= high
        assert abs(value - previous) <= reach
        previous = value


def test_inside_its_zone_a_cv_costs_nothing(hand_made):
    got = answer(hand_made, Objective(zones={"temperature": Zone(49.0, 51.0)}))
    assert got.status == "optimal"
    assert got.moves["flow"] == pytest.approx(np.full(20, 40.0), abs=1e-3)
    assert got.cost["zones.temperature"] == 0


@pytest.mark.parametrize(
    ("zone", "end"), [(Zone(low=52.0), 52.0), (Zone(high=48.5, weight=3.0), 48.5), (Zone(52, 60), 52)]
)
def test_a_cv_outside_its_zone_is_brought_to_its_edge(hand_made, zone, end):
    got = answer(hand_made, Objective(zones={"temperature": zone}, move_suppression={"flow": 1e-6}), horizon_s=400.0)
    assert got.status == "optimal"

    def cost(y):
        outside = np.maximum((zone.low or -np.inf) - y, 0) + np.maximum(y - (zone.high or np.inf), 0)
        return zone.weight * np.mean((outside / 200) ** 2)

    y = got.cvs["temperature"].mean
    assert got.cost["zones.temperature"] == pytest.approx(cost(y))
    assert (end - 0.02 <= y[-1]) if zone.low else (y[-1] <= end + 0.02)
    flow, level, straight = 40.0, 50.0, []
    for _ in range(40):  # at the full rate to where the edge is held
        flow += np.clip(40 + (end - 50) / GAIN - flow, -5, 5)
        level = 50 + 0.8 * (level - 50) + 0.2 * GAIN * (flow - 40)
        straight.append(level)
    assert cost(y) < cost(np.array(straight))  # inside the zone it may overshoot the edge, and so is there sooner


def test_a_price_pulls_a_cv_through_its_zone_and_a_little_out_of_it(hand_made):
    """At rest the slope of the zone, 2 w e / span² a row, is the price a row: e = p span² / (2 w) · hours · rows."""
    price, weight, rows = -0.012, 10.0, 40
    objective = Objective(
        prices={"temperature": price}, zones={"temperature": Zone(45.0, 52.0, weight)}, move_suppression={"flow": 1e-9}
    )
    got = answer(hand_made, objective, horizon_s=10.0 * rows)
    out = -price * 200**2 / (2 * weight) * (10 / 3600) * rows
    assert 1 < out < 4
    assert got.cvs["temperature"].mean[25] == pytest.approx(52.0 + out, abs=0.1)


def test_a_steady_state_target_is_where_the_cv_tends_to(hand_made):
    objective = Objective(steady_state={"temperature": Steady(53.0)}, move_suppression={"flow": 1e-6})
    got = answer(hand_made, objective, horizon_s=400.0)
    y = got.cvs["temperature"].mean
    assert 2 * y[-1] - y[-1 - 10] == pytest.approx(53.0, abs=0.05)
    assert got.cost["steady_state.temperature"] == pytest.approx(((2 * y[-1] - y[-11] - 53) / 200) ** 2, abs=1e-9)
    assert extrapolation(4, 6).tolist() == [0, 0, -1, 2, 0, 0]
    assert extrapolation(1, 2).tolist() == [1, 0]


def test_an_mv_comes_to_rest_at_its_ideal_value(hand_made):
    got = answer(hand_made, Objective(steady_state={"flow": Steady(46.0)}, move_suppression={"flow": 1e-6}))
    assert got.moves["flow"][-1] == pytest.approx(46.0, abs=0.05)
    assert got.cost["steady_state.flow"] == pytest.approx(((got.moves["flow"][-1] - 46) / 100) ** 2)


def test_a_terminal_weight_makes_the_end_matter(hand_made):
    calm = {"flow": 5.0}
    plain = answer(hand_made, Objective({"temperature": Setpoint(53.0)}, move_suppression=calm))
    ended = answer(hand_made, Objective({"temperature": Setpoint(53.0)}, move_suppression=calm, terminal_weight=20.0))
    assert abs(ended.cvs["temperature"].mean[-1] - 53) < 0.5 * abs(plain.cvs["temperature"].mean[-1] - 53)
    error = ((ended.cvs["temperature"].mean - 53) / 200) ** 2
    assert ended.cost["setpoints.temperature"] == pytest.approx(error.mean() + 20 * error[-1])


def test_the_largest_move_is_kept_exactly_and_certified(hand_made):
    got = answer(hand_made, at(60.0), {"flow": Limit(max_move=0.7)})
    strictly(got.moves["flow"].tolist(), 40.0, reach=0.7)
    assert np.abs(np.diff(got.moves["flow"])).max() == pytest.approx(0.7, abs=1e-6)
    entry = next(e for e in got.certificate if e.side == "move")
    assert (entry.limit, entry.kept) == (0.7, True)


def test_a_ramped_limit_comes_in_from_the_present_value(hand_made):
    """At 50 the end of the band is 2 degC and the band beyond a high limit of 48, which comes in over 300 s."""
    limits = {"temperature": Limit(high=48.0)}
    jump = answer(hand_made, AT_50, limits, horizon_s=400.0)
    assert jump.status == "relaxed"
    ramped = answer(hand_made, AT_50, {"temperature": Limit(high=48.0, ramp_s=300.0)}, horizon_s=400.0)
    assert ramped.status == "optimal", ramped.detail
    entry = next(e for e in ramped.certificate if (e.tag, e.side) == ("temperature", "high"))
    band = ramped.cvs["temperature"].high - ramped.cvs["temperature"].mean
    limit = 48.0 + (2.0 + band) * np.maximum(1 - np.arange(1, 41) * 10 / 300, 0)
    margins = limit - ramped.cvs["temperature"].high
    assert margins.min() >= 0
    assert entry.margin == pytest.approx(margins.min(), abs=1e-6)
    assert entry.limit == 48.0
    assert entry.to_json()["ramp"]["first"] == pytest.approx(limit[0], abs=1e-6)
    assert ramped.cvs["temperature"].high[-1] <= 48.0


def test_a_ramp_is_of_no_account_to_a_cv_inside_its_limits(hand_made):
    limits = {"temperature": Limit(high=55.0, ramp_s=300.0)}
    got = answer(hand_made, AT_50, limits)
    assert all(entry.ramp is None for entry in got.certificate)


def test_an_mv_in_manual_is_a_disturbance(hand_made):
    """Its operator moves it by 10 m3/h after 50 s, the rate limit allows 5 a row: nothing else is planned."""
    got = answer(hand_made, at(70.0), manual_mvs={"flow": [Step(50.0, 50.0)]})
    assert got.moves["flow"].tolist() == [40.0] * 5 + [45.0] + [50.0] * 14
    assert "flow is in manual" in got.detail
    assert got.cvs["temperature"].mean[-1] > 50.5
    stays = answer(hand_made, at(70.0), manual_mvs={"flow": None})
    assert stays.moves["flow"].tolist() == [40.0] * 20
    with pytest.raises(QuestionError, match="manual_mvs"):
        answer(hand_made, AT_50, manual_mvs={"ambient": None})
    with pytest.raises(QuestionError, match=r"manual_mvs\.flow"):
        answer(hand_made, AT_50, manual_mvs={"flow": [Step(0.0, math.nan)]})


def test_without_a_critical_tag_nothing_is_planned_and_without_others_it_goes_on(hand_made):
    """The temperature stands still although the flow has moved: its sensor is frozen."""
    lively = replace(hand_made, seen=replace(hand_made.seen, still=np.array([3, 3, 3])))
    frozen = history_of([40.0] * 15 + [44.0] * 25, 50.0, rows=40)
    limits = {"temperature": Limit(high=52.0)}
    objective = Objective({"temperature": Setpoint(70.0), "flow": Setpoint(41.0)})
    for critical in (None, ["temperature"], ["flow", "temperature"]):
        got = answer(lively, objective, limits, frozen, critical=critical)
        assert (got.status, got.trust.reasons[0].code) == ("abstained", "frozen")
    for critical in ([], ["flow"]):
        got = answer(lively, objective, limits, frozen, critical=critical)
        assert got.status == "optimal"
        assert "planned without temperature" in got.detail
        assert got.moves["flow"][-1] == pytest.approx(41.0, abs=0.02)  # the other setpoint is all that is left
        assert not [entry for entry in got.certificate if entry.tag == "temperature"]
    with pytest.raises(QuestionError, match="did you mean"):
        answer(lively, objective, limits, frozen, critical=["temperatur"])


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_keeps_the_limits_and_finds_the_way(hand_made, solver):
    got = answer(hand_made, at(53.0), {"temperature": Limit(high=56.0), "flow": Limit(rate_per_s=0.2)}, solver=solver)
    strictly(got.moves["flow"].tolist(), 40.0, reach=2.0)
    assert got.status == ("optimal" if solver == "sqp" else "feasible")
    best = answer(hand_made, at(53.0), {"temperature": Limit(high=56.0), "flow": Limit(rate_per_s=0.2)})
    total = sum(got.cost.values())
    assert total <= 1.1 * sum(best.cost.values())
    again = answer(hand_made, at(53.0), {"temperature": Limit(high=56.0), "flow": Limit(rate_per_s=0.2)}, solver=solver)
    assert again.moves["flow"].tolist() == got.moves["flow"].tolist()
    late = answer(hand_made, at(53.0), solver=solver, deadline_ms=1e-3)
    assert (late.status, late.trust.reasons[0].code) == ("abstained", "deadline")
    strictly(late.moves["flow"].tolist(), 40.0)


def test_a_deadline_of_a_millisecond_is_a_hold_or_a_plan(hand_made):
    got = answer(hand_made, at(53.0), deadline_ms=1.0)
    assert got.status in ("abstained", "feasible", "optimal")
    strictly(got.moves["flow"].tolist(), 40.0)


def test_unbounded_prices_end_at_the_mv_limits_and_say_so(hand_made):
    got = answer(hand_made, Objective(prices={"flow": -1e12}), beyond_trained_range=True, horizon_s=400.0)
    assert got.moves["flow"][-1] == 100.0
    assert "flow ends at its high limit 100" in got.detail
    strictly(got.moves["flow"].tolist(), 40.0)


def test_limits_of_an_mv_that_cross_leave_it_between_them_and_are_told(hand_made):
    got = answer(hand_made, at(53.0), {"flow": Limit(low=45.0, high=42.0)})
    assert got.status == "relaxed"
    assert "flow breaks its high limit 42 by up to 3 " in got.detail
    strictly(got.moves["flow"].tolist(), 40.0)
    assert got.moves["flow"][-1] == 45.0  # the end of what lies between them where the setpoint asks for


def test_a_setpoint_outside_the_limits_of_its_cv_stops_at_the_limit(hand_made):
    got = answer(hand_made, at(58.0), {"temperature": Limit(high=54.0)}, horizon_s=400.0)
    assert got.status == "optimal"
    assert got.cvs["temperature"].high.max() == pytest.approx(54.0, abs=0.05)
    assert got.cvs["temperature"].high.max() <= 54.0


def test_all_mvs_held_is_a_forecast(hand_made):
    got = answer(hand_made, at(60.0), {"temperature": Limit(low=55.0)}, hold_mvs=["flow"])
    assert got.status == "relaxed"
    assert got.moves["flow"].tolist() == [40.0] * 20


def test_a_horizon_of_one_row_has_an_answer(hand_made):
    """Shorter than any dead time there may be."""
    got = answer(hand_made, at(60.0), horizon_s=10.0)
    assert got.status in ("optimal", "feasible")
    assert len(got.moves["flow"]) == 1
    strictly(got.moves["flow"].tolist(), 40.0)


def test_missing_values_in_history_are_bridged(hand_made):
    values = [50.0] * 20
    values[7] = values[8] = math.nan
    got = answer(hand_made, at(53.0), history=history_of(40.0, values))
    assert got.status == "optimal"
    json.dumps(got.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("objective", "limits", "word"),
    [
        (Objective(zones={"flow": Zone(1.0)}), {}, "only a CV"),
        (Objective(zones={"temperature": Zone()}), {}, "low or high"),
        (Objective(zones={"temperature": Zone(52.0, 51.0)}), {}, "above high"),
        (Objective(zones={"temperature": Zone(52.0, weight=-1.0)}), {}, "negative"),
        (Objective(zones={"temperature": Zone(math.nan)}), {}, "finite"),
        (Objective(steady_state={"ambient": Steady(1.0)}), {}, "is a DV"),
        (Objective(steady_state={"flow": Steady(math.inf)}), {}, "finite"),
        (Objective(terminal_weight=-1.0), {}, "negative"),
        (AT_50, {"temperature": Limit(max_move=1.0)}, "only an MV"),
        (AT_50, {"flow": Limit(ramp_s=1.0)}, "only a limit of a CV"),
        (AT_50, {"flow": Limit(max_move=-1.0)}, "negative"),
        (AT_50, {"temperature": Limit(high=60.0, ramp_s=math.nan)}, "finite"),
        (at(53.0, weight=-1.0), {}, "negative"),
    ],
)
def test_what_makes_no_sense_is_refused(hand_made, objective, limits, word):
    with pytest.raises(QuestionError, match=word):
        answer(hand_made, objective, limits)


def test_none_of_it_compiles_anew(hand_made):
    warm_up(hand_made)
    jitted = (optimize._constants, optimize._improve, optimize._verify)
    compiled = [function._cache_size() for function in jitted]
    objective = Objective(
        {"flow": Setpoint(44.0)}, {"temperature": -0.1}, {"flow": 0.5}, {"temperature": Zone(49, 52)},
        {"temperature": Steady(52.0), "flow": Steady(41.0)}, 3.0,
    )  # fmt: skip
    limits = {"temperature": Limit(high=49.0, ramp_s=100.0, rank=2), "flow": Limit(max_move=1.0)}
    answer(hand_made, objective, limits, horizon_s=130.0)
    answer(hand_made, objective, limits, horizon_s=130.0, manual_mvs={"flow": [Step(20.0, 42.0)]})
    assert [function._cache_size() for function in jitted] == compiled
