"""Taking states out of a linear model: what they do not do is not missed."""

from __future__ import annotations

import numpy as np
import pytest

from twin.dynamics.lti import Lti, arx
from twin.training.reduction import reduce
from twin.windows import Window

ROWS, HISTORY, HORIZON = 200, 12, 30
RNG = np.random.default_rng(0)


def oversized() -> Lti:
    """y_t = 1.5 y_{t−1} − 0.56 y_{t−2} + 0.1 u_t (poles 0.7 and 0.8) in ten lags; mean 3."""
    y_lags, w_lags = np.zeros((10, 1, 1)), np.zeros((10, 1, 1))
    y_lags[0], y_lags[1], w_lags[0] = 1.5, -0.56, 0.1
    return arx(y_lags, w_lags, np.array([0.06 * 3.0]), HISTORY)


def windows() -> tuple[Window, np.ndarray]:
    """Windows of that very system, and the inputs that follow."""
    u = np.repeat(RNG.normal(size=(ROWS, (HISTORY + HORIZON) // 6)), 6, axis=1)
    y = np.full((ROWS, HISTORY + HORIZON), 3.0)
    for k in range(2, y.shape[1]):
        y[:, k] = 1.5 * y[:, k - 1] - 0.56 * y[:, k - 2] + 0.1 * u[:, k] + 0.18
    past = Window(
        y[:, :HISTORY, None].astype(np.float32),
        u[:, :HISTORY, None].astype(np.float32),
        np.ones((ROWS, HISTORY, 1), np.float32),
    )
    return past, u[:, HISTORY:, None].astype(np.float32)


def test_a_second_order_system_needs_two_states() -> None:
    window, w = windows()
    (small,) = reduce([oversized()], [window], [w], np.full((HORIZON, 1), 1e-4))
    assert small.A.shape == (2, 2)
    assert np.sort(np.linalg.eigvals(np.asarray(small.A)).real) == pytest.approx([0.7, 0.8], abs=1e-3)


def test_gain_and_mean_are_kept() -> None:
    window, w = windows()
    (small,) = reduce([oversized()], [window], [w], np.full((HORIZON, 1), 1e-4))
    A, B, C = (np.asarray(m, np.float64) for m in (small.A, small.B, small.C))
    settled = np.linalg.inv(np.eye(2) - A)
    assert (C @ settled @ B).item() == pytest.approx(0.1 / 0.06, abs=5e-3)
    assert (C @ settled @ np.asarray(small.a) + np.asarray(small.c)).item() == pytest.approx(3.0, abs=5e-3)


def test_a_model_whose_every_state_counts_comes_back_as_it_was() -> None:
    window, w = windows()
    model = oversized()
    assert reduce([model], [window], [w], np.zeros((HORIZON, 1))) == [model]
