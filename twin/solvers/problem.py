"""What every solver is given, and gives back: cost and limits in arrays, and a function from moves to outputs.

So a new objective, limit, weight or rank is new data, never a new compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
Simulate = Callable[[jax.Array], jax.Array]  # moves (n,) to outputs (K, p)

TOLERANCE = 1e-3  # share of the cost that a converged solution may still promise to save
FLOOR = 1e-6  # of the cost in that share: a mean error of 0.1 % of span


class Problem(NamedTuple):
    """What to minimise over moves x (n,), with outputs y = simulate(x) of shape (K, p), all scaled to order one:

    Σ weight (y − target)² + Σ zone_weight (what y is outside of its zone)² + Σ price y + ½ xᵀHx + gᵀx
    + Σ low_penalty max(0, low − y) + Σ high_penalty max(0, y − high)
    subject to x_low ≤ x ≤ x_high and |x_i − linked_i x_(i−1)| ≤ change_i.

    Attributes:
        target, weight, price: (K, p).
        zone_low, zone_high, zone_weight: (K, p).
        low, high, low_penalty, high_penalty: (K, p) limits of the outputs; without a penalty there is none.
        H, g: (n, n), (n,) the cost of the moves themselves.
        x_low, x_high, change: (n,) bounds and rates (infinite is none); kept exactly, to the solver's precision.
        linked: (n,) 1, or 0 for the first move of each MV, whose change is from 0.
        free: (n,) 1, or 0 for moves that stay as they are.
    """

    target: Array
    weight: Array
    price: Array
    zone_low: Array
    zone_high: Array
    zone_weight: Array
    low: Array
    high: Array
    low_penalty: Array
    high_penalty: Array
    H: Array
    g: Array
    x_low: Array
    x_high: Array
    change: Array
    linked: Array
    free: Array


class Solution(NamedTuple):
    """Where a solver stopped.

    Attributes:
        x: (n,).
        memory: (2, n) what the solver needs to go on from here.
        iterations: done.
        penalty: of the limits that x breaks.
        residual: the share of the cost that is still promised to be saved; infinite where nothing promises.
    """

    x: Array
    memory: Array
    iterations: Array
    penalty: Array
    residual: Array


def begin(x: np.ndarray) -> Solution:
    """A start at x (n,), for any solver."""
    unknown = np.asarray(np.inf, x.dtype)
    return Solution(x, np.zeros((2, len(x)), x.dtype), np.asarray(0, np.int32), unknown, unknown)


def cost(problem: Problem, x: jax.Array, y: jax.Array) -> jax.Array:
    """Of tracking, zones, prices and moves."""
    outputs = jnp.sum(problem.weight * (y - problem.target) ** 2 + problem.price * y)
    outside = jnp.sum(problem.zone_weight * (y - jnp.clip(y, problem.zone_low, problem.zone_high)) ** 2)
    return outputs + outside + 0.5 * x @ problem.H @ x + problem.g @ x


def penalty(problem: Problem, y: jax.Array) -> jax.Array:
    """Of the limits that outputs y (K, p) break."""
    below = problem.low_penalty * jnp.maximum(problem.low - y, 0.0)
    return jnp.sum(below + problem.high_penalty * jnp.maximum(y - problem.high, 0.0))


def merit(simulate: Simulate, problem: Problem, x: jax.Array) -> jax.Array:
    """Cost and penalty of moves x (n,); infinite where the outputs are not finite."""
    y = simulate(x)
    total = cost(problem, x, y) + penalty(problem, y)
    return jnp.where(jnp.isfinite(total), total, jnp.inf)


def added_up(problem: Problem, changes: jax.Array) -> jax.Array:
    """Moves (n,) of their changes (n,), each from the one before it."""

    def add(before: jax.Array, parts: tuple) -> tuple[jax.Array, jax.Array]:
        change, linked = parts
        return (value := linked * before + change), value

    return jax.lax.scan(add, jnp.zeros((), changes.dtype), (changes, jnp.asarray(problem.linked)))[1]


def changes(problem: Problem, x: jax.Array) -> jax.Array:
    """(n,) of moves (n,): what `added_up` adds up."""
    return x - problem.linked * jnp.roll(x, 1)


def room(problem: Problem) -> jax.Array:
    """(n,) how much each move may change: the scale of what to try. Zero for held ones."""
    widest = jnp.minimum(jnp.asarray(problem.x_high) - problem.x_low, jnp.asarray(problem.change))
    return jnp.where(problem.free > 0, jnp.clip(widest, 0.0, 1.0), 0.0)


def project(problem: Problem, x: jax.Array) -> jax.Array:
    """Moves (n,) near x inside bounds and rates, each as near as the one before it allows; held ones are zero."""

    def clip(before: jax.Array, parts: tuple) -> tuple[jax.Array, jax.Array]:
        value, low, high, change, linked, free = parts
        before = linked * before
        inside = jnp.clip(jnp.clip(value, before - change, before + change), low, high) * free
        return inside, inside

    parts = (x, *(jnp.asarray(getattr(problem, f)) for f in ("x_low", "x_high", "change", "linked", "free")))
    return jax.lax.scan(clip, jnp.zeros((), x.dtype), parts)[1]
