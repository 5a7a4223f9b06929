"""A simulated plant that runs: true state inside, noisy telemetry outside, in engineering units and UTC."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from twin.errors import Problem, QuestionError
from twin.plant import Role
from twin.plants.base import Process, inputs_at_rest
from twin.plants.excitation import step_test
from twin.telemetry import Telemetry

START = pd.Timestamp("2026-01-01T00:00:00Z")


class Simulator:
    """A process in motion, with measurement noise and wandering disturbances from one seed.

    A row's inputs are those in force during the period that ends at the row's time; its CVs are read at that time.

    Attributes:
        process: what is simulated.
        time: of the present state, UTC.
        state: the true state (n,), float64.
        moves: (MVs,) the MVs in force.
    """

    def __init__(self, process: Process, seed: int = 0, start: pd.Timestamp = START) -> None:
        """At rest at time `start`; the first row is one sample period later."""
        self.process = process
        self.plant = process.plant
        self.time = start.tz_convert("UTC")
        self.moves = np.array(process.moves, np.float64)
        with jax.enable_x64(True):
            self.state = np.asarray(process.rest())
            self._rest = np.asarray(inputs_at_rest(process))[len(self.moves) :]
        self._wander = np.zeros(len(process.disturbances))
        self._offset = np.zeros(len(process.disturbances))
        self._kicks, self._noise, self._tests = np.random.default_rng(seed).spawn(3)

    @property
    def disturbances(self) -> np.ndarray:
        """(disturbances,) where each is at present, measured or not."""
        parts = self.process.disturbances
        return np.clip(self._rest + self._wander + self._offset, [d.low for d in parts], [d.high for d in parts])

    def disturb(self, **offsets: float) -> None:
        """Add a lasting offset to disturbances, measured or not: `disturb(leak_1=0.1)`.

        Raises:
            QuestionError: the process has no disturbance of that name.
        """
        names = [disturbance.name for disturbance in self.process.disturbances]
        for name, offset in offsets.items():
            if name not in names:
                raise QuestionError(
                    f"no disturbance '{name}': there are {', '.join(names)}", [Problem((name,), "unknown")]
                )
            self._offset[names.index(name)] = offset

    def advance(self, moves: Mapping[str, float] | None = None) -> dict[str, float]:
        """One sample period under new MV values; MVs not named hold. The row measured at its end, by tag.

        Actuators saturate at their limits and move no faster than their rate limits: the row says where they are.

        Raises:
            QuestionError: a name is no MV of the plant.
        """
        wanted = self.moves.copy()
        for name, value in (moves or {}).items():
            tag = self.plant.tag(name)
            if tag.role is not Role.MV:
                raise QuestionError(f"'{name}' is a {tag.role.upper()}, not an MV", [Problem((name,), "not an MV")])
            wanted[self.plant.mvs.index(tag)] = value
        row = self.run(wanted[None, :]).values[0]
        return dict(zip(self.plant.names, row.tolist(), strict=True))

    def excite(self, rows: int) -> Telemetry:
        """An identification experiment of that many rows from the present state on (`excitation.step_test`)."""
        return self.run(step_test(self.plant, self.moves, rows, self.process.settling_s, self._tests))

    def run(self, moves: ArrayLike) -> Telemetry:
        """The telemetry of the next rows under MVs (rows, MVs), as far as the actuators follow them."""
        positions = self._actuate(np.asarray(moves, np.float64))
        rows = len(positions)
        w = np.hstack([positions, self._disturbances(rows)])
        with jax.enable_x64(True):
            states = np.asarray(_simulate(self.process, self.state, w))
            truth = np.asarray(_read(self.process, states))
        noise = self._noise.normal(size=truth.shape) * self.process.noise
        times = pd.date_range(self.time, periods=rows + 1, freq=pd.Timedelta(seconds=self.plant.sample_period_s))
        self.state, self.moves, self.time = states[-1], positions[-1], times[-1]
        values = np.empty((rows, len(self.plant.tags)))
        values[:, self.plant.columns(self.plant.inputs)] = w[:, : len(self.plant.inputs)]
        values[:, self.plant.columns(self.plant.cvs)] = truth + noise
        return Telemetry(
            self.plant, times[1:].tz_localize(None).as_unit("ns").to_numpy(), values, np.zeros(rows, np.int64)
        )

    def _actuate(self, wanted: np.ndarray) -> np.ndarray:
        """The positions (rows, MVs) that limited, rate-limited actuators take."""
        tags, period_s = self.plant.mvs, self.plant.sample_period_s
        low = np.array([-np.inf if tag.low is None else tag.low for tag in tags])
        high = np.array([np.inf if tag.high is None else tag.high for tag in tags])
        largest = np.array(
            [np.inf if tag.rate_limit_per_s is None else tag.rate_limit_per_s * period_s for tag in tags]
        )
        position, positions = self.moves, np.empty_like(wanted)
        for row, target in enumerate(np.clip(wanted, low, high)):
            position = np.clip(target, position - largest, position + largest)
            positions[row] = position
        return positions

    def _disturbances(self, rows: int) -> np.ndarray:
        """The next values (rows, disturbances) of every disturbance."""
        parts = self.process.disturbances
        keep = np.exp(-self.plant.sample_period_s / np.array([d.time_constant_s for d in parts]))
        kick = np.array([d.deviation for d in parts]) * np.sqrt(1.0 - keep**2)
        values = np.empty((rows, len(parts)))
        for row in range(rows):
            self._wander = keep * self._wander + kick * self._kicks.normal(size=len(parts))
            values[row] = self._rest + self._wander + self._offset
        return np.clip(values, [d.low for d in parts], [d.high for d in parts])


@partial(jax.jit, static_argnums=0)
def _simulate(process: Process, state: jax.Array, w: jax.Array) -> jax.Array:
    """States (K, n) that follow `state` under inputs w (K, inputs)."""

    def advance(x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = process.step(x, w)
        return x, x

    return jax.lax.scan(advance, state, w)[1]


@partial(jax.jit, static_argnums=0)
def _read(process: Process, states: jax.Array) -> jax.Array:
    return jax.vmap(process.read)(states)
