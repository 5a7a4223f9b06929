"""Whether what the twin did not foresee is made up for by the estimate that plans start from.

A step of an unmeasured disturbance spoils the twin's plain forecasts for as long as it lasts, but not a plan's: their
δ and b (`twin.dynamics.offset_free`) take it in within some rows. Until then nobody can tell it from a process that
has changed; from then on, one that still behaves as it did is forecast again as well as ever. So a plan is doubted
when its own forecasts have failed for as long as that estimate looks back.

How far a plan trusts the residual goes by the inputs it foresaw over its whole horizon (`optimize.plan`). Of a plan of
some rows ago these are taken to be the inputs that came since, and for the rest of it what is expected now.
"""

from __future__ import annotations

import jax
import numpy as np

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.offset_free import ROWS, estimate
from twin.dynamics.region import Region
from twin.history import expected_inputs, recent_rows
from twin.planning.direction import OUTSIDE
from twin.rollout import rollout
from twin.telemetry import Telemetry
from twin.training.correction import recent
from twin.trust import Surprise
from twin.windows import Grid, Window

BACK = np.array([ROWS, ROWS // 2, 0])  # rows ago that the hindcasts end, which are looked at


def lasting(twin: Twin, history: Telemetry, surprise: Surprise) -> dict[str, float] | None:
    """CV → the least surprise of the forecasts that plans of the last rows were made by.

    Args:
        history: up to the present, engineering units.
        surprise: of such forecasts.

    Returns:
        `Surprise.ratio` of each CV, above 1 where they all failed; None where history is too short.
    """
    rows = len(surprise.size)
    telling = recent_rows(twin, history, twin.history + ROWS + rows + BACK.max())
    ends = len(telling) - 1 - rows - BACK
    if ends[0] < twin.history - 1:
        return None
    grid = Grid.of(telling, twin.scaler)
    future = grid.future(ends, rows)
    foreseen = _foreseen(twin, history, grid, ends)
    errors = future.y - np.asarray(forecasts(twin.dynamics, *recent(grid, ends, twin.history), future.w, foreseen))
    ratios = [surprise.ratio(error, mask) for error, mask in zip(errors, future.mask, strict=True)]
    return {tag.name: float(ratio) for tag, ratio in zip(twin.plant.cvs, np.min(ratios, axis=0), strict=True)}


def _foreseen(twin: Twin, history: Telemetry, grid: Grid, ends: np.ndarray) -> np.ndarray:
    """(n, K, inputs) float32, model units: what plans made at each of `ends` foresaw of the inputs, as far as it can
    be told. As in a plan, MVs that would lie far out if they stayed as they are now are taken to return."""
    rows = ends[:, None] + np.arange(1, twin.horizon + 1)
    windows = grid.window(ends, twin.history)
    later = twin.scaler.w_in(expected_inputs(twin, history, twin.horizon))
    stay = np.concatenate([grid.w, later])[rows]
    back = later.copy()
    back[:, : len(twin.plant.mvs)] = 0.0  # the mean of training
    far = np.asarray(_distances(twin.region, windows, stay)) > OUTSIDE
    return np.where(far[:, None, None], np.concatenate([grid.w, back])[rows], stay)


@jax.jit
def _distances(region: Region, windows: Window, w: jax.Array) -> jax.Array:
    return jax.vmap(region.distance)(windows, w)


@jax.jit
def forecasts(
    dynamics: Ensemble, windows: Window, whole: jax.Array, w: jax.Array, foreseen: jax.Array | None = None
) -> jax.Array:
    """(n, K, CVs) as a plan forecasts them, when its moves are w (n, K, inputs): model units.

    Args:
        windows: (n, ROWS + 1, L, ·) those that end at each of the last rows.
        whole: (n, ROWS + 1) which of them are all history.
        foreseen: (n, ·, inputs) over the plan's whole horizon, where that is more than w.
    """

    def one(windows: Window, whole: jax.Array, w: jax.Array, foreseen: jax.Array) -> jax.Array:
        model, state = estimate(dynamics, windows, whole, lambda window: dynamics.begin(window, foreseen))
        return rollout(model, state, w)

    return jax.vmap(one)(windows, whole, w, w if foreseen is None else foreseen)
