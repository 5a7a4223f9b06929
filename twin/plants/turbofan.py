"""A two-spool turbofan at one flight condition: fuel and stator vanes, near its stall and temperature limits.

Source: component relations of P. P. Walsh, P. Fletcher, "Gas Turbine Performance", 2nd ed., Blackwell 2004, chapters
5 and 8: polytropic compression, choked turbine guide vanes, and the power balance of each spool. Speed lines are
power laws about the design point, since maps of real engines are not public. Sizes (100 kN at take-off, bypass ratio
5), the inlet's wander and the noise are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady

PERIOD_S = 0.1
CP_AIR, CP_GAS, HEATING = 1.005, 1.15, 43_000.0  # kJ/(kg K), kJ/(kg K), kJ/kg
AIR, GAS = 0.4 / 1.4, 0.333 / 1.333
AMBIENT_KPA, STANDARD_K = 101.325, 288.15

PLANT = Plant(
    "Turbofan",
    PERIOD_S,
    (
        Tag("fuel", Role.MV, "kg/s", 0.25, 1.3, rate_limit_per_s=0.5, description="Flow to the combustor"),
        Tag("vanes", Role.MV, "deg", 0.0, 30.0, rate_limit_per_s=20.0, description="Stators closed from fully open"),
        Tag("inlet_temperature", Role.DV, "K", 240.0, 325.0, description="Total, before the fan"),
        Tag("n1", Role.CV, "%", 0.0, 120.0, limit_high=104.0, description="Speed of the fan's spool"),
        Tag("n2", Role.CV, "%", 0.0, 120.0, limit_high=104.0, description="Speed of the core's spool"),
        Tag("gas_temperature", Role.CV, "K", 300.0, 1500.0, limit_high=1150.0, description="Between the turbines"),
        Tag("stall_margin", Role.CV, "%", -20.0, 80.0, limit_low=25.0, description="Of the core's compressor"),
        Tag("thrust", Role.CV, "kN", 0.0, 130.0, description="Computed, standing"),
    ),
)


@dataclass(frozen=True)
class Turbofan:
    """Parameters, at the design point (100 % of both speeds, vanes open, 288.15 K).

    State: both speeds as shares of design; metal that the gas heats, K; the thermocouple, K; fuel that burns, kg/s;
    vanes, deg; the air as it was, for what is read at once. Inputs: fuel, kg/s; vanes, deg; inlet temperature, K; the
    compressor's efficiency beside the usual, unmeasured.

    Args:
        flow, bypass: of all air, kg/s, and cold by hot.
        fan_ratio, core_ratio: pressure ratios.
        efficiency: of compressors, turbines (polytropic, one for each kind).
        hot: before the turbine, K.
        inertia_s: kinetic energy at design over the power the spool passes, s: fan's, core's.
        moves: at rest.
    """

    flow: float = 330.0
    bypass: float = 5.0
    fan_ratio: float = 1.6
    core_ratio: float = 16.0
    efficiency: tuple[float, float] = (0.88, 0.9)
    hot: float = 1550.0
    inertia_s: tuple[float, float] = (1.0, 0.6)
    moves: tuple[float, float] = (0.80, 5.0)

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (0.05, 0.05, 1.5, 0.3, 0.3)
    settling_s: ClassVar[float] = 8.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("inlet_temperature", 288.15, 1.0, 20.0, low=260.0, high=310.0),
        Disturbance("compressor", 1.0, 0.003, 60.0, low=0.94, high=1.03),
    )

    @cached_property
    def _design(self) -> dict[str, float]:
        """What makes the design point a balance: temperatures, guide vanes' flow, expansion, spool powers."""
        e_c, e_t = self.efficiency
        core = self.flow / (1 + self.bypass)
        behind_fan = STANDARD_K * self.fan_ratio ** (AIR / e_c)
        behind_core = behind_fan * self.core_ratio ** (AIR / e_c)
        fuel = core * CP_GAS * (self.hot - behind_core) / (HEATING - CP_GAS * self.hot)
        gas = core + fuel
        core_power = core * CP_AIR * (behind_core - behind_fan)
        fan_power = self.flow * CP_AIR * (behind_fan - STANDARD_K)
        between = self.hot - core_power / (gas * CP_GAS)
        after = between - fan_power / (gas * CP_GAS)
        pressure = 0.95 * AMBIENT_KPA * self.fan_ratio * self.core_ratio
        return {
            "behind_fan": behind_fan,
            "guide": gas * math.sqrt(self.hot) / pressure,
            "drop": between / self.hot,
            "expansion": (between / self.hot) ** (1 / (GAS * e_t)),  # pressure out over in
            "low_pressure": pressure * (between / self.hot) ** (1 / (GAS * e_t)),
            "low_expansion": (after / between) ** (1 / (GAS * e_t)),
            "core_power": core_power,
            "fan_power": fan_power,
        }

    def rest(self) -> jax.Array:
        w = inputs_at_rest(self)
        begun = jnp.array([0.9, 0.95, 1000.0, 1000.0, *self.moves])
        moved = rk4(self.derivative, begun, w, 60.0, 6000)
        return jnp.concatenate([steady(self.derivative, moved, w), w[2:]])

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.concatenate([rk4(self.derivative, state[:6], w, PERIOD_S, 4), w[2:]])

    def read(self, state: jax.Array) -> jax.Array:
        *_, margin, thrust = self._cycle(state[:6], state[6:])
        return jnp.array([100 * state[0], 100 * state[1], state[3], margin, thrust])

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d state / dt (6,), per second: all but what the air was."""
        design = self._design
        n1, n2, metal, sensed, burning, vanes = state
        fan, core, between, _, _ = self._cycle(state, w[2:])
        return jnp.array(
            [
                fan / (2 * self.inertia_s[0] * design["fan_power"] * n1),
                core / (2 * self.inertia_s[1] * design["core_power"] * n2),
                (between - metal) / 6.0,
                (0.9 * between + 0.1 * metal - sensed) / 0.8,
                (w[0] - burning) / 0.08,
                (w[1] - vanes) / 0.05,
            ]
        )

    def _cycle(self, state: jax.Array, air: jax.Array) -> tuple[jax.Array, ...]:
        """Power left on both spools, kW; gas between the turbines, K; stall margin, %; thrust, kN."""
        design, (e_c, e_t) = self._design, self.efficiency
        n1, n2, _, _, burning, vanes = state
        inlet, compressor = air
        cold = jnp.sqrt(inlet / STANDARD_K)
        fan_ratio = 1 + (self.fan_ratio - 1) * (n1 / cold) ** 2
        flow = self.flow * (n1 / cold) ** 1.1 / cold
        behind_fan = inlet * fan_ratio ** (AIR / e_c)
        warm = jnp.sqrt(behind_fan / design["behind_fan"])
        through = (n2 / warm) ** 2.5 * (1 - 0.008 * vanes)  # corrected flow of the core, a share of design
        core = self.flow / (1 + self.bypass) * through * fan_ratio / self.fan_ratio / warm
        gas, ahead = core + burning, AMBIENT_KPA * fan_ratio

        def choked(_: int, ratio: jax.Array) -> jax.Array:
            """The pressure ratio at which the guide vanes swallow the flow at the temperature it makes."""
            hot = self._burnt(core, burning, behind_fan * ratio ** (AIR / (e_c * compressor)))
            return gas * jnp.sqrt(hot) / design["guide"] / (0.95 * ahead)

        ratio = jax.lax.fori_loop(0, 8, choked, self.core_ratio * through)
        compressed = behind_fan * ratio ** (AIR / (e_c * compressor))
        hot = self._burnt(core, burning, compressed)
        between = hot * design["drop"]
        middle = 0.95 * ahead * ratio * design["expansion"]
        # Stodola's ellipse: the nozzle's back pressure by flow
        full = (design["low_pressure"] * design["low_expansion"]) ** 2 - AMBIENT_KPA**2
        nozzle = jnp.sqrt(AMBIENT_KPA**2 + full * (middle / design["low_pressure"]) ** 2)
        after = between * (nozzle / middle) ** (GAS * e_t)
        jet = jnp.sqrt(2000 * CP_GAS * after * (1 - (AMBIENT_KPA / nozzle) ** GAS))
        cold_jet = jnp.sqrt(2000 * CP_AIR * behind_fan * (1 - fan_ratio**-AIR))
        surge = 1 + (1.25 * self.core_ratio - 1) * through**1.15 * (1 + 0.012 * vanes)
        return (
            gas * CP_GAS * (between - after) - flow * CP_AIR * (behind_fan - inlet),
            gas * CP_GAS * (hot - between) - core * CP_AIR * (compressed - behind_fan),
            between,
            100 * (surge / ratio - 1),
            (gas * jet + (flow - core) * cold_jet) / 1000,
        )

    @staticmethod
    def _burnt(core: jax.Array, burning: jax.Array, compressed: jax.Array) -> jax.Array:
        return (core * CP_GAS * compressed + burning * HEATING) / ((core + burning) * CP_GAS)
