"""Offset-free prediction from history alone: the server keeps no controller state.

A twin that is wrong, or a plant under a disturbance nobody measures, would leave a lasting error. Two constants
estimated from the last rows remove it: δ, the mean one-step error of the state, is added at every step, and b,
the mean readout error, to every CV:

    z_i = f(window ending i rows ago)
    δ = Σ ω_i (z_i − g(z_{i+1}, w_{t−i})),  b = Σ ω_i (y_{t−i} − h(z_i)),  ω_i ∝ MEMORY^i
    plan with z' = g(z, w) + δ and ŷ = h(z) + b

A controller acts on its start every row, so it starts from the windows' states filtered by a constant gain, which takes
in less of the CVs' noise (in place of z_0):

    ẑ ← ẑ⁻ + κ (z_i − ẑ⁻),  ẑ⁻ = g(ẑ, w_{t−i}) + δ,  from the oldest row to the present

Over a constant window δ makes the encoded state a fixed point and b makes its readout the measurement, so that
held moves predict no change, whatever the error of the model: what an integrating disturbance model gives a
filter (Pannocchia and Rawlings, AIChE J. 49 (2003) 426). A linear backbone inside carries its part of δ in its
own recursion, the classic output integrator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from twin.dynamics.base import Dynamics, State
from twin.windows import Window

MEMORY = 0.9  # of the disturbance estimate of a controller, per row
CALM = 0.95  # of that of a forecast: nobody acts on it every row, and it takes in less noise
FILTER_GAIN = 0.5  # κ of a controller; 1 takes the last window's state as it is
ROWS = 24  # rows looked back: 0.9^24 is 8 %


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OffsetFree:
    """A world model with its constant errors removed (follows `dynamics.base.Dynamics`).

    Attributes:
        inner: the world model.
        drift: δ, a pytree like its state.
        bias: b, (CVs,).
    """

    inner: Dynamics
    drift: Any
    bias: jax.Array

    def scaled(self, share: jax.Array) -> OffsetFree:
        """The same with a share of the constants only: 0 corrects nothing, 1 all."""
        return OffsetFree(self.inner, jax.tree.map(lambda leaf: share * leaf, self.drift), share * self.bias)

    def encode(self, window: Window) -> State:
        """The state at the last row of the window (L, ·)."""
        return self.inner.encode(window)

    def step(self, state: State, w: jax.Array) -> State:
        """The state one row later, under that row's inputs w (inputs,)."""
        return _add(self.inner.step(state, w), self.drift)

    def read(self, state: State) -> jax.Array:
        """The CVs of the state's row: (CVs,)."""
        return self.inner.read(state) + self.bias

    @property
    def is_linear(self) -> bool:
        return getattr(self.inner, "is_linear", False)

    @property
    def roll(self) -> Callable[[State, jax.Array], jax.Array] | None:
        """Rows together, where the world model inside can (`rollout`)."""
        own = getattr(self.inner, "roll", None)
        return None if own is None else lambda state, w: own(state, w, self.drift) + self.bias[None]


def estimate(
    dynamics: Dynamics,
    windows: Window,
    whole: jax.Array,
    begin: Callable[[Window], State] | None = None,
    memory: float = MEMORY,
    filter_gain: float = FILTER_GAIN,
) -> tuple[OffsetFree, State]:
    """The corrected world model, and its state at the last row.

    Args:
        windows: (n, L, ·) the windows that end at each of the last n rows, oldest first.
        whole: (n,) 1 where a window is all history, 0 where it is padded at its start; the last always counts.
        begin: how a window becomes a state, where not by `dynamics.encode`.
        memory: by how much a row counts less than the next one.
        filter_gain: κ, by how much each window's state is believed beside the one foreseen from those before.
    """
    states = jax.vmap(begin or dynamics.encode)(windows)
    n = len(whole)
    decay = jnp.asarray(memory, jnp.float32) ** jnp.arange(n - 1, -1, -1, dtype=jnp.float32)
    here = jax.tree.map(lambda leaf: leaf[1:], states)
    before = jax.tree.map(lambda leaf: leaf[:-1], states)
    foreseen = jax.vmap(dynamics.step)(before, jnp.asarray(windows.w)[1:, -1])
    errors = jax.tree.map(jnp.subtract, here, foreseen)
    weight = _normalised(decay[1:] * whole[:-1])
    drift = _without_gate(jax.tree.map(lambda leaf: jnp.tensordot(weight, leaf, 1), errors))
    misread = jnp.asarray(windows.y)[:, -1] - jax.vmap(dynamics.read)(states)
    measured = jnp.asarray(windows.mask)[:, -1] * (decay * whole.at[-1].set(1.0))[:, None]
    bias = jnp.sum(jax.vmap(_normalised, 1, 1)(measured) * misread, axis=0)
    model, last = OffsetFree(dynamics, drift, bias), jax.tree.map(lambda leaf: leaf[-1], states)
    if filter_gain == 1:
        return model, last
    return model, _gated_as(last, _filtered(model, states, jnp.asarray(windows.w)[:, -1], whole, filter_gain))


def _filtered(model: OffsetFree, states: State, w: jax.Array, whole: jax.Array, filter_gain: float) -> State:
    """ẑ at the last of the rows; it begins with the first window that is all history."""

    def row(known: State, now: tuple[State, jax.Array, jax.Array]) -> tuple[State, None]:
        encoded, w, before = now
        share = jnp.where(before > 0, filter_gain, 1.0)
        return jax.tree.map(lambda a, b: a + share * (b - a), model.step(known, w), encoded), None

    first, here = jax.tree.map(lambda leaf: leaf[0], states), jax.tree.map(lambda leaf: leaf[1:], states)
    return jax.lax.scan(row, first, (here, w[1:], whole[:-1]))[0]


def _normalised(weight: jax.Array) -> jax.Array:
    """Weights that sum to one; all zero where there is nothing to weigh."""
    return weight / jnp.maximum(jnp.sum(weight), 1e-6)


def _add(state: State, drift: Any) -> State:
    return jax.tree.map(jnp.add, state, drift)


def _without_gate(drift: Any) -> Any:
    """A state may carry the gate of its scenario in a field `gate`: that is no state of the plant."""
    return drift._replace(gate=jnp.zeros_like(drift.gate)) if hasattr(drift, "gate") else drift


def _gated_as(last: Any, state: Any) -> Any:
    """The gate is that of the present, not filtered."""
    return state._replace(gate=last.gate) if hasattr(last, "gate") else state
