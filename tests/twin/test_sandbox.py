"""Trials: what they ask, what they score, and that the score is that of the trace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twin.dynamics.polynomial import Polynomial
from twin.errors import QuestionError
from twin.limits import merge
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.plants.surge_tank import SurgeTank
from twin.plants.systems import SYSTEMS
from twin.sandbox import loop, page
from twin.sandbox.loop import Hold, Planner, run
from twin.sandbox.practice import UsualPractice
from twin.sandbox.processes import SIMULATED, Altered, TwinProcess, lesson, truth
from twin.sandbox.scenario import Event, Scenario
from twin.sandbox.trials import trials

OBJECTIVES = Path(__file__).parents[2] / "notebooks" / "objectives"
ROWS = 60
STEP = Scenario(
    "step",
    ROWS,
    (
        Event(0, {"temperature": 50.0}),
        Event(5, {"temperature": 53.0}),
        Event(35, limits={"temperature": {"high": 52.0}}),
    ),
    noise=0.05,
    resting=30,
    horizon=20,
)


class Fixed:
    """Answers what it was given, row after row."""

    name = "fixed"

    def __init__(self, moves):
        self._moves = list(moves)
        self.seen = []

    def observe(self, time, row):
        self.seen.append(row)

    def decide(self, ask):
        return self._moves.pop(0)

    def status(self):
        return "optimal"


@pytest.fixture(scope="module")
def outcomes(hand_made):
    process = TwinProcess(hand_made)
    return [run(process, Hold(), STEP), run(process, Planner(hand_made), STEP)]


def test_a_twin_as_the_plant_answers_as_its_matrices_say(hand_made):
    """temperature − 50 = 2 · g · (flow − 40) / 10 at rest, 0.2 of it after the first row; g is the members' mean."""
    process = Altered(TwinProcess(hand_made), (1.3,), 0.0, 0.0)
    moved = run(process, Fixed([{"flow": 45.0}] * 40), Scenario("a", 40, resting=5))
    change = 1.3 * 2 * 1.5 * 0.5
    np.testing.assert_allclose(moved.trace.truth[:, 0], 50 + change * (1 - 0.8 ** np.arange(1, 41)), atol=1e-5)
    np.testing.assert_array_equal(moved.trace.measured, moved.trace.truth)
    loaded = run(process, Hold(), Scenario("b", 60, (Event(0, disturb={"flow.load": 5.0}),), resting=5))
    assert loaded.trace.truth[-1, 0] == pytest.approx(50 + 2 * 1.5 * 0.5, abs=1e-4)


def test_the_planner_reaches_the_setpoint_and_then_keeps_the_limit_that_came(outcomes):
    held, planned = outcomes
    assert planned.mv_violations == held.mv_violations == 0
    assert planned.cost < 0.5 * held.cost
    np.testing.assert_allclose(planned.trace.truth[28:35, 0], 53.0, atol=0.1)
    assert planned.trace.truth[-15:, 0].max() < 52.0
    assert (planned.trace.high[34:37, 0] == [np.inf, 52.0, 52.0]).all()
    assert sum(planned.statuses.values()) == ROWS
    assert held.statuses == {}
    assert held.travel == 0


def test_the_score_is_that_of_the_trace(outcomes):
    for outcome in outcomes:
        trace = outcome.to_json() | {"trace": outcome.trace.to_json()}
        body = json.loads(json.dumps(trace))
        true, target = (np.array(body["trace"][name]["temperature"]) for name in ("truth", "setpoints"))
        high = np.array([np.inf if v is None else v for v in body["trace"]["high"]["temperature"]])
        flow = np.array(body["trace"]["mvs"]["flow"])
        moves = np.diff(flow, prepend=40.0) / 100
        cost = np.mean(((true - target) / 200) ** 2) + 0.01 * np.mean(moves**2)
        assert body["cost"] == pytest.approx(cost, rel=1e-9)
        assert body["travel"] == pytest.approx(np.abs(moves).sum())
        assert body["cv_rows"] == (true > high).sum()
        assert body["cv_worst"] == pytest.approx(np.maximum(true - high, 0).max() / 200, abs=1e-12)
        error = (true - np.minimum(target, high)) / 200
        settled = [abs(error[max(end - 20, 0) : end].mean()) for end in (5, 35, 60)]
        assert body["offset"] == pytest.approx(max(settled))


def test_prices_are_paid_by_the_hour_on_what_truly_was(hand_made):
    """For 10 of 30 rows at 2 a unit of flow, which is 40, then at 3 as well as 0.5 a degree; the plant rests at 50."""
    process = Altered(TwinProcess(hand_made), (1.0,), 0.0, 0.0)
    events = Event(0, prices={"flow": 2.0}), Event(10, prices={"flow": 3.0, "temperature": -0.5})
    outcome = run(process, Hold(), Scenario("a", 30, events, resting=5))
    assert outcome.paid_per_h == pytest.approx((10 * 80 + 20 * (120 - 25)) / 30, rel=1e-6)
    assert page.rows([outcome])[0][3] == f"{outcome.paid_per_h:.4g}"


def test_the_usual_practice_follows_a_load_without_a_model():
    boiler = SYSTEMS["boiler-turbine"]
    asked = Scenario("load", 150, (Event(0, {"power": 66.6}), Event(10, {"power": 80.0})), resting=5, seed=2)
    held, usual = (run(boiler.process, c, asked) for c in (Hold(), UsualPractice(boiler)))
    assert usual.cost < 0.2 * held.cost
    np.testing.assert_allclose(usual.trace.truth[-20:, 1].mean(), 80.0, atol=2.0)
    np.testing.assert_allclose(usual.trace.truth[-20:, 2].mean(), 0.0, atol=0.1)  # level
    assert usual.statuses == {}
    assert usual.mv_violations == 0


def test_twins_of_systems_learn_from_operation_and_others_from_a_step_test():
    np.testing.assert_array_equal(lesson("turbofan", 40, 3).values, SYSTEMS["turbofan"].telemetry(40, 3).values)
    np.testing.assert_array_equal(lesson("surge-tank", 40, 3).values, Simulator(SurgeTank(), 3).excite(40).values)
    assert set(SYSTEMS) < set(SIMULATED)


@pytest.mark.parametrize("file", sorted(OBJECTIVES.glob("*.json")), ids=lambda file: file.stem)
def test_the_objectives_of_the_systems_are_scenarios(file):
    plant = SYSTEMS[file.stem].process.plant
    scenarios = [Scenario.from_json(body, plant) for body in json.loads(file.read_text())]
    assert len(scenarios) == 3
    for scenario in scenarios:
        for row in (0, scenario.rows - 1):
            ask = scenario.ask(plant, row)
            assert ask.setpoints or ask.prices
            merge(plant, ask.limits)  # no limit wider than the plant's


def test_a_twin_with_a_polynomial_part_can_be_the_plant(hand_made):
    """y' = 0.9 y + 0.1 w + 0.05 w² in model units, alone as the gate is open: from rest under w = 1."""
    table = jnp.zeros((1, 3, 3)).at[0, [0, 0, 2], [1, 2, 2]].set(jnp.array([-0.1, 0.1, 0.05]))
    part = Polynomial(
        table=table,
        mix=jnp.eye(2, 3),
        shift=jnp.zeros(2),
        low=jnp.full(3, -10.0),
        high=jnp.full(3, 10.0),
        window=jnp.array([9]),
        after=jnp.array([0]),
    )
    members = hand_made.dynamics.members
    polynomials = jax.tree.map(lambda leaf: jnp.stack([leaf] * members), part)
    process = TwinProcess(replace(hand_made, dynamics=replace(hand_made.dynamics, polynomials=polynomials)))
    with jax.enable_x64(True):
        state, y = process.rest(), []
        for _ in range(2):
            state = process.step(state, jnp.array([50.0, 20.0, 0.0]))
            y.append(float(process.read(state)[0]))
    np.testing.assert_allclose(y, [50 + 2 * 0.15, 50 + 2 * 0.285], rtol=1e-6)


def test_answers_beyond_limits_and_rates_are_counted(hand_made):
    """From 40, 5 a row at most: 45 is right, 50.1 too fast, 44 within the limits but above the request's."""
    process = TwinProcess(hand_made)
    asked = Scenario("limits", 4, (Event(2, limits={"flow": {"high": 43.0}}),), resting=2)
    wrong = run(process, Fixed([{"flow": 45.0}, {"flow": 50.1}, {"flow": 49.0}, {"flow": 44.0}]), asked)
    assert wrong.mv_violations == 1  # at 49 and 44 it comes back from outside; nothing else was allowed
    inside = run(process, Fixed([{"flow": 41.0}, {"flow": 42.0}, {"flow": 43.5}, {"flow": 101.0}]), asked)
    assert inside.mv_violations == 2


def test_a_frozen_sensor_repeats_its_value_until_it_is_mended(hand_made):
    frozen = Scenario("frozen", 6, (Event(1, freeze={"temperature": True}), Event(4, freeze={"temperature": False})))
    controller = Fixed([{}] * 6)
    run(TwinProcess(hand_made), controller, frozen)
    seen = [row["temperature"] for row in controller.seen[-6:]]
    assert seen[0] == seen[1] == seen[2] == seen[3] != seen[4]
    assert seen[4] != seen[5]


@pytest.mark.parametrize("process", [QuadrupleTank(), SurgeTank()], ids=["tank", "integrating"])
def test_trials_ask_what_the_plant_can_do(process):
    found = {scenario.name: scenario for scenario in trials(process)}
    assert list(found) == ["setpoints", "disturbance", "limits", "mismatch", "noise"]
    plant = process.plant
    first, second = (found["setpoints"].ask(plant, row).setpoints for row in (50, 150))
    assert list(first) == [tag.name for tag in plant.cvs[: len(plant.mvs)]]
    for name in first:
        tag = plant.tag(name)
        assert tag.limit_low < first[name] < tag.limit_high
        assert abs(first[name] - second[name]) > 0.01 * (tag.high - tag.low)
    lasting = found["disturbance"].events[1].disturb
    assert set(lasting) == {process.disturbances[len(plant.dvs)].name}
    limit = found["limits"].ask(plant, 150).limits[plant.cvs[0].name]
    wanted = found["limits"].ask(plant, 150).setpoints[plant.cvs[0].name]
    assert wanted > limit.high if limit.high is not None else wanted < limit.low
    with pytest.raises(QuestionError, match="setpoints, disturbance"):
        trials(process, names=("setpoint",))


def test_a_twin_of_a_step_test_comes_to_rest_where_the_plant_does(hand_made):
    (asked, *_) = trials(TwinProcess(hand_made))
    rest, there, back = (event.setpoints["temperature"] for event in asked.events)
    share = 0.15 * 100 / 10  # of flow's range, in the twin's units
    assert (rest, there, back) == pytest.approx((50, 50 + 2 * 1.5 * share, 50 - 2 * 1.5 * share), abs=0.02)
    process = TwinProcess(hand_made)
    assert truth(process, np.asarray(process.rest(), np.float64))[0] == pytest.approx(50.0, abs=1e-6)


def test_scenarios_are_plain_data(hand_made):
    plant = hand_made.plant
    again = Scenario.from_json(json.loads(json.dumps(STEP.to_json())), plant)
    assert again.to_json() == STEP.to_json()
    for body, where in (
        ({"rows": 5}, "name"),
        ({"name": "a", "rows": 5, "colour": 1}, "colour"),
        ({"name": "a", "rows": 0}, "rows"),
        ({"name": "a", "rows": 5, "gain": {"temperature": 2.0}}, "temperature"),
        ({"name": "a", "rows": 5, "events": [{"row": 1, "setpoints": {"flow": 1.0}}]}, "flow"),
        ({"name": "a", "rows": 5, "events": [{"row": 1, "limits": {"flow": {"highest": 1.0}}}]}, "highest"),
        ({"name": "a", "rows": 5, "events": [{"setpoints": {}}]}, "row"),
    ):
        with pytest.raises(QuestionError, match=where):
            Scenario.from_json(body, plant)


def test_pictures(outcomes, tmp_path):
    for name in ("a.png", "a.svg", "a.html"):
        page.write(outcomes, "Trials <of one>", tmp_path / name)
    html = (tmp_path / "a.html").read_text()
    assert "Trials &lt;of one&gt;" in html
    assert html.count("<tr>") == 3
    assert "<svg" in html
    assert "http" not in html.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(QuestionError, match="html"):
        page.write(outcomes, "", tmp_path / "a.pdf")


def test_while_the_planner_abstains_the_base_layer_runs_the_plant(hand_made, monkeypatch):
    made = []

    def doubtful(*_, **__):
        made.append(len(made))
        return SimpleNamespace(state=None, status="abstained" if made[-1] in (1, 2) else "optimal", next={"flow": 41.0})

    monkeypatch.setattr(loop, "plan", doubtful)
    base = Fixed([{"flow": 42.0}, {"flow": 43.0}, {"flow": 44.0}, {"flow": 45.0}])
    outcome = run(TwinProcess(hand_made), Planner(hand_made, base=base), Scenario("a", 4, resting=2))
    np.testing.assert_array_equal(outcome.trace.mvs[:, 0], [41.0, 43.0, 44.0, 41.0])
    assert len(base.seen) == 6  # it saw every row, resting ones too
    assert outcome.statuses == {"optimal": 2, "abstained": 2}
