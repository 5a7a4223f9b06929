"""A cubic NARX model by ordinary least squares: all products of the last rows, chosen by the free run over the last
quarter of the training rows and refitted on all of them (Billings, Nonlinear System Identification, 2013, 3.2)."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from peers.linear import last_part

from twin.training.folds import Folds, spread
from twin.windows import Grid, Window

ORDERS, DEGREE, WINDOWS = (2, 3, 4), 3, 300
WILD = 1e3  # model units: a free run is stopped there


class Form(NamedTuple):
    """Rows of the output and as many of the input, its own row included or not."""

    order: int
    delay: int

    @property
    def name(self) -> str:
        return f"NARX({self.order}, {self.order}{', from the row before' if self.delay else ''}), cubic"


def second_order(grid: Grid, history: int, horizon: int) -> tuple[str, Any]:
    """The model with two rows of each, as an oscillator has: how it is called, and its forecaster."""
    return _whole(Form(2, 1), grid, last_part(grid, history, horizon), history)


def best_narx(grid: Grid, history: int, horizon: int) -> tuple[str, Any]:
    """How the best one is called, and its forecaster."""
    folds = last_part(grid, history, horizon)
    held = spread(folds.held_out(1), WINDOWS)
    window, future = grid.window(held, history), grid.future(held, horizon)
    forms = [Form(order, delay) for order in ORDERS for delay in (0, 1)]

    def error(form: Form) -> float:
        forecast = _forecaster(form, _fit(form, grid, folds.ends(folds.label == 0, history, 1)))
        y = jax.jit(jax.vmap(forecast))(window, future.w)
        return float(np.sqrt(np.mean((np.asarray(y) - future.y) ** 2)))

    return _whole(min(forms, key=error), grid, folds, history)


def _whole(form: Form, grid: Grid, folds: Folds, history: int) -> tuple[str, Any]:
    forecast = _forecaster(form, _fit(form, grid, folds.ends(np.ones(len(grid.run), bool), history, 1)))
    return form.name, lambda windows, whole, w: forecast(jax.tree.map(lambda part: part[-1], windows), w)


def _terms(form: Form) -> np.ndarray:
    entries = range(1, 1 + 2 * form.order)
    terms = [c for d in range(DEGREE + 1) for c in combinations_with_replacement(entries, d)]
    return np.array([(0,) * (DEGREE - len(term)) + term for term in terms])


def _fit(form: Form, grid: Grid, ends: np.ndarray) -> np.ndarray:
    lags = np.arange(form.order)
    y, u = grid.y[ends[:, None] - lags, 0], grid.w[ends[:, None] + 1 - form.delay - lags, 0]
    z = np.concatenate([np.ones((len(ends), 1)), y, u], axis=1).astype(np.float64)
    found: np.ndarray = np.linalg.lstsq(z[:, _terms(form)].prod(axis=2), grid.y[ends + 1].astype(float), rcond=None)[0]
    return found


def _forecaster(form: Form, weights: np.ndarray) -> Any:
    terms, theta = jnp.asarray(_terms(form)), jnp.asarray(weights, jnp.float32)

    def forecast(window: Window, w: jax.Array) -> jax.Array:
        y = jnp.asarray(window.y)[::-1][: form.order, 0]
        u = jnp.asarray(window.w)[::-1][: form.order, 0]

        def row(carry: tuple, now: jax.Array) -> tuple[tuple, jax.Array]:
            y, u = carry
            new = jnp.concatenate([now, u[:-1]])
            z = jnp.concatenate([jnp.ones(1), y, u if form.delay else new])
            ahead = jnp.clip(z[terms].prod(axis=1) @ theta, -WILD, WILD)
            return (jnp.concatenate([ahead, y[:-1]]), new), ahead

        return jax.lax.scan(row, (y, u), w)[1]

    return forecast
