"""Forecasts over both scales, against sums on paper."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.twin.conftest import history_of
from tests.twin.hierarchy.conftest import RATE, STORE, STRIDE, stored
from twin import predict
from twin.errors import HistoryError, QuestionError
from twin.hierarchy.forecast import forecast
from twin.predict import Scenario
from twin.timeline import Step

UP = [Scenario("up", {"charge": [Step(0.0, 2.0), Step(1980.0, 0.0)]})]  # the rate limit asks for two rows


def levels(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """What the store does in `UP` from a level of 5 at rest, row by row, and the charge."""
    charge = np.full(rows, 2.0)
    charge[0] = 1.6
    charge[33:] = np.maximum(2.0 - 0.6 * np.arange(1, rows - 32), 0.0)
    return 5 + RATE * np.cumsum(charge - 1.0), charge


def averages(charge: np.ndarray) -> np.ndarray:
    """What the slow twin says: three rows' rise of a mean, and two of the one before."""
    surplus = charge.reshape(-1, STRIDE).mean(axis=1) - 1.0
    return 5 + RATE * np.cumsum(3 * surplus + 2 * np.r_[0.0, surplus[:-1]])


def test_fast_rows_then_averages(store):
    answer = forecast(store, stored(1.0, 5.0), 75 * 60.0, UP)
    found, (level, charge) = answer.forecast.scenarios[0], levels(75)
    assert [scale.to_json() for scale in answer.scales] == [
        {"scale": "fast", "period_s": 60.0, "rows": 20},
        {"scale": "slow", "period_s": 300.0, "rows": 11},
    ]
    ends = np.r_[np.arange(1, 21), np.arange(25, 76, STRIDE)]
    assert (answer.forecast.times == answer.forecast.at + pd.to_timedelta(60 * ends, unit="s")).all()
    expected = np.r_[level[:20], averages(charge)[4:]]
    np.testing.assert_allclose(found.cvs["level"].mean, expected, atol=2e-5)
    np.testing.assert_allclose(found.moves["charge"], charge[ends - 1], atol=1e-12)  # the values in force
    np.testing.assert_allclose(answer.forecast.baseline["level"].mean, 5.0, atol=1e-5)
    np.testing.assert_allclose(found.change["level"], expected - 5.0, atol=2e-5)
    width = found.cvs["level"].high - found.cvs["level"].mean
    np.testing.assert_allclose(width, np.r_[np.full(20, 0.009), np.full(11, 0.018)], rtol=0.02)


def test_days_cost_no_more_rows_than_minutes(store):
    assert len(forecast(store, stored(1.0, 5.0), 100 * 60.0).forecast.times) == 20 + 16


def test_within_the_fast_horizon_nothing_is_slow(store):
    history = stored(1.0, 5.0)
    answer = forecast(store, history, 1200.0, UP)
    alone = predict.forecast(store, history, 1200.0, UP)
    assert [scale.name for scale in answer.scales] == ["fast"]
    assert (answer.forecast.scenarios[0].cvs["level"].mean == alone.scenarios[0].cvs["level"].mean).all()


def test_one_scale_on_request(store):
    history = stored(1.0, 5.0)
    slow = forecast(store, history, 1200.0, UP, scale="slow")
    assert [(scale.name, scale.rows) for scale in slow.scales] == [("slow", 4)]
    np.testing.assert_allclose(slow.forecast.scenarios[0].cvs["level"].mean, averages(levels(20)[1]), atol=2e-5)
    fast = forecast(store, history, 75 * 60.0, UP, scale="fast")
    assert [(scale.name, scale.rows) for scale in fast.scales] == [("fast", 75)]
    np.testing.assert_allclose(fast.forecast.scenarios[0].cvs["level"].mean, levels(75)[0], atol=2e-5)


def test_moves_of_days_keep_every_limit(store):
    wild = [Scenario("wild", {"charge": [Step(60.0 * k, 5.0 * (-1) ** k) for k in range(0, 90, 7)]})]
    moves = forecast(store, stored(1.0, 5.0), 90 * 60.0, wild).forecast.scenarios[0].moves["charge"]
    assert ((moves >= 0.0) & (moves <= 2.0)).all()
    assert (np.abs(np.diff(moves[:20])) / 60.0 <= 0.01).all()


def test_with_too_little_history_for_the_slow_twin_the_fast_one_says_so(store):
    short = stored(1.0, 5.0, rows=15)
    answer = forecast(store, short, 75 * 60.0, UP)
    assert [scale.name for scale in answer.scales] == ["fast"]
    reasons = {reason.code for reason in answer.forecast.scenarios[0].trust.reasons}
    assert {"short_history", "beyond_horizon"} <= reasons
    with pytest.raises(HistoryError, match="averaged over 5 rows"):
        forecast(store, short, 75 * 60.0, scale="slow")


def test_bad_questions(store, hand_made):
    with pytest.raises(QuestionError, match="no slow model"):
        forecast(hand_made, history_of(40.0, 50.0), 100.0, scale="slow")
    with pytest.raises(QuestionError, match="did you mean slow"):
        forecast(store, stored(1.0, 5.0), 100.0, scale="slo")
    with pytest.raises(QuestionError, match="at most 120000 s"):  # 20 slow horizons
        forecast(store, stored(1.0, 5.0), 1e6)
    with pytest.raises(QuestionError, match="unknown tag"):
        forecast(store, stored(1.0, 5.0), 6000.0, [Scenario("x", {"discharge": [Step(0.0, 1.0)]})])


def test_a_twin_without_a_slow_one_answers_as_before(hand_made):
    answer = forecast(hand_made, history_of(40.0, 50.0), 400.0)
    assert [(scale.name, scale.rows) for scale in answer.scales] == [("fast", 40)]
    assert STORE.names != hand_made.plant.names


def test_a_last_average_without_half_of_its_rows_is_no_start(slower, after_an_outage):
    """The average before ends an hour earlier: what follows that is past, or from other moves."""
    answer = forecast(slower, after_an_outage, 3 * 3600.0)
    assert [(scale.name, scale.rows) for scale in answer.scales] == [("fast", 180)]
    assert (answer.forecast.times > answer.forecast.at).all()
    reasons = {reason.code: reason.detail for reason in answer.forecast.trust.reasons}
    assert "fewer than half of the last 20 rows" in reasons["short_history"]
    with pytest.raises(HistoryError, match="fewer than half of the last 20 rows"):
        forecast(slower, after_an_outage, 3 * 3600.0, scale="slow")
    whole = forecast(slower, stored(1.0, 5.0, rows=400), 3 * 3600.0)
    assert [(scale.name, scale.rows) for scale in whole.scales] == [("fast", 20), ("slow", 8)]
