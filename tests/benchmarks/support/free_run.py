"""Free runs over telemetry that was not trained on: the encoder sees history, then only inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from peers.linear import best_arx, best_subspace, persistence

from twin.artifact import Twin
from twin.dynamics.lti import Lti
from twin.forecasting import forecaster
from twin.rollout import rollout
from twin.telemetry import Telemetry
from twin.training.correction import recent
from twin.windows import Grid, Window

WINDOWS = 600  # of a test, evenly spread

Forecaster = Callable[[Window, Any, Any], jax.Array]  # windows (n, L, ·), which are whole (n,), inputs → CVs (K, CVs)


def free_run(model: Lti, windows: Window, whole: Any, w: Any) -> jax.Array:
    """What a linear model forecasts from the last window."""
    return rollout(model, model.encode(jax.tree.map(lambda part: part[-1], windows)), w)


def free_run_errors(forecast: Forecaster, grid: Grid, history: int, horizon: int) -> np.ndarray:
    """(K, CVs) free-run RMSE in model units, which is NRMSE by the training deviation."""
    ends = grid.ends(history, horizon)
    ends = ends[np.linspace(0, len(ends) - 1, min(WINDOWS, len(ends))).round().astype(int)]
    run = jax.jit(jax.vmap(forecast))
    total, known = 0.0, 0.0
    for part in np.array_split(ends, max(len(ends) // 100, 1)):
        future = grid.future(part, horizon)
        y = np.asarray(run(*recent(grid, part, history), future.w), np.float64)
        total = total + (future.mask * (y - future.y) ** 2).sum(axis=0)
        known = known + future.mask.sum(axis=0)
    return np.sqrt(total / np.maximum(known, 1))


def beside_linear(twin: Twin, training: Telemetry, unseen: Telemetry) -> dict[str, np.ndarray]:
    """`free_run_errors` over unseen rows of a twin, and of peers fitted to what it was trained on."""
    grid, shape = Grid.of(training, twin.scaler), (twin.history, twin.horizon)

    def ours(windows: Window, whole: Any, w: Any) -> jax.Array:
        return forecaster(twin.dynamics, windows, whole, twin.corrections)(w)

    peers = {
        "arx": best_arx(grid, *shape)[1],
        "subspace": best_subspace(grid, *shape)[1],
        "persistence": persistence(grid.y.shape[1], grid.w.shape[1], twin.history),
    }
    models: dict[str, Forecaster] = {"twin": ours, **{who: partial(free_run, model) for who, model in peers.items()}}
    other = Grid.of(unseen, twin.scaler)
    return {who: free_run_errors(model, other, *shape) for who, model in models.items()}
