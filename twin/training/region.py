"""The trained region of a twin: as wide as what new blocks of telemetry turn out to need.

An ellipsoid around few windows is too tight: windows overlap, so that some hundred rows hold a handful of independent
ones, and the next rows lie outside of it although they are of the same kind. So each fold's ellipsoid, of the windows
it may learn from, is held against the windows it holds out, and that of all rows is widened by what the folds needed.
"""

from __future__ import annotations

import jax
import numpy as np

from twin.dynamics.region import SHARE, Region
from twin.training.folds import COUNT, Folds
from twin.windows import Grid

WINDOWS = 4000  # of all rows, and of each fold, at most


def trained_region(grid: Grid, folds: Folds) -> Region:
    """The region of all rows, widened by the distance that 99 % of a fold's windows held out keep (median of folds)."""
    region = _fit(grid, folds, folds.ends(np.ones(len(folds.run), bool), folds.history, folds.horizon))
    whole = [fold for fold in range(COUNT) if len(folds.training(fold)) and len(folds.held_out(fold))]
    needed = [_reach(_fit(grid, folds, folds.training(fold)), grid, folds, fold) for fold in whole]
    return region.widened(max([1.0, float(np.median(needed))] if needed else [1.0]))


def _fit(grid: Grid, folds: Folds, ends: np.ndarray) -> Region:
    some = _thinned(ends)
    return Region.fit(grid.window(some, folds.history), grid.future(some, folds.horizon).w)


def _reach(region: Region, grid: Grid, folds: Folds, fold: int) -> float:
    some = _thinned(folds.held_out(fold))
    window, future = grid.window(some, folds.history), grid.future(some, folds.horizon)
    return float(np.quantile(np.asarray(jax.jit(jax.vmap(region.distance))(window, future.w)), SHARE))


def _thinned(ends: np.ndarray) -> np.ndarray:
    return ends[:: max(1, len(ends) // WINDOWS)]
