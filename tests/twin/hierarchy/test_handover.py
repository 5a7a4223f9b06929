"""Averages at the fast rate: ramps, corners and lags whose averages are worked out on paper."""

from __future__ import annotations

import numpy as np
import pytest

from twin.hierarchy.handover import end, path


def test_a_path_through_averages_of_a_ramp_is_the_ramp_as_far_as_the_last_middle():
    averages = np.array([3.0, 8.0, 13.0])  # of 1 to 5, 6 to 10, 11 to 15
    assert path(0.0, averages, 5, 17) == pytest.approx([*range(1, 14), 13, 13, 13, 13])
    assert path(0.0, np.array([2.5, 6.5]), 4, 6) == pytest.approx(range(1, 7))


@pytest.mark.parametrize(("rows", "there"), [(5, 5.0), (8, 8.0), (10, 10.0), (11, 9.0), (15, 5.0)])
def test_an_end_where_the_forecast_is_right_is_the_forecast_whatever_comes_behind(rows, there):
    """Up 1 a row for ten rows and down 1 a row behind: averages 3, 8 and 7."""
    course = np.r_[np.arange(1.0, 11.0), np.arange(9.0, 4.0, -1.0)]
    averages = np.array([3.0, 8.0, 7.0])
    assert end(averages, course, 5, rows) == pytest.approx(there)
    assert end(averages, course[: 5 * -(-rows // 5)], 5, rows) == pytest.approx(there)


def test_an_end_is_moved_to_the_slow_plan_s_average():
    """A lag that halves what is left: 4, 6, 7, 7.5 of 8, average 6.125, where the slow plan says 5."""
    course = np.array([0.0, 0.0, 0.0, 0.0, 4.0, 6.0, 7.0, 7.5])
    assert end(np.array([0.0, 5.0]), course, 4, 8) == pytest.approx(7.5 - 1.125)
    assert end(np.array([0.0, 5.0]), course, 4, 6) == pytest.approx(6.0 - 1.125)
