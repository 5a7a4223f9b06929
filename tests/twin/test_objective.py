"""The objective against sums written out."""

import math

import numpy as np
import pytest

from twin.errors import QuestionError
from twin.objective import LARGEST, PRICED, SUPPRESSION, SWING, Objective, Setpoint, Zone, cost_by_term, terms
from twin.plant import Plant, Role, Tag

PLANT = Plant(
    "p",
    36.0,  # a hundredth of an hour
    (
        Tag("q", Role.MV, "m3/h", 0.0, 100.0),
        Tag("v", Role.MV, "%", 0.0, 10.0),
        Tag("d", Role.DV),
        Tag("t", Role.CV, "degC"),
        Tag("x", Role.CV, "mol%"),
    ),
)
SPAN = np.array([50.0, 4.0, 100.0, 10.0, 1.0])  # t, x, q, v, d


def test_costs_against_sums_written_out():
    rng = np.random.default_rng(0)
    y, w, before = rng.normal(size=(4, 2)), rng.normal(size=(4, 3)), rng.normal(size=3)
    objective = Objective(
        {"t": Setpoint(2.0, weight=3.0), "x": Setpoint(trajectory=[1.0, 2.0]), "q": Setpoint(0.5)},
        {"x": -7.0, "v": 2.0},
        {"v": 0.3},
    )
    costs = cost_by_term(terms(objective, PLANT, 4, SPAN), PLANT, SPAN, y, w, before)
    path = [1.0, 2.0, 2.0, 2.0]
    steps = [w[0] - before, w[1] - w[0], w[2] - w[1], w[3] - w[2]]
    calm = PRICED + SWING * (7.0 * 4.0 + 2.0 * 10.0) * 4 * 0.01  # prices of the spans of x and v over 4 rows
    expected = {
        "setpoints.t": 3.0 * sum((v - 2.0) ** 2 for v in y[:, 0]) / 50**2 / 4,
        "setpoints.x": sum((v - r) ** 2 for v, r in zip(y[:, 1], path, strict=True)) / 4**2 / 4,
        "setpoints.q": sum((v - 0.5) ** 2 for v in w[:, 0]) / 100**2 / 4,
        "prices.x": -7.0 * sum(y[:, 1]) * 0.01,
        "prices.v": 2.0 * sum(w[:, 1]) * 0.01,
        "move_suppression.q": calm * sum(s[0] ** 2 for s in steps) / 100**2 / 4,
        "move_suppression.v": 0.3 * sum(s[1] ** 2 for s in steps) / 10**2 / 4,
    }
    assert costs == pytest.approx(expected)


def test_moves_are_calmer_with_prices_whatever_the_currency():
    def calm(objective):
        return terms(objective, PLANT, 4, SPAN).suppression * 4

    assert calm(Objective({"t": Setpoint(2.0)})) == pytest.approx([SUPPRESSION] * 2)
    paid = calm(Objective(prices={"x": -7.0}))
    assert paid == pytest.approx([SWING * 7.0 * 4.0 * 0.04] * 2)
    assert calm(Objective(prices={"x": -700.0})) == pytest.approx(100 * paid)
    assert calm(Objective(prices={"x": -7.0}, zones={"t": Zone(low=1.0)})) == pytest.approx(paid + PRICED)
    assert calm(Objective(prices={"x": -7.0}, move_suppression={"q": 3.0})) == pytest.approx([3.0, paid[1]])


def test_a_trajectory_longer_than_the_horizon_is_cut():
    path = terms(Objective({"t": Setpoint(trajectory=[1.0, 2.0, 3.0, 4.0])}), PLANT, 3, SPAN).target[:, 0]
    assert path.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("objective", "word"),
    [
        (Objective({"y": Setpoint(1.0)}), "unknown tag"),
        (Objective({"d": Setpoint(1.0)}), "is a DV"),
        (Objective({"t": Setpoint()}), "value or a trajectory"),
        (Objective({"t": Setpoint(1.0, [1.0])}), "not both"),
        (Objective({"t": Setpoint(trajectory=[])}), "at least one"),
        (Objective({"t": Setpoint(math.nan)}), "finite"),
        (Objective({"t": Setpoint(trajectory=[1.0, math.inf])}), "trajectory.1: must be a finite"),
        (Objective({"t": Setpoint(1.0, weight=-1.0)}), "negative"),
        (Objective({"t": Setpoint(1.0, weight=math.nan)}), "finite"),
        (Objective(prices={"t": 2 * LARGEST}), "finite"),
        (Objective(prices={"zz": 1.0}), "unknown tag"),
        (Objective(move_suppression={"t": 1.0}), "is a CV"),
        (Objective(move_suppression={"q": -1.0}), "negative"),
    ],
)
def test_what_makes_no_sense_is_refused(objective, word):
    with pytest.raises(QuestionError, match=word) as refused:
        terms(objective, PLANT, 3, SPAN)
    assert refused.value.problems[0].loc[0] == "objective"


@pytest.mark.parametrize(("everywhere", "own", "expected"), [(0.0, 5.0, 5.0), (7.0, 5.0, 5.0), (7.0, None, 21.0)])
def test_the_last_row_of_a_setpoint_may_weigh_what_it_says_itself(everywhere, own, expected):
    """An error of a tenth of the span of 50 in the last of 4 rows: 0.01 · (3 / 4 + what the last row weighs)."""
    objective = Objective({"t": Setpoint(2.0, weight=3.0, last=own)}, terminal_weight=everywhere)
    y, w = np.array([[2.0, 0.0]] * 3 + [[7.0, 0.0]]), np.zeros((4, 3))
    costs = cost_by_term(terms(objective, PLANT, 4, SPAN), PLANT, SPAN, y, w, np.zeros(3))
    assert costs["setpoints.t"] == pytest.approx(0.01 * (0.75 + expected))
    with pytest.raises(QuestionError, match="cannot be negative"):
        terms(Objective({"t": Setpoint(2.0, last=-1.0)}), PLANT, 4, SPAN)
