"""The part of a forecast that inputs do not touch: what the last rows say beside the linear model's own state.

    n  = E vec(window) + e        a few modes a CV at the last row of the window
    n' = decay n                  one row later
    y  = y_plant + sum of a CV's modes

A Box–Jenkins model has the same two parts: the plant answers the inputs, a noise model carries on what has been
measured (Box, Jenkins and Reinsel, Time Series Analysis; Ljung, System Identification, 4.2). Modes decay by constants,
so that gains and step responses are those of the plant alone, and a step costs next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from twin.dynamics.lti import Lti
from twin.windows import Window


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noise:
    """J decaying modes a CV (a pytree of float32 arrays).

    Attributes:
        decay: (J, CVs) in [0, 1).
        E: (J, CVs, L (CVs + inputs)): acts on the window's rows as `Lti.E` does.
        e: (J, CVs).
    """

    decay: jax.Array
    E: jax.Array
    e: jax.Array

    def encode(self, window: Window) -> jax.Array:
        """The modes (J, CVs) at the last row of the window (L, ·)."""
        rows = jnp.concatenate([jnp.asarray(window.y), jnp.asarray(window.w)], axis=-1)
        return self.E @ rows.reshape(-1) + self.e

    def step(self, modes: jax.Array) -> jax.Array:
        """The modes (J, CVs) one row later."""
        return self.decay * modes

    def read(self, modes: jax.Array) -> jax.Array:
        """What they add to the CVs: (CVs,)."""
        return modes.sum(axis=0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Backbone:
    """A linear model of the plant and its noise model (a pytree; follows `dynamics.base.Dynamics`)."""

    plant: Lti
    noise: Noise

    def encode(self, window: Window) -> tuple[jax.Array, jax.Array]:
        """The states of both at the last row of the window (L, ·)."""
        return self.plant.encode(window), self.noise.encode(window)

    def step(self, state: tuple[jax.Array, jax.Array], w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One row later, under that row's inputs w (inputs,)."""
        return self.plant.step(state[0], w), self.noise.step(state[1])

    def read(self, state: tuple[jax.Array, jax.Array]) -> jax.Array:
        """The CVs (CVs,) of the state's row."""
        return self.plant.read(state[0]) + self.noise.read(state[1])


Linear = Lti | Backbone


def parts(model: Linear) -> tuple[Lti, Noise | None]:
    """The plant's part and the noise's, if there is one."""
    return (model, None) if isinstance(model, Lti) else (model.plant, model.noise)
