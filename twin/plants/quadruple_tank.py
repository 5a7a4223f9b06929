"""The quadruple-tank process: two pumps, four tanks, each pump feeding one lower and the opposite upper tank.

Source: K. H. Johansson, "The quadruple-tank process: a multivariable laboratory process with an adjustable
zero", IEEE Transactions on Control Systems Technology 8(3), 2000, pp. 456-465, equations (1) and tables I-II.
The inflow into tank 3 (a DV), the unmeasured leaks, the pumps' limits and the noise are ours. The tanks are taken
as tall enough not to overflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady

PERIOD_S = 5.0
EMPTY_CM = 0.01  # below this the outflow goes with the level itself, where the root would have no slope

PLANT = Plant(
    "Quadruple tank",
    PERIOD_S,
    (
        Tag("pump_1", Role.MV, "V", 0.5, 4.0, rate_limit_per_s=0.05, description="Pump into tanks 1 and 4"),
        Tag("pump_2", Role.MV, "V", 0.5, 4.0, rate_limit_per_s=0.05, description="Pump into tanks 2 and 3"),
        Tag("inflow_3", Role.DV, "mL/s", 0.0, 4.0, description="Stream from elsewhere into tank 3"),
        Tag("level_1", Role.CV, "cm", 0.0, 30.0, 2.0, 18.0, description="Lower tank, left"),
        Tag("level_2", Role.CV, "cm", 0.0, 30.0, 2.0, 18.0, description="Lower tank, right"),
        Tag("level_3", Role.CV, "cm", 0.0, 30.0, 0.1, 8.0, description="Upper tank, left: drains into tank 1"),
        Tag("level_4", Role.CV, "cm", 0.0, 30.0, 0.1, 8.0, description="Upper tank, right: drains into tank 2"),
    ),
)


@dataclass(frozen=True)
class QuadrupleTank:
    """Parameters, by default of the minimum-phase setting P- of the paper.

    State: the levels of tanks 1 to 4, cm. Inputs: pump voltages 1 and 2, V; inflow into tank 3, mL/s (= cm3/s);
    unmeasured leaks of tanks 1 and 2, as a share of their outlet holes.

    Args:
        section: cross-sections of the tanks, cm2.
        outlet: cross-sections of the outlet holes, cm2.
        pump: flow of each pump, cm3/(V s).
        split: share of each pump's flow that goes to its lower tank.
        moves: pump voltages at rest, V.
        levels: the published levels at rest, cm, where the search for the exact ones starts.
    """

    section: tuple[float, float, float, float] = (28.0, 32.0, 28.0, 32.0)
    outlet: tuple[float, float, float, float] = (0.071, 0.057, 0.071, 0.057)
    pump: tuple[float, float] = (3.33, 3.35)
    split: tuple[float, float] = (0.70, 0.60)
    gravity: float = 981.0
    moves: tuple[float, float] = (3.00, 3.00)
    levels: tuple[float, float, float, float] = (12.4, 12.7, 1.8, 1.4)

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (0.05, 0.05, 0.02, 0.02)
    settling_s: ClassVar[float] = 400.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("inflow_3", 1.0, 0.6, 600.0, low=0.0, high=3.0),
        Disturbance("leak_1", 0.0, 0.02, 900.0, low=-0.5),
        Disturbance("leak_2", 0.0, 0.02, 900.0, low=-0.5),
    )

    @classmethod
    def nonminimum_phase(cls) -> QuadrupleTank:
        """The setting P+ of the paper: most of each pump's flow goes to the upper tanks."""
        return cls(pump=(3.14, 3.29), split=(0.43, 0.34), moves=(3.15, 3.15), levels=(12.6, 13.0, 4.8, 4.9))

    def rest(self) -> jax.Array:
        return steady(self.derivative, jnp.array(self.levels), inputs_at_rest(self))

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S, 10)

    def read(self, state: jax.Array) -> jax.Array:
        return state

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d level / dt (4,), cm/s."""
        velocity = jnp.sqrt(2.0 * self.gravity * jnp.maximum(state, EMPTY_CM)) * jnp.minimum(state / EMPTY_CM, 1.0)
        out1, out2, out3, out4 = jnp.array(self.outlet) * velocity
        flow1, flow2 = jnp.array(self.pump) * w[:2]
        split1, split2 = self.split
        inflow = jnp.array(
            [
                split1 * flow1 + out3,
                split2 * flow2 + out4,
                (1.0 - split2) * flow2 + w[2],
                (1.0 - split1) * flow1,
            ]
        )
        outflow = jnp.array([out1 * (1.0 + w[3]), out2 * (1.0 + w[4]), out3, out4])
        return (inflow - outflow) / jnp.array(self.section)
