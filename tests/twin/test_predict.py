"""Forecasts of a twin made by hand, against the closed form of its recursion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.twin.conftest import KEEP, history_of
from twin.artifact import Twin
from twin.errors import HistoryError, QuestionError
from twin.predict import Scenario, forecast
from twin.timeline import Step

MEAN_GAIN = 1.5 * 2.0 / 10.0  # degC per m3/h


def test_a_held_plant_at_rest_stays(hand_made: Twin) -> None:
    answer = forecast(hand_made, history_of(40.0, 50.0), 50.0)
    assert answer.at == pd.Timestamp("2026-01-01T00:03:10Z")
    assert [t.isoformat() for t in answer.times[:2]] == ["2026-01-01T00:03:20+00:00", "2026-01-01T00:03:30+00:00"]
    assert answer.baseline["temperature"].mean == pytest.approx(np.full(5, 50.0))
    assert answer.trust.in_distribution


def test_a_step_follows_the_closed_form(hand_made: Twin) -> None:
    move = Scenario("up", moves={"flow": [Step(20.0, 45.0)]})  # in force from row 3 on: (3 − 1) · 10 s
    up = forecast(hand_made, history_of(40.0, 50.0), 100.0, [move]).scenarios[0]
    assert up.moves["flow"].tolist() == [40.0, 40.0] + [45.0] * 8
    rows = np.maximum(np.arange(1, 11) - 2, 0)
    expected = 5.0 * MEAN_GAIN * (1 - KEEP**rows)
    assert up.change["temperature"] == pytest.approx(expected, abs=1e-5)
    assert up.cvs["temperature"].mean == pytest.approx(50.0 + expected, abs=1e-5)
    assert up.clipped == ()


def test_bands_are_the_calibrated_quantiles_in_engineering_units(hand_made: Twin) -> None:
    band = forecast(hand_made, history_of(40.0, 50.0), 10.0, coverage=0.9).baseline["temperature"]
    # Residuals −1 … 1 in 999 steps, conformal ranks 50 and 950, of a CV whose scale is 2.
    assert band.high - band.mean == pytest.approx(2 * (949 * 2 / 998 - 1), abs=1e-6)
    assert band.mean - band.low == pytest.approx(2 * (1 - 49 * 2 / 998), abs=1e-6)


def test_a_move_is_ramped_at_the_rate_limit_and_clipped_at_the_limit_and_says_so(hand_made: Twin) -> None:
    move = Scenario("far", moves={"flow": [Step(0.0, 130.0)]})
    far = forecast(hand_made, history_of(85.0, 50.0), 60.0, [move]).scenarios[0]
    assert far.moves["flow"].tolist() == [90.0, 95.0, 100.0, 100.0, 100.0, 100.0]  # 0.5 per s, 10 s
    assert len(far.clipped) == 1
    assert (far.clipped[0].asked, far.clipped[0].used) == (130.0, 90.0)
    assert "above the high limit 100 m3/h" in far.clipped[0].reason


def test_what_was_never_seen_is_said(hand_made: Twin) -> None:
    move = Scenario("out", moves={"flow": [Step(0.0, 90.0)]})
    out = forecast(hand_made, history_of(40.0, 50.0), 200.0, [move]).scenarios[0]
    assert not out.trust.in_distribution
    assert ("beyond_trained_range", "flow") in [(r.code, r.tag) for r in out.trust.reasons]


def test_a_cv_that_does_not_follow_the_model_is_a_surprise(hand_made: Twin) -> None:
    odd = history_of(40.0, [50.0] * 10 + [50.0 + 2.0 * k for k in range(10)])
    answer = forecast(hand_made, odd, 10.0)
    assert [(r.code, r.tag) for r in answer.trust.reasons] == [("surprise", "temperature")]


@pytest.mark.parametrize("reading", [1e30, 1e39, 1.7e308])
def test_a_reading_beyond_single_precision_is_far_outside_and_not_the_mean_of_training(hand_made, reading) -> None:
    answer = forecast(hand_made, history_of(40.0, [50.0] * 19 + [reading]), 100.0)
    assert (answer.trust.in_distribution, answer.trust.calibrated) == (False, False)
    mean = answer.baseline["temperature"].mean
    assert mean == pytest.approx(mean[0] * KEEP ** np.arange(10), rel=1e-3)  # it decays from far away
    assert mean[0] > 1e6


def test_disturbances_hold_from_their_row_on_and_do_nothing_here(hand_made: Twin) -> None:
    warm = Scenario("warm", disturbances={"ambient": [Step(0.0, 25.0)]})
    assert forecast(hand_made, history_of(40.0, 50.0), 50.0, [warm]).scenarios[0].change["temperature"].max() == 0.0


def test_many_scenarios_answer_as_each_alone(hand_made: Twin) -> None:
    moves = [Scenario(str(v), moves={"flow": [Step(0.0, v)]}) for v in (38.0, 41.0, 44.0)]
    together = forecast(hand_made, history_of(40.0, 52.0), 300.0, moves)
    for move, one in zip(moves, together.scenarios, strict=True):
        alone = forecast(hand_made, history_of(40.0, 52.0), 300.0, [move]).scenarios[0]
        assert one.cvs["temperature"].mean == pytest.approx(alone.cvs["temperature"].mean, abs=1e-5)


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        (Scenario("a", moves={"temperature": [Step(0, 1.0)]}), "temperature is a CV; only an MV can be moved"),
        (Scenario("b", moves={"flwo": [Step(0, 1.0)]}), "did you mean flow"),
        (Scenario("c", disturbances={"flow": [Step(0, 1.0)]}), "flow is an MV; only a DV"),
        (Scenario("d", moves={"flow": [Step(-1.0, 1.0)]}), "after_s of 0 or more"),
        (Scenario("e", moves={"flow": [Step(0.0, float("nan"))]}), "finite value"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(hand_made: Twin, scenario: Scenario, said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        forecast(hand_made, history_of(40.0, 50.0), 50.0, [scenario])


@pytest.mark.parametrize("horizon_s", [0.0, -5.0, 3.2e7, float("nan")])
def test_a_horizon_of_nothing_or_of_a_year_is_refused(hand_made: Twin, horizon_s: float) -> None:
    with pytest.raises(QuestionError, match="horizon_s"):
        forecast(hand_made, history_of(40.0, 50.0), horizon_s)


def test_too_little_history_is_refused_with_what_is_needed(hand_made: Twin) -> None:
    with pytest.raises(HistoryError, match="3 rows without a gap before `at`; this twin needs 4 rows, 40 s"):
        forecast(hand_made, history_of(40.0, 50.0, rows=3), 50.0)


def test_a_tag_without_any_value_is_refused(hand_made: Twin) -> None:
    with pytest.raises(HistoryError, match="temperature"):
        forecast(hand_made, history_of(40.0, float("nan")), 50.0)
