"""Condensed single-shooting sequential quadratic programming, Gauss–Newton.

The solver knows a function from moves to outputs, and arrays: so a new objective, limit, weight or rank is new
data, never a new compilation. Each iteration takes sensitivities by forward tangents, solves one QP
(`twin.solvers.qp`) and, where the whole step does not do, searches along it on the true merit, all lengths at once.
Nocedal and Wright, Numerical Optimization (2006), chapter 18; Li and Biegler, Ind. Eng. Chem. Res. 27 (1988) 1421.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.solvers import qp

Array = jax.Array | np.ndarray
Simulate = Callable[[jax.Array], jax.Array]  # moves (n,) to outputs (K, p)

ENOUGH = 0.5  # of the promised improvement: a whole step that brings so much is taken without a search
LENGTHS = (0.7, 0.45, 0.25, 0.12, 0.06, 0.025, 0.01, 0.003)  # of a step, tried in parallel
TOLERANCE = 1e-3  # share of the cost the last QP may still promise to save
FLOOR = 1e-6  # of the cost in that share: a mean error of 0.1 % of span
TIGHTER = 1e-4  # by how much QPs tighten the limits of outputs: the slack linearisation and rounding may use up
DAMPING = 1e-5
STALLED = 3  # iterations in a row without progress that end the search


class Problem(NamedTuple):
    """What to minimise over moves x (n,), with outputs y = simulate(x) of shape (K, p), all scaled to order one:

    Σ weight (y − target)² + Σ price y + ½ xᵀHx + gᵀx + Σ low_penalty max(0, low − y) + Σ high_penalty max(0, y − high)
    subject to row_low ≤ rows x ≤ row_high.

    Attributes:
        target, weight, price: (K, p).
        low, high, low_penalty, high_penalty: (K, p) limits of the outputs (infinite is none).
        H, g: (n, n), (n,) the cost of the moves themselves.
        rows, row_low, row_high: (r, n), (r,), (r,) bounds and rates; kept exactly, to the solver's precision.
        free: (n,) 1, or 0 for moves that stay as they are.
    """

    target: Array
    weight: Array
    price: Array
    low: Array
    high: Array
    low_penalty: Array
    high_penalty: Array
    H: Array
    g: Array
    rows: Array
    row_low: Array
    row_high: Array
    free: Array


class Solution(NamedTuple):
    """Where the solver stopped.

    Attributes:
        x: (n,).
        damping: of the next iteration, to go on from here.
        iterations: done.
        penalty: of the limits that x breaks.
        residual: the share of the cost that the last QP still promised to save.
    """

    x: Array
    damping: Array
    iterations: Array
    penalty: Array
    residual: Array


def begin(x: np.ndarray) -> Solution:
    """A start at x (n,)."""
    unknown = np.asarray(np.inf, x.dtype)
    return Solution(x, np.asarray(DAMPING, x.dtype), np.asarray(0, np.int32), unknown, unknown)


def improve(simulate: Simulate, problem: Problem, before: Solution, iterations: jax.Array) -> Solution:
    """Up to so many more iterations; fewer when the residual falls below `TOLERANCE` or nothing helps."""

    def advance(carry: tuple[Solution, jax.Array, jax.Array]) -> tuple[Solution, jax.Array, jax.Array]:
        solution, done, stalled = carry
        ahead, moved = _iterate(simulate, problem, solution)
        return ahead, done + 1, jnp.where(moved, 0, stalled + 1)

    def unfinished(carry: tuple[Solution, jax.Array, jax.Array]) -> jax.Array:
        solution, done, stalled = carry
        return (done < iterations) & (solution.residual > TOLERANCE) & (stalled < STALLED)

    zero = jnp.asarray(0, jnp.int32)
    return jax.lax.while_loop(unfinished, advance, (before, zero, zero))[0]


def cost(problem: Problem, x: jax.Array, y: jax.Array) -> jax.Array:
    """Of tracking, prices and moves."""
    outputs = jnp.sum(problem.weight * (y - problem.target) ** 2 + problem.price * y)
    return outputs + 0.5 * x @ problem.H @ x + problem.g @ x


def penalty(problem: Problem, y: jax.Array) -> jax.Array:
    """Of the limits that outputs y (K, p) break."""
    below = problem.low_penalty * jnp.maximum(problem.low - y, 0.0)
    return jnp.sum(below + problem.high_penalty * jnp.maximum(y - problem.high, 0.0))


def _iterate(simulate: Simulate, problem: Problem, at: Solution) -> tuple[Solution, jax.Array]:
    """One iteration, and whether it made progress."""
    x = jnp.asarray(at.x)
    y, sensitivity = _linearise(simulate, x)
    step, promised = _step(problem, at, y, sensitivity)
    here = jnp.stack([cost(problem, x, y), penalty(problem, y)])

    def judged(length: jax.Array) -> jax.Array:
        """(2,) the cost and the penalty at a length of the step."""
        ahead = x + length * step
        y = simulate(ahead)
        return jnp.stack([cost(problem, ahead, y), penalty(problem, y)])

    whole = judged(jnp.ones((), x.dtype))
    good = jnp.sum(here - whole) > ENOUGH * promised
    length, there = jax.lax.cond(good, lambda: (jnp.ones((), x.dtype), whole), lambda: _search(judged, here, whole))
    moved = length > 0
    factor = jnp.where(length < 0.3, 8.0, jnp.where(length == 1.0, 0.3, 1.0))
    damping = jnp.clip(at.damping * factor, 1e-7, 1e2)
    residual = promised / (jnp.abs(here[0]) + FLOOR)
    return Solution(x + length * step, damping, at.iterations + 1, there[1], residual), moved


def _search(judged: Callable[[jax.Array], jax.Array], here: jax.Array, whole: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The best length of the step, 0 where none helps, and the cost and the penalty (2,) there."""
    shorter = jnp.asarray(LENGTHS, here.dtype)
    lengths = jnp.concatenate([jnp.asarray([0.0, 1.0], here.dtype), shorter])
    found = jnp.concatenate([here[None], whole[None], jax.vmap(judged)(shorter)])
    merits = found.sum(axis=1)
    best = jnp.argmin(jnp.where(jnp.isfinite(merits), merits, jnp.inf))
    return lengths[best], found[best]


def _linearise(simulate: Simulate, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """y (K, p) and its sensitivities (n, K, p), by forward tangents."""
    tangents = jnp.eye(len(x), dtype=x.dtype)
    return jax.vmap(lambda tangent: jax.jvp(simulate, (x,), (tangent,)), out_axes=(None, 0))(tangents)


def _step(problem: Problem, at: Solution, y: jax.Array, sensitivity: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The step dx (n,) to the solution of the QP, and what the QP without damping promises to save."""
    flat = sensitivity.reshape(len(at.x), -1) * problem.free[:, None]
    gradient = (2.0 * problem.weight * (y - problem.target) + problem.price).ravel()
    g = flat @ gradient + problem.free * (problem.H @ at.x + problem.g)
    hessian = (
        2.0 * (flat * problem.weight.ravel()[None]) @ flat.T + problem.H * problem.free[:, None] * problem.free[None]
    )
    damped = hessian + jnp.diag(at.damping + (1.0 - problem.free))
    rows = problem.rows @ at.x
    hard = jnp.full_like(rows, jnp.inf)
    limits = (problem.low - y + TIGHTER, problem.high - y - TIGHTER, problem.low_penalty, problem.high_penalty)
    inside = qp.QP(
        damped,
        g,
        jnp.concatenate([problem.rows * problem.free[None], flat.T]),
        *(
            jnp.concatenate(pair)
            for pair in zip(
                (problem.row_low - rows, problem.row_high - rows, hard, hard), map(jnp.ravel, limits), strict=True
            )
        ),
    )
    step = qp.solve(inside, jnp.zeros_like(at.x)).x
    ahead = y + (step @ flat).reshape(y.shape)
    change = g @ step + 0.5 * step @ hessian @ step
    promised = penalty(problem, y) - penalty(problem, ahead) - change
    return step, jnp.maximum(promised, 0.0)
