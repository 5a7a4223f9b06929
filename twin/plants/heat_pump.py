"""A house with a heat pump: a water tank and a heated floor store heat, so that power can be bought when it is cheap.

Source: R. Halvgaard, N. K. Poulsen, H. Madsen, J. B. Jørgensen, "Economic Model Predictive Control for Building Climate
Control in a Smart Grid", IEEE PES Innovative Smart Grid Technologies, 2012: heat balances of room, floor and water with
the parameters of its table, sun on room and floor, a coefficient of performance of 3. The size of the compressor, the
people in the house, the disturbances' wander and the noise are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, rk4, steady
from twin.plants.practice import operate
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

PERIOD_S = 300.0
SUBSTEPS = 2

PLANT = Plant(
    "House with a heat pump",
    PERIOD_S,
    (
        Tag("power", Role.MV, "kW", 0.0, 0.3, rate_limit_per_s=0.001, description="Of the compressor"),
        Tag("outdoor", Role.DV, "degC", -20.0, 35.0, description="Ambient temperature"),
        Tag("sun", Role.DV, "kW", 0.0, 1.0, description="Sun that comes in through windows"),
        Tag("room", Role.CV, "degC", 15.0, 27.0, 20.0, 23.0, description="Air in the room"),
        Tag("floor", Role.CV, "degC", 15.0, 35.0, description="Heated floor"),
        Tag("water", Role.CV, "degC", 15.0, 75.0, limit_high=65.0, description="Condenser and tank"),
    ),
)

DEAR = ((7.0, 17.0, 0.3), (17.0, 21.0, 0.45))  # hours from, to, and what a kWh costs then
CHEAP = 0.1


def tariff(hours: np.ndarray) -> np.ndarray:
    """Price of a kWh at hours since midnight: cheap at night, dearest in the evening."""
    day, price = np.asarray(hours) % 24.0, np.full(np.shape(hours), CHEAP)
    for first, last, dear in DEAR:
        price[(day >= first) & (day < last)] = dear
    return price


@dataclass(frozen=True)
class Thermostat:
    """How a heat pump usually runs: a heating curve by the outdoor temperature, trimmed by the room's.

    Args:
        loss: kW of power that a kelvin to outdoors takes at rest.
        gain: kW a kelvin that the room is too cold.
    """

    loss: float = 28.0 / 3600.0 / 3.0
    gain: float = 0.05

    def decide(self, row: Mapping[str, float], setpoints: Mapping[str, float]) -> dict[str, float]:
        """The power, within what the compressor can do."""
        wanted = setpoints["room"]
        power = self.loss * (wanted - row["outdoor"]) + self.gain * (wanted - row["room"])
        return {"power": min(max(power, 0.0), 0.3)}


def ordinary(rows: int, seed: int) -> Telemetry:
    """What a historian keeps of a house under its thermostat, with test moves; a step test alone would overheat it."""
    return operate(Simulator(HeatPump(), seed), Thermostat(), rows, {"room": (18.5, 23.0)}, {"power": 0.1}, seed)


@dataclass(frozen=True)
class HeatPump:
    """Parameters. State: room, floor and water, degC. Inputs: power, kW; outdoor, degC; sun, kW; people, kW.

    Args:
        room, floor, water: heat capacities, kJ/K.
        to_outdoor, to_room, to_floor: heat transfer from room to outdoor, floor to room, water to floor, kJ/(h K).
        on_floor: share of the sun that falls on the floor.
        performance: heat for each unit of power.
    """

    room: float = 810.0
    floor: float = 3315.0
    water: float = 836.0
    to_outdoor: float = 28.0
    to_room: float = 624.0
    to_floor: float = 28.0
    on_floor: float = 0.1
    performance: float = 3.0

    plant: ClassVar[Plant] = PLANT
    moves: ClassVar[tuple[float, ...]] = (0.04,)
    noise: ClassVar[tuple[float, ...]] = (0.03, 0.05, 0.1)
    settling_s: ClassVar[float] = 86_400.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("outdoor", 2.0, 3.0, 43_200.0, low=-20.0, high=35.0),
        Disturbance("sun", 0.03, 0.03, 7200.0, low=0.0, high=1.0),
        Disturbance("people", 0.0, 0.02, 7200.0, low=-0.1, high=0.3),
    )

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """K/s of the state (3,) under inputs (4,)."""
        room, floor, water = state
        power, outdoor, sun, people = w
        to_outdoor, to_room = self.to_outdoor * (room - outdoor), self.to_room * (floor - room)
        to_floor = self.to_floor * (water - floor)
        heat = 3600.0 * jnp.stack(
            [(1 - self.on_floor) * sun + people, self.on_floor * sun, self.performance * power]
        )  # kJ/h
        flows = jnp.stack([to_room - to_outdoor, to_floor - to_room, -to_floor])
        return (heat + flows) / jnp.array([self.room, self.floor, self.water]) / 3600.0

    def rest(self) -> jax.Array:
        w = jnp.array([*self.moves, *(d.rest for d in self.disturbances)])
        return steady(self.derivative, jnp.array([21.0, 22.0, 40.0]), w)

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S, SUBSTEPS)

    def read(self, state: jax.Array) -> jax.Array:
        return state
