"""The closed loop: a controller against a plant in motion, row by row, scored on what truly happened.

The controller sees noisy rows only; cost, offset and violations of CVs are those of the true state. MV answers are
compared with limits and rates in float64 without tolerance, before the actuators clip them.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.limits import Limit, merge
from twin.objective import SUPPRESSION
from twin.optimize import plan
from twin.planning.backoff import BackOff
from twin.plant import Plant
from twin.plants.base import Process
from twin.plants.simulator import Simulator
from twin.sandbox.processes import Altered, truth
from twin.sandbox.scenario import Ask, Scenario
from twin.telemetry import Telemetry
from twin.timeline import iso

SETTLED = 20  # rows before a change, over which the steady offset is averaged
HISTORY = 150  # rows that a planner keeps
WARM = 3  # decisions that may compile


class Controller(Protocol):
    """What closes a loop."""

    name: str

    def observe(self, time: pd.Timestamp, row: dict[str, float]) -> None:
        """A measured row, by tag."""
        ...

    def decide(self, ask: Ask) -> dict[str, float]:
        """The next values of MVs; one not named stays."""
        ...

    def status(self) -> str | None:
        """What it says of its last decision."""
        ...


class Hold:
    """Moves nothing: what changes and disturbances cost by themselves."""

    name = "hold"

    def observe(self, time: pd.Timestamp, row: dict[str, float]) -> None:
        """Nothing to learn."""

    def decide(self, ask: Ask) -> dict[str, float]:
        """No moves."""
        return {}

    def status(self) -> str | None:
        """It says nothing."""
        return None


class Planner:
    """A twin and `optimize.plan`, from the last rows; while it abstains the base layer decides, or the MVs hold."""

    def __init__(
        self,
        twin: Twin,
        back_off: BackOff | None = None,
        name: str = "planner",
        base: Controller | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            base: what runs the plant when the planner does not, as `twin control` hands loops back.
            options: of `optimize.plan`, such as `deadline_ms` or `solver`.
        """
        self.name, self._twin, self._back_off, self._options = name, twin, back_off, options
        self._base = base
        self._rows: deque[np.ndarray] = deque(maxlen=HISTORY)
        self._time = pd.Timestamp(0, tz="UTC")
        self._state: Any = None
        self._status: str | None = None

    def observe(self, time: pd.Timestamp, row: dict[str, float]) -> None:
        """Remember a row."""
        self._time = time
        if self._base is not None:
            self._base.observe(time, row)
        self._rows.append(np.array([row[name] for name in self._twin.plant.names]))

    def history(self) -> Telemetry:
        """The rows remembered."""
        plant, values = self._twin.plant, np.array(self._rows)
        period = np.timedelta64(round(plant.sample_period_s * 1e9), "ns")
        end = np.datetime64(self._time.tz_convert("UTC").tz_localize(None), "ns")
        times = end - period * np.arange(len(values) - 1, -1, -1)
        return Telemetry(plant, times, values, np.zeros(len(values), np.int64))

    def decide(self, ask: Ask) -> dict[str, float]:
        """The plan's `next`."""
        horizon_s = ask.horizon * self._twin.plant.sample_period_s
        made = plan(
            self._twin, self.history(), ask.objective, ask.limits, horizon_s=horizon_s, coverage=ask.coverage,
            state=self._state, back_off=self._back_off, **self._options,
        )  # fmt: skip
        self._state, self._status = made.state, made.status
        if self._base is not None:
            base = self._base.decide(ask)  # in step with the plant, whoever moves it
            if made.status == "abstained":
                return base
        return dict(made.next or {})

    def status(self) -> str | None:
        """Of the last plan."""
        return self._status


@dataclass(frozen=True)
class Trace:
    """What happened, row by row; every array has one row a row of the run.

    Attributes:
        measured, truth: (rows, CVs).
        mvs: (rows, MVs) in force.
        setpoints: (rows, CVs), NaN without one.
        low, high: (rows, CVs) operating limits in force, infinite without.
        status: of the controller.
    """

    plant: Plant
    times: pd.DatetimeIndex
    measured: np.ndarray
    truth: np.ndarray
    mvs: np.ndarray
    setpoints: np.ndarray
    low: np.ndarray
    high: np.ndarray
    status: tuple[str | None, ...]

    def to_json(self) -> dict[str, Any]:
        """By tag; missing is null."""
        cvs, mvs = [t.name for t in self.plant.cvs], [t.name for t in self.plant.mvs]

        def series(names: list[str], values: np.ndarray) -> dict[str, list[float | None]]:
            rows = [[v if math.isfinite(v) else None for v in column] for column in values.T.tolist()]
            return dict(zip(names, rows, strict=True))

        parts = {name: series(cvs, getattr(self, name)) for name in ("measured", "truth", "setpoints", "low", "high")}
        return {"times": iso(self.times), **parts, "mvs": series(mvs, self.mvs), "status": list(self.status)}


@dataclass(frozen=True)
class Outcome:
    """How a controller did in a scenario.

    Attributes:
        cost: mean over rows of the squared setpoint errors of the true CVs and the suppressed moves, over spans.
        paid_per_h: what the prices asked made of the true CVs and the MVs, a mean per hour; negative was earned.
        offset: the largest mean error over the last rows before each change, as a share of the span; a setpoint
            beyond a limit counts as the limit.
        cv_rows: rows in which a true CV is beyond a limit in force.
        cv_worst: by how much, at the worst, as a share of its span.
        mv_violations: answers beyond an MV's limits, rate or largest move.
        travel: mean over MVs of all they moved, in spans.
        statuses: status → rows.
        cpu_ms_p50, cpu_ms_p99: CPU time of a decision; the first few, which may compile, are left out.
    """

    scenario: str
    controller: str
    cost: float
    paid_per_h: float
    offset: float | None
    cv_rows: int
    cv_worst: float
    mv_violations: int
    travel: float
    statuses: dict[str, int]
    cpu_ms_p50: float
    cpu_ms_p99: float
    trace: Trace = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """All of it but the trace."""
        return {name: value for name, value in vars(self).items() if name != "trace"}


def run(process: Process, controller: Controller, scenario: Scenario, simulator: Simulator | None = None) -> Outcome:
    """Run one scenario.

    Args:
        simulator: of the process, where it stands somewhere else than at rest: its MVs are brought to rest from there.
    """
    plant = process.plant
    if simulator is None:
        gain = tuple(float(scenario.gain.get(tag.name, 1.0)) for tag in plant.mvs)
        simulator = Simulator(Altered(process, gain, scenario.noise, scenario.wander), scenario.seed)
    resting = simulator.run(np.tile(process.moves, (scenario.resting, 1)))
    times = pd.DatetimeIndex(resting.times, tz="UTC")
    for moment, values in zip(times, resting.values.tolist(), strict=True):
        controller.observe(moment, dict(zip(plant.names, values, strict=True)))
    row = dict(zip(plant.names, resting.values[-1].tolist(), strict=True))
    frozen: dict[str, float] = {}
    rows, asks, statuses, moments, cpu_ms, violations = [], [], [], [], [], 0
    before = simulator.moves
    for k in range(scenario.rows):
        for event in scenario.events:
            if event.row == k:
                simulator.disturb(**event.disturb)
                for tag, stuck in event.freeze.items():
                    frozen.pop(tag, None)
                    frozen |= {tag: row[tag]} if stuck else {}
        ask = scenario.ask(plant, k)
        begun = time.process_time()
        wanted = controller.decide(ask)
        cpu_ms.append(1e3 * (time.process_time() - begun))
        violations += _broken(plant, ask, simulator.moves, wanted)
        row = simulator.advance(wanted) | frozen
        controller.observe(simulator.time, row)
        rows.append((np.array([row[t.name] for t in plant.cvs]), truth(process, simulator.state), simulator.moves))
        asks.append(ask)
        statuses.append(controller.status())
        moments.append(simulator.time)
    measured, true, mvs = (np.array(part) for part in zip(*rows, strict=True))
    edges = [merge(plant, ask.limits)[1] for ask in asks]
    wanted_cvs = np.array([[ask.setpoints.get(tag.name, np.nan) for tag in plant.cvs] for ask in asks])
    low, high = np.array([e.low for e in edges]), np.array([e.high for e in edges])
    trace = Trace(plant, pd.DatetimeIndex(moments), measured, true, mvs, wanted_cvs, low, high, tuple(statuses))
    priced = np.array([[ask.prices.get(tag.name, 0.0) for tag in plant.mvs + plant.cvs] for ask in asks])
    paid = float((priced * np.hstack([mvs, true])).sum(axis=1).mean())
    return _judged(scenario, controller.name, trace, before, violations, paid, np.array(cpu_ms))


def _broken(plant: Plant, ask: Ask, before: np.ndarray, wanted: dict[str, float]) -> int:
    """Answers beyond what the plant and the request allow, by a check of its own.

    A value outside of the limits counts unless it comes back from outside.
    """
    count = 0
    for tag, present in zip(plant.mvs, before.tolist(), strict=True):
        if tag.name not in wanted:
            continue
        value, asked = wanted[tag.name], ask.limits.get(tag.name, Limit())
        low = max(edge for edge in (tag.low, asked.low, -math.inf) if edge is not None)
        high = min(edge for edge in (tag.high, asked.high, math.inf) if edge is not None)
        rate = min(r for r in (tag.rate_limit_per_s, asked.rate_per_s, math.inf) if r is not None)
        most = math.inf if asked.max_move is None else asked.max_move
        move = abs(value - present)
        outside, returns = not low <= value <= high, not low <= present <= high and move > 0
        count += (outside and not returns) or move > rate * plant.sample_period_s or move > most
    return count


def _judged(
    scenario: Scenario, name: str, trace: Trace, before: np.ndarray, violations: int, paid: float, cpu_ms: np.ndarray
) -> Outcome:
    plant, true = trace.plant, trace.truth
    span = np.array([_span(t.low, t.high, true[:, i]) for i, t in enumerate(plant.cvs)])
    reach = np.array([_span(t.low, t.high, trace.mvs[:, i]) for i, t in enumerate(plant.mvs)])
    errors = np.nan_to_num((true - trace.setpoints) / span)
    moves = np.diff(np.vstack([before, trace.mvs]), axis=0) / reach
    calm = SUPPRESSION if scenario.suppression is None else scenario.suppression
    cost = (errors**2).sum(axis=1).mean() + calm * (moves**2).sum(axis=1).mean()
    kept = (true - np.clip(trace.setpoints, trace.low, trace.high)) / span
    windows = [kept[max(row - SETTLED, 0) : row] for row in scenario.changes() if row > 0]
    offsets = [np.abs(window.mean(axis=0)) for window in windows]
    known = [float(np.nanmax(offset)) for offset in offsets if np.isfinite(offset).any()]
    beyond = np.maximum(np.maximum(trace.low - true, true - trace.high) / span, 0.0)
    later = cpu_ms[WARM:] if len(cpu_ms) > 2 * WARM else cpu_ms
    counts: dict[str, int] = {}
    for status in trace.status:
        if status is not None:
            counts[status] = counts.get(status, 0) + 1
    return Outcome(
        scenario=scenario.name,
        controller=name,
        cost=float(cost),
        paid_per_h=paid,
        offset=max(known, default=None),
        cv_rows=int((beyond > 0).any(axis=1).sum()),
        cv_worst=float(beyond.max(initial=0.0)),
        mv_violations=int(violations),
        travel=float(np.abs(moves).sum(axis=0).mean()),
        statuses=counts,
        cpu_ms_p50=float(np.percentile(later, 50)),
        cpu_ms_p99=float(np.percentile(later, 99)),
        trace=trace,
    )


def _span(low: float | None, high: float | None, values: np.ndarray) -> float:
    """Of a tag: its range, or four deviations of what it did."""
    return float(high - low) if low is not None and high is not None else float(4 * values.std() or 1.0)
