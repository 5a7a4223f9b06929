"""Outside of what the twin has seen, MVs that are not known to raise or to lower a CV go no further out."""

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

AT_53 = Objective({"temperature": Setpoint(53.0)})
AT_70 = Objective({"temperature": Setpoint(70.0)})  # more than any flow gives
OUTSIDE = history_of(47.0, 57.0)  # 0.7 and 3.5 deviations from rest in model units


def twin_of(hand_made, *gains: float, reach: float = 2.0):
    """The twin made by hand with other gains of its members, and a region of so many model units."""
    members = [arx(np.array([[[KEEP]]]), np.array([[[(1 - KEEP) * g, 0.0]]]), np.zeros(1), HISTORY) for g in gains]
    region = replace(hand_made.region, whiten=jnp.eye(5, dtype=jnp.float32) / reach)
    backbones = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    return replace(hand_made, dynamics=replace(hand_made.dynamics, backbones=backbones, region=region))


def ends_at(answer) -> float:
    return answer.moves["flow"][-1]


def codes(answer) -> set[str]:
    return {reason.code for reason in answer.trust.reasons}


def test_members_that_agree_on_the_sign_go_where_the_plan_needs_them(hand_made):
    answer = plan(twin_of(hand_made, 1.4, 1.5, 1.5, 1.6), OUTSIDE, AT_70, horizon_s=200.0)
    assert answer.status == "optimal"
    assert ends_at(answer) == pytest.approx(62.0, abs=0.01)  # 5 % of 40 beyond the 60 of training
    assert "outside_region" in codes(answer)
    assert "unknown_direction" not in codes(answer)


def test_members_that_do_not_agree_stay_in_the_usual_range_and_say_why(hand_made):
    # mean 0.5, jackknife deviation √(3/4 · 2.0) = 1.22: 3.18 times that is far more than the mean
    twin = twin_of(hand_made, 1.0, 1.0, 1.0, -1.0)
    answer = plan(twin, OUTSIDE, AT_70, horizon_s=200.0)
    assert answer.status == "optimal"
    assert ends_at(answer) == pytest.approx(50.0, abs=0.01)  # a deviation of 10 from the mean of 40
    (reason,) = [reason for reason in answer.trust.reasons if reason.code == "unknown_direction"]
    assert reason.tag == "temperature"
    # the means of the window lie √(3.5² + 0.7² + 0.7²) = 3.64 from rest, flow's planned mean among them
    assert "does not know here whether more of flow raises or lowers temperature" in answer.detail
    assert "1.8 times as far out" in answer.detail
    assert "flow stays within its usual range, 30 to 50 m3/h" in answer.detail
    down = plan(twin, OUTSIDE, Objective({"temperature": Setpoint(10.0)}), horizon_s=200.0)
    assert ends_at(down) == pytest.approx(30.0, abs=0.01)


@pytest.mark.parametrize(("wanted", "end"), [(70.0, 55.0), (10.0, 30.0)])
def test_an_mv_beyond_its_usual_range_may_come_back_and_go_no_further(hand_made, wanted, end):
    there = history_of(55.0, 57.0)
    answer = plan(
        twin_of(hand_made, 1.0, 1.0, 1.0, -1.0), there, Objective({"temperature": Setpoint(wanted)}), horizon_s=200.0
    )
    assert ends_at(answer) == pytest.approx(end, abs=0.01)
    assert answer.moves["flow"].max() <= 55.0 + 1e-9


def test_limits_beyond_the_usual_range_are_returned_to(hand_made):
    there, limits = history_of(55.0, 57.0), {"flow": Limit(low=58.0)}  # usual are 30 to 50
    answer = plan(twin_of(hand_made, 1.0, 1.0, 1.0, -1.0), there, AT_70, limits, horizon_s=200.0)
    assert "unknown_direction" in codes(answer)
    assert answer.moves["flow"].tolist() == [58.0] * 20  # 5 a row is its rate


@pytest.mark.parametrize(("spread", "unsure"), [(0.17, False), (0.19, True)])
def test_a_sign_is_known_where_the_95_percent_interval_leaves_out_zero(hand_made, spread, unsure):
    # members 1 ± s, two each: jackknife deviation √(3/4 · 4 s²) = 1.732 s, and 3.18 of it reach 1 at s = 0.1816
    gains = (1 + spread, 1 + spread, 1 - spread, 1 - spread)
    answer = plan(twin_of(hand_made, *gains), OUTSIDE, AT_53, horizon_s=200.0)
    assert ("unknown_direction" in codes(answer)) is unsure


def test_far_outside_nothing_is_planned(hand_made):
    answer = plan(twin_of(hand_made, 1.4, 1.5, 1.5, 1.6, reach=0.8), OUTSIDE, AT_53, horizon_s=200.0)
    assert (answer.status, answer.next) == ("abstained", {"flow": 47.0})
    assert [reason.code for reason in answer.trust.reasons] == ["outside_region"]
    assert "the MVs are held" in answer.detail


def test_a_pulse_that_would_be_far_outside_if_it_lasted_is_planned_on(hand_made):
    """Held at 60 the mean of the flow lies 2 deviations out, the window's 0.5: √4.25 / 0.5 = 4.1 times the region."""
    pulse = history_of([40.0] * 19 + [60.0], 50.0)
    twin = twin_of(hand_made, 1.5, 1.5, 1.5, 1.5, reach=0.5)
    answer = plan(twin, pulse, Objective({"temperature": Setpoint(50.0)}), horizon_s=200.0)
    assert answer.status == "optimal"
    assert answer.next["flow"] == pytest.approx(55.0)  # its rate is 5 a row
    assert 40.0 < ends_at(answer) < 45.0  # a disturbance, so it seems, has taken some of the pulse
    held = plan(twin, pulse, AT_53, horizon_s=200.0, hold_mvs=["flow"])
    assert held.status == "abstained"
    assert "4.1 times as far out" in held.detail


def test_where_the_moves_of_an_earlier_plan_lead_is_what_counts(hand_made):
    pulse = history_of([40.0] * 19 + [60.0], 50.0)
    twin = twin_of(hand_made, 1.0, 1.0, 1.0, -1.0, reach=0.9)
    assert "unknown_direction" in codes(plan(twin, pulse, AT_53, horizon_s=200.0))  # √4.25 / 0.9 = 2.3 times
    back = {"at": pulse.at.isoformat(), "moves": {"flow": [55.0, 50.0, 45.0] + [40.0] * 17}}
    assert "unknown_direction" not in codes(plan(twin, pulse, AT_53, horizon_s=200.0, state=back))  # √0.27 / 0.9 = 0.6


def test_inside_the_region_or_where_it_is_asked_for_they_are_free(hand_made):
    doubtful = (1.0, 1.0, 1.0, -1.0)
    assert ends_at(plan(twin_of(hand_made, *doubtful, reach=10.0), OUTSIDE, AT_70, horizon_s=200.0)) > 61
    beyond = plan(twin_of(hand_made, *doubtful), OUTSIDE, AT_70, horizon_s=200.0, beyond_trained_range=True)
    assert ends_at(beyond) > 61


def test_a_cv_that_is_not_steered_does_not_matter(hand_made):
    twin = twin_of(hand_made, 1.0, 1.0, 1.0, -1.0)
    answer = plan(twin, OUTSIDE, Objective(prices={"flow": 1.0}), {"temperature": Limit(high=150.0)}, horizon_s=200.0)
    assert "unknown_direction" not in codes(answer)
    held = plan(twin, OUTSIDE, AT_53, horizon_s=200.0, hold_mvs=["flow"])
    assert "unknown_direction" not in codes(held)  # a forecast: there is nothing to push the wrong way


def test_a_sign_that_an_engineer_has_told_is_known_where_the_twin_has_it(hand_made):
    twin = twin_of(hand_made, 1.0, 1.0, 1.0, -1.0)  # 0.5 on the mean

    def unsure(sign):
        told = replace(twin, card={"gain_sign": {"effects": {"flow": {"temperature": {"asked": sign}}}}})
        return "unknown_direction" in codes(plan(told, OUTSIDE, AT_53, horizon_s=200.0))

    assert [unsure(sign) for sign in (1, -1, 0)] == [False, True, True]
