"""The closed-loop tasks: plants, set-point steps and unmeasured disturbances, from fixed seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from support.oracle import (
    Equations,
    Task,
    exothermic_equations,
    other_tank_equations,
    reactor_equations,
    surge_equations,
    tank_equations,
)

from twin.plants.base import Process, steady
from twin.plants.cstr import Cstr
from twin.plants.exothermic_cstr import ExothermicCstr
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.shell import ShellFractionator
from twin.plants.simulator import Simulator
from twin.plants.surge_tank import SurgeTank
from twin.sandbox.scenario import Event
from twin.sandbox.scenario import Scenario as Trial
from twin.telemetry import Telemetry


@dataclass(frozen=True)
class Scenario:
    """One closed-loop run.

    Attributes:
        slug: of the plant in the service.
        seed: of noise and wander, for training telemetry and loop alike.
        training_rows: of the step test the twin learns from.
        resting_rows: at rest before the loop starts.
        targets: (from row, MVs whose steady state the setpoints are).
        disturbance: (from row, name, offset).
        rows: of the loop.
    """

    slug: str
    process: Process
    equations: Equations | None
    task: Task
    targets: tuple[tuple[int, tuple[float, ...]], ...]
    disturbance: tuple[int, str, float]
    rows: int
    seed: int = 20
    training_rows: int = 4000
    resting_rows: int = 150

    def tested(self) -> tuple[Simulator, Telemetry]:
        """The plant after its step test, and that test: the same every time."""
        simulator = Simulator(self.process, self.seed)
        return simulator, simulator.excite(self.training_rows)

    def start(self) -> tuple[Simulator, Telemetry, Telemetry]:
        """The plant at the start of the loop, its step test and the rows at rest after it."""
        simulator, training = self.tested()
        resting = simulator.run(np.tile(self.process.moves, (self.resting_rows, 1)))
        return simulator, training, resting

    def trial(self) -> Trial:
        """The loop as the sandbox runs it."""
        wanted = self.setpoints()
        events = [
            Event(row, dict(zip(self.task.setpoint_cvs, wanted[row].tolist(), strict=True))) for row, _ in self.targets
        ]
        row, name, offset = self.disturbance
        return Trial(
            self.slug, self.rows, (*events, Event(row, disturb={name: offset})), resting=self.resting_rows,
            seed=self.seed, horizon=self.task.horizon, suppression=self.task.suppression,
        )  # fmt: skip

    def setpoints(self) -> np.ndarray:
        """(rows, setpoint CVs): each can be held by the true plant with its disturbances at rest."""
        with jax.enable_x64(True):
            held = [(row, self.cvs_at(moves)) for row, moves in self.targets]
        out = np.empty((self.rows, len(self.task.setpoint_cvs)))
        for row, values in held:
            out[row:] = values
        return out

    def cvs_at(self, moves: tuple[float, ...]) -> np.ndarray:
        """(setpoint CVs,) at rest under MVs, disturbances at rest; call it inside `jax.enable_x64(True)`."""
        w = np.array([*moves, *(d.rest for d in self.process.disturbances)])
        if hasattr(self.process, "derivative"):
            state = jax.jit(partial(steady, self.process.derivative))(self.process.rest(), w)
        else:
            rows = 10 * round(self.process.settling_s / self.process.plant.sample_period_s)
            advance = jax.jit(lambda x: jax.lax.fori_loop(0, rows, lambda _, x: self.process.step(x, w), x))
            state = advance(self.process.rest())
        cvs = np.asarray(self.process.read(state))
        names = [tag.name for tag in self.process.plant.cvs]
        return cvs[[names.index(name) for name in self.task.setpoint_cvs]]


QUADRUPLE_TANK = Scenario(
    "quadruple-tank",
    QuadrupleTank(),
    tank_equations,
    Task(("level_1", "level_2"), horizon=60, suppression=0.01),
    targets=((0, (3.0, 3.0)), (20, (2.4, 2.9)), (120, (2.5, 2.4))),
    disturbance=(220, "leak_1", 0.08),
    rows=320,
)
CSTR = Scenario(
    "cstr",
    Cstr(),
    reactor_equations,
    Task(("product", "reactor_temperature"), horizon=60, suppression=0.01),
    targets=((0, (141.9, 1113.5)), (20, (90.0, 2000.0)), (120, (200.0, 2500.0))),
    disturbance=(220, "feed_concentration", -0.3),
    rows=320,
)
NONMINIMUM_PHASE = Scenario(
    "quadruple-tank-nonminimum-phase",
    QuadrupleTank.nonminimum_phase(),
    other_tank_equations,
    Task(("level_1", "level_2"), horizon=60, suppression=0.01),
    targets=((0, (3.15, 3.15)), (20, (2.7, 3.1)), (120, (2.9, 2.7))),
    disturbance=(220, "leak_1", 0.08),
    rows=320,
)
SHELL = Scenario(
    "shell",
    ShellFractionator(),
    None,
    Task(("top_end_point", "side_end_point"), horizon=60, suppression=0.01),
    targets=((0, (0.0, 0.0, 0.0)), (20, (0.06, -0.04, 0.02)), (120, (-0.05, 0.03, 0.0))),
    disturbance=(220, "unmeasured_duty", 0.1),
    rows=320,
)
SURGE_TANK = Scenario(
    "surge-tank",
    SurgeTank(),
    surge_equations,
    Task(("level",), horizon=60, suppression=0.01),
    targets=((0, (30.0,)),),
    disturbance=(220, "stream", 2.0),
    rows=320,
)
EXOTHERMIC_CSTR = Scenario(
    "exothermic-cstr",
    ExothermicCstr(),
    exothermic_equations,
    Task(("concentration",), horizon=20, suppression=0.01),
    targets=((0, (298.0,)), (20, (297.0,)), (120, (299.0,))),
    disturbance=(220, "feed_concentration", -0.01),
    rows=320,
)
SCENARIOS = (QUADRUPLE_TANK, CSTR)  # of `closed_loop.py`
