"""Horizons that end before any move can show."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.twin.conftest import GAINS, HORIZON, KEEP, history_of
from twin.dynamics.lti import arx
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.planning.dead_time import dead_times_s
from twin.windows import Window

DEAD, HISTORY = 5, 8  # rows
AT_53 = Objective({"temperature": Setpoint(53.0)})


@pytest.fixture(scope="module")
def late(hand_made):
    """The twin made by hand, its flow acting five rows (50 s) later."""
    members = []
    for gain in GAINS:
        B = np.zeros((DEAD + 1, 1, 2))
        B[DEAD, 0, 0] = (1 - KEEP) * gain
        members.append(arx(np.array([[[KEEP]]]), B, np.zeros(1), HISTORY))
    rest = np.zeros((HISTORY, 2), np.float32)
    reference = Window(rest[:, :1], rest, np.ones((HISTORY, 1), np.float32))
    dynamics = replace(hand_made.dynamics, backbones=jax.tree.map(lambda *leaves: jnp.stack(leaves), *members))
    return replace(hand_made, dynamics=dynamics, history=HISTORY, reference=reference)


def test_the_dead_time_of_a_twin_is_known(late):
    assert dead_times_s(late) == {"flow": {"temperature": 50.0}}


def test_a_horizon_that_ends_before_the_dead_time_says_which_pair(late):
    history = history_of(40.0, 50.0, rows=40)
    short = plan(late, history, AT_53, horizon_s=50.0)
    assert short.status == "optimal"
    said = "no move shows in temperature within the horizon of 50 s: dead times are flow → temperature 50 s"
    assert said in short.detail
    assert short.next == {"flow": 40.0}
    one_more = plan(late, history, AT_53, horizon_s=60.0)  # its last row is the first that moves
    assert "no move shows" not in one_more.detail
    assert one_more.next["flow"] > 40.0


def test_only_what_is_asked_about_and_may_move_counts(late):
    history = history_of(40.0, 50.0, rows=40)
    assert "no move shows" not in plan(late, history, Objective(prices={"flow": -1.0}), horizon_s=30.0).detail
    limited = plan(late, history, Objective(), {"temperature": Limit(high=60.0)}, horizon_s=30.0)
    assert "no move shows in temperature within the horizon of 30 s" in limited.detail
    assert "no move shows" not in plan(late, history, AT_53, horizon_s=30.0, hold_mvs=["flow"]).detail


def test_the_model_card_is_believed_where_it_has_been_written(late):
    told = {"step_responses": {"dead_times_s": {"flow": {"temperature": {"mean": 90.0, "low": 80.0, "high": 90.0}}}}}
    said = plan(replace(late, card=told), history_of(40.0, 50.0, rows=40), AT_53, horizon_s=80.0).detail
    assert "flow → temperature 90 s" in said


def test_a_horizon_as_long_as_the_calibrated_one_is_not_asked_about(late):
    told = {"step_responses": {"dead_times_s": {"flow": {"temperature": {"mean": 900.0, "low": 9.0, "high": 900.0}}}}}
    said = plan(replace(late, card=told), history_of(40.0, 50.0, rows=40), AT_53, horizon_s=10.0 * HORIZON).detail
    assert "no move shows" not in said
