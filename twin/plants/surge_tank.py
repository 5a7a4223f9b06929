"""A surge tank between two units: what flows in is given, a pump sets what flows out, and the level integrates.

Source: K. A. McDonald, T. J. McAvoy, A. Tits, "Optimal averaging level control", AIChE Journal 32(1), 1986, pp. 75-86:
A dh/dt = inflow - outflow. Sizes, the disturbances' wander and the noise are ours. The tank neither overflows nor
runs dry: its level has no end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance

PERIOD_S = 10.0

PLANT = Plant(
    "Surge tank",
    PERIOD_S,
    (
        Tag("outflow", Role.MV, "m3/h", 0.0, 60.0, rate_limit_per_s=0.2, description="Pump to the next unit"),
        Tag("feed", Role.DV, "m3/h", 0.0, 60.0, description="From the unit before, measured"),
        Tag("level", Role.CV, "m", 0.0, 4.0, 0.5, 3.5, description="Integrates inflow less outflow"),
    ),
)


@dataclass(frozen=True)
class SurgeTank:
    """Parameters. State: the level, m. Inputs: outflow and feed, m3/h; an unmeasured stream into the tank, m3/h.

    Args:
        area: m2.
        pump: what the pump moves of what it is asked.
    """

    area: float = 4.0
    pump: float = 1.0

    plant: ClassVar[Plant] = PLANT
    moves: ClassVar[tuple[float, ...]] = (30.0,)
    noise: ClassVar[tuple[float, ...]] = (0.005,)
    settling_s: ClassVar[float] = 600.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("feed", 30.0, 2.0, 1800.0, low=0.0, high=60.0),
        Disturbance("stream", 0.0, 0.3, 1800.0),
    )

    def rest(self) -> jax.Array:
        return jnp.array([2.0])

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return state + PERIOD_S / 3600.0 * (w[1] + w[2] - self.pump * w[0]) / self.area

    def read(self, state: jax.Array) -> jax.Array:
        return state
