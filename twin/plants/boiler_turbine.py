"""A drum boiler with its turbine, 160 MW: three valves, and a drum level that integrates.

Source: R. D. Bell, K. J. Åström, "Dynamic models for boiler-turbine-alternator units: data logs and parameter
estimation for a 160 MW unit", report TFRT-3192, Lund Institute of Technology, 1987; rate limits as printed there, the
steam valve's closing rate made as slow as its opening. The fuel's wander and the noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, rk4

PERIOD_S = 10.0

PLANT = Plant(
    "Boiler and turbine",
    PERIOD_S,
    (
        Tag("fuel", Role.MV, "1", 0.0, 1.0, rate_limit_per_s=0.007, description="Opening of the fuel valve"),
        Tag("steam", Role.MV, "1", 0.2, 1.0, rate_limit_per_s=0.02, description="Opening of the turbine's valve"),
        Tag("feedwater", Role.MV, "1", 0.0, 1.0, rate_limit_per_s=0.05, description="Opening of its valve"),
        Tag("pressure", Role.CV, "kgf/cm2", 40.0, 180.0, 70.0, 150.0, description="In the drum"),
        Tag("power", Role.CV, "MW", 0.0, 180.0, description="Electrical"),
        Tag("level", Role.CV, "m", -1.0, 1.0, -0.4, 0.4, description="In the drum, from its middle"),
    ),
)


@dataclass(frozen=True)
class BoilerTurbine:
    """Parameters.

    State: pressure, kgf/cm2; power, MW; density of the drum's fluid, kg/m3; the three valves as they were, since
    boiling moves the level at once. Inputs: the valves; heat in the fuel beside the usual, unmeasured.

    Args:
        pressure, steam, density: at rest (operating point 4 of the source).
        turbine: what the turbine makes of steam, beside the published 0.73.
    """

    pressure: float = 108.0
    steam: float = 0.69
    density: float = 428.0
    turbine: float = 1.0

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (0.3, 0.3, 0.005)
    settling_s: ClassVar[float] = 1200.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (Disturbance("fuel_heat", 1.0, 0.02, 1800.0, low=0.8, high=1.2),)

    @property
    def moves(self) -> tuple[float, ...]:
        """The valves that hold the state at rest."""
        feedwater = (1.1 * self.steam - 0.19) * self.pressure / 141.0
        fuel = (0.0018 * self.steam * self.pressure ** (9 / 8) + 0.15 * feedwater) / 0.9
        return fuel, self.steam, feedwater

    def rest(self) -> jax.Array:
        power = self.turbine * (0.73 * self.steam - 0.16) * self.pressure ** (9 / 8)
        return jnp.array([self.pressure, power, self.density, *self.moves])

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.concatenate([rk4(self.derivative, state[:3], w, PERIOD_S, 5), w[:3]])

    def read(self, state: jax.Array) -> jax.Array:
        pressure, power, density, fuel, steam, feedwater = state
        quality = (1 - 0.001538 * density) * (0.8 * pressure - 25.6) / (density * (1.0394 - 0.0012304 * pressure))
        evaporation = (0.854 * steam - 0.147) * pressure + 45.59 * fuel - 2.514 * feedwater - 2.096
        return jnp.array([pressure, power, 0.05 * (0.13073 * density + 100 * quality + evaporation / 9 - 67.975)])

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d (pressure, power, density) / dt, per second."""
        pressure, power, _ = state
        fuel, steam, feedwater, heat = w
        lifted = jnp.maximum(pressure, 1.0) ** (9 / 8)
        return jnp.array(
            [
                -0.0018 * steam * lifted + 0.9 * fuel * heat - 0.15 * feedwater,
                (self.turbine * (0.73 * steam - 0.16) * lifted - power) / 10.0,
                (141.0 * feedwater - (1.1 * steam - 0.19) * pressure) / 85.0,
            ]
        )
