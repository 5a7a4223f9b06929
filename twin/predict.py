"""Forecast: what the CVs will do if nothing moves, and what they would do under other moves.

Conventions (the REST contract): row k = 1, 2, … lies k sample periods after `at`. A row's inputs are those in
force when it was recorded, and act on that row's CVs. A step at `after_s` is in force from the first row k ≥ 1
with (k − 1) T ≥ after_s; values hold until the next step, and past the last one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.region import Region
from twin.errors import HistoryError, Location, QuestionError
from twin.moves import Envelope, strict
from twin.plant import Role, Tag
from twin.rollout import rollout
from twin.telemetry import Telemetry
from twin.trust import HINDCAST, Trust, verdict
from twin.windows import Grid, Window, latest

MAX_HORIZON = 20  # times the calibrated horizon
MARGIN = 0.05  # of the trained range of an input, beyond which a value counts as not seen
ROW_BUCKET = 20  # forecasts are computed in multiples of so many rows, so that few shapes are compiled


@dataclass(frozen=True)
class Step:
    """A value in engineering units from `after_s` seconds after `at` on."""

    after_s: float
    value: float


Steps = Mapping[str, Sequence[Step]]


@dataclass(frozen=True)
class Scenario:
    """Moves of MVs and what DVs are expected to do; a tag that is not named holds its present value."""

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
    """What one scenario does: its moves as applied, the CVs, their change against the baseline."""

    name: str
    moves: dict[str, np.ndarray]
    cvs: dict[str, Band]
    change: dict[str, np.ndarray]
    clipped: tuple[Clipped, ...]
    trust: Trust

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "moves": {tag: values.tolist() for tag, values in self.moves.items()},
            "cvs": {tag: band.to_json() for tag, band in self.cvs.items()},
            "change": {tag: values.tolist() for tag, values in self.change.items()},
            "clipped": [clip.to_json() for clip in self.clipped],
            "trust": self.trust.to_json(),
        }


@dataclass(frozen=True)
class Forecast:
    """The answer: K rows after `at`, the no-move baseline, and each scenario."""

    twin: str
    at: pd.Timestamp
    times: pd.DatetimeIndex
    coverage: float
    baseline: dict[str, Band]
    trust: Trust
    scenarios: tuple[ScenarioForecast, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "twin": self.twin,
            "at": self.at.isoformat(),
            "times": iso(self.times),
            "coverage": self.coverage,
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
    rows = horizon_rows(twin, horizon_s)
    present = present_inputs(twin, history)
    planned = [_planned(twin, scenario, present, rows, history.at, i) for i, scenario in enumerate(scenarios)]
    inputs = np.stack([np.tile(present, (rows, 1)), *(w for w, _ in planned)])
    y, distance = _simulate(twin, history, inputs)
    surprise = _surprise(twin, history)
    low, high = twin.calibration.bands.interval(coverage, rows)
    offsets = low * twin.scaler.y_scale, high * twin.scaler.y_scale

    def bands(values: np.ndarray) -> dict[str, Band]:
        return {
            tag.name: Band(values[:, i], values[:, i] + offsets[0][:, i], values[:, i] + offsets[1][:, i])
            for i, tag in enumerate(twin.plant.cvs)
        }

    def trust(i: int) -> Trust:
        return _verdict(twin, history, inputs[i], float(distance[i]), surprise, inputs[0])

    answers = tuple(
        ScenarioForecast(
            name=scenario.name,
            moves={tag.name: inputs[i + 1][:, j] for j, tag in enumerate(twin.plant.mvs)},
            cvs=bands(y[i + 1]),
            change={tag.name: y[i + 1][:, j] - y[0][:, j] for j, tag in enumerate(twin.plant.cvs)},
            clipped=planned[i][1],
            trust=trust(i + 1),
        )
        for i, scenario in enumerate(scenarios)
    )
    times = future_times(twin, history.at, rows)
    return Forecast(twin.id, history.at, times, coverage, bands(y[0]), trust(0), answers)


def warm_up(twin: Twin, scenarios: Sequence[int] = (0, 1, 3)) -> None:
    """Compile what `forecast` needs at the calibrated horizon, for so many scenarios a question."""
    history = reference_history(twin)
    for count in scenarios:
        forecast(twin, history, twin.horizon_s, [Scenario()] * count)


def reference_history(twin: Twin) -> Telemetry:
    """The twin's reference window as telemetry."""
    rows = len(twin.reference.y)
    values = np.empty((rows, len(twin.plant.tags)))
    values[:, twin.plant.columns(twin.plant.cvs)] = twin.scaler.y_out(twin.reference.y)
    values[:, twin.plant.columns(twin.plant.inputs)] = twin.scaler.w_out(twin.reference.w)
    times = (round(twin.plant.sample_period_s * 1e9) * np.arange(rows)).view("datetime64[ns]")
    return Telemetry(twin.plant, times, values, np.zeros(rows, np.int64))


def horizon_rows(twin: Twin, horizon_s: float) -> int:
    """Rows in a horizon.

    Raises:
        QuestionError: it is not positive, or longer than `MAX_HORIZON` times the calibrated one.
    """
    longest = MAX_HORIZON * twin.horizon_s
    if not (math.isfinite(horizon_s) and 0 < horizon_s <= longest):
        msg = f"must be above 0 and at most {longest:g} s for this twin (calibrated to {twin.horizon_s:g} s)"
        raise QuestionError.at(("horizon_s",), msg)
    return max(1, math.ceil(horizon_s / twin.plant.sample_period_s - 1e-9))


def future_times(twin: Twin, at: pd.Timestamp, rows: int) -> pd.DatetimeIndex:
    """The times of the rows after `at`."""
    period = round(twin.plant.sample_period_s * 1e9)
    return pd.DatetimeIndex(at.value + period * np.arange(1, rows + 1)).tz_localize("UTC")


def iso(times: pd.DatetimeIndex) -> list[str]:
    """RFC 3339 with offset, at the precision the times need."""
    stamps = times.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ns]")
    unit = "s" if not (stamps.astype(np.int64) % 10**9).any() else "us"
    return [f"{text}+00:00" for text in np.datetime_as_string(stamps, unit=unit)]


def check_history(twin: Twin, history: Telemetry) -> Telemetry:
    """The rows of history that an answer uses: one run, long enough, every tag measured somewhere in it.

    Raises:
        HistoryError: otherwise; it says which rows or tags are missing.
    """
    recent = history.last_run(twin.min_history_rows + HINDCAST)
    if len(recent) < twin.min_history_rows:
        period = twin.plant.sample_period_s
        msg = (
            f"{len(recent)} rows without a gap before `at`; this twin needs {twin.min_history_rows} rows,"
            f" {twin.min_history_rows * period:g} s, {period:g} s apart"
        )
        raise HistoryError.at(("history",), msg)
    window = recent.values[-twin.min_history_rows :]
    absent = [tag for tag, known in zip(twin.plant.names, np.isfinite(window).any(axis=0), strict=True) if not known]
    if absent:
        raise HistoryError.at(("history", absent[0]), f"no value in the last {twin.min_history_rows} rows")
    return recent


def present_inputs(twin: Twin, history: Telemetry) -> np.ndarray:
    """(inputs,) the last known value of each MV and DV, engineering units."""
    recent = check_history(twin, history)
    known = np.isfinite(recent.w)
    last = len(recent) - 1 - np.argmax(known[::-1], axis=0)
    values: np.ndarray = recent.w[last, np.arange(recent.w.shape[1])]
    return values


def _planned(
    twin: Twin, scenario: Scenario, present: np.ndarray, rows: int, at: pd.Timestamp, number: int
) -> tuple[np.ndarray, tuple[Clipped, ...]]:
    """(rows, inputs) what a scenario does, inside the plant's limits, and where that is not what it asks."""
    where: Location = ("scenarios", number)
    inputs = np.tile(present, (rows, 1))
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
    firsts = np.flatnonzero(differs & ~np.r_[False, differs[:-1]])
    return [Clipped(tag.name, times[k], float(asked[k]), float(used[k]), _why(tag, asked[k])) for k in firsts]


def _why(tag: Tag, asked: float) -> str:
    if tag.low is not None and asked < tag.low:
        return f"below the low limit {tag.low:g} {tag.unit}"
    if tag.high is not None and asked > tag.high:
        return f"above the high limit {tag.high:g} {tag.unit}"
    if tag.rate_limit_per_s is not None:
        return f"faster than the rate limit {tag.rate_limit_per_s:g} {tag.unit}/s; ramped"
    return "the present value is outside the limits"


def staircase(steps: Sequence[Step], present: float, rows: int, period_s: float, loc: Location) -> np.ndarray:
    """(rows,) values that hold from each step's first row (the first k ≥ 1 with (k − 1) T ≥ after_s) on."""
    values = np.full(rows, present)
    for step in sorted(steps, key=lambda step: step.after_s):
        if not (math.isfinite(step.after_s) and step.after_s >= 0 and math.isfinite(step.value)):
            raise QuestionError.at(loc, "a step needs a finite value and after_s of 0 or more")
        first = math.ceil(step.after_s / period_s - 1e-9)
        values[min(first, rows) :] = step.value
    return values


def _expect(twin: Twin, name: str, role: Role, loc: Location) -> Tag:
    tag = twin.plant.tag(name)
    if tag.role is not role:
        verb = "moved" if role is Role.MV else "given as a disturbance"
        raise QuestionError.at(loc, f"{name} is a {tag.role.upper()}; only a {role.upper()} can be {verb}")
    return tag


def _simulate(twin: Twin, history: Telemetry, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CVs (S, rows, CVs) in engineering units under inputs (S, rows, inputs), and each one's region distance."""
    count, rows, _ = inputs.shape
    scaled = twin.scaler.w_in(inputs)
    scaled = np.pad(scaled, ((0, _bucket(count) - count), (0, -rows % ROW_BUCKET), (0, 0)), mode="edge")
    window = Window(*(part[0] for part in latest(history, twin.scaler, twin.history)))
    y = np.asarray(_rollouts(twin.dynamics, window, scaled))[:count, :rows]
    distance = np.asarray(_distances(twin.region, window, scaled))[:count]
    return twin.scaler.y_out(y), distance


def _bucket(count: int) -> int:
    return 1 << (count - 1).bit_length()


@jax.jit
def _rollouts(dynamics: Ensemble, window: Window, inputs: jax.Array) -> jax.Array:
    return jax.vmap(lambda w: rollout(dynamics, dynamics.begin(window, w), w))(inputs)


@jax.jit
def _distances(region: Region, window: Window, inputs: jax.Array) -> jax.Array:
    return jax.vmap(lambda w: region.distance(window, w))(inputs)


def judge(twin: Twin, history: Telemetry, inputs: np.ndarray) -> Trust:
    """How far an answer under planned inputs (rows, inputs), engineering units, can be trusted."""
    window = Window(*(part[0] for part in latest(history, twin.scaler, twin.history)))
    scaled = np.pad(twin.scaler.w_in(inputs), ((0, -len(inputs) % ROW_BUCKET), (0, 0)), mode="edge")
    distance = float(_distances(twin.region, window, scaled[None])[0])
    held = np.broadcast_to(present_inputs(twin, history), inputs.shape)
    return _verdict(twin, history, inputs, distance, _surprise(twin, history), held)


def _verdict(
    twin: Twin, history: Telemetry, inputs: np.ndarray, distance: float, surprise: dict[str, float], held: np.ndarray
) -> Trust:
    """How far the forecast under `inputs` (rows, inputs) can be trusted; `held` is the same without moves."""
    names = [tag.name for tag in twin.plant.inputs]
    recent = history.last_run(len(history))
    return verdict(
        distance=distance,
        surprise=surprise,
        beyond=_beyond(twin, names, inputs),
        stale=twin.seen.stale(recent),
        frozen=twin.seen.frozen(recent),
        unknown=[
            (name, why)
            for name, why in twin.card.get("unknown_effects", {}).items()
            if (inputs[:, names.index(name)] != held[:, names.index(name)]).any()
        ],
        beyond_horizon_s=twin.horizon_s if len(inputs) > twin.horizon else None,
    )


def _beyond(twin: Twin, names: list[str], inputs: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Inputs asked more than `MARGIN` of their trained range beyond it: tag → (value, low, high)."""
    found = {}
    for i, name in enumerate(names):
        low, high = float(twin.seen.low[i]), float(twin.seen.high[i])
        least, greatest = float(inputs[:, i].min()), float(inputs[:, i].max())
        slack = MARGIN * (high - low) + 1e-9 * max(abs(low), abs(high))
        if least < low - slack or greatest > high + slack:
            found[name] = (least if low - least > greatest - high else greatest, low, high)
    return found


def _surprise(twin: Twin, history: Telemetry) -> dict[str, float]:
    """CV → how badly the last rows were forecast from the rows before; empty where history is too short."""
    rows = len(twin.calibration.surprise.size)
    recent = history.last_run(twin.history + rows)
    if len(recent) < twin.history + rows:
        return {}
    grid = Grid.of(recent, twin.scaler)
    start = np.array([twin.history - 1])
    window = Window(*(part[0] for part in grid.window(start, twin.history)))
    future = grid.future(start, rows)
    y = np.asarray(_rollouts(twin.dynamics, window, jnp.asarray(future.w)))[0]
    ratio = twin.calibration.surprise.ratio(future.y[0] - y, future.mask[0])
    return {tag.name: float(r) for tag, r in zip(twin.plant.cvs, ratio, strict=True)}
