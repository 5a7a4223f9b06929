"""Step responses, gains and times of a twin made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.twin.conftest import GAINS, HORIZON, KEEP
from twin.artifact import Twin
from twin.responses import step_responses

UNIT = 2.0 / 10.0  # degC per m3/h of a gain of one in model units


def test_a_step_response_is_the_closed_form_with_its_jackknife_range(hand_made: Twin) -> None:
    answer = step_responses(hand_made)
    rows = np.arange(1, 2 * HORIZON + 1)
    response = answer["responses"]["flow"]["temperature"]
    assert answer["times_s"] == (10.0 * rows).tolist()
    assert response["mean"] == pytest.approx(np.mean(GAINS) * UNIT * (1 - KEEP**rows), abs=1e-5)
    gain = answer["gains"]["flow"]["temperature"]
    assert gain["mean"] == pytest.approx(0.3 * (1 - KEEP**40), abs=1e-5)
    # Two members 0.02 apart: jackknife deviation √(1/2 · 2 · 0.01²) = 0.01; Student's t of 1 degree at 95 %: 6.314.
    assert gain["high"] - gain["mean"] == pytest.approx(0.06314, abs=1e-4)


def test_dead_and_settling_time_are_those_of_a_first_order_lag(hand_made: Twin) -> None:
    answer = step_responses(hand_made)
    assert answer["dead_times_s"]["flow"]["temperature"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    # 1 − 0.8^k passes 95 % at k = 14: 0.8^13 = 0.055, 0.8^14 = 0.044.
    assert answer["settling_times_s"]["flow"]["temperature"]["mean"] == 140.0


def test_only_mvs_are_stepped_and_units_are_told(hand_made: Twin) -> None:
    answer = step_responses(hand_made)
    assert list(answer["gains"]) == ["flow"]
    assert answer["gain_units"]["flow"]["temperature"] == "delta_degC/(m3/h)"
