"""Forecast: what the CVs will do if nothing moves, and what they would do under other moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.errors import Location, QuestionError
from twin.forecasting import forecaster
from twin.history import expected_dvs, expected_inputs, present_inputs, recent_windows, reference_history
from twin.judge import judge
from twin.lookback import earning, look_back
from twin.moves import Envelope, strict
from twin.plant import Role, Tag
from twin.telemetry import Telemetry
from twin.timeline import Steps, future_times, horizon_rows, iso, staircase
from twin.trust import Trust
from twin.windows import Window

ROW_BUCKET = 20  # forecasts are computed in multiples of so many rows, so that few shapes are compiled


@dataclass(frozen=True)
class Scenario:
    """Moves of MVs and what DVs will do. An MV that is not named holds its present value; a DV does what the twin
    expects of it (`twin.dynamics.disturbances`)."""

    name: str = "scenario"
    moves: Steps = field(default_factory=dict)
    disturbances: Steps = field(default_factory=dict)


@dataclass(frozen=True)
class Clipped:
    """A move that was not applied as asked: `used` is the value nearest to it that the plant's limits allow."""

    tag: str
    time: pd.Timestamp
    asked: float
    used: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        time = self.time.isoformat()
        return {"tag": self.tag, "time": time, "asked": self.asked, "used": self.used, "reason": self.reason}


@dataclass(frozen=True)
class Band:
    """A forecast of one CV: (K,) each, engineering units."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def to_json(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "low": self.low.tolist(), "high": self.high.tolist()}


@dataclass(frozen=True)
class ScenarioForecast:
    """What one scenario does: its moves as applied, its DVs and which of them nobody announced, the CVs, their change
    against the baseline."""

    name: str
    moves: dict[str, np.ndarray]
    disturbances: dict[str, np.ndarray]
    unannounced: tuple[str, ...]
    cvs: dict[str, Band]
    change: dict[str, np.ndarray]
    clipped: tuple[Clipped, ...]
    trust: Trust

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "moves": {tag: values.tolist() for tag, values in self.moves.items()},
            "disturbances": {tag: values.tolist() for tag, values in self.disturbances.items()},
            "unannounced": list(self.unannounced),
            "cvs": {tag: band.to_json() for tag, band in self.cvs.items()},
            "change": {tag: values.tolist() for tag, values in self.change.items()},
            "clipped": [clip.to_json() for clip in self.clipped],
            "trust": self.trust.to_json(),
        }


@dataclass(frozen=True)
class Forecast:
    """The answer: K rows after `at`, the baseline in which no MV moves and DVs do what the twin expects of them, and
    each scenario."""

    twin: str
    at: pd.Timestamp
    times: pd.DatetimeIndex
    coverage: float
    disturbances: dict[str, np.ndarray]
    baseline: dict[str, Band]
    trust: Trust
    scenarios: tuple[ScenarioForecast, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "twin": self.twin,
            "at": self.at.isoformat(),
            "times": iso(self.times),
            "coverage": self.coverage,
            "disturbances": {tag: values.tolist() for tag, values in self.disturbances.items()},
            "baseline": {tag: band.to_json() for tag, band in self.baseline.items()},
            "trust": self.trust.to_json(),
            "scenarios": [scenario.to_json() for scenario in self.scenarios],
        }


def forecast(
    twin: Twin,
    history: Telemetry,
    horizon_s: float,
    scenarios: Sequence[Scenario] = (),
    coverage: float = 0.9,
) -> Forecast:
    """Forecast the CVs of a plant from its recent history, without moves and under each scenario.

    Args:
        twin: a trained twin of the plant.
        history: telemetry whose last row is `at`; `twin.min_history_rows` of one run are needed, and
            `HINDCAST` more let the twin notice that the process has changed.
        horizon_s: how far to look, seconds; rounded up to a whole number of periods.
        scenarios: what to try. MV values are clipped to the plant's limits and ramped at its rate limits.
        coverage: of the bands, two-sided and per step.

    Raises:
        HistoryError: too little history, or a tag without any value in it.
        QuestionError: an unknown tag, a move for a CV, a horizon or coverage out of range.
    """
    history = twin.reads(history)
    inputs, clipped = planned(twin, history, horizon_rows(twin, horizon_s), scenarios)
    return under(twin, history, inputs, scenarios, clipped, coverage)


def under(
    twin: Twin,
    history: Telemetry,
    inputs: np.ndarray,
    scenarios: Sequence[Scenario],
    clipped: Sequence[tuple[Clipped, ...]],
    coverage: float,
) -> Forecast:
    """Forecast under inputs (1 + scenarios, K, inputs) in engineering units, the first of which is the baseline. Bands
    are those for known DVs where a scenario gives all of them.

    Raises:
        HistoryError, QuestionError: as `forecast`.
    """
    rows = inputs.shape[1]
    look = look_back(twin, history)
    twin, behind = earning(twin, look)
    y = _simulate(twin, history, inputs)
    trusts = judge(twin, history, inputs, unsure=behind, look=look)
    unannounced = [expected_dvs(twin, scenario.disturbances) for scenario in (Scenario(), *scenarios)]

    def bands(i: int) -> dict[str, Band]:
        low, high = twin.calibration.bands_for(bool(unannounced[i])).interval(coverage, rows)
        lows, highs = y[i] + low * twin.scaler.y_scale, y[i] + high * twin.scaler.y_scale
        return {tag.name: Band(y[i][:, j], lows[:, j], highs[:, j]) for j, tag in enumerate(twin.plant.cvs)}

    def of(tags: Sequence[Tag], i: int) -> dict[str, np.ndarray]:
        return {tag.name: inputs[i][:, twin.plant.inputs.index(tag)] for tag in tags}

    answers = tuple(
        ScenarioForecast(
            name=scenario.name,
            moves=of(twin.plant.mvs, i),
            disturbances=of(twin.plant.dvs, i),
            unannounced=unannounced[i],
            cvs=bands(i),
            change={tag.name: y[i][:, j] - y[0][:, j] for j, tag in enumerate(twin.plant.cvs)},
            clipped=clipped[i - 1],
            trust=trusts[i],
        )
        for i, scenario in enumerate(scenarios, start=1)
    )
    times, dvs = future_times(twin, history.at, rows), of(twin.plant.dvs, 0)
    return Forecast(twin.id, history.at, times, coverage, dvs, bands(0), trusts[0], answers)


def warm_up(twin: Twin, scenarios: Sequence[int] = (0, 1, 3)) -> None:
    """Compile what `forecast` needs at the calibrated horizon, for so many scenarios a question."""
    history = reference_history(twin)
    for count in scenarios:
        forecast(twin, history, twin.horizon_s, [Scenario()] * count)


def planned(
    twin: Twin, history: Telemetry, rows: int, scenarios: Sequence[Scenario]
) -> tuple[np.ndarray, list[tuple[Clipped, ...]]]:
    """(1 + scenarios, rows, inputs) MVs held and DVs as expected, then what each scenario does inside the plant's
    limits, and where that is not what it asks.

    Raises:
        HistoryError, QuestionError: as `forecast`.
    """
    idle, present = expected_inputs(twin, history, rows), present_inputs(twin, history)
    found = [_planned(twin, scenario, idle, present, history.at, i) for i, scenario in enumerate(scenarios)]
    return np.stack([idle, *(w for w, _ in found)]), [clipped for _, clipped in found]


def _planned(
    twin: Twin, scenario: Scenario, idle: np.ndarray, present: np.ndarray, at: pd.Timestamp, number: int
) -> tuple[np.ndarray, tuple[Clipped, ...]]:
    """(rows, inputs) what a scenario does, inside the plant's limits, and where that is not what it asks."""
    where: Location = ("scenarios", number)
    inputs, rows = idle.copy(), len(idle)
    clipped: list[Clipped] = []
    times = future_times(twin, at, rows)
    for role, steps in ((Role.MV, scenario.moves), (Role.DV, scenario.disturbances)):
        kind = "moves" if role is Role.MV else "disturbances"
        for name, values in steps.items():
            tag = _expect(twin, name, role, (*where, kind, name))
            column = twin.plant.inputs.index(tag)
            asked = staircase(values, present[column], rows, twin.plant.sample_period_s, (*where, kind, name))
            inputs[:, column] = asked
    for column, tag in enumerate(twin.plant.mvs):
        asked = inputs[:, column].copy()
        used = strict(asked, float(present[column]), Envelope.of(tag, twin.plant.sample_period_s))
        inputs[:, column] = used
        clipped += _clips(tag, asked, used, times)
    return inputs, tuple(clipped)


def _clips(tag: Tag, asked: np.ndarray, used: np.ndarray, times: pd.DatetimeIndex) -> list[Clipped]:
    """One entry for each span of rows in which a move was not applied as asked."""
    differs = asked != used
    firsts = np.flatnonzero(differs & ~np.r_[False, differs[:-1]]).tolist()
    return [Clipped(tag.name, times[k], float(asked[k]), float(used[k]), _why(tag, asked[k])) for k in firsts]


def _why(tag: Tag, asked: float) -> str:
    if tag.low is not None and asked < tag.low:
        return f"below the low limit {tag.low:g}{tag.behind}"
    if tag.high is not None and asked > tag.high:
        return f"above the high limit {tag.high:g}{tag.behind}"
    if tag.rate_limit_per_s is not None:
        return f"faster than the rate limit {tag.rate_limit_per_s:g} {tag.unit}/s; ramped"
    return "the present value is outside the limits"


def _expect(twin: Twin, name: str, role: Role, loc: Location) -> Tag:
    tag = twin.plant.tag(name)
    if tag.role is not role:
        allowed = "an MV can be moved" if role is Role.MV else "a DV can be given as a disturbance"
        article = "an" if tag.role is Role.MV else "a"
        raise QuestionError.at(loc, f"{name} is {article} {tag.role.upper()}; only {allowed}")
    return tag


def _simulate(twin: Twin, history: Telemetry, inputs: np.ndarray) -> np.ndarray:
    """CVs (S, rows, CVs) under inputs (S, rows, inputs), engineering units."""
    count, rows, _ = inputs.shape
    scaled = twin.scaler.w_in(inputs)
    scaled = np.pad(scaled, ((0, _bucket(count) - count), (0, -rows % ROW_BUCKET), (0, 0)), mode="edge")
    windows, whole = recent_windows(twin, history)
    y = _rollouts(twin.dynamics, windows, whole, scaled, twin.corrections)
    return twin.scaler.y_out(np.asarray(y)[:count, :rows])


def _bucket(count: int) -> int:
    return 1 << (count - 1).bit_length()


@jax.jit
def _rollouts(
    dynamics: Ensemble, windows: Window, whole: jax.Array, inputs: jax.Array, correction: jax.Array
) -> jax.Array:
    return jax.vmap(forecaster(dynamics, windows, whole, correction))(inputs)
