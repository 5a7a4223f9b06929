"""Two reactors and a separator with a large recycle: temperatures answer in minutes, compositions in hours.

Source: J. Liu, D. Muñoz de la Peña, P. D. Christofides, "Distributed Model Predictive Control of Nonlinear Process
Systems", AIChE Journal 55(5), 2009, pp. 1171-1184: A → B → C in two stirred tanks, a flash tank that recycles its
vapour; flows, kinetics and relative volatilities as published. That a recycle ten times the feed makes two time scales:
A. Kumar, P. Daoutidis, "Nonlinear dynamics and control of process systems with recycle", Journal of Process Control 12,
2002, pp. 475-484. Ours: vessels ten times as large, a controlled heat exchanger in each vessel, the setpoints of the
reactors' being MVs, the disturbances' wander and the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, rk4, steady

PERIOD_S = 120.0
SUBSTEPS = 4
GAS = 8.314  # kJ/(kmol K)
FRESH = 5.04  # m3/h into the second reactor
PURGE = 0.504  # m3/h of the vapour that is not recycled

PLANT = Plant(
    "Two reactors and a separator",
    PERIOD_S,
    (
        Tag("hot_1", Role.MV, "K", 350.0, 400.0, rate_limit_per_s=0.02, description="Setpoint of reactor 1"),
        Tag("hot_2", Role.MV, "K", 350.0, 400.0, rate_limit_per_s=0.02, description="Setpoint of reactor 2"),
        Tag("recycle", Role.MV, "m3/h", 30.0, 70.0, rate_limit_per_s=0.02, description="Vapour back to reactor 1"),
        Tag("feed", Role.DV, "m3/h", 2.0, 8.0, description="Fresh A into reactor 1, measured"),
        Tag("temperature_1", Role.CV, "K", 330.0, 430.0, limit_high=405.0),
        Tag("temperature_2", Role.CV, "K", 330.0, 430.0, limit_high=405.0),
        Tag("a_in_product", Role.CV, "wt%", 0.0, 60.0, description="Reactant that is lost"),
        Tag("b_in_product", Role.CV, "wt%", 20.0, 100.0, description="What is sold"),
    ),
)


@dataclass(frozen=True)
class ReactorSeparator:
    """Parameters. State: mass fractions of A and B and temperature (K) of both reactors and of the separator (9,).
    Inputs: two setpoints, K; recycle and feed, m3/h; an unmeasured part of the feed that is B already.

    Args:
        volumes: m3.
        rates: 1/h, pre-exponential.
        energies: kJ/kmol.
        heats: K that the reaction of pure A and of pure B warms by.
        volatilities: of A, B and C.
        cold: K of the feeds.
        separator: K, setpoint of the separator.
        exchange: 1/h, how fast the heat exchangers close an error of temperature.
    """

    volumes: tuple[float, float, float] = (10.0, 5.0, 10.0)
    rates: tuple[float, float] = (2.77e3 * 3600.0, 2.5e3 * 3600.0)
    energies: tuple[float, float] = (5e4, 6e4)
    heats: tuple[float, float] = (6e4 / 250.0 / 4.2, 7e4 / 250.0 / 4.2)
    volatilities: tuple[float, float, float] = (3.5, 1.0, 0.5)
    cold: float = 300.0
    separator: float = 370.0
    exchange: float = 12.0

    plant: ClassVar[Plant] = PLANT
    moves: ClassVar[tuple[float, ...]] = (372.0, 372.0, 50.4)
    noise: ClassVar[tuple[float, ...]] = (0.2, 0.2, 0.2, 0.2)
    settling_s: ClassVar[float] = 28_800.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("feed", 5.04, 0.2, 7200.0, low=2.0, high=8.0),
        Disturbance("spent", 0.05, 0.02, 14_400.0, low=0.0, high=0.2),
    )

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """Per second, of the state (9,) under inputs (5,)."""
        hot_1, hot_2, recycle, feed, spent = w
        one, two, three = state[:3], state[3:6], state[6:]
        fresh = jnp.stack([1.0 - spent, spent, jnp.asarray(self.cold)])
        light = jnp.array(self.volatilities) * jnp.stack([three[0], three[1], 1.0 - three[0] - three[1]])
        vapour = jnp.stack([*(light[:2] / light.sum()), three[2]])
        out_1, out_2 = feed + recycle, feed + recycle + FRESH
        first = (feed * (fresh - one) + recycle * (vapour - one)) / self.volumes[0]
        second = (out_1 * (one - two) + FRESH * (fresh - two)) / self.volumes[1]
        # What leaves as vapour is richer in A than the liquid that stays; the heat exchanger makes up for its heat.
        third = (out_2 * (two - three) - (recycle + PURGE) * (vapour - three)) / self.volumes[2]
        d = jnp.concatenate(
            [
                first + self._reaction(one, hot_1),
                second + self._reaction(two, hot_2),
                third.at[2].add(self._heat(three)),
            ]
        )
        return d / 3600.0

    def _reaction(self, x: jax.Array, setpoint: jax.Array) -> jax.Array:
        """Per hour, of A, B and the temperature in a reactor."""
        k1, k2 = (rate * jnp.exp(-e / GAS / x[2]) for rate, e in zip(self.rates, self.energies, strict=True))
        a, b = k1 * x[0], k2 * x[1]
        warmed = self.heats[0] * a + self.heats[1] * b
        return jnp.stack([-a, a - b, warmed + self.exchange * (setpoint - x[2])])

    def _heat(self, x: jax.Array) -> jax.Array:
        return self.exchange * (self.separator - x[2])

    def rest(self) -> jax.Array:
        w = jnp.array([*self.moves, *(d.rest for d in self.disturbances)])
        guess = jnp.array([0.5, 0.45, 370.0, 0.5, 0.45, 370.0, 0.3, 0.6, 370.0])
        return steady(self.derivative, guess, w, 40)

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S, SUBSTEPS)

    def read(self, state: jax.Array) -> jax.Array:
        return jnp.stack([state[2], state[5], 100.0 * state[6], 100.0 * state[7]])
