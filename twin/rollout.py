"""The scan over time: row by row, or as a model does it that knows how to take rows together."""

from __future__ import annotations

import jax

from twin.dynamics.base import Predictor, State


def rollout(dynamics: Predictor, state: State, w: jax.Array) -> jax.Array:
    """CVs (K, CVs) that follow a state under inputs w (K, inputs), in model units.

    A model's own `roll`, where it has one, gives the same in fewer operations.
    """
    if (roll := getattr(dynamics, "roll", None)) is not None:
        together: jax.Array = roll(state, w)
        return together

    def advance(state: State, w: jax.Array) -> tuple[State, jax.Array]:
        state = dynamics.step(state, w)
        return state, dynamics.read(state)

    return jax.lax.scan(advance, state, w)[1]
