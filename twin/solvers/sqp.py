"""Condensed single-shooting sequential quadratic programming, Gauss–Newton.

Each iteration solves one QP (`twin.solvers.qp`) and, where the whole step does not do, searches along it on the true
merit, all lengths at once. Sensitivities, by forward tangents, are most of the work: they are kept while steps bring
what they promise. Those of an earlier point are rough, so the QP's gradient is corrected by the exact one, of an
adjoint: what is converged to is exact. Where they no longer do, every further iteration takes its own.
Nocedal and Wright, Numerical Optimization (2006), chapter 18; Li and Biegler, Ind. Eng. Chem. Res. 27 (1988) 1421;
for kept sensitivities Bock, Diehl, Kostina and Schlöder, Real-Time PDE-Constrained Optimization (2007) 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from twin.solvers import qp
from twin.solvers.problem import FLOOR, TOLERANCE, Problem, Simulate, Solution, cost, penalty

ENOUGH = 0.5  # of the promised improvement: a whole step that brings so much is taken without a search
LENGTHS = (0.7, 0.45, 0.25, 0.12, 0.06, 0.025, 0.01, 0.003)  # of a step, tried in parallel
TIGHTER = 1e-4  # by how much QPs tighten the limits of outputs: the slack linearisation and rounding may use up
DAMPING = 1e-6
NOTHING = 1e-4  # share of the cost: a step that promises less is not taken
UNSOLVED = 1e-6  # what a QP leaves of its conditions: beyond it, its promise says nothing of what is left to save
SLOW = 0.2  # of what the last QP promised: where the next promises more, the first sensitivities no longer do
STALLED = 3  # iterations in a row without progress that end the search


class _At(NamedTuple):
    """What is known at x: outputs (K, p), the multipliers (K, p) of their limits, and the exact gradient (n,) of
    the outputs' cost and of those multipliers."""

    y: jax.Array
    multiplier: jax.Array
    gradient: jax.Array


class _Search(NamedTuple):
    """Between two iterations; `exact`: from here on each takes sensitivities anew."""

    solution: Solution
    at: _At
    damping: jax.Array
    exact: jax.Array
    promised: jax.Array
    done: jax.Array
    stalled: jax.Array


def improve(
    simulate: Simulate, problem: Problem, before: Solution, iterations: jax.Array, linear: Simulate | None = None
) -> Solution:
    """Up to so many more iterations; fewer when the residual falls below `TOLERANCE` or nothing helps.

    Args:
        linear: where outputs are linear in the moves, a function from moves (n,) to their sensitivities (n, K, p).
    """
    x = jnp.asarray(before.x)
    y, damping = simulate(x), before.memory[0, 0]
    first = _tangents(simulate, x) if linear is None else linear(x)
    gradient = jnp.tensordot(first, _slope(problem, y), 2)
    zero = jnp.asarray(0, jnp.int32)
    begun = _Search(
        Solution(*map(jnp.asarray, before)),
        _At(y, jnp.zeros_like(y), gradient),
        jnp.where(damping > 0, damping, DAMPING),
        jnp.asarray(False),
        jnp.asarray(jnp.inf, x.dtype),
        zero,
        zero,
    )

    def unfinished(search: _Search) -> jax.Array:
        going = (search.solution.residual > TOLERANCE) & (search.stalled < STALLED)
        return (search.done < iterations) & going

    last = jax.lax.while_loop(unfinished, lambda search: _iterate(simulate, problem, first, search), begun)
    memory = jnp.asarray(last.solution.memory).at[0, 0].set(last.damping)
    return last.solution._replace(memory=memory, penalty=penalty(problem, last.at.y))


def _look(simulate: Simulate, problem: Problem, x: jax.Array, multiplier: jax.Array) -> _At:
    """Simulate, and the gradient by one adjoint."""
    y, pull = jax.vjp(simulate, x)
    return _At(y, multiplier, pull(_slope(problem, y) + multiplier)[0])


def _slope(problem: Problem, y: jax.Array) -> jax.Array:
    """(K, p) the derivative of the outputs' cost, zones apart (they are rows of the QP)."""
    return jnp.asarray(problem.weight) * 2.0 * (y - problem.target) + problem.price


def _iterate(simulate: Simulate, problem: Problem, first: jax.Array, search: _Search) -> _Search:
    """One more, with the `first` sensitivities (n, K, p) while they do."""
    x, at, exact = jnp.asarray(search.solution.x), search.at, search.exact
    sensitivity = jax.lax.cond(exact, lambda: _tangents(simulate, x), lambda: first)
    step, promised, removed, multiplier, left = _step(problem, x, search.damping, at, sensitivity)
    here = jnp.stack([cost(problem, x, at.y), penalty(problem, at.y)])
    residual = promised / (jnp.abs(here[0]) + FLOOR)
    told = (removed <= 0.5 * here[1]) & (left <= UNSOLVED)
    residual = jnp.where(told, residual, jnp.maximum(residual, 2 * TOLERANCE))
    slow = ~exact & (promised > SLOW * search.promised)
    over = residual <= NOTHING

    def stay() -> tuple[jax.Array, _At]:
        return jnp.zeros((), x.dtype), at

    def go() -> tuple[jax.Array, _At]:
        return _walk(simulate, problem, x, step, multiplier, here, promised)

    length, there = jax.lax.cond(over, stay, go)
    moved = over | (length > 0) | ~exact
    factor = jnp.where(length < 0.3, 8.0, jnp.where(length == 1.0, 0.3, 1.0))
    return _Search(
        Solution(x + length * step, search.solution.memory, search.solution.iterations + 1, here[1], residual),
        there,
        jnp.clip(search.damping * jnp.where(exact, factor, 1.0), 1e-8, 1e2),
        exact | slow | (~over & (length < 1)),
        promised,
        search.done + 1,
        jnp.where(moved, 0, search.stalled + 1),
    )


def _walk(
    simulate: Simulate,
    problem: Problem,
    x: jax.Array,
    step: jax.Array,
    multiplier: jax.Array,
    here: jax.Array,
    promised: jax.Array,
) -> tuple[jax.Array, _At]:
    """The length of the step to take, and what is known there: the whole, or the best of some, or none."""

    def judged(length: jax.Array) -> jax.Array:
        return _merit(problem, x + length * step, simulate(x + length * step))

    one = jnp.ones((), x.dtype)
    there = _look(simulate, problem, x + step, multiplier)
    whole = _merit(problem, x + step, there.y)

    def search() -> tuple[jax.Array, _At]:
        length = _shorter(judged, here.sum(), whole)
        return length, _look(simulate, problem, x + length * step, multiplier)

    return jax.lax.cond(here.sum() - whole > ENOUGH * promised, lambda: (one, there), search)


def _merit(problem: Problem, x: jax.Array, y: jax.Array) -> jax.Array:
    return cost(problem, x, y) + penalty(problem, y)


def _shorter(judged: Callable[[jax.Array], jax.Array], here: jax.Array, whole: jax.Array) -> jax.Array:
    """The best length of the step, 0 where none helps."""
    lengths = jnp.asarray((0.0, 1.0, *LENGTHS), here.dtype)
    merits = jnp.concatenate([jnp.stack([here, whole]), jax.vmap(judged)(lengths[2:])])
    return lengths[jnp.argmin(jnp.where(jnp.isfinite(merits), merits, jnp.inf))]


def _tangents(simulate: Simulate, x: jax.Array) -> jax.Array:
    """Sensitivities (n, K, p), by forward tangents."""
    tangents = jnp.eye(len(x), dtype=x.dtype)
    return jax.vmap(lambda tangent: jax.jvp(simulate, (x,), (tangent,))[1])(tangents)


def _step(
    problem: Problem, x: jax.Array, damping: jax.Array, at: _At, sensitivity: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """The step dx (n,) to the solution of the QP, what the QP without damping promises to save, how much of that is
    penalty, the multipliers (K, p) of limits and zones, and what is left of the QP's conditions."""
    free = jnp.asarray(problem.free)
    flat = sensitivity.reshape(len(x), -1) * free[:, None]
    weight = 2.0 * problem.weight.ravel()
    g = free * (at.gradient + problem.H @ x + problem.g) - flat @ at.multiplier.ravel()
    hessian = (flat * weight[None]) @ flat.T + problem.H * free[:, None] * free[None]
    size = jnp.abs(cost(problem, x, at.y)) + penalty(problem, at.y) + FLOOR
    inside = _in_shares(_qp(problem, x, hessian + jnp.diag(damping + (1.0 - free)), g, at.y, flat), size)
    solved = qp.solve(inside, jnp.zeros_like(x), most=max(32, 3 * len(x) // 2))
    step = solved.x * free
    ahead = at.y + (step @ flat).reshape(at.y.shape)
    zones = _outside(problem, at.y) - _outside(problem, ahead)
    change = g @ step + 0.5 * step @ hessian @ step
    removed = penalty(problem, at.y) - penalty(problem, ahead)
    promised = removed + zones - change
    multiplier = size * solved.multiplier[2 * len(x) :].reshape(2, *at.y.shape).sum(axis=0)
    return step, jnp.maximum(promised, 0.0), removed, multiplier, solved.residual


def _in_shares(inside: qp.QP, size: jax.Array) -> qp.QP:
    """The same QP, whose objective is in shares of `size`, as its solver stops by absolute tolerances."""
    parts = {name: getattr(inside, name) / size for name in ("H", "g", "low_penalty", "high_penalty")}
    return inside._replace(**parts, give=None if inside.give is None else inside.give * size)


def _outside(problem: Problem, y: jax.Array) -> jax.Array:
    """What outputs outside of their zones cost."""
    return jnp.sum(problem.zone_weight * (y - jnp.clip(y, problem.zone_low, problem.zone_high)) ** 2)


def _qp(problem: Problem, x: jax.Array, hessian: jax.Array, g: jax.Array, y: jax.Array, flat: jax.Array) -> qp.QP:
    """Of a step: bounds and rates, then limits, then zones, of the outputs."""
    hard, none = jnp.full_like(x, jnp.inf), jnp.zeros_like(x)
    change = x - problem.linked * jnp.roll(x, 1)
    held = problem.free < 1
    reach = jnp.where(held, jnp.inf, problem.change)
    zoned = problem.zone_weight > 0
    zone = jnp.where(zoned, jnp.inf, 0.0).astype(x.dtype).ravel()
    give = jnp.where(zoned, 0.5 / jnp.where(zoned, problem.zone_weight, 1.0), 0.0).ravel()
    low = [
        jnp.where(held, -jnp.inf, problem.x_low - x),
        -reach - change,
        (problem.low - y + TIGHTER).ravel(),
        (problem.zone_low - y).ravel(),
    ]
    high = [
        jnp.where(held, jnp.inf, problem.x_high - x),
        reach - change,
        (problem.high - y - TIGHTER).ravel(),
        (problem.zone_high - y).ravel(),
    ]
    return qp.QP(
        hessian,
        g,
        jnp.concatenate([flat.T, flat.T]),
        jnp.concatenate(low),
        jnp.concatenate(high),
        jnp.concatenate([hard, hard, problem.low_penalty.ravel(), zone]),
        jnp.concatenate([hard, hard, problem.high_penalty.ravel(), zone]),
        jnp.concatenate([none, none, jnp.zeros_like(zone), give]),
        jnp.asarray(problem.linked) * jnp.roll(jnp.asarray(problem.free), 1),  # what is held does not give way
    )
