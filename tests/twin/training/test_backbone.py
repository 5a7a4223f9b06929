"""The choice of the linear backbone on systems whose equations are known."""

from __future__ import annotations

import numpy as np
import pytest

from twin.dynamics.lti import Lti
from twin.training.backbone import Arx, Data, Score, Subspace, choose
from twin.training.folds import Folds, split
from twin.training.moments import Moments
from twin.windows import Grid

ROWS = 900


def _grid(noise: float = 0.0, integrating: bool = False) -> Grid:
    """y_t = 1.5 y − 0.56 y'' + 0.06 u_{t−3}: poles 0.8 and 0.7, gain 1, dead time 3; a second input never moves."""
    rng = np.random.default_rng(8)
    u = np.repeat(rng.normal(size=ROWS // 10), 10)
    a1, a2 = (1.7, -0.7) if integrating else (1.5, -0.56)
    y = np.zeros(ROWS)
    for t in range(3, ROWS):
        y[t] = a1 * y[t - 1] + a2 * y[t - 2] + 0.06 * u[t - 3]
    y = y + noise * rng.normal(size=ROWS)
    w = np.stack([u, np.zeros(ROWS)], axis=1)
    return Grid(y[:, None].astype("f"), w.astype("f"), np.ones((ROWS, 1), "f"), np.zeros(ROWS, int))


def _data(grid: Grid) -> Data:
    return Data(grid, split(grid.run, 16, 24), np.ones(ROWS, bool))


def _gain(model: Lti) -> np.ndarray:
    n = len(model.a)
    return np.asarray(model.C @ np.linalg.solve(np.eye(n) - model.A, model.B))


def test_moments_are_those_of_the_windows_written_out() -> None:
    grid = _grid(noise=0.1)
    ends = np.array([5, 40, 41])
    moments = Moments.of(grid, ends, past=3, future=2)
    rows = np.concatenate([grid.y, grid.w], axis=1).astype(float)
    v = np.stack([np.r_[rows[t - 2 : t + 3].ravel(), 1.0] for t in ends])
    np.testing.assert_allclose(moments.gram, v.T @ v, rtol=1e-12, atol=1e-12)
    assert [grid.y[41, 0], grid.w[42, 0]] == [v[2, moments.y_at(0)[0]], v[2, moments.w_at(1)[0]]]


def test_least_squares_recovers_a_noise_free_system() -> None:
    model = Arx(2, 4, penalty=1e-12).fit(_data(_grid()))
    np.testing.assert_allclose(np.asarray(model.A)[0, :2], [1.5, -0.56], atol=2e-3)
    np.testing.assert_allclose(_gain(model)[0], [1.0, 0.0], atol=5e-3)


def test_an_input_that_never_moved_has_no_effect() -> None:
    for candidate in (Arx(2, 4), Arx(2, 4, own=True), Arx(2, 4, differences=True), Subspace(4)):
        assert np.abs(_step(candidate.fit(_data(_grid(noise=0.02))), column=1)).max() < 1e-6


def _step(model: Lti, column: int, rows: int = 60) -> np.ndarray:
    x, y = np.zeros(len(model.a)), []
    for _ in range(rows):
        x = np.asarray(model.A, float) @ x + np.asarray(model.B, float)[:, column]
        y.append((np.asarray(model.C, float) @ x)[0])
    return np.array(y)


def test_a_subspace_model_finds_gain_and_dead_time() -> None:
    response = _step(Subspace(6).fit(_data(_grid(noise=0.02))), column=0)
    assert response[-1] == pytest.approx(1.0, abs=0.1)
    assert np.abs(response[:3]).max() < 0.05


def test_differences_keep_an_integrator_an_integrator() -> None:
    # poles 1 and 0.7: a unit step ramps by 0.06 / 0.3 a row
    model = Arx(2, 4, differences=True, penalty=1e-10).fit(_data(_grid(integrating=True)))
    assert model.spectral_radius() == pytest.approx(1.0, abs=1e-3)
    assert np.diff(_step(model, column=0))[-1] == pytest.approx(0.2, rel=0.05)


def test_masked_rows_weigh_less() -> None:
    grid = _grid()
    wrong = grid.y.copy()
    wrong[300:400] = 9.0
    mask = grid.mask.copy()
    mask[300:400] = 0.0
    held = Grid(wrong, grid.w, mask, grid.run)
    folds = Folds(grid.run, np.zeros(ROWS, int), 2, 8)
    fits = [
        Arx(1, 1).fit(Data(g, folds, np.ones(ROWS, bool))) for g in (held, Grid(wrong, grid.w, grid.mask, grid.run))
    ]
    clean = Arx(1, 1).fit(Data(grid, folds, np.ones(ROWS, bool)))
    away = [abs(float(fit.a[0] - clean.a[0])) for fit in fits]
    assert away[0] < away[1]


def test_the_smaller_of_two_equal_models_is_chosen() -> None:
    big, small, worse = (Score(Arx(n, n), error, ()) for n, error in ((12, 0.100), (3, 0.1005), (1, 0.2)))
    assert choose([big, small, worse], cvs=1, inputs=1) is small
