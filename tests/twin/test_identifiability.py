"""Identifiability on simulated plants whose gains are known: each verdict is what the fitted gain deserves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from twin.artifact import Twin
from twin.judge import leans_on
from twin.plant import Plant, Role, Tag
from twin.predict import Scenario, forecast
from twin.telemetry import Telemetry
from twin.timeline import Step
from twin.train import Options, fit

QUICK = Options(budget_s=1e-3)
ROWS = 1000
PLANT = Plant(
    "Two valves",
    5.0,
    (
        Tag("a", Role.MV, "%", -100.0, 100.0),
        Tag("b", Role.MV, "%", -100.0, 100.0),
        Tag("x", Role.CV, "degC"),
        Tag("y", Role.CV, "bar"),
    ),
)
TRUE = np.array([[1.0, 0.5], [0.0, -0.8]])  # gains of x and y (rows) by a and b


def simulate(move: object, seed: int = 5, disturbance: float = 0.0) -> Twin:
    """A twin of x' = 0.8 x + 0.2 (a + 0.5 b), y' = 0.8 y − 0.16 b, each with a wandering disturbance.

    Args:
        move: (row, the row before of [x, y], the present moves) → the moves of a row.
        disturbance: deviation of the noise that drives the wander of x.
    """
    rng = np.random.default_rng(seed)
    u, state, wander = np.zeros((ROWS, 2)), np.zeros((ROWS, 2)), 0.0
    u[0] = move(0, state, u[0])
    for t in range(1, ROWS):
        u[t] = move(t, state, u[t - 1])
        wander = 0.95 * wander + disturbance * rng.normal()
        state[t] = 0.8 * state[t - 1] + 0.2 * (TRUE @ u[t] + [wander, 0.0])
        state[t] += 0.02 * rng.normal(size=2)
    index = pd.date_range("2026-01-01", periods=ROWS, freq="5s", tz="UTC", name="time")
    columns = {"a": u[:, 0], "b": u[:, 1], "x": state[:, 0], "y": state[:, 1]}
    return fit(Telemetry.from_frame(PLANT, pd.DataFrame(columns, index=index)), QUICK)


def steps(seed: int, every: int = 8) -> np.ndarray:
    return np.repeat(np.random.default_rng(seed).uniform(-1, 1, ROWS // every + 1), every)


@pytest.fixture(scope="module")
def open_loop() -> Twin:
    a, b = steps(1), steps(2)
    return simulate(lambda t, state, before: (a[t], b[t]))


@pytest.fixture(scope="module")
def echo() -> Twin:
    """A PI controller moves a to hold x, which disturbances push about; b moves freely."""
    b = steps(2)

    def move(t: int, state: np.ndarray, before: np.ndarray) -> tuple[float, float]:
        error = -state[t - 1, 0]
        return before[0] + 1.0 * (error + state[t - 2, 0] * (t > 1)) + 0.3 * error, 0.3 * b[t]

    return simulate(move, disturbance=0.5)


@pytest.fixture(scope="module")
def tied() -> Twin:
    a = steps(1)
    return simulate(lambda t, state, before: (a[t], 3.0 - a[t]))


def test_what_moved_freely_is_identifiable_and_its_gain_is_true(open_loop: Twin) -> None:
    found = open_loop.card["identifiability"]
    for mv, i in (("a", 0), ("b", 1)):
        for cv, j in (("x", 0), ("y", 1)):
            effect = found["effects"][mv][cv]
            assert effect["verdict"] == "identifiable", (mv, cv, effect)
            assert effect["gain"]["mean"] == pytest.approx(TRUE[j, i], abs=0.05)
    assert found["tied"] == []


def test_a_loop_that_only_echoes_is_unidentifiable_and_its_gain_indeed_wrong(echo: Twin) -> None:
    effect = echo.card["identifiability"]["effects"]["a"]["x"]
    assert effect["verdict"] == "unidentifiable"
    assert effect["reasons"][0]["code"] == "echo"
    assert abs(effect["gain"]["mean"] - 1.0) > 0.3  # what the rows say of a gain of 1
    assert echo.card["identifiability"]["effects"]["b"]["y"]["verdict"] == "identifiable"


def test_the_same_loop_with_moves_of_its_own_is_identifiable_and_right() -> None:
    dither = 6 * steps(3)

    def move(t: int, state: np.ndarray, before: np.ndarray) -> tuple[float, float]:
        error = dither[t - 1] - state[t - 1, 0]
        last = dither[t - 2] - state[t - 2, 0] if t > 1 else error
        return before[0] + 1.0 * (error - last) + 0.3 * error, steps(2)[t]

    effect = simulate(move, disturbance=0.1).card["identifiability"]["effects"]["a"]["x"]
    assert effect["verdict"] == "identifiable"
    assert effect["gain"]["mean"] == pytest.approx(1.0, abs=0.15)


def test_tied_mvs_are_known_along_the_tie_and_not_against_it(tied: Twin) -> None:
    known = tied.card["identifiability"]
    assert known["effects"]["a"]["x"]["reasons"][0]["code"] == "tied"
    (tie,) = known["tied"]
    assert tie["weights"] == {"a": 1.0, "b": 1.0}
    present = np.array([0.2, 2.8])
    along, against = present + [0.5, -0.5], present + [0.5, 0.5]
    assert leans_on(tied, np.tile(along, (5, 1)), present) == []
    (reason,) = leans_on(tied, np.tile(against, (5, 1)), present)
    assert (reason.code, reason.cvs) == ("unidentifiable_effect", ("x", "y"))
    assert "change by 1:" in reason.detail


def test_a_what_if_that_leans_on_an_unknown_effect_is_marked_and_another_is_not(echo: Twin) -> None:
    rows = 60
    index = pd.date_range("2026-01-02", periods=rows, freq="5s", tz="UTC", name="time")
    still = dict.fromkeys("abxy", 0.0)
    history = Telemetry.from_frame(PLANT, pd.DataFrame(still, index=index))
    scenarios = [Scenario("a", {"a": [Step(0, 1.0)]}), Scenario("b", {"b": [Step(0, 0.2)]})]
    answer = forecast(echo, history, 100.0, scenarios)
    marks = [[r for r in s.trust.reasons if r.code == "unidentifiable_effect"] for s in answer.scenarios]
    assert [(r.tag, r.cvs) for r in marks[0]] == [("a", ("x", "y"))]
    assert marks[1] == []
    assert answer.scenarios[0].trust.to_json()["reasons"][0]["cvs"] == ["x", "y"]
    assert not answer.scenarios[0].trust.in_distribution
    assert [r.code for r in answer.trust.reasons if r.code.endswith("effect")] == []


def test_few_moves_are_weak_and_an_mv_at_rest_is_unknown() -> None:
    b = np.where(np.arange(ROWS) % 500 < 250, 1.0, -1.0)
    twin = simulate(lambda t, state, before: (0.0, b[t]))
    known = twin.card["identifiability"]["effects"]
    assert (known["a"]["x"]["verdict"], known["a"]["x"]["gain"]) == ("unidentifiable", None)
    assert known["b"]["y"]["verdict"] == "weak"
    moved = np.tile([0.5, 1.0], (3, 1))
    (reason,) = leans_on(twin, moved, np.array([0.0, 1.0]))
    assert (reason.code, reason.tag) == ("unidentifiable_effect", "a")


def test_members_that_disagree_on_a_sign_are_told(open_loop: Twin) -> None:
    """a does nothing to y: the range contains zero, and is narrow enough to be called none."""
    effect = open_loop.card["identifiability"]["effects"]["a"]["y"]
    assert effect["verdict"] == "identifiable"
    assert abs(effect["gain"]["mean"]) < 0.05


def test_a_twin_without_the_verdicts_answers_as_before(open_loop: Twin) -> None:
    bare = replace(open_loop, card={})
    assert leans_on(bare, np.ones((3, 2)), np.zeros(2)) == []
