"""Forecasts of rows that have been measured since: what a twin would have said, held against what came."""

from __future__ import annotations

import jax
import numpy as np

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.forecasting import forecaster
from twin.training.correction import CHUNK, recent
from twin.windows import Grid, Window


def hindcasts(twin: Twin, grid: Grid, ends: np.ndarray, dynamics: Ensemble | None = None) -> tuple[np.ndarray, ...]:
    """Forecasts over the twin's horizon from each of `ends`, made as `predict` makes them under the inputs that came.

    Args:
        grid: telemetry in the twin's model units.
        ends: (n,) rows t with history and horizon in one run (`Grid.ends`).
        dynamics: another world model in place of the twin's, such as one of its members.

    Returns:
        (n, K, CVs) measured less forecast, float64, model units, and (n, K, CVs) 1 where the CV was measured.
    """
    future, found = grid.future(ends, twin.horizon), []
    for start in range(0, len(ends), CHUNK):
        part = np.resize(ends[start : start + CHUNK], CHUNK)  # repeated where there are fewer: one compiled shape
        windows, whole = recent(grid, part, twin.history)
        w = grid.future(part, twin.horizon).w
        found.append(np.asarray(_forecasts(dynamics or twin.dynamics, windows, whole, w, twin.corrections)))
    y = np.concatenate(found)[: len(ends)]
    return (future.y - y).astype(np.float64), future.mask


@jax.jit
def _forecasts(dynamics: Ensemble, windows: Window, whole: jax.Array, w: jax.Array, share: jax.Array) -> jax.Array:
    """(n, K, CVs)."""
    return jax.vmap(lambda windows, whole, w: forecaster(dynamics, windows, whole, share)(w))(windows, whole, w)
