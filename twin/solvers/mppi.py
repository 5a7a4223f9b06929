"""Model predictive path integral control: the mean of sampled changes of the moves, weighted by how well each does.

For objectives that have no useful slope, and as a peer of the others. Moves are seeded by the count of iterations, so
that the same problem gets the same answer.
Williams, Wagener, Goldfain, Drews, Rehg, Boots and Theodorou, ICRA 2017, 1714.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from twin.solvers.problem import Problem, Simulate, Solution, added_up, changes, merit, penalty, project, room

SAMPLES = 64
START = 0.3  # deviation at first, of the room of each move
COOLING = 0.93  # of the deviation, an iteration
SETTLED = 1e-3  # of the room: a deviation below it ends the search
TEMPERATURE = 0.1  # of the deviation of the samples' merits
SEED = 1


def improve(simulate: Simulate, problem: Problem, before: Solution, iterations: jax.Array) -> Solution:
    """Up to so many more means. It promises nothing: its residual stays infinite."""
    scale = room(problem)

    def average(carry: tuple[Solution, jax.Array]) -> tuple[Solution, jax.Array]:
        solution, done = carry
        deviation, mean = solution.memory
        key = jax.random.fold_in(jax.random.key(SEED), solution.iterations)
        noise = jax.random.normal(key, (SAMPLES - 2, len(mean)), mean.dtype)
        steps = jnp.concatenate([mean[None], mean[None] + deviation[None] * noise])
        tried = jax.vmap(lambda step: project(problem, added_up(problem, step)))(steps)
        tried = jnp.concatenate([jnp.asarray(solution.x)[None], tried])
        merits = jax.vmap(lambda x: merit(simulate, problem, x))(tried)
        finite = jnp.isfinite(merits)
        above = jnp.where(finite, merits - merits.min(), 0.0)
        spread = jnp.sqrt(jnp.sum(jnp.where(finite, above**2, 0.0)) / jnp.maximum(finite.sum(), 1).astype(above.dtype))
        weight = jnp.where(finite, jnp.exp(-above / jnp.maximum(TEMPERATURE * spread, 1e-30)), 0.0)
        mean = changes(problem, weight @ tried / jnp.maximum(weight.sum(), 1e-30))
        memory = jnp.stack([COOLING * deviation, mean])
        x = tried[jnp.argmin(merits)]
        return solution._replace(x=x, memory=memory, iterations=solution.iterations + 1), done + 1

    def unfinished(carry: tuple[Solution, jax.Array]) -> jax.Array:
        solution, done = carry
        return (done < iterations) & (solution.memory[0] > SETTLED * scale).any()

    x = project(problem, jnp.asarray(before.x))
    memory = jnp.where(
        before.iterations > 0, jnp.asarray(before.memory), jnp.stack([START * scale, changes(problem, x)])
    )
    first = Solution(*map(jnp.asarray, before))._replace(x=x, memory=memory)
    solution = jax.lax.while_loop(unfinished, average, (first, jnp.asarray(0, jnp.int32)))[0]
    return solution._replace(penalty=penalty(problem, simulate(jnp.asarray(solution.x))))
