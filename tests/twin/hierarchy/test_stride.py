"""Averages against their definition, and strides against the settling time of a twin made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.twin.conftest import KEEP, PLANT, history_of
from twin.hierarchy.stride import averaged, coarse, means, settling_rows, stride_for
from twin.telemetry import Telemetry


def test_averages_end_at_the_last_row_and_keep_what_flowed(hand_made):
    rng = np.random.default_rng(0)
    flow, temperature = rng.normal(40, 5, 23), rng.normal(50, 1, 23)
    history = history_of(flow, temperature, rows=23)
    slow = averaged(history, 5)
    assert slow.at == history.at
    assert len(slow) == 5  # the first holds three of its five rows: more than half
    assert slow.plant.sample_period_s == 50.0
    np.testing.assert_allclose(slow.values[-1], [flow[-5:].mean(), 20.0, temperature[-5:].mean()])
    np.testing.assert_allclose(slow.values[1, 0], flow[3:8].mean())
    np.testing.assert_allclose(slow.values[0, 2], temperature[:3].mean())
    assert (np.diff(slow.times) == np.timedelta64(50, "s")).all()
    assert len(averaged(history.rows(slice(1, None)), 5)) == 4  # two of five are too few


def test_averages_of_rows_a_third_of_a_second_apart_are_of_as_many_rows():
    """Rows lie whole nanoseconds apart: three of them are a nanosecond less than a second."""
    plant = replace(PLANT, sample_period_s=1 / 3)
    times = (333_333_333 * np.arange(12)).view("datetime64[ns]")
    values = np.tile(np.arange(12.0)[:, None], (1, 3))
    slow = averaged(Telemetry(plant, times, values, np.zeros(12, np.int64)), 3)
    np.testing.assert_allclose(slow.values[:, 0], [1.0, 4.0, 7.0, 10.0])


def test_missing_values_are_left_out_and_gaps_shorter_than_the_average_vanish():
    index = pd.date_range("2026-01-01", periods=200, freq="10s", tz="UTC")
    frame = pd.DataFrame({"flow": 40.0, "ambient": 20.0, "temperature": np.arange(200.0)}, index=index)
    frame.iloc[195:199, 2] = np.nan
    fast = Telemetry.from_frame(PLANT, frame.drop(index[100:108]))  # a hole of eight rows ends a run of fast rows
    assert len(np.unique(fast.run)) == 2
    slow = averaged(fast, 20)
    assert (len(slow), len(np.unique(slow.run))) == (10, 1)
    assert slow.values[-1, 2] == pytest.approx((np.arange(180, 195).sum() + 199) / 16)
    assert slow.values[5, 2] == pytest.approx(np.arange(108, 120).mean())


def test_a_long_gap_ends_a_run_and_short_ones_are_missing_rows():
    index = pd.date_range("2026-01-01", periods=400, freq="10s", tz="UTC")
    frame = pd.DataFrame({"flow": 40.0, "ambient": 20.0, "temperature": 50.0}, index=index)
    slow = averaged(Telemetry.from_frame(PLANT, frame.drop(index[100:140]).drop(index[200:260])), 10)
    # Averages 10 to 13 are missing and end a run, as more than three; 20 to 25 too.
    assert np.unique(slow.run, return_counts=True)[1].tolist() == [10, 6, 14]
    short = averaged(Telemetry.from_frame(PLANT, frame.drop(index[100:130])), 10)
    assert len(np.unique(short.run)) == 1
    assert np.isnan(short.values[10:13]).all()


def test_years_without_rows_cost_nothing():
    """Two spans of a minute at ten rows a second, fifty years apart: averages for all of that time would be 40 GB."""
    plant = replace(PLANT, sample_period_s=0.1)
    times = (100_000_000 * np.arange(600)).view("datetime64[ns]")
    values = np.arange(600.0)[:, None] * np.array([1.0, 2.0, 3.0])
    later = times + np.timedelta64(50 * 365, "D")
    whole = Telemetry(plant, np.r_[times, later], np.r_[values, 10 + values], np.repeat([0, 1], 600))
    slow = averaged(whole, 3)
    assert np.unique(slow.run, return_counts=True)[1].tolist() == [200, 200]
    np.testing.assert_allclose(slow.values[[0, -1]], [[1.0, 2.0, 3.0], [608.0, 1206.0, 1804.0]])
    assert slow.times[-1] == later[-1]


def test_means_stay_inside_what_they_average():
    assert (means(np.full(9, 0.1), 3) == 0.1).all()  # three times 0.1 is more than 0.3 in float64
    np.testing.assert_allclose(means(np.array([[1.0], [3.0], [5.0], [9.0]]), 2), [[2.0], [7.0]])


def test_the_stride_follows_the_settling_time(hand_made):
    expected = next(k for k in range(1, 100) if KEEP**k < 0.05)
    assert settling_rows(hand_made) == expected == 14
    assert stride_for(60, horizon=60, rows=100_000) == 10
    assert stride_for(1200, horizon=60, rows=100_000) == 60  # no longer than the fast horizon
    assert stride_for(120, horizon=60, rows=2560) == 10  # 256 rows must be left
    assert stride_for(120, horizon=60, rows=700) is None


def test_the_coarse_plant_differs_in_its_period_alone():
    assert coarse(PLANT, 6).sample_period_s == 60.0
    assert coarse(PLANT, 6).tags == PLANT.tags
