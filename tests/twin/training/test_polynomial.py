"""The choice of the polynomial backbone, and how far it reaches, on systems whose equations are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pytest

from twin.dynamics.polynomial import Polynomial
from twin.dynamics.region import Region
from twin.rollout import rollout
from twin.training.backbone import Arx
from twin.training.extrapolation import extrapolating
from twin.training.folds import Folds, split
from twin.training.polynomial import Fitted, Form, _rests, fitted, free_run, select, squares
from twin.training.region import trained_region
from twin.windows import Grid

ROWS = 1600


def _spring(rows: int = ROWS, size: float = 1.0, seed: int = 3) -> Grid:
    """y_{t+1} = 1.6 y_t − 0.8 y_{t−1} − 0.1 y_t³ + 0.3 w_{t+1}: an oscillator whose spring hardens."""
    rng = np.random.default_rng(seed)
    w = size * rng.normal(size=rows)
    y = np.zeros(rows)
    for t in range(1, rows - 1):
        y[t + 1] = 1.6 * y[t] - 0.8 * y[t - 1] - 0.1 * y[t] ** 3 + 0.3 * w[t + 1]
    return _grid(y, w)


def _grid(y: np.ndarray, w: np.ndarray) -> Grid:
    return Grid(y[:, None].astype("f"), w[:, None].astype("f"), np.ones((len(y), 1), "f"), np.zeros(len(y), int))


def _chosen(grid: Grid) -> tuple[Fitted | None, Folds]:
    folds = split(grid.run, 8, 20)
    *_, last = select(grid, folds)
    return last, folds


@pytest.fixture(scope="module")
def spring() -> Fitted:
    found, _ = _chosen(_spring())
    assert found is not None
    return found


def test_a_law_of_the_third_degree_is_found(spring: Fitted) -> None:
    assert spring.form.degree == 3
    assert spring.error < 2e-3
    new = _spring(size=1.0, seed=8)
    ends = new.ends(8, 20)[::20]
    errors = [squares(fit, new.window(ends, 8), new.future(ends, 20)) for fit in spring.fits]
    assert np.sqrt(np.mean(errors)) < 2e-3


def test_the_free_run_that_judges_is_that_of_the_model(spring: Fitted) -> None:
    new = _spring(seed=9)
    ends = new.ends(8, 20)[::50]
    window, future = new.window(ends, 8), new.future(ends, 20)
    fit = spring.fits[0]
    y = jax.vmap(lambda past, w: rollout(fit, fit.encode(past), w))(window, future.w)
    expected = np.mean((np.asarray(y) - future.y) ** 2, axis=0)
    np.testing.assert_allclose(squares(fit, window, future), expected, rtol=0.02, atol=1e-8)


@pytest.mark.parametrize("delay", [0, 1])
def test_rows_of_several_tags_stand_where_they_belong(delay: int) -> None:
    """Two CVs and two inputs, each term of the law in one place: every weight is recovered."""
    rng = np.random.default_rng(5)
    w = rng.uniform(-1, 1, (900, 2))
    y = np.zeros((900, 2))
    for t in range(2, 899):
        at = t + 1 - delay
        y[t + 1, 0] = 0.5 * y[t, 0] + 0.2 * y[t - 1, 1] + w[at, 0] * y[t, 1]
        y[t + 1, 1] = 0.6 * y[t, 1] + 0.5 * w[at - 1, 1] + 0.1 * w[at, 0] ** 2
    grid = Grid(y.astype("f"), w.astype("f"), np.ones((900, 2), "f"), np.zeros(900, int))
    fit = fitted(Form(2, 2, delay, 2, penalty=1e-9), grid, split(grid.run, 8, 20), 0)
    assert fit is not None
    ends = grid.ends(8, 20)[::30]
    assert np.sqrt(squares(fit, grid.window(ends, 8), grid.future(ends, 20))).max() < 1e-4


def test_rows_that_were_not_measured_teach_nothing(spring: Fitted) -> None:
    grid = _spring()
    bad = np.arange(ROWS) % 10 == 0
    y = np.where(bad[:, None], np.float32(50.0), grid.y)
    found = fitted(spring.form, replace(grid, y=y, mask=(~bad)[:, None].astype("f")), split(grid.run, 8, 20), 0)
    assert found is not None
    ends = grid.ends(8, 20)[::50]
    assert np.sqrt(squares(found, grid.window(ends, 8), grid.future(ends, 20))).max() < 5e-3


def test_with_few_rows_for_the_tags_there_is_none() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(300, 9)).astype("f")
    grid = Grid(y, y[:, :3], np.ones_like(y), np.zeros(300, int))
    assert _chosen(grid)[0] is None


def test_an_input_that_never_moved_has_no_effect() -> None:
    grid = _spring()
    still = replace(grid, w=np.concatenate([grid.w, np.zeros_like(grid.w)], axis=1))
    found, _ = _chosen(still)
    assert found is not None
    fit = found.fits[0]
    window, future = still.window(np.array([100]), 8), still.future(np.array([100]), 20)
    moved = future.w.copy()
    moved[..., 1] = 5.0
    answers = [rollout(fit, fit.encode(type(window)(*(p[0] for p in window))), w[0]) for w in (future.w, moved)]
    np.testing.assert_array_equal(*answers)


def _reach(grid: Grid) -> tuple[Region, float]:
    found, folds = _chosen(grid)
    assert found is not None
    region = trained_region(grid, folds)
    return region, float(extrapolating(region, grid, folds, Arx(4, 4), found.form).reach)


def test_a_law_that_holds_outside_reaches_there() -> None:
    region, reach = _reach(_spring(4000, size=0.6))
    assert float(region.reach) == 1.0
    assert 1.1 < reach < 3.0


def test_powers_that_bend_away_outside_do_not() -> None:
    """A valve that saturates: within its range a polynomial follows it, outside it bends away."""
    rng = np.random.default_rng(2)
    w = np.repeat(rng.normal(size=800), 5)
    y = np.zeros(4000)
    for t in range(3999):
        y[t + 1] = 0.9 * y[t] + 0.1 * np.sin(2.5 * w[t + 1])
    assert _reach(_grid(y, w))[1] == 1.0


def _first_order(keep: float, gain: float) -> Polynomial:
    """y_{t+1} = keep · y_t + gain · w_{t+1}."""
    return Polynomial(
        table=np.array([[0.0, keep - 1.0, gain]]), mix=np.eye(2), shift=np.zeros(2), low=np.full(2, -9.0),
        high=np.full(2, 9.0), window=np.array([14]), after=np.array([0]),
    )  # fmt: skip


def test_fits_that_do_not_come_to_rest_at_one_place_are_refused():
    """With w held lags end at g · w, integrators at y + 100 · 0.1 · g · w: of gains 1 ± 0.02 and a mean square of w
    of 1 and more the first are 0.02 to 0.04 apart, the second ten times that."""
    grid = _spring()
    folds = split(grid.run, 8, 20)
    rests = _rests(grid, folds, folds.held_out(0))
    gains = (0.98, 1.02, 0.98, 1.02)
    lags = Fitted(Form(1, 1, 0, 1), 0.06, tuple(_first_order(0.9, 0.1 * g) for g in gains))
    integrators = Fitted(Form(1, 1, 1, 1), 0.06, tuple(_first_order(1.0, 0.1 * g) for g in gains))
    assert rests(lags)
    assert not rests(integrators)


def _store(rows_a_move: int) -> tuple[Grid, Callable[[np.ndarray], np.ndarray], Callable[[float], float]]:
    """dy = 0.1 (w − √y), which comes to rest at w², with w between 0.2 and 2.2; and y and w to and from their units."""
    rng = np.random.default_rng(5)
    w = np.repeat(rng.uniform(0.2, 2.2, 2100 // rows_a_move), rows_a_move)
    y = np.full(len(w), 1.4)
    for t in range(len(w) - 1):
        y[t + 1] = y[t] + 0.1 * (w[t + 1] - np.sqrt(y[t]))
    noisy = (y - y.mean()) / y.std() + 1e-3 * rng.normal(size=len(y))
    return _grid(noisy, (w - w.mean()) / w.std()), lambda x: x * y.std() + y.mean(), lambda u: (u - w.mean()) / w.std()


def test_a_polynomial_comes_to_rest_where_the_process_does():
    grid, level, unit = _store(25)
    found, _ = _chosen(grid)
    assert found is not None
    history = _grid(np.zeros(8), np.zeros(8)).window(np.array([7]), 8)
    for held in (0.6, 1.2, 1.8):
        inputs = np.full((1, 400, 1), unit(held), np.float32)
        ends = [level(list(free_run(fit, history, inputs))[-1])[0, 0] for fit in found.fits]
        assert ends == pytest.approx([held**2] * 4, abs=0.1)


def test_where_inputs_moved_too_fast_to_show_where_it_rests_there_is_none():
    """Of w between 0.2 and 2.2 for three rows each y stays near 1.4: where w held leads, 0 to 4.8, was never seen."""
    assert _chosen(_store(3)[0])[0] is None
