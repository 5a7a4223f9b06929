"""A simulated plant as the world model of our planner, and the moves it plans, for benchmarks of the solver alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from twin.limits import Limit, merge
from twin.moves import Envelope
from twin.objective import Objective, Setpoint, terms
from twin.optimize import _solve
from twin.planning.deadline import Deadline
from twin.planning.program import Program
from twin.planning.question import BLOCKS, FEW
from twin.plants.base import Process, rk4
from twin.scaling import Scaler

SUBSTEPS = 2  # a sample period, as the peers take; the simulated plant takes 10


@partial(jax.tree_util.register_dataclass, data_fields=["hidden"], meta_fields=["process", "scale", "unit_s"])
@dataclass(frozen=True)
class Exact:
    """The plant's own step function as `dynamics.base.Dynamics`, in spans of its tags.

    Attributes:
        hidden: values of the unmeasured disturbances.
        process: the plant.
        scale: spans of the CVs, and of the inputs.
        unit_s: the unit of time of its derivative, where it is integrated; 0 takes the plant's own step.
    """

    hidden: jax.Array
    process: Process
    scale: tuple[tuple[float, ...], tuple[float, ...]]
    unit_s: float

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """The state one row later."""
        inputs = w * jnp.asarray(self.scale[1], w.dtype)
        inputs = jnp.concatenate([inputs, self.hidden])
        if not self.unit_s:
            return self.process.step(state, inputs)
        derivative = self.process.derivative
        return rk4(derivative, state, inputs, self.process.plant.sample_period_s / self.unit_s, SUBSTEPS)

    def read(self, state: jax.Array) -> jax.Array:
        """The CVs, in spans."""
        return self.process.read(state) / jnp.asarray(self.scale[0], state.dtype)


class Planner:
    """Plans with the true model from the true state."""

    name = "this planner"

    def __init__(
        self, process: Process, setpoint_cvs: tuple[str, ...], rows: int, suppression: float, unit_s: float = 0.0
    ) -> None:
        plant = process.plant
        self._process, self._setpoint_cvs, self._rows = process, setpoint_cvs, rows
        self._suppression = {tag.name: suppression for tag in plant.mvs}
        tags = plant.cvs + plant.inputs
        self._span = np.array([1.0 if t.low is None or t.high is None else t.high - t.low for t in tags])
        p = len(plant.cvs)
        rest = [d.rest for d in process.disturbances]
        self._measured = np.array(rest[: len(plant.dvs)])
        hidden = jnp.asarray(rest[len(plant.dvs) :], jnp.float32)
        self._model = Exact(hidden, process, (tuple(self._span[:p]), tuple(self._span[p:])), unit_s)
        self._scaler = Scaler(np.zeros(p), self._span[:p], np.zeros(len(tags) - p), self._span[p:])
        self.cpu_s: list[float] = []
        self.wall_s: list[float] = []
        self.iterations: list[int] = []

    def disturbed(self, measured: np.ndarray, hidden: np.ndarray) -> None:
        """Disturbances from now on, measured (DVs,) and not: held over the horizon."""
        self._measured = measured
        self._model = replace(self._model, hidden=jnp.asarray(hidden, jnp.float32))

    def decide(self, state: np.ndarray, present: np.ndarray, setpoints: np.ndarray) -> np.ndarray:
        """(MVs,) the next values, for setpoints (CVs,) or (rows, CVs)."""
        paths = np.broadcast_to(setpoints, (self._rows, len(self._setpoint_cvs))).T
        targets = {name: Setpoint(trajectory=path) for name, path in zip(self._setpoint_cvs, paths, strict=True)}
        return self.answer(state, present, Objective(targets, move_suppression=self._suppression), {})

    def answer(
        self, state: np.ndarray, present: np.ndarray, objective: Objective, limits: Mapping[str, Limit]
    ) -> np.ndarray:
        """(MVs,) the next values, for any objective under any limits."""
        cpu, wall = time.process_time(), time.perf_counter()
        program = self._program(present, objective, limits)
        begun = jnp.asarray(state, jnp.float32)
        solved = _solve(program, self._model, begun, program.start(), Deadline(), "sqp")
        moves = program.plan(np.asarray(solved.x))[0]
        self.cpu_s.append(time.process_time() - cpu)
        self.wall_s.append(time.perf_counter() - wall)
        self.iterations.append(int(solved.iterations))
        return moves

    def _program(self, present: np.ndarray, objective: Objective, limits: Mapping[str, Limit]) -> Program:
        plant, rows = self._process.plant, self._rows
        mvs, cvs = merge(plant, limits)
        envelopes = tuple(Envelope.of(tag, plant.sample_period_s) for tag in plant.mvs)
        margin = np.zeros((rows, len(plant.cvs)))
        return Program(
            scaler=self._scaler,
            span=self._span,
            terms=terms(objective, plant, rows, self._span),
            limits=cvs,
            low_margin=margin,
            high_margin=margin,
            envelopes=envelopes,
            boxes=np.array([(mv.envelope.low, mv.envelope.high) for mv in mvs]),
            held=np.zeros(len(plant.mvs), bool),
            manual=np.tile(present, (rows, 1)),
            present=present,
            disturbances=np.tile(self._measured, (rows, 1)),
            control=rows,
            blocks=BLOCKS[len(plant.mvs) <= FEW],
            horizon=rows,
        )
