"""The only scan over time."""

from __future__ import annotations

import jax

from twin.dynamics.base import Predictor, State


def rollout(dynamics: Predictor, state: State, w: jax.Array) -> jax.Array:
    """CVs (K, CVs) that follow a state under inputs w (K, inputs), in model units."""

    def advance(state: State, w: jax.Array) -> tuple[State, jax.Array]:
        state = dynamics.step(state, w)
        return state, dynamics.read(state)

    return jax.lax.scan(advance, state, w)[1]
