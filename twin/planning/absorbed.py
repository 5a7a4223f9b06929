"""Whether what the twin did not foresee is made up for by the estimate that plans start from.

A step of an unmeasured disturbance spoils the twin's plain forecasts for as long as it lasts, but not a plan's: their
δ and b (`twin.dynamics.offset_free`) take it in within some rows. Until then nobody can tell it from a process that
has changed; from then on, one that still behaves as it did is forecast again as well as ever. So a plan is doubted
when its own forecasts have failed for as long as that estimate looks back.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.offset_free import ROWS, estimate
from twin.history import recent_rows
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
    errors = future.y - np.asarray(forecasts(twin.dynamics, *recent(grid, ends, twin.history), future.w))
    ratios = [surprise.ratio(error, mask) for error, mask in zip(errors, future.mask, strict=True)]
    return {tag.name: float(ratio) for tag, ratio in zip(twin.plant.cvs, np.min(ratios, axis=0), strict=True)}


@jax.jit
def forecasts(dynamics: Ensemble, windows: Window, whole: jax.Array, w: jax.Array) -> jax.Array:
    """(n, K, CVs) as a plan forecasts them, when its moves are w (n, K, inputs): model units.

    Args:
        windows: (n, ROWS + 1, L, ·) those that end at each of the last rows.
        whole: (n, ROWS + 1) which of them are all history.
    """

    def one(windows: Window, whole: jax.Array, w: jax.Array) -> jax.Array:
        held = jnp.asarray(windows.w)[-1, -1:]
        model, state = estimate(dynamics, windows, whole, lambda window: dynamics.begin(window, held))
        return rollout(model, state, w)

    return jax.vmap(one)(windows, whole, w)
