"""Caution on one side of a CV does not cost the limit of the other: margins are worked out by hand from the bands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.twin.conftest import history_of
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan

MARGIN = 2 * (949 * 2 / 998 - 1)  # degC, of residuals −1 … 1 in 999 steps at 0.95, by a scale of 2 (rank 950)
NEAR = 0.03  # degC: a QP is solved to some 1e-4 of the span, 200


def planned(hand_made, low: float, high: float, setpoint: float):
    asked = Objective({"temperature": Setpoint(setpoint)})
    return plan(hand_made, history_of(40.0, 50.0), asked, {"temperature": Limit(low, high)}, horizon_s=200.0)


def test_where_there_is_room_margins_are_kept_in_full(hand_made) -> None:
    answer = planned(hand_made, 45.0, 52.5, 53.0)
    assert answer.status == "optimal"
    assert answer.cvs["temperature"].mean[-1] == pytest.approx(52.5 - MARGIN, abs=NEAR)


def test_margins_that_would_cross_meet_in_the_middle_and_the_certificate_says_what_they_lack(hand_made) -> None:
    answer = planned(hand_made, 49.5, 51.5, 53.0)  # each margin may take 1.0 of the 2.0; 1.8 are asked
    assert answer.cvs["temperature"].mean[-1] == pytest.approx(50.5, abs=NEAR)
    assert answer.status == "relaxed"
    lacking = {entry.side: -entry.margin for entry in answer.certificate if entry.tag == "temperature"}
    assert lacking["high"] == pytest.approx(MARGIN - 1.0, abs=NEAR)
    assert lacking["low"] >= MARGIN - 1.0 - NEAR


def test_a_wide_margin_on_one_side_leaves_half_of_the_room_to_the_other(hand_made) -> None:
    bands = hand_made.calibration.bands
    upper = (bands.levels > 0.5)[:, None, None]
    wide = replace(bands, quantiles=np.where(upper, 4 * bands.quantiles, bands.quantiles))
    twin = replace(hand_made, calibration=replace(hand_made.calibration, bands=wide))
    answer = planned(twin, 46.0, 54.0, 53.0)  # the high margin, 7.2, may take 4.0 of the 8.0
    assert answer.cvs["temperature"].mean[-1] == pytest.approx(50.0, abs=NEAR)
    assert all(entry.kept for entry in answer.certificate if entry.side == "low")
