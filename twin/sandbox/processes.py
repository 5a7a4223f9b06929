"""Plants to try a controller on: the simulated ones, any of them with other gains and noise, and a twin itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from twin.artifact import Twin
from twin.plant import Plant
from twin.plants.base import Disturbance, Process
from twin.plants.cstr import Cstr
from twin.plants.exothermic_cstr import ExothermicCstr
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.reactor_separator import ReactorSeparator
from twin.plants.shell import ShellFractionator
from twin.plants.simulator import Simulator
from twin.plants.surge_tank import SurgeTank
from twin.plants.systems import SYSTEMS
from twin.telemetry import Telemetry
from twin.windows import Window

SIMULATED: dict[str, Process] = {
    "quadruple-tank": QuadrupleTank(),
    "quadruple-tank-nonminimum-phase": QuadrupleTank.nonminimum_phase(),
    "cstr": Cstr(),
    "exothermic-cstr": ExothermicCstr(),
    "shell": ShellFractionator(),
    "surge-tank": SurgeTank(),
    "reactor-separator": ReactorSeparator(),
    **{slug: system.process for slug, system in SYSTEMS.items()},
}
BALANCES = 3  # of a twin that is no line
NUDGE = 0.1  # of an MV's scale
SLACK = 0.01  # of a CV's scale: what it may change over a horizon at rest
RAMP = 0.8  # of the change of one horizon that goes on in the next: a CV that integrates
SLOW_ROWS = 60.0  # time constant of a twin's unmeasured loads: they last
ONE_SIGMA = 0.84  # the quantile that lies a standard deviation from the median of a normal distribution


def lesson(slug: str, rows: int, seed: int) -> Telemetry:
    """What a twin of a simulated plant learns from: a step test, or ordinary operation with test moves of a system."""
    return SYSTEMS[slug].telemetry(rows, seed) if slug in SYSTEMS else Simulator(SIMULATED[slug], seed).excite(rows)


@dataclass(frozen=True)
class Altered:
    """A process whose MVs move it more, or less, than they did, with more or less noise and wander.

    Args:
        gain: of each MV, about its rest.
    """

    process: Process
    gain: tuple[float, ...]
    noisier: float = 1.0
    windier: float = 1.0

    @property
    def plant(self) -> Plant:
        return self.process.plant

    @property
    def moves(self) -> tuple[float, ...]:
        return self.process.moves

    @property
    def disturbances(self) -> tuple[Disturbance, ...]:
        return tuple(replace(d, deviation=self.windier * d.deviation) for d in self.process.disturbances)

    @property
    def noise(self) -> tuple[float, ...]:
        return tuple(self.noisier * deviation for deviation in self.process.noise)

    @property
    def settling_s(self) -> float:
        return self.process.settling_s

    def rest(self) -> jax.Array:
        return self.process.rest()

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        rest = jnp.array(self.moves)
        moved = rest + jnp.array(self.gain) * (w[: len(rest)] - rest)
        return self.process.step(state, jnp.concatenate([moved, w[len(rest) :]]))

    def read(self, state: jax.Array) -> jax.Array:
        return self.process.read(state)


@dataclass(frozen=True, eq=False)  # its arrays have no hash: one twin is one process
class TwinProcess:
    """A twin as the plant, from its reference window on: its mean forecast is the truth.

    State: the ensemble's, in a row. Inputs: MVs, DVs, and a load on each MV in that MV's unit, which nothing measures
    and acts as a move would. The noise is what forecasts of one row missed out of fold.
    """

    twin: Twin

    @property
    def plant(self) -> Plant:
        return self.twin.plant

    @cached_property
    def _inputs(self) -> np.ndarray:
        return self.twin.scaler.w_out(np.asarray(self.twin.reference.w)[-1])

    @property
    def moves(self) -> tuple[float, ...]:
        return self._balanced

    @cached_property
    def _balanced(self) -> tuple[float, ...]:
        """MVs near those of the reference window under which no CV that integrates runs away, where limits allow it."""
        mvs, scale = len(self.plant.mvs), self.twin.scaler.w_scale[: len(self.plant.mvs)]
        low, high = (np.array([getattr(tag, side) for tag in self.plant.mvs], np.float64) for side in ("low", "high"))
        moves = np.clip(self._inputs[:mvs], low, high)
        for _ in range(BALANCES):
            drift, ramps = self._drift(moves)
            if not ramps.any():
                break
            nudged = [self._drift(moves + NUDGE * scale * unit)[0] - drift for unit in np.eye(mvs)]
            change = np.linalg.lstsq(np.array(nudged).T[ramps] / NUDGE, -drift[ramps], rcond=1e-3)[0]
            moves = np.clip(moves + scale * change, low, high)
        return tuple(moves.tolist())

    def _drift(self, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each CV changes over a horizon under held inputs, over its scale, and which do so without an end."""
        w = np.concatenate([moves, self._inputs[len(moves) :], np.zeros(len(moves))])
        with jax.enable_x64(True):
            ends = np.asarray(_ends(self, self.rest(), jnp.asarray(w), self.twin.horizon)) / self.twin.scaler.y_scale
        before, last = np.diff(ends, axis=0)
        return last, (np.abs(last) > SLACK) & (np.abs(last) > RAMP * np.abs(before))

    @property
    def disturbances(self) -> tuple[Disturbance, ...]:
        mvs, period_s = self.plant.mvs, self.plant.sample_period_s
        measured = zip(self.plant.dvs, self._inputs[len(mvs) :].tolist(), strict=True)
        loads = zip(mvs, self.twin.scaler.w_scale[: len(mvs)].tolist(), strict=True)
        slow = SLOW_ROWS * period_s
        return (
            *(Disturbance(tag.name, rest, 0.0, slow) for tag, rest in measured),
            *(Disturbance(f"{tag.name}.load", 0.0, 0.03 * scale, slow) for tag, scale in loads),
        )

    @property
    def noise(self) -> tuple[float, ...]:
        band = self.twin.calibration.bands.at(ONE_SIGMA, 1)[0]
        return tuple((np.maximum(band, 0.0) * self.twin.scaler.y_scale).tolist())

    @property
    def settling_s(self) -> float:
        return self.twin.horizon_s

    @cached_property
    def _wide(self) -> Any:
        """The dynamics in float64, as `Simulator` steps it."""

        def wide(leaf: jax.Array) -> np.ndarray:
            return np.asarray(leaf, np.float64 if jnp.issubdtype(leaf.dtype, jnp.floating) else None)

        return jax.tree.map(wide, self.twin.dynamics)

    def _encoded(self) -> Any:
        return self._wide.encode(Window(*(np.asarray(part, np.float64) for part in self.twin.reference)))

    def rest(self) -> jax.Array:
        return ravel_pytree(self._encoded())[0]

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        mvs, inputs = len(self.plant.mvs), len(self.plant.inputs)
        moved = jnp.concatenate([w[:mvs] + w[inputs:], w[mvs:inputs]])
        scaled = (moved - self.twin.scaler.w_mean) / self.twin.scaler.w_scale
        return ravel_pytree(self._wide.step(self._state(state), scaled))[0]

    def read(self, state: jax.Array) -> jax.Array:
        scaler = self.twin.scaler
        return self._wide.read(self._state(state)) * scaler.y_scale + scaler.y_mean

    def _state(self, state: jax.Array) -> Any:
        shape = jax.eval_shape(self._encoded)
        leaves, tree = jax.tree.flatten(shape)
        ends = np.cumsum([leaf.size for leaf in leaves])
        parts = [state[end - leaf.size : end].reshape(leaf.shape) for leaf, end in zip(leaves, ends, strict=True)]
        return jax.tree.unflatten(tree, parts)


def truth(process: Process, state: np.ndarray) -> np.ndarray:
    """The true CVs (CVs,) of a state, float64."""
    with jax.enable_x64(True):
        return np.asarray(_read(process, jnp.asarray(state)))


@partial(jax.jit, static_argnums=0)
def _read(process: Process, state: jax.Array) -> jax.Array:
    return process.read(state)


@partial(jax.jit, static_argnums=(0, 3))
def _ends(process: Process, state: jax.Array, w: jax.Array, rows: int) -> jax.Array:
    """(3, CVs) after one, two and three times so many rows under held inputs."""
    kept = []
    for _ in range(3):
        state, _ = jax.lax.scan(lambda s, _: (process.step(s, w), None), state, length=rows)
        kept.append(process.read(state))
    return jnp.stack(kept)
