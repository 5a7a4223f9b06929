"""Runs a controller in closed loop with a simulated plant and measures it on the true state."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

import jax
import numpy as np
from support.scenarios import Scenario

SETTLED = 20  # rows before the next change, over which the steady offset is averaged


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
    """How a controller did.

    Attributes:
        cost: mean over rows of the squared setpoint errors of the true CVs over their spans, plus the suppressed moves.
        offset: the largest mean error over the last rows before each change and the end, as a share of the span.
        mv_violations: answers beyond an MV's limits or rate limit, compared in float64 without tolerance.
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


def run(scenario: Scenario, controller: Controller) -> tuple[Score, dict[str, list]]:
    """The score, and the trace: true CVs, setpoints and MVs by row."""
    simulator, _, resting = scenario.start()
    for values in resting.values:
        controller.observe(dict(zip(resting.plant.names, values.tolist(), strict=True)))
    setpoints, task = scenario.setpoints(), scenario.task
    row = dict(zip(resting.plant.names, resting.values[-1].tolist(), strict=True))
    cvs, mvs, violations, cpu_s = [], [simulator.moves], 0, controller.cpu_s()
    for k in range(scenario.rows):
        from_row, name, offset = scenario.disturbance
        if k == from_row:
            simulator.disturb(**{name: offset})
        wanted = controller.decide(dict(zip(task.setpoint_cvs, setpoints[k].tolist(), strict=True)))
        violations += _violations(scenario, row, wanted)
        row = simulator.advance(wanted)
        controller.observe(row)
        cvs.append(_truth(scenario, simulator.state))
        mvs.append(simulator.moves)
    score = _score(
        scenario, controller, np.array(cvs), np.array(mvs), setpoints, violations, controller.cpu_s() - cpu_s
    )
    return score, {"cvs": np.array(cvs).tolist(), "setpoints": setpoints.tolist(), "mvs": np.array(mvs[1:]).tolist()}


def as_json(score: Score) -> dict:
    """The score as a JSON object."""
    return asdict(score)


def _truth(scenario: Scenario, state: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(scenario.process.read(state))


def _violations(scenario: Scenario, row: dict[str, float], wanted: dict[str, float]) -> int:
    plant, count = scenario.process.plant, 0
    for name, value in wanted.items():
        tag = plant.tag(name)
        inside = tag.low <= value <= tag.high
        slow = abs(value - row[name]) <= tag.rate_limit_per_s * plant.sample_period_s
        count += not (inside and slow)
    return count


def _score(
    scenario: Scenario,
    controller: Controller,
    cvs: np.ndarray,
    mvs: np.ndarray,
    setpoints: np.ndarray,
    violations: int,
    cpu_s: float,
) -> Score:
    plant, task = scenario.process.plant, scenario.task
    names = [tag.name for tag in plant.cvs]
    columns = [names.index(name) for name in task.setpoint_cvs]
    spans = np.array([plant.tag(name).high - plant.tag(name).low for name in task.setpoint_cvs])
    errors = (cvs[:, columns] - setpoints) / spans
    moves = np.diff(mvs, axis=0) / np.array([tag.high - tag.low for tag in plant.mvs])
    changes = [row for row, _ in scenario.targets[1:]] + [scenario.disturbance[0], scenario.rows]
    low = np.array([-np.inf if tag.limit_low is None else tag.limit_low for tag in plant.cvs])
    high = np.array([np.inf if tag.limit_high is None else tag.limit_high for tag in plant.cvs])
    solve_ms = 1e3 * np.array(controller.solve_s or [0.0])
    return Score(
        controller.name,
        float((errors**2).sum(axis=1).mean() + task.suppression * (moves**2).sum(axis=1).mean()),
        float(max(np.abs(errors[row - SETTLED : row].mean(axis=0)).max() for row in changes)),
        int(violations),
        int(((cvs < low) | (cvs > high)).any(axis=1).sum()),
        float(np.quantile(solve_ms, 0.5)),
        float(np.quantile(solve_ms, 0.99)),
        1e3 * cpu_s / scenario.rows,
    )
