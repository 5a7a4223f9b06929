"""A unit's linear part fitted together with the fleet's residual: to forecasts over the horizon, near the prior.

Least squares one row ahead explains a unit's few rows by a linear model alone, and puts into it what the residual
already knows. Here the coefficients move from there along the first principal directions in which units differ, so
that linear part and residual together forecast the unit's own windows best; a deviation of the prior costs a share of
the error at the start. Gauss-Newton on forecast errors (output-error methods: Ljung, System Identification, 1999,
section 7.5); without the residual in it, the same made forecasts worse.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.jepa import Jepa
from twin.fleet.prior import Prior
from twin.fleet.shape import Shape
from twin.training.residual import Cases, forecast
from twin.windows import Future, Window

DIRECTIONS = 48  # of all CVs together
MOST, FEWEST = 12, 2  # of one CV's
ITERATIONS = 4
SHARES = (1.0, 0.3, 0.1, 0.0)  # of a step, of which the best is taken


class Problem(NamedTuple):
    """What is fitted, windows (n, ·).

    Attributes:
        start: (d, CVs) coefficients.
        along: (q, d, CVs) directions, each a deviation of the prior.
        y, w: (n, lags, CVs) and (n, input rows - 1, inputs) of the past, the latest first.
        window, future: the windows and what followed.
        weight: (K, CVs) of squared errors: they sum to 1 at the start.
        residual: one member.
    """

    start: jax.Array
    along: jax.Array
    y: jax.Array
    w: jax.Array
    window: Window
    future: Future
    weight: jax.Array
    residual: Jepa


def tuned(
    shape: Shape,
    prior: Prior,
    start: np.ndarray,
    window: Window,
    future: Future,
    residual: Jepa,
    costs: tuple[float, ...],
) -> list[np.ndarray]:
    """(d, CVs) coefficients for each of `costs`.

    Args:
        start: (d, CVs) of the posterior.
        window, future: windows (n, ·) of the unit's rows that may be learnt from.
        residual: one member of the fleet's.
        costs: of one deviation of the prior, as a share of the mean square error at the start.
    """
    y, w = window.y[:, ::-1][:, : shape.lags], window.w[:, ::-1][:, : shape.input_rows - 1]
    past = (jnp.asarray(y), jnp.asarray(w))
    along = jnp.asarray(_directions(prior), jnp.float32)
    ones = jnp.ones((future.y.shape[1], len(shape.cvs)))
    problem = Problem(jnp.asarray(start, jnp.float32), along, *past, window, future, ones, residual)
    problem = problem._replace(weight=_weight(problem))
    return [np.asarray(_fitted(problem, jnp.float32(cost)), np.float64) for cost in costs]


def _directions(prior: Prior) -> np.ndarray:
    """(q, d, CVs): the principal directions in which units differ most, a deviation each."""
    d, cvs = prior.mean.shape
    few = min(d, MOST, max(FEWEST, DIRECTIONS // cvs))
    along = np.zeros((cvs * few, d, cvs))
    for cv, precision in enumerate(prior.precision):
        values, vectors = np.linalg.eigh(precision)
        along[cv * few : (cv + 1) * few, :, cv] = (vectors[:, :few] / np.sqrt(values[:few])).T
    return along


@jax.jit
def _weight(problem: Problem) -> jax.Array:
    """(K, CVs): 1 / RMSE, so that the weighted mean squares sum to 1."""
    known = jnp.maximum(problem.future.mask.sum(axis=0), 1.0)
    scale = jnp.sqrt((_errors(problem, problem.start) ** 2).sum(axis=0) / known + 1e-8)
    return 1.0 / (scale * scale.mean() * scale.size)


def _errors(problem: Problem, coefficients: jax.Array) -> jax.Array:
    """(n, K, CVs) of forecasts, 0 where nothing was measured."""
    y_lin = jax.vmap(partial(_free_run, coefficients))(problem.y, problem.w, jnp.asarray(problem.future.w))
    y = jax.vmap(partial(forecast, problem.residual))(Cases(problem.window, problem.future, y_lin))
    return jnp.asarray(problem.future.mask) * (y - problem.future.y)


def _free_run(coefficients: jax.Array, y: jax.Array, w: jax.Array, inputs: jax.Array) -> jax.Array:
    """(K, CVs) of an ARX model from the past under inputs (K, inputs)."""

    def advance(past: tuple[jax.Array, jax.Array], now: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        y, w = past
        rows = jnp.concatenate([now[None], w])
        one = jnp.concatenate([y.reshape(-1), rows.reshape(-1), jnp.ones(1)]) @ coefficients
        return (jnp.concatenate([one[None], y[:-1]]), rows[:-1]), one

    return jax.lax.scan(advance, (y, w), inputs)[1]


@jax.jit
def _fitted(problem: Problem, cost: jax.Array) -> jax.Array:
    """(d, CVs) where errors and deviations cost least together."""
    size = jnp.sqrt(problem.weight / problem.y.shape[0])[None]

    def residuals(a: jax.Array) -> jax.Array:
        return (size * _errors(problem, problem.start + jnp.tensordot(a, problem.along, 1))).reshape(-1)

    def total(a: jax.Array) -> jax.Array:
        found = jnp.sum(residuals(a) ** 2) + cost * jnp.sum(a**2)
        return jnp.where(jnp.isfinite(found), found, jnp.inf)

    def step(_: int, a: jax.Array) -> jax.Array:
        r, push = jax.linearize(residuals, a)
        slopes = jax.vmap(push)(jnp.eye(len(a)))  # (q, ·)
        normal = slopes @ slopes.T + (cost + 1e-6) * jnp.eye(len(a))
        move = -jnp.linalg.solve(normal, slopes @ r + cost * a)
        tries = a[None] + jnp.array(SHARES)[:, None] * jnp.nan_to_num(move)[None]
        return tries[jnp.argmin(jax.lax.map(total, tries))]

    a = jax.lax.fori_loop(0, ITERATIONS, step, jnp.zeros(len(problem.along)))
    return problem.start + jnp.tensordot(a, problem.along, 1)
