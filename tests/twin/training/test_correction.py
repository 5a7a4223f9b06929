"""The correction of forecasts: made where errors last, left out where they are noise."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twin.dynamics.ensemble import Ensemble
from twin.dynamics.lti import arx
from twin.dynamics.offset_free import ROWS
from twin.dynamics.region import Region
from twin.forecasting import forecaster
from twin.training.correction import member, out_of_fold, recent
from twin.training.folds import COUNT, split
from twin.windows import Grid

HISTORY, HORIZON, ROWS_IN_ALL = 8, 10, 2000


def dynamics() -> Ensemble:
    """y' = 0.9 y + 0.1 u, four times."""
    lti = arx(np.array([[[0.9]]]), np.array([[[0.1]]]), np.zeros(1), HISTORY)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * COUNT), lti)
    return Ensemble(stacked, None, Region(jnp.zeros(3), 0.01 * jnp.eye(3)))


def grid(disturbance: np.ndarray, noise: np.ndarray) -> Grid:
    """Rows of that system with a disturbance on its state and noise on its measurement."""
    u = np.repeat(np.random.default_rng(0).normal(size=ROWS_IN_ALL // 20), 20)
    y = np.zeros(ROWS_IN_ALL)
    for k in range(1, ROWS_IN_ALL):
        y[k] = 0.9 * y[k - 1] + 0.1 * u[k] + disturbance[k]
    y = (y + noise)[:, None].astype(np.float32)
    return Grid(y, u[:, None].astype(np.float32), np.ones_like(y), np.zeros(ROWS_IN_ALL, np.int64))


def judged(rows: Grid) -> tuple[float, np.ndarray]:
    folds = split(rows.run, HISTORY, HORIZON)
    found = out_of_fold(dynamics(), rows, folds, [folds.held_out(fold)[::7] for fold in range(COUNT)])
    return found.share, found.residuals


def test_an_error_that_lasts_is_corrected_and_gone() -> None:
    share, residuals = judged(grid(np.full(ROWS_IN_ALL, 0.2), np.zeros(ROWS_IN_ALL)))
    late = residuals[len(residuals) // 2 :]  # the disturbance is all there
    assert share == 1.0
    assert np.abs(late).max() < 1e-2  # uncorrected: 0.2 (1 − 0.9^10) / 0.1 = 1.3


def test_noise_is_not_taken_for_an_error() -> None:
    share, _ = judged(grid(np.zeros(ROWS_IN_ALL), np.random.default_rng(1).normal(0, 0.3, ROWS_IN_ALL)))
    assert share == 0.0


def test_windows_before_the_run_began_are_not_whole() -> None:
    rows = grid(np.zeros(ROWS_IN_ALL), np.zeros(ROWS_IN_ALL))
    windows, whole = recent(rows, np.array([HISTORY + 4, 500]), HISTORY)
    assert windows.y.shape == (2, ROWS + 1, HISTORY, 1)
    assert whole.sum(axis=1).tolist() == [6, ROWS + 1]  # ends HISTORY − 1 … HISTORY + 4
    assert windows.y[1, -1, -1, 0] == rows.y[500, 0]
    assert windows.y[1, 0, -1, 0] == rows.y[500 - ROWS, 0]


def test_a_member_alone_is_the_ensemble_of_equals() -> None:
    window = jax.tree.map(lambda p: p[0, -1], recent(grid(np.zeros(2000), np.zeros(2000)), np.array([500]), HISTORY)[0])
    whole, one = dynamics(), member(dynamics(), 2)
    assert one.members == 1
    assert one.read(one.encode(window)) == pytest.approx(whole.read(whole.encode(window)))


def test_outside_of_the_region_the_other_share_counts() -> None:
    """Between both by the gate: at distance 2^(1/4) it is a half."""
    rows = grid(np.full(ROWS_IN_ALL, 0.2), np.zeros(ROWS_IN_ALL))
    windows, whole = jax.tree.map(lambda part: part[0], recent(rows, np.array([500]), HISTORY))
    held = rows.w[501 : 501 + HORIZON]
    last = jax.tree.map(lambda part: part[-1], windows)
    away = float(dynamics().region.distance(last, held))

    def forecast(distance: float, shares: tuple[float, ...]) -> np.ndarray:
        near = replace(dynamics(), region=dynamics().region.widened(away / distance))
        return np.asarray(forecaster(near, windows, jnp.asarray(whole), jnp.asarray(shares))(held))

    plain, all_of_it = forecast(1.0, (0.0,)), forecast(1.0, (1.0,))
    assert np.abs(all_of_it - plain).max() > 0.5
    np.testing.assert_allclose(forecast(0.9, (0.0, 1.0)), plain, rtol=1e-5)
    np.testing.assert_allclose(forecast(100.0, (0.0, 1.0)), all_of_it, rtol=1e-5)
    np.testing.assert_allclose(forecast(2**0.25, (0.0, 1.0)), (plain + all_of_it) / 2, rtol=1e-4)
