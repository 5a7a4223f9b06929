"""The protocol every world model follows: encode a window, step under inputs, read the CVs.

Implementations are pytrees of arrays (so they travel through `jit`, `vmap` and `jacfwd` as arguments),
written for one window; batching is done outside with `vmap`. Everything is in model units, float32.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax

from twin.windows import Window

State = Any  # a pytree of arrays


class Predictor(Protocol):
    """What a rollout needs: a state that steps under inputs and can be read."""

    def step(self, state: State, w: jax.Array) -> State:
        """The state one row later, under that row's inputs w (inputs,)."""
        ...

    def read(self, state: State) -> jax.Array:
        """The CVs of the state's row: (CVs,)."""
        ...


class Dynamics(Predictor, Protocol):
    """An action-conditioned world model."""

    def encode(self, window: Window) -> State:
        """The state at the last row of the window (L, ·)."""
        ...
