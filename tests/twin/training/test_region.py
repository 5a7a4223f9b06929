"""How wide the trained region is."""

from __future__ import annotations

import jax
import numpy as np

from twin.dynamics.region import Region
from twin.training.folds import split
from twin.training.region import trained_region
from twin.windows import Grid


def _grid(rows: int, seed: int) -> Grid:
    """One input that wanders slowly, and a CV that follows it."""
    rng = np.random.default_rng(seed)
    w = np.zeros(rows)
    for t in range(1, rows):
        w[t] = 0.97 * w[t - 1] + 0.24 * rng.standard_normal()
    y = np.convolve(w, 0.8 ** np.arange(30) * 0.2)[:rows]
    return Grid(*(a[:, None].astype(np.float32) for a in (y, w, np.ones(rows))), np.zeros(rows, np.int64))


def _outside(region: Region, grid: Grid, history: int, horizon: int) -> float:
    """Share of the windows beyond it."""
    ends = grid.ends(history, horizon)
    distances = jax.vmap(region.distance)(grid.window(ends, history), grid.future(ends, horizon).w)
    return float((np.asarray(distances) > 1.0).mean())


def test_of_few_rows_it_is_as_wide_as_rows_that_were_held_out_need() -> None:
    """New rows of the same kind lie outside less often than of the plain ellipsoid."""
    history, horizon = 16, 24
    tight, wide = [], []
    for seed in range(8):
        grid, new = _grid(400, seed), _grid(4000, 100 + seed)
        folds = split(grid.run, history, horizon)
        ends = grid.ends(history, horizon)
        plain = Region.fit(grid.window(ends, history), grid.future(ends, horizon).w)
        tight.append(_outside(plain, new, history, horizon))
        wide.append(_outside(trained_region(grid, folds), new, history, horizon))
    assert np.mean(tight) > 0.1
    assert np.mean(wide) < 0.85 * np.mean(tight)


def test_of_many_rows_it_is_the_ellipsoid_around_their_windows() -> None:
    history, horizon = 16, 24
    grid = _grid(20_000, 0)
    ends = grid.ends(history, horizon)[::4]
    plain = Region.fit(grid.window(ends, history), grid.future(ends, horizon).w)
    region = trained_region(grid, split(grid.run, history, horizon))
    ratio = np.linalg.norm(region.whiten) / np.linalg.norm(plain.whiten)
    assert 0.85 < ratio <= 1.01


def test_widening_shortens_every_distance() -> None:
    grid = _grid(600, 3)
    ends = grid.ends(16, 24)
    window, w = grid.window(ends, 16), grid.future(ends, 24).w
    region = Region.fit(window, w)
    before, after = (np.asarray(jax.vmap(one.distance)(window, w)) for one in (region, region.widened(2.5)))
    np.testing.assert_allclose(after, before / 2.5, rtol=1e-5)
