"""How much of its recent constant error a forecast should be corrected by: judged out of fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.ensemble import Ensemble
from twin.dynamics.offset_free import ROWS
from twin.forecasting import forecaster
from twin.training.folds import Folds
from twin.windows import Future, Grid, Window

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
PAYS = 0.99  # a correction is made where it brings the error to this share of that without
CHUNK = 60  # windows forecast at once

Expected = Callable[[np.ndarray], np.ndarray]


class OutOfFold(NamedTuple):
    """What every member forecast on windows it never saw.

    Attributes:
        share: the correction chosen.
        outside: that of the linear parts alone, which forecast where the residual is not trusted.
        errors: of each of `SHARES`, over that without a correction.
        residuals: (n, K, CVs) under that correction, model units.
        mask: (n, K, CVs) where the CVs were measured.
        fold: (n,) whose windows they are.
        plain: (n, K, CVs) residuals without any correction.
        unannounced: (n, K, CVs) as `residuals`, under what the DVs were expected to do; None where nothing is.
    """

    share: float
    outside: float
    errors: tuple[float, ...]
    residuals: np.ndarray
    mask: np.ndarray
    fold: np.ndarray
    plain: np.ndarray
    unannounced: np.ndarray | None = None


def out_of_fold(
    dynamics: Ensemble, grid: Grid, folds: Folds, held_out: list[np.ndarray], expected: Expected | None = None
) -> OutOfFold:
    """Choose the correction, and keep the residuals under it.

    Args:
        held_out: for each fold, ends of windows that its member was not trained on.
        expected: what is expected of the inputs (n, K, inputs) after such ends; without it nothing is.
    """
    futures = [grid.future(ends, folds.horizon) for ends in held_out]

    def under(inputs: list[np.ndarray], dynamics: Ensemble = dynamics) -> np.ndarray:
        """(shares, n, K, CVs) residuals under inputs (n, K, inputs) of each fold."""
        cases = enumerate(zip(held_out, futures, inputs, strict=True))
        parts = [_residuals(member(dynamics, i), grid, folds.history, *case) for i, case in cases]
        return np.concatenate(parts, axis=1)

    measured = [future.w for future in futures]
    residuals, mask = under(measured), np.concatenate([future.mask for future in futures])
    chosen, errors = _choice(residuals, mask)
    outside = chosen
    if dynamics.residuals is not None or dynamics.polynomials is not None:
        outside, _ = _choice(under(measured, dynamics.linear), mask)
    fold = np.repeat(np.arange(len(held_out)), [len(ends) for ends in held_out])
    unannounced = None if expected is None else under([expected(ends) for ends in held_out])[chosen]
    return OutOfFold(SHARES[chosen], SHARES[outside], errors, residuals[chosen], mask, fold, residuals[0], unannounced)


def _choice(residuals: np.ndarray, mask: np.ndarray) -> tuple[int, tuple[float, ...]]:
    """Which of `SHARES` to take by residuals (shares, n, K, CVs), and the error of each over that without."""
    known = np.maximum(mask.sum(axis=0), 1)
    rmse = np.sqrt((mask * residuals**2).sum(axis=1) / known)  # (shares, K, CVs)
    errors = (rmse / (rmse[0].mean(axis=0) + 1e-9)).mean(axis=(1, 2))
    best = int(np.argmin(errors))
    return best if errors[best] < PAYS * errors[0] else 0, tuple(float(error / errors[0]) for error in errors)


def member(dynamics: Ensemble, number: int) -> Ensemble:
    """One member as an ensemble of its own."""
    every = ("backbones", "residuals", "noise", "polynomials")
    parts = {name: getattr(dynamics, name) for name in every}
    return replace(dynamics, **jax.tree.map(lambda leaf: leaf[number : number + 1], parts))


def recent(grid: Grid, ends: np.ndarray, history: int) -> tuple[Window, np.ndarray]:
    """The windows (n, ROWS + 1, L, ·) up to each end, and which of them (n, ROWS + 1) are whole in its run."""
    first = np.searchsorted(grid.run, grid.run[ends], side="left") + history - 1  # the first whole window of the run
    wanted = ends[:, None] - np.arange(ROWS, -1, -1)
    rows = np.maximum(wanted, first[:, None])
    windows = grid.window(rows.reshape(-1), history)
    shaped = Window(*(part.reshape(*rows.shape, *part.shape[1:]) for part in windows))
    return shaped, (wanted >= first[:, None]).astype(np.float32)


def _residuals(
    dynamics: Ensemble, grid: Grid, history: int, ends: np.ndarray, future: Future, w: np.ndarray
) -> np.ndarray:
    """(shares, n, K, CVs) measured less forecast under inputs w (n, K, inputs)."""
    found = []
    for start in range(0, len(ends), CHUNK):
        part = np.resize(np.arange(start, min(start + CHUNK, len(ends))), CHUNK)  # repeated: one compiled shape
        windows, whole = recent(grid, ends[part], history)
        y = np.asarray(_forecasts(dynamics, windows, whole, w[part]))[:, : len(ends) - start]
        found.append(future.y[start : start + CHUNK] - y)
    return np.concatenate(found, axis=1)


@jax.jit
def _forecasts(dynamics: Ensemble, windows: Window, whole: jax.Array, w: jax.Array) -> jax.Array:
    """(shares, n, K, CVs)."""

    def one(share: jax.Array, windows: Window, whole: jax.Array, w: jax.Array) -> jax.Array:
        return forecaster(dynamics, windows, whole, share)(w)

    cases = jax.vmap(one, in_axes=(None, 0, 0, 0))
    return jax.vmap(cases, in_axes=(0, None, None, None))(jnp.array(SHARES, jnp.float32), windows, whole, w)
