"""The Tennessee Eastman challenge in its reduced form: gases A, B and C react to a liquid D, B is inert and piles up.

Source: N. L. Ricker, "Model predictive control of a continuous, nonlinear, two-phase reactor", Journal of Process
Control 3(2), 1993, pp. 109-123, a reduction of J. J. Downs, E. F. Vogel, "A plant-wide industrial process control
problem", Computers & Chemical Engineering 17(3), 1993. Flow, pressure, composition and running cost as there; the
liquid's level stays with its own proportional controller. The feed's wander, rates and the noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady

PERIOD_S = 360.0
VESSEL_M3 = 122.0
LIQUID_KMOL_PER_M3 = 8.3
R_T = 8.314 * 373.0  # kJ/kmol
FULL_LIQUID_M3 = 30.0

PLANT = Plant(
    "Gas and liquid reactor (reduced Tennessee Eastman)",
    PERIOD_S,
    (
        Tag("feed_1", Role.MV, "%", 0.0, 100.0, rate_limit_per_s=0.05, description="Valve of the feed of A, B and C"),
        Tag("feed_2", Role.MV, "%", 0.0, 100.0, rate_limit_per_s=0.05, description="Valve of the feed of pure A"),
        Tag("purge", Role.MV, "%", 0.0, 100.0, rate_limit_per_s=0.05, description="Valve of the purge"),
        Tag("product", Role.CV, "kmol/h", 0.0, 180.0, 60.0, 140.0, description="Flow of D, the product"),
        Tag("pressure", Role.CV, "kPa", 1500.0, 3200.0, 2000.0, 2900.0, description="Of the vessel"),
        Tag("level", Role.CV, "%", 0.0, 100.0, description="Of the liquid"),
        Tag("a_in_purge", Role.CV, "mol%", 0.0, 100.0, 20.0, 80.0, description="A in the vapour, by analyser"),
        Tag("cost", Role.CV, "USD/kmol", 0.0, 1.0, description="Of A and C lost with the purge, by product"),
    ),
)


@dataclass(frozen=True)
class GasLiquidReactor:
    """Parameters.

    State: A, B, C and D in the vessel, kmol; positions of the four valves, %. Inputs: three valves, %; the share of A
    in feed 1, unmeasured, which C makes up for.

    Args:
        rate: of the reaction, kmol/h by kPa^1.6.
        level: setpoint of the liquid's controller, % (the published one is 44.18), and its gain.
        valve_s: time constant of the valves.
        moves: at rest.
    """

    rate: float = 0.00117
    level: float = 44.17670682730923
    gain: float = 1.4
    valve_s: float = 10.0
    moves: tuple[float, float, float] = (60.95327313484253, 25.02232231706676, 39.25777017606444)

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (0.5, 4.0, 0.2, 0.2, 0.002)
    settling_s: ClassVar[float] = 36000.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("a_in_feed", 0.485, 0.004, 14400.0, low=0.45, high=0.52),
    )

    def rest(self) -> jax.Array:
        guess = jnp.array([44.5, 13.53, 36.65, 110.0, *self.moves, 47.03])
        return steady(self.derivative, guess, inputs_at_rest(self))

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S, 20)

    def read(self, state: jax.Array) -> jax.Array:
        a, b, c = state[:3]
        pressure, level = self._vapour(state)
        purge, product = self._outflows(state, pressure)
        y_a, y_c = a / (a + b + c), c / (a + b + c)
        cost = purge / jnp.maximum(product, 1.0) * (2.206 * y_a + 6.177 * y_c)
        return jnp.array([product, pressure, level, 100 * y_a, cost])

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d state / dt (8,), per second."""
        a, b, c = jnp.maximum(state[:3], 1e-6)
        valves = state[4:]
        pressure, level = self._vapour(state)
        purge, product = self._outflows(state, pressure)
        feed_1, feed_2 = 330.46 * valves[0] / 100, 22.46 * valves[1] / 100
        vapour = a + b + c
        reaction = self.rate * (pressure * a / vapour) ** 1.2 * (pressure * c / vapour) ** 0.4
        flows = jnp.array(
            [
                w[3] * feed_1 + feed_2 - purge * a / vapour - reaction,
                0.005 * feed_1 - purge * b / vapour,
                (0.995 - w[3]) * feed_1 - purge * c / vapour - reaction,
                reaction - product,
            ]
        )
        # 47.03 % lets the published product flow pass at the published pressure
        drain = jnp.clip(47.03024823457651 + self.gain * (level - self.level), 0.0, 100.0)
        wanted = jnp.concatenate([w[:3], drain[None]])
        return jnp.concatenate([flows / 3600.0, (wanted - valves) / self.valve_s])

    def _vapour(self, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        liquid = state[3] / LIQUID_KMOL_PER_M3
        return (state[0] + state[1] + state[2]) * R_T / (VESSEL_M3 - liquid), 100 * liquid / FULL_LIQUID_M3

    def _outflows(self, state: jax.Array, pressure: jax.Array) -> tuple[jax.Array, jax.Array]:
        head = jnp.sqrt(jnp.maximum(pressure - 100.0, 1e-3))
        return 0.00352 * state[6] * head, 0.0417 * state[7] * head
