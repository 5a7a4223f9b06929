"""The noise model: a disturbance that lasts is carried on, white noise is left alone, and inputs are not touched."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from twin.dynamics.lti import Lti, arx
from twin.dynamics.noise import Backbone
from twin.rollout import rollout
from twin.training.folds import COUNT, Folds, split
from twin.training.noise import Chosen, short_first, with_noise
from twin.training.residual import cases
from twin.windows import Grid

ROWS, HISTORY, HORIZON = 4000, 8, 16
RHO, GAIN = 0.8, 0.1


def _plant(keep: float = 0.9) -> Lti:
    """y' = keep y + GAIN u, twice, without a thought of noise: the state is what inputs have done, seen in u alone."""
    w_lags = np.zeros((HISTORY, 2, 1))
    w_lags[:, :, 0] = (GAIN * keep ** np.arange(HISTORY))[:, None]
    return arx(np.zeros((1, 2, 2)), w_lags, np.zeros(2), HISTORY)


@pytest.fixture(scope="module")
def found() -> tuple[Grid, Folds, Chosen]:
    """CV 0 = what inputs do + a disturbance d' = RHO d + e; CV 1 = what inputs do + white noise."""
    rng = np.random.default_rng(3)
    u = np.repeat(rng.normal(size=ROWS // 10), 10)
    d, x = np.zeros(ROWS), np.zeros(ROWS)
    for t in range(ROWS):
        d[t] = RHO * d[t - 1] + rng.normal()
        x[t] = sum(GAIN * 0.9**j * u[t - j] for j in range(min(HISTORY, t + 1)))
    y = np.stack([x + d, x + rng.normal(size=ROWS)], axis=1).astype(np.float32)
    grid = Grid(y, u[:, None].astype(np.float32), np.ones_like(y), np.zeros(ROWS, int))
    folds = split(grid.run, HISTORY, HORIZON)
    return grid, folds, with_noise(grid, folds, (_plant(),) * COUNT)


def test_a_disturbance_that_lasts_gets_modes_and_white_noise_none(found: tuple[Grid, Folds, Chosen]) -> None:
    coloured, white = found[2].settings
    assert coloured is not None
    assert white is None
    assert found[2].gains[0] < -0.1
    assert found[2].gains[1] == 0.0


def test_the_forecast_decays_as_the_disturbance_does(found: tuple[Grid, Folds, Chosen]) -> None:
    """The best forecast of d at row k is RHO^k d: its error has the variance (1 − RHO^2k) / (1 − RHO²)."""
    grid, folds, chosen = found
    squares = []
    for fold, model in enumerate(chosen.backbones):
        case = cases(grid, folds, model, folds.held_out(fold))
        squares.append(((np.asarray(case.y_lin) - case.future.y) ** 2)[..., 0].mean(axis=0))
    k = np.arange(1, HORIZON + 1)
    np.testing.assert_allclose(np.mean(squares, axis=0)[:8], ((1 - RHO ** (2 * k)) / (1 - RHO**2))[:8], rtol=0.1)


def test_what_inputs_do_is_left_to_the_plant(found: tuple[Grid, Folds, Chosen]) -> None:
    grid, _, chosen = found
    model = chosen.backbones[0]
    assert isinstance(model, Backbone)
    window = jax.tree.map(lambda part: part[0], grid.window(np.array([500]), HISTORY))
    w = np.zeros((HORIZON, 1), np.float32)

    def step(dynamics: Backbone | Lti) -> np.ndarray:
        start = dynamics.encode(window)
        return np.asarray(rollout(dynamics, start, w + np.float32(1)) - rollout(dynamics, start, w))

    np.testing.assert_allclose(step(model), step(_plant()), atol=1e-5)


def test_the_first_rows_weigh_more_and_all_weigh_one() -> None:
    weights = short_first(60)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] / weights[-1] == pytest.approx((1 / 4.6799 + 1 / 60) / (1 / 60 / 4.6799 + 1 / 60), rel=1e-3)
