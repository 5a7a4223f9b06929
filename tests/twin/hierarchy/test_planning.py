"""A store under a price of the day: the slow plan against a linear program, the fast one against the limits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from tests.twin.conftest import history_of
from tests.twin.hierarchy.conftest import RATE, STORE, STRIDE, stored
from twin import optimize
from twin.errors import QuestionError
from twin.hierarchy.planning import LayeredPlan, plan
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import Plan
from twin.telemetry import Telemetry

ROWS = 100
CHEAP_FIRST = [1.0] * 20 + [10.0] * 80
CALM = {"charge": 0.0}


@pytest.fixture(scope="module")
def answer(store) -> LayeredPlan:
    objective = Objective(prices={"charge": CHEAP_FIRST}, move_suppression=CALM)
    found = plan(store, stored(1.0, 3.0), objective, horizon_s=60.0 * ROWS)
    assert isinstance(found, LayeredPlan)
    return found


def program(level: float, prices: list[float], margin: float) -> float:
    """What the charge costs at the least, averages over 5 rows of the level kept from 1 to 9, by a linear program.

    A row's surplus raises the mean of its own 5 rows by 3 of it, and those after by 5.
    """
    hourly = np.reshape(prices, (-1, STRIDE)).mean(axis=1)
    n = len(hourly)
    rise = RATE * (5 * np.tril(np.ones((n, n))) - 2 * np.eye(n))
    drawn, low, high = rise.sum(axis=1), 1.0 + margin, 9.0 - margin
    room = np.r_[high - level + drawn, level - low - drawn]
    found = linprog(hourly * STRIDE / 60.0, np.vstack([rise, -rise]), room, bounds=[(0.0, 2.0)] * n)
    return float(found.fun)


def test_it_buys_while_it_is_cheap_where_the_flat_plan_does_not(answer):
    assert answer.used == "hierarchical"
    assert answer.guided is not None
    assert answer.plan is answer.guided
    assert answer.plan.moves["charge"][1:19] == pytest.approx(2.0, abs=0.05)  # the first row is on the way there
    assert answer.flat.moves["charge"][5:15] == pytest.approx(0.0, abs=0.01)  # short-sighted: to buy costs
    assert answer.judged["hierarchical"].cost < 0.8 * answer.judged["flat"].cost or (
        answer.judged["flat"].outside > answer.judged["hierarchical"].outside
    )


def test_under_prices_the_fast_plan_pauses_for_a_peak_and_ends_where_the_slow_one_is(store):
    """A peak of four rows within slow rows of five: their average asks for nothing sharp, their price for a pause."""
    peaked = [1.0] * 8 + [60.0] * 4 + [1.0] * 28 + [10.0] * 60
    found = plan(
        store, stored(1.0, 3.0), Objective(prices={"charge": peaked}, move_suppression=CALM), horizon_s=60.0 * ROWS
    )
    assert isinstance(found, LayeredPlan)
    assert found.guided is not None
    charge, level = found.guided.moves["charge"], found.guided.cvs["level"].mean
    assert charge[8:12].mean() < 0.7  # a rate of 0.6 a row leaves no more than that of a pause
    assert min(charge[:5].mean(), charge[15:20].mean()) > 1.5
    assert level[-1] == pytest.approx(3.0 + RATE * STRIDE * (found.slow.moves["charge"][:4] - 1.0).sum(), abs=0.02)
    assert found.slow.moves["charge"][:4] == pytest.approx([2.0, 0.0, 0.0, 2.0], abs=0.01)
    shorter = plan(
        replace(store, horizon=17), stored(1.0, 3.0), Objective(prices={"charge": peaked}, move_suppression=CALM),
        horizon_s=60.0 * ROWS,
    )  # fmt: skip
    assert isinstance(shorter, LayeredPlan)
    assert shorter.guided is not None
    assert shorter.guided.cvs["level"].mean[-1] == pytest.approx(2.5 + 2 * RATE, abs=0.02)  # within a slow row


def test_the_slow_plan_costs_what_the_linear_program_says(answer):
    assert answer.slow.status in ("optimal", "feasible")
    slow = sum(answer.slow.cost.values())
    least = program(3.0, CHEAP_FIRST, 0.0)
    assert least < slow < 1.03 * program(3.0, CHEAP_FIRST, 0.02)  # its moves are blocked; the bands reach 0.018


def test_every_value_keeps_the_limits_of_the_fast_rows(answer):
    previous = 1.0
    for value in json.loads(json.dumps(answer.to_json()))["moves"]["charge"]:
        assert 0.0 <= value <= 2.0
        assert abs(value - previous) / 60.0 <= 0.01
        previous = value
    for entry in answer.plan.certificate:
        assert entry.kept, entry


def test_cost_is_that_of_the_objective_asked(answer):
    spent = sum(CHEAP_FIRST[k] * value / 60.0 for k, value in enumerate(answer.plan.moves["charge"]))
    assert answer.to_json()["cost"]["by_term"]["prices.charge"] == pytest.approx(spent)


def test_the_flat_plan_is_what_optimize_alone_makes(store, answer):
    objective = Objective(prices={"charge": CHEAP_FIRST}, move_suppression=CALM)
    alone = optimize.plan(store, stored(1.0, 3.0), objective, horizon_s=1200.0)
    assert (answer.flat.moves["charge"] == alone.moves["charge"]).all()
    told = answer.to_json()["hierarchy"]
    assert told["flat"]["next"] == alone.next
    assert told["slow"]["period_s"] == 300.0
    assert len(told["slow"]["times"]) == 20
    assert set(told["cost"]) == {"hierarchical", "flat"}


def test_an_hour_is_worth_the_same_to_the_flat_plan_as_over_the_whole_horizon(store):
    """Prices are integrated and setpoints averaged: over a fifth of the horizon the setpoints weigh a fifth."""
    asked = Objective({"level": Setpoint(6.0, weight=5.0)}, {"charge": 0.5}, {"charge": 0.05})
    found = plan(store, stored(1.0, 3.0), asked, horizon_s=60.0 * ROWS)
    assert isinstance(found, LayeredPlan)
    scaled = Objective({"level": Setpoint(6.0, weight=1.0)}, {"charge": 0.5}, {"charge": 0.01})
    alone = optimize.plan(store, stored(1.0, 3.0), scaled, horizon_s=1200.0)
    np.testing.assert_allclose(found.flat.moves["charge"], alone.moves["charge"], atol=1e-6)


def test_a_setpoint_alone_is_planned_as_well_flat(store):
    found = plan(store, stored(1.0, 3.0), Objective({"level": Setpoint(4.0)}), horizon_s=60.0 * ROWS)
    assert isinstance(found, LayeredPlan)
    assert found.plan.cvs["level"].mean[-1] == pytest.approx(4.0, abs=0.05)


def test_limits_of_the_request_hold_at_both_scales(store):
    objective = Objective(prices={"charge": CHEAP_FIRST}, move_suppression=CALM)
    limits = {"level": Limit(high=3.5), "charge": Limit(high=1.5, max_move=0.1)}
    found = plan(store, stored(1.0, 3.0), objective, limits, horizon_s=60.0 * ROWS)
    assert isinstance(found, LayeredPlan)
    moves = np.r_[1.0, found.plan.moves["charge"]]
    assert moves.max() <= 1.5
    assert np.abs(np.diff(moves)).max() <= 0.1
    assert found.slow.cvs["level"].mean.max() <= 3.5
    assert found.plan.cvs["level"].high.max() <= 3.5


def test_without_history_for_the_slow_twin_the_flat_plan_is_used_and_it_says_why(store):
    found = plan(store, stored(1.0, 3.0, rows=15), Objective(prices={"charge": 1.0}), horizon_s=60.0 * ROWS)
    assert isinstance(found, LayeredPlan)
    assert (found.used, found.slow.status, found.guided) == ("flat", "abstained", None)
    assert "slow model does not plan" in found.why
    assert found.plan is found.flat
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("price", [0.0, 1.0])
def test_without_history_for_the_fast_twin_the_plan_is_flat(store, price):
    """Four rows are missing before the last three, too many for a run of fast rows: averages of the last five and of
    the five before have three rows each."""
    whole = stored(1.0, 3.0).frame()
    history = Telemetry.from_frame(STORE, whole.drop(whole.index[143:147]))
    found = plan(store, history, Objective({"level": Setpoint(4.0)}, {"charge": price}), horizon_s=60.0 * ROWS)
    assert isinstance(found, LayeredPlan)
    assert found.slow.status == "optimal"
    assert found.guided is not None
    assert (found.used, found.flat.status, found.guided.status) == ("flat", "abstained", "abstained")
    assert "no plan under the slow one" in found.why


def test_a_replay_with_its_looks_is_the_same(store, answer):
    objective = Objective(prices={"charge": CHEAP_FIRST}, move_suppression=CALM)
    again = plan(store, stored(1.0, 3.0), objective, horizon_s=60.0 * ROWS, looks=answer.looks)
    assert isinstance(again, LayeredPlan)
    assert (again.plan.moves["charge"] == answer.plan.moves["charge"]).all()


def test_one_scale_within_the_fast_horizon_and_on_request(store):
    objective = Objective(prices={"charge": 1.0})
    assert isinstance(plan(store, stored(1.0, 3.0), objective, horizon_s=1200.0), Plan)
    assert isinstance(plan(store, stored(1.0, 3.0), objective, horizon_s=2400.0, hierarchy=False), Plan)
    assert isinstance(plan(store, stored(1.0, 3.0), objective, horizon_s=1200.0, hierarchy=True), LayeredPlan)


def test_bad_questions(store, hand_made):
    with pytest.raises(QuestionError, match="no slow model"):
        plan(hand_made, history_of(40.0, 50.0), Objective(), horizon_s=100.0, hierarchy=True)
    with pytest.raises(QuestionError, match="unknown tag 'purity'"):
        plan(store, stored(1.0, 3.0), Objective({"purity": Setpoint(1.0)}), horizon_s=6000.0)
    with pytest.raises(QuestionError, match="needs at least one value"):
        plan(store, stored(1.0, 3.0), Objective(prices={"charge": []}), horizon_s=6000.0)


def test_a_slow_plan_from_an_hour_ago_guides_nothing_and_the_answer_says_why(slower, after_an_outage):
    found = plan(slower, after_an_outage, Objective({"level": Setpoint(4.0)}), horizon_s=3 * 3600.0)
    assert isinstance(found, LayeredPlan)
    assert (found.used, found.guided) == ("flat", None)
    assert found.why == "the slow model does not plan: too few rows in the last of its averages"
