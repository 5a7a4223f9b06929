"""What moves truly do, and what a linear model makes of them: what forecast changes are held against."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin
from twin.dynamics.lti import Lti
from twin.plants.base import Process
from twin.rollout import rollout
from twin.windows import Window


def simulated(process: Process, state: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(rows, CVs) of the noise-free plant from a state (n,) under inputs w (rows, inputs), engineering units."""
    with jax.enable_x64(True):
        return np.asarray(_rolled(process, jnp.asarray(state), jnp.asarray(w)))


@partial(jax.jit, static_argnums=0)
def _rolled(process: Process, state: jax.Array, w: jax.Array) -> jax.Array:
    def advance(x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = process.step(x, w)
        return x, process.read(x)

    return jax.lax.scan(advance, state, w)[1]


def of_linear(model: Lti, twin: Twin, change: np.ndarray) -> np.ndarray:
    """What a linear model makes of a change of the inputs (rows, inputs), engineering units: (rows, CVs), deviations
    of the twin's training."""
    p, m = len(twin.plant.cvs), len(twin.plant.inputs)
    y, w = np.zeros((twin.history, p), np.float32), np.zeros((twin.history, m), np.float32)
    state = model.encode(Window(y, w, np.ones_like(y)))
    moved, still = (rollout(model, state, (k * change / twin.scaler.w_scale).astype(np.float32)) for k in (1, 0))
    return np.asarray(moved - still, np.float64)
