"""A cooled stirred-tank reactor with van de Vusse's reactions A → B → C, 2 A → D: its gain changes sign.

Source: H. Chen, A. Kremling, F. Allgöwer, "Nonlinear predictive control of a benchmark CSTR", European Control
Conference 1995, pp. 3247-3252; the problem is K.-U. Klatt's and S. Engell's (VDI-Berichte 1026, 1993). Limits on
rates, the disturbances' wander and the noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady

PERIOD_S = 20.0
KELVIN = 273.15

PLANT = Plant(
    "Van de Vusse CSTR",
    PERIOD_S,
    (
        Tag("feed", Role.MV, "L/h", 50.0, 350.0, rate_limit_per_s=1.0, description="Feed of A, in and out"),
        Tag("cooling", Role.MV, "kJ/h", 0.0, 6000.0, rate_limit_per_s=25.0, description="Heat removed from the jacket"),
        Tag("feed_temperature", Role.DV, "degC", 90.0, 120.0, description="Temperature of the feed"),
        Tag("product", Role.CV, "mol/L", 0.0, 2.0, 0.6, 1.2, description="Concentration of the product B"),
        Tag("reactor_temperature", Role.CV, "degC", 50.0, 200.0, 90.0, 140.0, description="Inside the reactor"),
        Tag("jacket_temperature", Role.CV, "degC", 0.0, 200.0, description="Of the coolant"),
    ),
)


@dataclass(frozen=True)
class Cstr:
    """Parameters of the reactor.

    State: concentrations of A and B, mol/L; temperatures of reactor and jacket, degC. Inputs: feed, L/h; heat
    removed, kJ/h; feed temperature, degC; unmeasured concentration of A in the feed, mol/L.

    Args:
        frequency: collision factors of A → B and B → C, 1/h, and of 2 A → D, L/(mol h).
        activation: their activation temperatures, K.
        enthalpy: their reaction enthalpies, kJ/mol.
        density, heat_capacity: of the mixture, kg/L and kJ/(kg K).
        volume, area, transfer: of the reactor, L; of its jacket, m2; of heat between them, kJ/(h m2 K).
        jacket_capacity: heat capacity of the coolant in the jacket, kJ/K.
        moves: feed and cooling at rest.
        published: the published state at rest, where the search for the exact one starts.
    """

    frequency: tuple[float, float, float] = (1.287e12, 1.287e12, 9.043e9)
    activation: tuple[float, float, float] = (9758.3, 9758.3, 8560.0)
    enthalpy: tuple[float, float, float] = (4.2, -11.0, -41.85)
    density: float = 0.9342
    heat_capacity: float = 3.01
    volume: float = 10.0
    area: float = 0.215
    transfer: float = 4032.0
    jacket_capacity: float = 10.0
    moves: tuple[float, float] = (141.9, 1113.5)
    published: tuple[float, float, float, float] = (2.1402, 1.0903, 114.19, 112.91)

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (0.005, 0.1, 0.1)
    settling_s: ClassVar[float] = 1200.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("feed_temperature", 104.9, 1.5, 1800.0, low=95.0, high=115.0),
        Disturbance("feed_concentration", 5.1, 0.05, 3600.0, low=4.5, high=5.7),
    )

    def rest(self) -> jax.Array:
        return steady(self.derivative, jnp.array(self.published), inputs_at_rest(self))

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S / 3600.0, 10)

    def read(self, state: jax.Array) -> jax.Array:
        return state[1:]

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d state / dt (4,), per hour."""
        a, b, reactor, jacket = state
        feed, cooling, feed_temperature, feed_concentration = w
        dilution = feed / self.volume
        rates = jnp.array(self.frequency) * jnp.exp(-jnp.array(self.activation) / (reactor + KELVIN))
        reactions = rates * jnp.array([a, b, a * a])
        mass = self.density * self.heat_capacity * self.volume
        exchange = self.transfer * self.area * (jacket - reactor)
        return jnp.array(
            [
                dilution * (feed_concentration - a) - reactions[0] - reactions[2],
                -dilution * b + reactions[0] - reactions[1],
                dilution * (feed_temperature - reactor)
                + exchange / mass
                - jnp.dot(reactions, jnp.array(self.enthalpy)) * self.volume / mass,
                -(cooling + exchange) / self.jacket_capacity,
            ]
        )
