"""How far a polynomial backbone extrapolates: told by fitting it on the inner windows and forecasting the outer ones.

Powers may carry a law of the process beyond what was seen, or nothing but an accident of the rows. The rows of the
trained region's rim are taken away, the polynomial and the linear model are fitted on what is left, and both forecast
the rim. Where the polynomial is no worse there, its share is kept as far outside of the whole region (unless a residual
stands around it, which was not asked).
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.region import SHARE, Region
from twin.training.backbone import Arx, Data, Named, Subspace
from twin.training.backbone import squares as linear_squares
from twin.training.folds import Folds, spread
from twin.training.polynomial import Form, fitted, squares
from twin.windows import Grid

RIM = 0.8  # of the windows lie inside of it
WINDOWS = 4000  # that measure distances, at most
JUDGED = 300  # windows of the rim


def extrapolating(region: Region, grid: Grid, folds: Folds, linear: Named, form: Form) -> Region:
    """The region with the reach of a polynomial of that form."""
    ends = folds.ends(np.ones(len(folds.run), bool), folds.history, folds.horizon)
    ends = ends[:: max(1, len(ends) // WINDOWS)]
    future = grid.future(ends, folds.horizon)
    away = np.asarray(jax.jit(jax.vmap(region.distance))(grid.window(ends, folds.history), future.w))
    outer = away > np.quantile(away, RIM)
    inner = np.ones(len(folds.run), bool)
    inner[(ends[outer][:, None] + np.arange(1 - folds.history, folds.horizon + 1)).reshape(-1)] = False
    within = folds.ends(inner, folds.history, folds.horizon)
    model = fitted(form, grid, replace(folds, label=np.where(inner, 1, 0)), 0)
    if model is None or not len(within) or not isinstance(linear, Arx | Subspace):
        return region
    rim = spread(ends[outer], JUDGED)
    case = grid.window(rim, folds.history), grid.future(rim, folds.horizon)
    line = linear.fit(Data(grid, folds, inner))
    if not np.sqrt(squares(model, *case)).mean() <= np.sqrt(linear_squares(line, *case)).mean():
        return region
    known = away[np.isin(ends, within)]
    if not len(known):
        return region
    reach = np.quantile(away[outer], SHARE) / np.quantile(known, SHARE)
    return replace(region, reach=jnp.float32(max(1.0, float(reach))))
