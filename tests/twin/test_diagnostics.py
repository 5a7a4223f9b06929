"""Errors whose autocorrelation, bias and sum are known by construction; gains over a range worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.twin.conftest import GAINS, KEEP, PLANT, history_of
from twin.artifact import Twin
from twin.diagnostics import _autocorrelation, diagnostics
from twin.responses import gain_map, step_responses
from twin.telemetry import Telemetry


def test_the_autocorrelation_is_that_of_a_first_order_process_and_gaps_do_not_count() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    e = np.zeros((n, 1))
    for t in range(1, n):
        e[t] = 0.7 * e[t - 1] + rng.normal()
    ends = np.arange(n)
    found, limit = _autocorrelation(ends, e, np.ones_like(e), 3)
    assert found[:, 0] == pytest.approx([0.7, 0.49, 0.343], abs=0.02)
    assert limit[0] == pytest.approx(1.96 / np.sqrt(n))
    apart = 2 * ends  # no two rows follow one another
    assert _autocorrelation(apart, e, np.ones_like(e), 3)[0][[0, 2]].tolist() == [[0.0], [0.0]]


def test_a_sensor_offset_is_a_bias_and_adds_up(hand_made: Twin) -> None:
    """The hand-made plant at rest, its reading 1 degC above what the twin knows: the error decays with KEEP."""
    rows = 400
    values = np.column_stack([np.full(rows, 40.0), np.full(rows, 20.0), np.full(rows, 51.0)])
    times = (10**10 * np.arange(rows)).view("datetime64[ns]")
    found = diagnostics(hand_made, Telemetry(PLANT, times, values, np.zeros(rows, np.int64)))
    cv = found["cvs"]["temperature"]
    k = np.arange(1, hand_made.horizon + 1)
    error = 1 - KEEP**k  # measured 51, forecast 50 + 1 · KEEP^k
    assert cv["bias"] == pytest.approx(error, abs=1e-5)
    assert cv["accumulated"] == pytest.approx(10.0 * np.cumsum(error), rel=1e-4)
    assert found["times_s"][-1] == 200.0


def test_a_linear_twin_has_one_gain_over_its_range(hand_made: Twin) -> None:
    found = gain_map(hand_made)["flow"]
    settled = 0.2 * np.mean(GAINS) * (1 - KEEP**40)
    assert found["gains"]["temperature"]["mean"] == pytest.approx([settled] * 9, abs=1e-4)
    assert (min(found["levels"]), max(found["levels"])) == (22.5, 57.5)  # half a step inside 20 to 60


def test_responses_at_an_operating_point_are_those_of_a_linear_twin_anywhere(hand_made: Twin) -> None:
    there = step_responses(hand_made, history_of(55.0, 60.0))
    here = step_responses(hand_made)
    assert there["gains"]["flow"]["temperature"]["mean"] == pytest.approx(
        here["gains"]["flow"]["temperature"]["mean"], abs=1e-4
    )
