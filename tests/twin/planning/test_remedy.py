"""What it would take to keep a limit, on the twin made by hand: every answer is worked out on paper."""

from __future__ import annotations

import numpy as np
import pytest

from tests.twin.conftest import history_of
from twin.limits import Limit
from twin.objective import Objective
from twin.optimize import plan

BAND = 1.8  # degC, one-sided at 0.95: the quantile of residuals uniform in ±1, twice
PER_FLOW = 0.3  # degC per m3/h at rest
KEEP = 0.8


def asked(hand_made, limits, **options):
    answer = plan(hand_made, history_of(40.0, 50.0), Objective(), limits, horizon_s=200.0, **options)
    assert answer.status == "relaxed"
    assert all(r["detail"] for r in answer.to_json()["remedies"])
    return {(r.kind, r.of): r for r in answer.remedies if r.tag == "temperature"}


def test_a_bound_of_the_request_is_what_keeps_a_limit_from_being_kept(hand_made):
    """At most 45 lets 51.5 be reached in the end; 54 with its band takes 40 + (4 + 1.8) / 0.3 = 59.33 at rest, and
    some more as the limit must hold from the last quarter on (row 16 of 20), which the first ramps have not left."""
    found = asked(hand_made, {"temperature": Limit(low=54.0), "flow": Limit(high=45.0)})
    assert set(found) == {("limit", "temperature"), ("bound", "flow")}
    bound = found["bound", "flow"]
    assert bound.now == 45.0
    # Level L from row m on, reached by 5 a row: y(k) = 0.3 Σ 0.2 · 0.8^(k−j) (u_j − 40) at row 16 is what is wanted.
    wanted = 4 + BAND

    def reached(level):
        u = np.minimum(40 + 5 * np.arange(1, 17), level) - 40
        return PER_FLOW * ((1 - KEEP) * KEEP ** np.arange(15, -1, -1) * u).sum()

    assert reached(bound.to) == pytest.approx(wanted, abs=0.02)
    limit = found["limit", "temperature"]
    # Kept in every row it would have to be where the first row can be: one move of 5, a fifth of which shows.
    assert limit.to == pytest.approx(50 + PER_FLOW * (1 - KEEP) * 5 - BAND, abs=0.02)


def test_in_time_the_limit_can_be_kept_or_with_a_faster_mv(hand_made):
    """51 − with its band 52.8 − is reached on the way up: as fast as the rate allows, or in the first row by 46.67."""
    found = asked(hand_made, {"temperature": Limit(low=51.0)}, beyond_trained_range=True)
    u = np.minimum(40 + 5 * np.arange(1, 21), 100) - 40
    y = [PER_FLOW * sum((1 - KEEP) * KEEP ** (k - j) * u[j] for j in range(k + 1)) for k in range(20)]
    first = int(np.argmax(np.array(y) >= 1 + BAND))
    assert found["later", "temperature"].to == 10.0 * (first + 1)
    rate = found["rate", "flow"]
    assert rate.now == 0.5
    assert rate.to == pytest.approx((1 + BAND) / (PER_FLOW * (1 - KEEP)) / 10, rel=5e-3)


def test_the_trained_range_or_an_mv_that_is_held(hand_made):
    """Trained from 20 to 60 and 5 % more: 62 reaches 56.6; 56 with its band needs 66 in the end."""
    found = asked(hand_made, {"temperature": Limit(low=56.0)})
    trained = found["trained_range", "flow"]
    assert trained.now == pytest.approx(62.0)
    assert 40 + (6 + BAND) / PER_FLOW <= trained.to < 70
    held = asked(hand_made, {"temperature": Limit(low=51.0)}, hold_mvs=["flow"])
    assert ("release", "flow") in held
    assert ("later", "temperature") not in held  # not as things are


def test_plans_that_keep_every_limit_name_no_remedy(hand_made):
    answer = plan(hand_made, history_of(40.0, 50.0), Objective(), {"temperature": Limit(high=54.0)}, horizon_s=200.0)
    assert answer.remedies == ()
    assert answer.to_json()["remedies"] == []
