"""What is learned beyond the linear part counts as long as it earns that: a polynomial made by hand that forecasts a
ramp of its own, over rows of which each error is known in closed form."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from tests.twin.conftest import HISTORY, HORIZON, KEEP, history_of
from twin.artifact import Twin
from twin.dynamics.polynomial import Polynomial
from twin.lookback import earning, look_back
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.predict import forecast

ROWS = HISTORY + HORIZON + 20
UNIT = 2.0  # degC of a deviation


def with_slope(twin: Twin, slope: float) -> Twin:
    """The twin with a polynomial part that says: whatever happens, the CV rises by so much a row (model units)."""
    members = twin.dynamics.members
    columns = 1 + 2  # the state is the last CV; then the inputs to come
    polynomials = Polynomial(
        table=jnp.tile(jnp.array([[slope, 0.0]]), (members, 1, 1)),
        mix=jnp.zeros((members, 1, columns)),
        shift=jnp.zeros((members, 1)),
        low=jnp.full((members, columns), -1e6),
        high=jnp.full((members, columns), 1e6),
        window=jnp.full((members, 1), 3 * (HISTORY - 1), jnp.int32),
        after=jnp.zeros((members, 1), jnp.int32),
    )
    region = replace(twin.dynamics.region, whiten=1e-3 * twin.dynamics.region.whiten)  # the gate is open everywhere
    return replace(twin, dynamics=replace(twin.dynamics, polynomials=polynomials, region=region))


def ramp(slope: float):
    """At rest at 50 degC, then rising by so much a row (model units) for one horizon."""
    rise = np.maximum(np.arange(ROWS) - (ROWS - 1 - HORIZON), 0)
    return history_of(40.0, (50.0 + UNIT * slope * rise).tolist(), rows=ROWS)


def test_a_learned_part_that_forecasts_as_well_as_the_linear_part_counts_in_full(hand_made: Twin) -> None:
    twin, history = with_slope(hand_made, 0.5), ramp(0.5)
    earned, reasons = earning(twin, look_back(twin, history))
    assert earned is twin
    assert reasons == []


def test_one_that_is_wrong_counts_in_full_while_that_is_no_more_than_usual(hand_made: Twin) -> None:
    twin, history = with_slope(hand_made, 0.01), ramp(0.0)  # 0.1 of a deviation off after ten rows
    assert earning(twin, look_back(twin, history))[0] is twin


def test_one_that_missed_twice_as_much_as_the_linear_part_counts_by_a_sixteenth(hand_made: Twin) -> None:
    # The linear part begins at rest and stays there: off by slope · k. The polynomial is three times too steep.
    slope = 1.0
    twin, history = with_slope(hand_made, 3 * slope), ramp(slope)
    earned, reasons = earning(twin, look_back(twin, history))
    assert float(earned.dynamics.earned) == pytest.approx(2.0**-4, rel=1e-4)
    assert [reason.code for reason in reasons] == ["learned_part_behind"]
    assert "2.0 times as much" in reasons[0].detail
    assert "6%" in reasons[0].detail
    answer = forecast(twin, history, 10.0 * 5)
    rows, now = np.arange(1, 6), slope * HORIZON
    linear, learned = now * KEEP**rows, now + 3 * slope * rows
    assert answer.baseline["temperature"].mean == pytest.approx(
        50 + UNIT * (linear + (learned - linear) / 16), rel=1e-4
    )
    assert "learned_part_behind" in [reason.code for reason in answer.trust.reasons]


def test_plans_go_on_by_the_linear_part_and_say_so(hand_made: Twin) -> None:
    twin, history = with_slope(hand_made, 2.0), history_of(40.0, 50.0, rows=ROWS)
    answer = plan(twin, history, Objective({"temperature": Setpoint(53.0)}), horizon_s=200.0)
    alone = plan(hand_made, history, Objective({"temperature": Setpoint(53.0)}), horizon_s=200.0)
    assert answer.moves["flow"] == pytest.approx(alone.moves["flow"], abs=1e-4)
    assert answer.cvs["temperature"].mean == pytest.approx(alone.cvs["temperature"].mean, abs=1e-3)
    assert "linear part alone: it counts for 0%" in answer.detail


def test_without_a_horizon_of_history_nothing_is_told(hand_made: Twin) -> None:
    twin = with_slope(hand_made, 2.0)
    assert earning(twin, look_back(twin, history_of(40.0, 50.0, rows=HISTORY + HORIZON - 1)))[0] is twin
