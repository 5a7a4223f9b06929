"""Forecast over both time scales: the fast twin as far as it is calibrated, the slow one beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from twin import predict
from twin.artifact import Twin
from twin.errors import HistoryError, QuestionError
from twin.hierarchy.stride import averaged, means
from twin.history import check_history, expected_dvs, expected_inputs
from twin.plant import Tag, near
from twin.predict import Band, Forecast, Scenario, planned, under
from twin.telemetry import Telemetry
from twin.timeline import Steps, horizon_rows
from twin.trust import Reason, Trust

SCALES = ("auto", "fast", "slow")
WITHOUT = 0.9  # of the score where the slow twin was wanted and could not answer


@dataclass(frozen=True)
class Scale:
    """A part of a forecast: `rows` of it, at a period. A value of the slow scale is the mean of its period, which ends
    at its time; MVs and DVs there are those in force at its end."""

    name: str
    period_s: float
    rows: int

    def to_json(self) -> dict[str, Any]:
        return {"scale": self.name, "period_s": self.period_s, "rows": self.rows}


@dataclass(frozen=True)
class Outlook:
    """A forecast and the scales of its rows, in their order."""

    forecast: Forecast
    scales: tuple[Scale, ...]

    def to_json(self) -> dict[str, Any]:
        return {**self.forecast.to_json(), "scales": [scale.to_json() for scale in self.scales]}


def forecast(
    twin: Twin,
    history: Telemetry,
    horizon_s: float,
    scenarios: Sequence[Scenario] = (),
    coverage: float = 0.9,
    scale: str = "auto",
) -> Outlook:
    """Forecast the CVs of a plant, as `predict.forecast` does, at the time scale that a horizon asks for.

    Args:
        history: for the slow twin, `stride` times its `min_history_rows`.
        scale: "fast" or "slow" alone, or "auto": fast as far as the fast twin is calibrated, then slow where there is a
            slow twin and history enough for it.

    Raises:
        HistoryError: too little history.
        QuestionError: as `predict.forecast`; no such scale; a slow one asked of a twin that has none.
    """
    if scale not in SCALES:
        raise QuestionError.at(("scale",), f"'{scale}' is none of {', '.join(SCALES)}{near(scale, SCALES)}")
    if scale == "slow" and twin.slow is None:
        raise QuestionError.at(("scale",), "this twin has no slow model: train one with the option hierarchy")
    history = twin.reads(history)
    within = horizon_s <= twin.horizon_s * (1 + 1e-9)
    if twin.slow is None or scale == "fast" or (scale == "auto" and within):
        return _fast(twin, history, horizon_s, scenarios, coverage)
    past = averaged(history, twin.stride)
    try:
        check_history(twin.slow, past)
        if past.at != history.at:
            raise HistoryError.at(("history",), f"fewer than half of the last {twin.stride} rows are there")
    except HistoryError as error:
        return _without(twin, history, horizon_s, scenarios, coverage, scale, error)
    slow = _slow(twin, twin.slow, history, past, horizon_s, scenarios, coverage)
    if scale == "slow":
        return Outlook(slow, (Scale("slow", twin.slow.plant.sample_period_s, len(slow.times)),))
    return _joined(twin, predict.forecast(twin, history, twin.horizon_s, _cut(twin, scenarios), coverage), slow)


def _fast(twin: Twin, history: Telemetry, horizon_s: float, scenarios: Sequence[Scenario], coverage: float) -> Outlook:
    found = predict.forecast(twin, history, horizon_s, scenarios, coverage)
    return Outlook(found, (Scale("fast", twin.plant.sample_period_s, len(found.times)),))


def _without(
    twin: Twin,
    history: Telemetry,
    horizon_s: float,
    scenarios: Sequence[Scenario],
    coverage: float,
    scale: str,
    error: HistoryError,
) -> Outlook:
    """What the fast twin alone says where history is too short for the slow one."""
    detail = f"averaged over {twin.stride} rows for the slow model: {error.detail}"
    if scale == "slow":
        raise HistoryError.at(("history",), detail) from error
    try:
        found = _fast(twin, history, horizon_s, scenarios, coverage)
    except QuestionError:
        raise HistoryError.at(("history",), detail) from error

    def doubted(trust: Trust) -> Trust:
        reason = Reason("short_history", f"the fast model looked as far, as there was too little history: {detail}")
        return replace(trust, score=round(WITHOUT * trust.score, 4), reasons=(*trust.reasons, reason))

    answers = tuple(replace(answer, trust=doubted(answer.trust)) for answer in found.forecast.scenarios)
    return replace(found, forecast=replace(found.forecast, trust=doubted(found.forecast.trust), scenarios=answers))


def _slow(
    twin: Twin,
    slow: Twin,
    history: Telemetry,
    past: Telemetry,
    horizon_s: float,
    scenarios: Sequence[Scenario],
    coverage: float,
) -> Forecast:
    """The slow twin under the averages of what each scenario does at the fast rate, inside the plant's limits."""
    rows = horizon_rows(slow, horizon_s)
    inputs, clipped = planned(twin, history, rows * twin.stride, scenarios)
    coarse = np.stack([means(w, twin.stride) for w in inputs])
    ends = inputs[:, twin.stride - 1 :: twin.stride].copy()
    if slow.disturbances is not None:  # at its own rate
        idle = expected_inputs(slow, past, rows)
        for i, scenario in enumerate((Scenario(), *scenarios)):
            of_twin = [twin.plant.inputs.index(twin.plant.tag(dv)) for dv in expected_dvs(twin, scenario.disturbances)]
            coarse[i][:, of_twin] = ends[i][:, of_twin] = idle[:, of_twin]
    found = replace(under(slow, past, coarse, scenarios, clipped, coverage), twin=twin.id)
    plant = twin.plant

    def of(tags: Sequence[Tag], i: int) -> dict[str, np.ndarray]:
        return {tag.name: ends[i, :, plant.inputs.index(tag)] for tag in tags}

    answers = tuple(
        replace(answer, moves=of(plant.mvs, i), disturbances=of(plant.dvs, i))
        for i, answer in enumerate(found.scenarios, start=1)
    )
    return replace(found, disturbances=of(plant.dvs, 0), scenarios=answers)


def _cut(twin: Twin, scenarios: Sequence[Scenario]) -> list[Scenario]:
    """The scenarios without the steps behind the fast horizon."""

    def near_ones(steps: Steps) -> Steps:
        return {tag: [step for step in given if not step.after_s >= twin.horizon_s] for tag, given in steps.items()}

    return [replace(s, moves=near_ones(s.moves), disturbances=near_ones(s.disturbances)) for s in scenarios]


def _joined(twin: Twin, fast: Forecast, slow: Forecast) -> Outlook:
    """The fast rows, then the slow ones that end behind them."""
    assert twin.slow is not None  # noqa: S101
    first = math.floor(len(fast.times) / twin.stride)

    def rows(near: np.ndarray, far: np.ndarray) -> np.ndarray:
        return np.concatenate([near, far[first:]])

    def bands(near: dict[str, Band], far: dict[str, Band]) -> dict[str, Band]:
        return {
            tag: Band(rows(band.mean, far[tag].mean), rows(band.low, far[tag].low), rows(band.high, far[tag].high))
            for tag, band in near.items()
        }

    def each(near: dict[str, np.ndarray], far: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {tag: rows(values, far[tag]) for tag, values in near.items()}

    answers = tuple(
        replace(
            a,
            moves=each(a.moves, b.moves),
            disturbances=each(a.disturbances, b.disturbances),
            cvs=bands(a.cvs, b.cvs),
            change=each(a.change, b.change),
            clipped=b.clipped,
            trust=_worse(a.trust, b.trust),
        )
        for a, b in zip(fast.scenarios, slow.scenarios, strict=True)
    )
    joined = replace(
        fast,
        times=pd.DatetimeIndex(fast.times.append(slow.times[first:])),
        disturbances=each(fast.disturbances, slow.disturbances),
        baseline=bands(fast.baseline, slow.baseline),
        trust=_worse(fast.trust, slow.trust),
        scenarios=answers,
    )
    scales = (
        Scale("fast", twin.plant.sample_period_s, len(fast.times)),
        Scale("slow", twin.slow.plant.sample_period_s, len(slow.times) - first),
    )
    return Outlook(joined, scales)


def _worse(fast: Trust, slow: Trust) -> Trust:
    """One verdict on both: what speaks against either."""
    told = {(reason.code, reason.tag) for reason in fast.reasons}
    more = [
        replace(reason, detail=f"slow model: {reason.detail}")
        for reason in slow.reasons
        if (reason.code, reason.tag) not in told
    ]
    return Trust(
        in_distribution=fast.in_distribution and slow.in_distribution,
        score=min(fast.score, slow.score),
        calibrated=fast.calibrated and slow.calibrated,
        reasons=(*fast.reasons, *more),
    )
