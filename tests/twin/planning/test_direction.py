"""Outside of what the twin has seen, nothing is planned for a CV that no MV is known to raise or to lower."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.twin.conftest import HISTORY, KEEP, history_of
from twin.dynamics.lti import arx
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.planning import direction

AT_53 = Objective({"temperature": Setpoint(53.0)})
OUTSIDE = history_of(47.0, 57.0)  # 0.7 and 3.5 deviations from rest in model units


def twin_of(hand_made, *gains: float, reach: float = 2.0):
    """The twin made by hand with other gains of its members, and a region of so many model units."""
    members = [arx(np.array([[[KEEP]]]), np.array([[[(1 - KEEP) * g, 0.0]]]), np.zeros(1), HISTORY) for g in gains]
    region = replace(hand_made.region, whiten=jnp.eye(5, dtype=jnp.float32) / reach)
    backbones = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    return replace(hand_made, dynamics=replace(hand_made.dynamics, backbones=backbones, region=region))


def test_members_that_agree_on_the_sign_plan_outside_as_well(hand_made):
    answer = plan(twin_of(hand_made, 1.4, 1.5, 1.5, 1.6), OUTSIDE, AT_53, horizon_s=200.0)
    assert answer.status == "optimal"
    assert "outside_region" in [reason.code for reason in answer.trust.reasons]


def test_members_that_do_not_agree_hold_the_mvs_and_say_why(hand_made):
    # mean 0.5, jackknife deviation √(3/4 · 2.0) = 1.22: 3.18 times that is far more than the mean
    answer = plan(twin_of(hand_made, 1.0, 1.0, 1.0, -1.0), OUTSIDE, AT_53, horizon_s=200.0)
    assert (answer.status, answer.next) == ("abstained", {"flow": 47.0})
    assert [(reason.code, reason.tag) for reason in answer.trust.reasons] == [("unknown_direction", "temperature")]
    # the means of the window lie √(3.5² + 0.7² + 0.7²) = 3.64 from rest, flow's planned mean among them
    assert "does not know here whether more of flow raises or lowers temperature" in answer.detail
    assert "1.8 times as far out" in answer.detail
    assert "the MVs are held" in answer.detail


@pytest.mark.parametrize(("spread", "status"), [(0.17, "optimal"), (0.19, "abstained")])
def test_a_sign_is_known_where_the_95_percent_interval_leaves_out_zero(hand_made, spread, status):
    # members 1 ± s, two each: jackknife deviation √(3/4 · 4 s²) = 1.732 s, and 3.18 of it reach 1 at s = 0.1816
    gains = (1 + spread, 1 + spread, 1 - spread, 1 - spread)
    assert plan(twin_of(hand_made, *gains), OUTSIDE, AT_53, horizon_s=200.0).status == status


@pytest.mark.parametrize(
    ("middle", "here", "known"),
    [
        ((1.1, 1.1, 0.9, 0.9), (1.23, 1.23, 0.77, 0.77), True),  # s = 0.23: 2.35 deviations of 1.732 s are 0.94
        ((1.1, 1.1, 0.9, 0.9), (1.26, 1.26, 0.74, 0.74), False),  # and of s = 0.26, 1.06
        ((-1.1, -1.1, -0.9, -0.9), (1.23, 1.23, 0.77, 0.77), False),  # another sign than usual
        ((1.3, 1.3, 0.7, 0.7), (1.23, 1.23, 0.77, 0.77), False),  # nor is it known there
        ((-1.1, -1.1, -0.9, -0.9), (1.17, 1.17, 0.83, 0.83), True),  # 3.18 deviations of 1.732 · 0.17 are 0.94
    ],
)
def test_the_usual_sign_needs_less_to_be_known(hand_made, monkeypatch, middle, here, known):
    def responses(twin, history=None):
        settled = np.array(middle if history is None else here)
        return np.tile(settled[:, None, None, None], (1, 1, 40, 1))

    monkeypatch.setattr(direction, "member_responses", responses)
    found = direction.unsteered(hand_made, OUTSIDE, ["temperature"], np.array([True]), 1.5)
    assert (not found) is known


def test_inside_the_region_or_where_it_is_asked_for_they_plan(hand_made):
    doubtful = (1.0, 1.0, 1.0, -1.0)
    assert plan(twin_of(hand_made, *doubtful, reach=10.0), OUTSIDE, AT_53, horizon_s=200.0).status == "optimal"
    beyond = plan(twin_of(hand_made, *doubtful), OUTSIDE, AT_53, horizon_s=200.0, beyond_trained_range=True)
    assert beyond.status == "optimal"


def test_a_cv_that_is_not_steered_does_not_matter(hand_made):
    twin = twin_of(hand_made, 1.0, 1.0, 1.0, -1.0)
    answer = plan(twin, OUTSIDE, Objective(prices={"flow": 1.0}), {"temperature": Limit(high=150.0)}, horizon_s=200.0)
    assert answer.status == "optimal"
    held = plan(twin, OUTSIDE, AT_53, horizon_s=200.0, hold_mvs=["flow"])
    assert held.status == "optimal"  # a forecast: there is nothing to push the wrong way


def test_a_sign_that_an_engineer_has_told_is_known_where_the_twin_has_it(hand_made):
    twin = twin_of(hand_made, 1.0, 1.0, 1.0, -1.0)  # 0.5 on the mean

    def told(sign):
        return replace(twin, card={"gain_sign": {"effects": {"flow": {"temperature": {"asked": sign}}}}})

    assert plan(told(1), OUTSIDE, AT_53, horizon_s=200.0).status == "optimal"
    assert plan(told(-1), OUTSIDE, AT_53, horizon_s=200.0).status == "abstained"
    assert plan(told(0), OUTSIDE, AT_53, horizon_s=200.0).status == "abstained"
