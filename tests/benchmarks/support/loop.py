"""Runs a controller in closed loop (`twin.sandbox.loop`) over the tasks of `support.scenarios`, and times it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from support.scenarios import Scenario

from twin.sandbox import loop
from twin.sandbox.scenario import Ask


class Controller(Protocol):
    name: str
    solve_s: list[float]  # wall-clock time of each decision

    def cpu_s(self) -> float:
        """CPU time of all decisions so far."""
        ...

    def observe(self, row: dict[str, float]) -> None: ...

    def decide(self, setpoints: dict[str, float]) -> dict[str, float]: ...


class Hold:
    """Moves nothing: what the setpoint changes and the disturbance cost by themselves."""

    name = "hold"

    def __init__(self) -> None:
        self.solve_s: list[float] = []

    def cpu_s(self) -> float:
        """It thinks of nothing."""
        return 0.0

    def observe(self, row: dict[str, float]) -> None:
        """Nothing to learn."""

    def decide(self, setpoints: dict[str, float]) -> dict[str, float]:
        """No moves."""
        return {}


@dataclass(frozen=True)
class Score:
    """How a controller did (`loop.Outcome`), and how long it took.

    Attributes:
        cv_violations: rows in which a true CV is beyond its operating limits.
        solve_ms_p50, solve_ms_p99: wall-clock time of one decision, as the controller measured it.
        cpu_ms: mean CPU time of one decision.
    """

    controller: str
    cost: float
    offset: float
    mv_violations: int
    cv_violations: int
    solve_ms_p50: float
    solve_ms_p99: float
    cpu_ms: float


class _Asked:
    """A controller of setpoints, as the sandbox asks it."""

    def __init__(self, controller: Controller) -> None:
        self.name, self._controller = controller.name, controller

    def observe(self, time: pd.Timestamp, row: dict[str, float]) -> None:
        self._controller.observe(row)

    def decide(self, ask: Ask) -> dict[str, float]:
        return self._controller.decide(dict(ask.setpoints))

    def status(self) -> None:
        return None


def run(scenario: Scenario, controller: Controller) -> tuple[Score, dict]:
    """The score, and the trace."""
    simulator, _ = scenario.tested()
    cpu_s = controller.cpu_s()
    found = loop.run(scenario.process, _Asked(controller), scenario.trial(), simulator)
    solve_ms = 1e3 * np.array(controller.solve_s or [0.0])
    score = Score(
        controller.name,
        found.cost,
        found.offset,
        found.mv_violations,
        found.cv_rows,
        float(np.quantile(solve_ms, 0.5)),
        float(np.quantile(solve_ms, 0.99)),
        1e3 * (controller.cpu_s() - cpu_s) / scenario.rows,
    )
    return score, found.trace.to_json()


def as_json(score: Score) -> dict:
    """The score as a JSON object."""
    return asdict(score)
