"""Projected gradient descent on the changes of the moves, scaled by its own size (Adam).

Needs one adjoint an iteration and no second derivatives; a peer of the others. The best moves seen are what is
returned. Kingma and Ba, ICLR 2015; the projection goes along each MV's moves in their order (`problem.project`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from twin.solvers.problem import Problem, Simulate, Solution, added_up, changes, merit, penalty, project, room

STEP = 0.05  # of the room of each move, at first
FADING = 0.02  # the step falls as 1 / (1 + FADING · iterations)
FIRST, SECOND = 0.9, 0.99  # memories of the gradient and of its square


class _Climb(NamedTuple):
    x: jax.Array
    mean: jax.Array
    square: jax.Array
    best: jax.Array
    lowest: jax.Array
    tried: jax.Array
    done: jax.Array


def improve(simulate: Simulate, problem: Problem, before: Solution, iterations: jax.Array) -> Solution:
    """So many more steps. It promises nothing: its residual stays infinite."""
    scale = room(problem)
    judge = jax.value_and_grad(lambda steps: merit(simulate, problem, added_up(problem, steps)))

    def step(climb: _Climb) -> _Climb:
        value, slope = judge(changes(problem, climb.x))
        slope = jnp.where(jnp.isfinite(slope), slope, 0.0) * scale
        better = value < climb.lowest
        done = (climb.done + 1).astype(slope.dtype)
        mean = FIRST * climb.mean + (1 - FIRST) * slope
        square = SECOND * climb.square + (1 - SECOND) * slope**2
        size = jnp.sqrt(square / (1 - SECOND**done)) + 1e-12
        length = STEP / (1 + FADING * climb.tried.astype(slope.dtype))
        step = length * scale * mean / (1 - FIRST**done) / size
        x = project(problem, added_up(problem, changes(problem, climb.x) - step))
        best = jnp.where(better, climb.x, climb.best)
        return _Climb(x, mean, square, best, jnp.minimum(value, climb.lowest), climb.tried + 1, climb.done + 1)

    x = project(problem, jnp.asarray(before.x))
    none, count = jnp.zeros_like(x), jnp.asarray(before.iterations)
    begun = _Climb(x, none, none, x, jnp.asarray(jnp.inf, x.dtype), count, jnp.asarray(0, jnp.int32))
    last = jax.lax.while_loop(lambda climb: climb.done < iterations, step, begun)
    solution = Solution(*map(jnp.asarray, before))
    broken = penalty(problem, simulate(last.best))
    return solution._replace(x=last.best, iterations=last.tried, penalty=broken)
