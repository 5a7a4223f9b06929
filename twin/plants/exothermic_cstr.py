"""A cooled stirred-tank reactor with one exothermic reaction A → B: hot, it runs away by itself.

Source: the reactor of D. E. Seborg, T. F. Edgar, D. A. Mellichamp, "Process Dynamics and Control" (Wiley), example
2.5, with the parameters of J. Hedengren's exercise (apmonitor.com, "Stirred reactor"), which pc-gym's `cstr`
takes (M. Bloor et al., "PC-Gym: Benchmark environments for process control problems", 2024). There the coolant
may be set to 295 to 302 K at once; the disturbances' wander and the noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady

PERIOD_S = 26.0  # 26 min in 60 periods

PLANT = Plant(
    "Exothermic CSTR",
    PERIOD_S,
    (
        Tag("coolant", Role.MV, "K", 295.0, 302.0, description="Temperature of the cooling jacket"),
        Tag("feed_temperature", Role.DV, "K", 340.0, 360.0),
        Tag("concentration", Role.CV, "mol/L", 0.7, 1.0, description="Of A, in the reactor"),
        Tag("temperature", Role.CV, "K", 300.0, 350.0, description="In the reactor"),
    ),
)


@dataclass(frozen=True)
class ExothermicCstr:
    """Parameters of the reactor.

    State: concentration of A, mol/L; temperature, K. Inputs: coolant, K; feed temperature, K; unmeasured
    concentration of A in the feed, mol/L.

    Args:
        flow, volume: L/min and L.
        frequency: collision factor, 1/min.
        activation: activation temperature, K.
        heating: K by which the reaction of 1 mol/L heats the mixture.
        transfer: of heat to the jacket, 1/min.
        moves: coolant at rest.
        published: where the task starts, and the search for the state at rest.
    """

    flow: float = 100.0
    volume: float = 100.0
    frequency: float = 7.2e10
    activation: float = 8750.0
    heating: float = 5e4 / (1000.0 * 0.239)
    transfer: float = 5e4 / (1000.0 * 0.239 * 100.0)
    moves: tuple[float] = (298.0,)
    published: tuple[float, float] = (0.8, 330.0)

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (0.001, 0.1)
    settling_s: ClassVar[float] = 300.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("feed_temperature", 350.0, 0.3, 1800.0, low=345.0, high=355.0),
        Disturbance("feed_concentration", 1.0, 0.003, 3600.0, low=0.95, high=1.05),
    )

    def rest(self) -> jax.Array:
        return steady(self.derivative, jnp.array(self.published), inputs_at_rest(self))

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S / 60.0, 10)

    def read(self, state: jax.Array) -> jax.Array:
        return state

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d state / dt (2,), per minute."""
        concentration, temperature = state
        coolant, feed_temperature, feed_concentration = w
        dilution = self.flow / self.volume
        rate = self.frequency * jnp.exp(-self.activation / temperature) * concentration
        return jnp.array(
            [
                dilution * (feed_concentration - concentration) - rate,
                dilution * (feed_temperature - temperature)
                + self.heating * rate
                + self.transfer * (coolant - temperature),
            ]
        )
