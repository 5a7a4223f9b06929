"""What a simulated plant is: a pure step function in engineering units with a published source.

A process is a frozen dataclass of its parameters, so that `dataclasses.replace` makes one with a model mismatch.
Processes are written for float64; call them inside `jax.enable_x64(True)`, as `Simulator` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from twin.plant import Plant

Derivative = Callable[[jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True)
class Disturbance:
    """An input nobody manipulates: a first-order autoregressive wander about its rest value.

    Args:
        name: of a DV (then it is measured), or free for an unmeasured disturbance.
        rest: the value it returns to, in its unit.
        deviation: standard deviation of the wander.
        time_constant_s: of its autocorrelation.
        low, high: the wander stays inside.
    """

    name: str
    rest: float
    deviation: float
    time_constant_s: float
    low: float = -math.inf
    high: float = math.inf


class Process(Protocol):
    """A simulated plant. Implementations are frozen, hashable dataclasses of their parameters."""

    @property
    def plant(self) -> Plant:
        """Tags, limits and the sample period."""
        ...

    @property
    def moves(self) -> tuple[float, ...]:
        """The MVs at rest, in the order of `plant.mvs`."""
        ...

    @property
    def disturbances(self) -> tuple[Disturbance, ...]:
        """The DVs in the order of `plant.dvs`, then the unmeasured disturbances."""
        ...

    @property
    def noise(self) -> tuple[float, ...]:
        """Standard deviation of the measurement noise of each CV."""
        ...

    @property
    def settling_s(self) -> float:
        """About how long the slowest CV takes to settle after a step of an MV."""
        ...

    def rest(self) -> jax.Array:
        """The steady state (n,) under the inputs at rest."""
        ...

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """The state (n,) one sample period later, under constant inputs w: MVs, DVs, unmeasured disturbances."""
        ...

    def read(self, state: jax.Array) -> jax.Array:
        """The true CVs (CVs,) of a state."""
        ...


def inputs_at_rest(process: Process) -> jax.Array:
    """MVs, DVs and unmeasured disturbances at rest: (inputs,)."""
    return jnp.array(process.moves + tuple(d.rest for d in process.disturbances))


def rk4(derivative: Derivative, state: jax.Array, w: jax.Array, period_s: float, steps: int) -> jax.Array:
    """The state (n,) after `period_s` under constant inputs, by `steps` classical Runge-Kutta steps."""
    h = period_s / steps

    def advance(_: int, x: jax.Array) -> jax.Array:
        k1 = derivative(x, w)
        k2 = derivative(x + h / 2 * k1, w)
        k3 = derivative(x + h / 2 * k2, w)
        k4 = derivative(x + h * k3, w)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return jax.lax.fori_loop(0, steps, advance, state)


def steady(derivative: Derivative, guess: jax.Array, w: jax.Array, iterations: int = 20) -> jax.Array:
    """The state (n,) near `guess` where the derivative vanishes under inputs w, by Newton's method."""

    def newton(_: int, x: jax.Array) -> jax.Array:
        return x - jnp.linalg.solve(jax.jacfwd(derivative)(x, w), derivative(x, w))

    return jax.lax.fori_loop(0, iterations, newton, guess)
