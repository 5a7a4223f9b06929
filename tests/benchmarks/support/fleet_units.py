"""Simulated units of one kind with parameters drawn at random: all of a kind in one compiled simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from twin.plants.base import Process
from twin.plants.cstr import Cstr
from twin.plants.excitation import step_test
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import START, Simulator
from twin.telemetry import Telemetry

WARM_UP = 300  # rows at rest before the first

Parameters = dict[str, np.ndarray]


def tank(rng: np.random.Generator) -> Parameters:
    """Sections, outlets and pumps by up to 30 %, splits by up to 0.1."""
    base = QuadrupleTank()
    drawn = {name: _about(rng, getattr(base, name), 0.3) for name in ("section", "outlet", "pump")}
    return drawn | {"split": np.array(base.split) + rng.uniform(-0.1, 0.1, 2)}


def cstr(rng: np.random.Generator) -> Parameters:
    """Volume, enthalpies and rates by up to 15 or 20 %, heat transfer by 30 %, the jacket's capacity by 50 %."""
    sizes = {"volume": 0.15, "area": 0.3, "jacket_capacity": 0.5, "frequency": 0.2, "enthalpy": 0.15}
    return {name: _about(rng, getattr(Cstr(), name), size) for name, size in sizes.items()}


def _about(rng: np.random.Generator, value: Any, size: float) -> np.ndarray:
    """Each between 1 / (1 + size) and 1 + size times the published one."""
    most = np.log1p(size)
    return np.array(value) * np.exp(rng.uniform(-most, most, np.shape(value)))


KINDS: dict[str, tuple[Process, Callable[[np.random.Generator], Parameters]]] = {
    "quadruple_tank": (QuadrupleTank(), tank),
    "cstr": (Cstr(), cstr),
}


@cache
def _simulation(kind: str) -> Any:
    base, _ = KINDS[kind]

    def simulate(parameters: Parameters, start: jax.Array, w: jax.Array) -> jax.Array:
        process = replace(base, **parameters)

        def advance(x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
            x = process.step(x, w)
            return x, process.read(x)

        return jax.lax.scan(advance, start, w)[1]

    return jax.jit(simulate)


def unit(kind: str, number: int, rows: int, run: int = 0) -> tuple[Telemetry, np.ndarray]:
    """Rows of a step test of one unit as measured, and its true CVs (rows, CVs).

    Args:
        number: which unit: the seed of its parameters.
        run: 0 to learn from, 1 to be judged on: the seed of moves, disturbances and noise, with the number.
    """
    base, draw = KINDS[kind]
    parameters = draw(np.random.default_rng((7, number)))
    simulator = Simulator(base, 1000 * number + run)
    rng = np.random.default_rng((number, run, 9))
    moves = simulator._actuate(step_test(base.plant, simulator.moves, rows, base.settling_s, rng))
    w = np.hstack([moves, simulator._disturbances(rows)])
    with jax.enable_x64(True):
        held = np.tile(w[:1], (WARM_UP, 1))
        truth = np.asarray(_simulation(kind)(parameters, base.rest(), jnp.asarray(np.concatenate([held, w]))))
    truth = truth[WARM_UP:]
    plant = replace(base.plant, name=f"{base.plant.name} {number}")
    values = np.empty((rows, len(plant.tags)))
    values[:, plant.columns(plant.inputs)] = w[:, : len(plant.inputs)]
    values[:, plant.columns(plant.cvs)] = truth + rng.normal(size=truth.shape) * base.noise
    times = pd.date_range(START, periods=rows, freq=pd.Timedelta(plant.sample_period_s, "s"))
    stamps = times.tz_localize(None).as_unit("ns").to_numpy()
    return Telemetry(plant, stamps, values, np.zeros(rows, np.int64)), truth
