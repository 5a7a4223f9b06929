"""Keeping signs of gains: least squares under bounds, step responses, the share of the residual that is taken."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from twin.dynamics.ensemble import Ensemble, jepas
from twin.dynamics.jepa import Sizes
from twin.dynamics.lti import Lti, arx
from twin.dynamics.region import Region
from twin.rollout import rollout
from twin.training.backbone import Arx, Data, Score
from twin.training.folds import COUNT, split
from twin.training.signed import Own, _patched, breaks, keep_signs
from twin.training.signs import (
    LEAST,
    ROUNDING,
    Points,
    answers,
    bounded,
    operating_points,
    response_bounds,
    shares,
    shrunk,
    step_answers,
    wrong,
)
from twin.windows import Grid

HISTORY, HORIZON = 8, 20


def test_least_squares_under_bounds_is_a_projection_where_the_normal_matrix_is_one() -> None:
    free = np.array([1.0, -2.0])
    at_zero = bounded(np.eye(2), free, np.array([[0.0, 1.0]]), np.array([0.0]))
    np.testing.assert_allclose(at_zero, [1.0, 0.0], atol=1e-9)
    on_the_line = bounded(np.eye(2), free, np.array([[1.0, 1.0]]), np.array([3.0]))
    np.testing.assert_allclose(on_the_line, [3.0, 0.0], atol=1e-9)
    untouched = bounded(np.eye(2), free, np.array([[1.0, 0.0]]), np.array([0.5]))
    np.testing.assert_allclose(untouched, free, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_least_squares_under_bounds_is_what_another_solver_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root, across = rng.normal(size=(6, 6)), rng.normal(size=6)
    normal, rows, least = root @ root.T + 0.1 * np.eye(6), rng.normal(size=(4, 6)), rng.normal(size=4)
    found = bounded(normal, across, rows, least)
    other = minimize(
        lambda x: 0.5 * x @ normal @ x - across @ x,
        np.zeros(6),
        jac=lambda x: normal @ x - across,
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda x: rows @ x - least, "jac": lambda x: rows},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert other.success
    assert (rows @ found >= least - 1e-7).all()
    np.testing.assert_allclose(found, other.x, atol=1e-4)


def lag(gain: float, pole: float = 0.8) -> Lti:
    """y = pole y + (1 − pole) gain w: a first-order lag."""
    return arx(np.array([[[pole]]]), np.array([[[(1 - pole) * gain]]]), np.zeros(1), HISTORY)


def test_step_answers_are_those_of_a_first_order_lag() -> None:
    found = step_answers(lag(-3.0), 1, 30)[:, 0, 0]
    np.testing.assert_allclose(found, -3.0 * (1 - 0.8 ** np.arange(1, 31)), rtol=1e-5)


def test_an_inverse_response_keeps_its_sign_and_a_wrong_gain_does_not() -> None:
    inverse = arx(np.array([[[0.7]]]), np.array([[[-0.5]], [[1.0]]]), np.zeros(1), HISTORY)
    found = step_answers(inverse, 1, 2 * HORIZON)
    assert found[0] < 0 < found[-1]
    assert not wrong(found, np.array([[1.0]])).any()
    assert wrong(found, np.array([[-1.0]])).all()
    assert wrong(found, np.array([[0.0]])).all()
    assert not wrong(np.zeros_like(found), np.array([[0.0]])).any()
    assert not wrong(-found, np.array([[np.nan]])).any()


def closed_loop(rows: int = 2000, seed: int = 3) -> Grid:
    """x = 0.9 x + 0.1 (u + wander), u = −0.8 x, hardly moved otherwise; z = 0.8 z + 0.2 v of a free input v."""
    rng = np.random.default_rng(seed)
    v = np.repeat(rng.uniform(-1, 1, rows // 10 + 1), 10)[:rows]
    x, z, wander, y, w = 0.0, 0.0, 0.0, np.zeros((rows, 2)), np.zeros((rows, 2))
    for t in range(1, rows):
        wander = 0.95 * wander + 0.5 * rng.normal()
        w[t] = -0.8 * x + 0.02 * rng.normal(), v[t]
        x, z = 0.9 * x + 0.1 * (w[t, 0] + wander), 0.8 * z + 0.2 * w[t, 1]
        y[t] = x + 0.02 * rng.normal(), z + 0.01 * rng.normal()
    y, w = y / y.std(axis=0), w / w.std(axis=0)
    return Grid(*(a.astype(np.float32) for a in (y, w, np.ones_like(y))), np.zeros(rows, np.int64))


ASKED = np.array([[1.0, 0.0], [np.nan, 1.0]])  # u raises x and leaves z alone, v raises z


def test_a_fit_under_bounds_has_the_sign_and_no_effect_is_none_at_all() -> None:
    grid = closed_loop()
    data = Data(grid, split(grid.run, HISTORY, HORIZON), np.ones(len(grid.run), bool))
    none = np.zeros(2, bool)
    own = Own(0, 2, 3, penalty=1e-2)
    free = step_answers(own.fit(data, np.full(2, np.nan), none), 2, 2 * HORIZON)
    assert free[-1, 0, 0] < 0
    kept = step_answers(own.fit(data, ASKED[:, 0], np.array([True, False])), 2, 2 * HORIZON)
    assert (kept[:, 0, 0] > -1e-6).all()
    assert kept[-1, 0, 0] > 0
    other = step_answers(Own(1, 2, 2).fit(data, ASKED[:, 1], none), 2, 400)
    assert np.abs(other[:, 0, 0]).max() == 0.0
    assert other[-1, 1, 0] > 0.5


def test_own_lags_on_levels_are_those_of_the_candidate_of_that_name() -> None:
    grid = closed_loop()
    data = Data(grid, split(grid.run, HISTORY, HORIZON), np.ones(len(grid.run), bool))
    for differences in (False, True):
        both = Arx(3, 4, differences, own=True).fit(data)
        one = Own(1, 3, 4, differences).fit(data, np.full(2, np.nan), np.zeros(2, bool))
        window = jax.tree.map(lambda part: part[0], grid.window(np.array([50]), HISTORY))
        w = grid.w[51:91]
        expected = rollout(both, both.encode(window), w)[:, 1]
        np.testing.assert_allclose(rollout(one, one.encode(window), w)[:, 0], expected, atol=1e-4)


def test_a_patched_backbone_reads_each_cv_from_its_model() -> None:
    base = arx(np.array([0.5 * np.eye(2)]), np.array([np.eye(2)]), np.array([0.1, 0.2]), HISTORY)
    grid = closed_loop(200)
    own = Own(1, 2, 1).fit(
        Data(grid, split(grid.run, HISTORY, HORIZON), np.ones(200, bool)), ASKED[:, 1], np.zeros(2, bool)
    )
    both = _patched(base, {1: own})
    window = jax.tree.map(lambda part: part[0], grid.window(np.array([50]), HISTORY))
    y = np.asarray(rollout(both, both.encode(window), grid.w[51:91]))
    np.testing.assert_allclose(y[:, 0], rollout(base, base.encode(window), grid.w[51:91])[:, 0], atol=1e-5)
    np.testing.assert_allclose(y[:, 1], rollout(own, own.encode(window), grid.w[51:91])[:, 0], atol=1e-5)


def test_signs_are_kept_cv_by_cv_and_a_backbone_that_has_them_stays_as_it_is() -> None:
    grid = closed_loop()
    folds = split(grid.run, HISTORY, HORIZON)
    data = [Data(grid, folds, folds.label != fold) for fold in range(COUNT)]
    candidate = Arx(2, 2)
    score = Score(candidate, 1.0, tuple(candidate.fit(of) for of in data))
    assert breaks(score.fits, ASKED, HORIZON)[0, 0]
    right = np.array([[np.nan, np.nan], [np.nan, 1.0]])
    assert keep_signs(score, grid, folds, right).score is score
    kept = keep_signs(score, grid, folds, ASKED)
    assert kept.all
    assert kept.bound.tolist() == [[True, False], [False, False]]
    assert not breaks(kept.score.fits, ASKED, HORIZON).any()
    assert kept.score.candidate.name.startswith("ARX(2, 2), ridge 0.0001; 0: ARX(")


def ensemble(scale: float) -> tuple[Ensemble, Grid, np.ndarray]:
    """Lags of gain 1 around which residuals with drawn readouts, so large, do as they please."""
    grid = closed_loop(400)
    base = arx(np.array([0.8 * np.eye(2)]), np.array([0.2 * np.eye(2)]), np.zeros(2), HISTORY)
    backbones = jax.tree.map(lambda a: jnp.stack([jnp.asarray(a)] * 2), base)
    residuals = jepas(Sizes(2, 2, HISTORY), 2, seed=4)
    kernel = residuals.g2.kernel[...]
    residuals.g2.kernel[...] = kernel.at[..., -2:].set(0.2 * scale * jax.random.normal(jax.random.key(0), (2, 64, 2)))
    ends = np.arange(HISTORY - 1, 300)
    region = Region.fit(grid.window(ends, HISTORY), grid.future(ends, HORIZON).w)
    return Ensemble(backbones, residuals, region), grid, ends


def test_the_share_of_the_residual_that_is_taken_breaks_no_sign_anywhere() -> None:
    dynamics, grid, ends = ensemble(1.0)
    asked = np.array([[1.0, np.nan], [np.nan, np.nan]])
    points = operating_points(grid, ends, HISTORY, dynamics, 2, seed=0)
    mvs = np.array([0])
    assert (answers(dynamics, points, mvs, HORIZON).ends[..., 0, 0] < 0).any()
    share = shares(dynamics, points, asked, HORIZON)
    assert 0 < share[0] < 1
    assert share[1] == 1.0
    taken = Ensemble(dynamics.backbones, shrunk(dynamics.residuals, share), dynamics.region)
    assert answers(taken, points, mvs, HORIZON).ends[..., 0, 0].min() > 0
    more = Ensemble(dynamics.backbones, shrunk(dynamics.residuals, 1.2 * share), dynamics.region)
    assert answers(more, points, mvs, HORIZON).ends[..., 0, 0].min() < 0


@pytest.mark.parametrize(("gain", "least", "most"), [(0.0, 1e-6, 0.02), (-0.2, 0.0, 0.0)])
def test_where_the_backbone_shows_no_effect_or_the_wrong_one_the_residual_makes_it_no_worse(
    gain: float, least: float, most: float
) -> None:
    """An MV without an effect breaks no sign; what a residual takes away from it would."""
    dynamics, grid, ends = ensemble(1.0)
    base = arx(np.array([0.8 * np.eye(2)]), np.array([np.diag([gain, 0.2])]), np.zeros(2), HISTORY)
    dynamics = replace(dynamics, backbones=jax.tree.map(lambda a: jnp.stack([jnp.asarray(a)] * 2), base))
    asked = np.array([[1.0, np.nan], [np.nan, np.nan]])
    points = operating_points(grid, ends, HISTORY, dynamics, 2, seed=0)
    share = shares(dynamics, points, asked, HORIZON)
    assert least <= share[0] <= most
    assert share[1] == 1.0
    taken = replace(dynamics, residuals=shrunk(dynamics.residuals, share))
    worst = answers(taken, points, np.array([0]), HORIZON).ends[..., 0, 0].min()
    alone = answers(dynamics.linear, points, np.array([0]), HORIZON).ends[..., 0, 0].min()
    assert worst > alone - ROUNDING


def test_operating_points_lie_in_the_trained_region_and_steps_in_the_range() -> None:
    dynamics, grid, ends = ensemble(0.0)
    points = operating_points(grid, ends, HISTORY, dynamics, 2, seed=1)
    assert isinstance(points, Points)
    assert len(points.held) > 50
    low, high = grid.w.min(axis=0), grid.w.max(axis=0)
    assert (points.low >= low).all()
    assert (points.high <= high).all()
    window = jax.tree.map(lambda part: part[:, -1], points.windows)
    distance = jax.vmap(lambda p, w: dynamics.region.distance(p, w[None]))(window, points.held)
    assert (np.asarray(distance) <= 1 + 1e-5).all()


def test_bounds_on_a_response_are_the_sums_of_its_coefficients() -> None:
    rows, least = response_bounds(1, np.array([[1], [2]]), np.array([-1.0]), 4)
    np.testing.assert_allclose(rows, [[-1, 0, 0, 0], [0, -1, 0, 0], [LEAST, -1, -1, 0]])
    np.testing.assert_allclose(least, [-1, 0, LEAST])
