"""The cross-entropy method: sample changes of the moves about a mean, keep the best, narrow down on them.

For objectives that have no useful slope, and as a peer of the others. Moves are seeded by the count of iterations, so
that the same problem gets the same answer.
de Boer, Kroese, Mannor and Rubinstein, Annals of Operations Research 134 (2005) 19.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from twin.solvers.problem import Problem, Simulate, Solution, added_up, changes, merit, penalty, project, room

SAMPLES = 64
ELITES = 10
START = 0.3  # deviation at first, of the room of each move
SETTLED = 1e-3  # of that room: a deviation below it ends the search
MIXED = 0.2  # of the mean and deviation before, kept
SEED = 0


def improve(simulate: Simulate, problem: Problem, before: Solution, iterations: jax.Array) -> Solution:
    """Up to so many more generations. It promises nothing: its residual stays infinite."""
    scale = room(problem)

    def generation(carry: tuple[Solution, jax.Array, jax.Array]) -> tuple[Solution, jax.Array, jax.Array]:
        solution, _, done = carry
        deviation, mean = solution.memory
        key = jax.random.fold_in(jax.random.key(SEED), solution.iterations)
        noise = jax.random.normal(key, (SAMPLES - 1, len(mean)), mean.dtype)
        tried = jax.vmap(lambda step: project(problem, added_up(problem, mean + deviation * step)))(noise)
        tried = jnp.concatenate([jnp.asarray(solution.x)[None], tried])
        merits = jax.vmap(lambda x: merit(simulate, problem, x))(tried)
        elite = jax.vmap(lambda x: changes(problem, x))(tried[jnp.argsort(merits)[:ELITES]])
        deviation = MIXED * deviation + (1 - MIXED) * elite.std(axis=0)
        mean = MIXED * mean + (1 - MIXED) * elite.mean(axis=0)
        first = jnp.argmin(merits)
        x = tried[first]
        memory = jnp.stack([deviation, mean])
        return solution._replace(x=x, memory=memory, iterations=solution.iterations + 1), merits[first], done + 1

    def unfinished(carry: tuple[Solution, jax.Array, jax.Array]) -> jax.Array:
        solution, _, done = carry
        return (done < iterations) & (solution.memory[0] > SETTLED * scale).any()

    x = project(problem, jnp.asarray(before.x))
    fresh = jnp.stack([START * scale, changes(problem, x)])
    memory = jnp.where(before.iterations > 0, jnp.asarray(before.memory), fresh)
    first = Solution(*map(jnp.asarray, before))._replace(x=x, memory=memory)
    begun = (first, jnp.asarray(jnp.inf, x.dtype), jnp.asarray(0, jnp.int32))
    solution = jax.lax.while_loop(unfinished, generation, begun)[0]
    return solution._replace(penalty=penalty(problem, simulate(jnp.asarray(solution.x))))
