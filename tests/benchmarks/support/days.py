"""A day of each simulated plant: setpoints and an unmeasured disturbance that change over and over, and the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from support.scenarios import (
    CSTR,
    EXOTHERMIC_CSTR,
    NONMINIMUM_PHASE,
    QUADRUPLE_TANK,
    SHELL,
    SURGE_TANK,
    Scenario,
)

CONTROL = """[control]
horizon_s = {horizon_s:g}
closed_loop_allowed = true
setpoints = {{{setpoints}}}
move_suppression = {{{suppression}}}
mvs = {{{mvs}}}
watchdog = {{tag = "heartbeat"}}
permissives = {{"controller.permitted" = 1}}
"""


@dataclass(frozen=True)
class Day:
    """What is asked of a plant in a day.

    Attributes:
        moves: MVs at whose steady state the setpoints lie, in turn; an integrating plant has `levels` instead.
        change_s: how long each is asked for.
        disturbance: an unmeasured one, and its offsets in turn, each for one and a half times as long.
        levels: setpoints themselves, in turn.
    """

    scenario: Scenario
    moves: tuple[tuple[float, ...], ...]
    change_s: float
    disturbance: tuple[str, tuple[float, ...]]
    levels: tuple[tuple[float, ...], ...] = ()

    @property
    def period_s(self) -> float:
        return self.scenario.process.plant.sample_period_s

    @property
    def cvs(self) -> tuple[str, ...]:
        """That follow setpoints."""
        return self.scenario.task.setpoint_cvs

    def wanted(self, rows: int) -> np.ndarray:
        """(rows, setpoint CVs)."""
        with jax.enable_x64(True):
            held = np.array(self.levels or [self.scenario.cvs_at(moves) for moves in self.moves])
        return held[(np.arange(rows) * self.period_s // self.change_s).astype(int) % len(held)]

    def offset(self, row: int) -> dict[str, float]:
        """The unmeasured disturbance's offset from a row on."""
        name, offsets = self.disturbance
        return {name: offsets[int(row * self.period_s // (1.5 * self.change_s)) % len(offsets)]}

    def control(self, wanted: np.ndarray) -> str:
        """The controller's table, with the first setpoints (setpoint CVs,)."""
        task, mvs = self.scenario.task, [tag.name for tag in self.scenario.process.plant.mvs]
        return CONTROL.format(
            horizon_s=task.horizon * self.period_s,
            setpoints=", ".join(
                f"{cv} = {{value = {value!r}}}" for cv, value in zip(self.cvs, wanted.tolist(), strict=True)
            ),
            suppression=", ".join(f"{mv} = {task.suppression}" for mv in mvs),
            mvs=", ".join(f'{mv} = {{mode_tag = "{mv}.mode"}}' for mv in mvs),
        )

    def score(self, states: np.ndarray, moves: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
        """Of what the true plant did: states (rows, n), MVs (rows + 1, MVs), setpoints (rows, setpoint CVs)."""
        process, suppression = self.scenario.process, self.scenario.task.suppression
        plant = process.plant
        with jax.enable_x64(True):
            cvs = np.asarray(jax.jit(jax.vmap(process.read))(np.asarray(states)))
        columns = [[tag.name for tag in plant.cvs].index(name) for name in self.cvs]
        spans = np.array([plant.tag(name).high - plant.tag(name).low for name in self.cvs])
        errors = (cvs[:, columns] - wanted) / spans
        steps = np.diff(moves, axis=0) / np.array([tag.high - tag.low for tag in plant.mvs])
        low = np.array([-np.inf if tag.limit_low is None else tag.limit_low for tag in plant.cvs])
        high = np.array([np.inf if tag.limit_high is None else tag.limit_high for tag in plant.cvs])
        beyond = (cvs < low) | (cvs > high)
        return {
            "cost": float((errors**2).sum(axis=1).mean() + suppression * (steps**2).sum(axis=1).mean()),
            "cost_of_moves": float(suppression * (steps**2).sum(axis=1).mean()),
            "rms": dict(zip(self.cvs, (spans * np.sqrt((errors**2).mean(axis=0))).tolist(), strict=True)),
            "cv_violations": int(beyond.any(axis=1).sum()),
        }


DAYS = {
    "quadruple-tank": Day(
        QUADRUPLE_TANK,
        ((3.0, 3.0), (2.4, 2.9), (2.5, 2.4), (3.2, 2.8), (2.8, 3.2)),
        3600.0,
        ("leak_1", (0.0, 0.08, -0.05, 0.05)),
    ),
    "quadruple-tank-nonminimum-phase": Day(
        NONMINIMUM_PHASE,
        ((3.15, 3.15), (2.7, 3.1), (2.9, 2.7), (3.2, 3.0), (2.95, 3.2)),
        7200.0,
        ("leak_1", (0.0, 0.08, -0.05, 0.05)),
    ),
    "cstr": Day(
        CSTR,
        ((200.0, 2500.0), (200.0, 3500.0), (170.0, 3000.0), (250.0, 2500.0), (200.0, 1500.0)),  # below its best yield
        3600.0,
        ("feed_concentration", (0.0, -0.15, 0.1, -0.1)),
    ),
    "shell": Day(
        SHELL,
        ((0.0, 0.0, 0.0), (0.06, -0.04, 0.02), (-0.05, 0.03, 0.0), (0.03, 0.02, -0.03)),
        21600.0,
        ("unmeasured_duty", (0.0, 0.1, -0.1)),
    ),
    "surge-tank": Day(
        SURGE_TANK, (), 3600.0, ("stream", (0.0, 2.0, -1.5, 1.0)), levels=((2.0,), (1.5,), (2.5,), (1.8,))
    ),
    "exothermic-cstr": Day(
        EXOTHERMIC_CSTR,
        ((298.0,), (297.0,), (299.0,), (296.5,)),
        3600.0,
        ("feed_concentration", (0.0, -0.01, 0.01)),
    ),
}
