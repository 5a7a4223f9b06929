"""The forecast of an ensemble from its recent windows, corrected for the constant error they show."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from twin.dynamics.ensemble import Ensemble
from twin.dynamics.offset_free import CALM, estimate
from twin.rollout import rollout
from twin.windows import Window


def forecaster(
    dynamics: Ensemble, windows: Window, whole: jax.Array, correction: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """A function from inputs (K, inputs) to the CVs (K, CVs) that follow the last window, in model units.

    Args:
        windows: (n, L, ·) the windows that end at each of the last n rows, oldest first.
        whole: (n,) 1 where a window is all history, 0 where it is padded at its start.
        correction: the share of the constant error to take out, () or (2,): inside and outside of the trained region,
            in between by the gate; less where fewer windows are whole.
    """
    last = jax.tree.map(lambda part: jnp.asarray(part)[-1], windows)
    model, state = estimate(
        dynamics, windows, whole, lambda window: dynamics.begin(window, jnp.asarray(window.w)[-1:]), CALM, filter_gain=1
    )
    decay = CALM ** jnp.arange(len(whole) - 1, -1, -1, dtype=jnp.float32)
    inside, outside = jnp.broadcast_to(jnp.asarray(correction, jnp.float32), (2,)) * (decay @ whole) / decay.sum()

    def forecast(w: jax.Array) -> jax.Array:
        gate = dynamics.gate(last, w)
        return rollout(model.scaled(outside + gate * (inside - outside)), state._replace(gate=gate), w)

    return forecast
