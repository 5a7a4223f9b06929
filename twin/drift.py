"""Whether a twin still fits its plant: the telemetry since its training against the figures of its report.

A twin is to be trained again when its forecasts have become worse, not when it has become old. So errors and coverage
since the training are held against those out of fold, in blocks of time: what is beyond a limit in the mean is to be
watched, and what is surely beyond it (the range of the mean over blocks) calls for training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.comparison import FEWEST, TINY, WINDOWS, Hindcast, blocks, hindcast, interval, rms, usable
from twin.dynamics.region import SHARE, Region
from twin.telemetry import Telemetry
from twin.training.folds import spread
from twin.trust import COVERAGE
from twin.windows import Grid, Window

GREW = 1.25  # an error this many times that of the report
LOST = 0.05  # of the coverage that the report measured
BIASED = 2.0  # usual mean errors over the horizon that the mean since is off to one side
OUTSIDE = 0.1  # share of forecasts from outside the trained region
BEYOND, MARGIN = 0.05, 0.05  # share of rows with an input beyond its trained range, by this share of the range
STATUS = ("stable", "watch", "retrain")


@dataclass(frozen=True)
class Reason:
    """One way in which the telemetry since differs from that of training.

    Attributes:
        certain: more than chance: it alone calls for training. What only asks to be watched never is.
        value, usual, limit: as measured since, as in training, and from where on it counts.
        since: the first block of time from which on it has held.
    """

    code: str
    detail: str
    value: float
    usual: float
    limit: float
    tag: str | None = None
    certain: bool = False
    since: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


def drift(twin: Twin, telemetry: Telemetry, start: pd.Timestamp | None = None) -> dict[str, Any]:
    """The verdict on a twin by the telemetry since its training.

    Args:
        twin: with the card of its report.
        telemetry: rows since its training; some before `start` serve as history.
        start: the first row that is forecast.

    Returns:
        JSON: twin, status ("stable", "watch", "retrain", or "unknown" where there is too little telemetry), detail,
        reasons [{code, tag, detail, value, usual, limit, certain, since}], start, end, rows, windows, cvs {CV: {unit,
        rmse {report, since}, ratio {mean, low, high}, coverage {asked, report, since {mean, low, high}}, bias}},
        outside, beyond {tag: share of rows} and timeline {times, ratio {CV: []}, coverage {CV: []}} a block each.
    """
    ends = usable(twin, telemetry, start)
    told = twin.card.get("backtest", {}).get("cvs")
    if len(ends) < FEWEST or not told:
        lacks = "its report holds no backtest" if not told else f"{len(ends)} forecasts can be held against it"
        need = f"{twin.history + twin.horizon} rows without a gap make one, {FEWEST} are needed"
        return _unknown(twin, telemetry, f"too little telemetry since the training: {lacks}; {need}")
    ends = np.unique(spread(ends, min(WINDOWS, len(ends))))
    grid = Grid.of(telemetry, twin.scaler)
    found = hindcast(twin, grid, ends, COVERAGE)
    parts = blocks(telemetry.times[ends], twin.horizon_s)
    times = [pd.Timestamp(telemetry.times[ends[part[-1]]], tz="UTC").isoformat() for part in parts]
    starts = [pd.Timestamp(telemetry.times[ends[part[0]] + 1], tz="UTC").isoformat() for part in parts]
    cvs: dict[str, Any] = {}
    timeline: dict[str, Any] = {"times": times, "ratio": {}, "coverage": {}}
    reasons: list[Reason] = []
    for i, tag in enumerate(twin.plant.cvs):
        one = Hindcast(*(part[:, :, i] for part in found))
        cvs[tag.name], ratio, coverage = _judged(one, told[tag.name], parts, tag.unit, twin.scaler.y_scale[i])
        timeline["ratio"][tag.name] = [_number(value) for value in ratio]
        timeline["coverage"][tag.name] = [_number(value) for value in coverage]
        reasons += _of_cv(tag.name, cvs[tag.name], ratio, coverage, starts)
    if all(cv["ratio"]["mean"] is None for cv in cvs.values()):
        return _unknown(twin, telemetry, "no CV has a measured value that its forecasts could be held against")
    reasons += _biased(twin, found)
    outside = _outside(twin, grid, ends)
    beyond = _beyond(twin, telemetry.between(start, None))
    reasons += _of_inputs(outside, beyond)
    reasons.sort(key=lambda reason: (not reason.certain, reason.code, -abs(reason.value)))
    status = STATUS[2 if any(r.certain for r in reasons) else 1 if reasons else 0]
    return {
        "twin": twin.id,
        "status": status,
        "detail": _said(status, reasons, len(ends)),
        "reasons": [reason.to_json() for reason in reasons],
        "start": starts[0],
        "end": telemetry.at.isoformat(),
        "rows": len(telemetry.between(start, None)),
        "windows": len(ends),
        "cvs": cvs,
        "outside": outside,
        "beyond": beyond,
        "timeline": timeline,
    }


def _unknown(twin: Twin, telemetry: Telemetry, detail: str) -> dict[str, Any]:
    return {
        "twin": twin.id,
        "status": "unknown",
        "detail": detail,
        "reasons": [],
        "start": None,
        "end": telemetry.at.isoformat() if len(telemetry) else None,
        "rows": len(telemetry),
        "windows": 0,
        "cvs": {},
        "outside": None,
        "beyond": {},
        "timeline": {"times": [], "ratio": {}, "coverage": {}},
    }


def _judged(
    found: Hindcast, told: dict[str, Any], parts: list[np.ndarray], unit: str, scale: float
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """One CV since the training beside its report, and the ratio and the coverage of each block.

    Rows after `at` in which the report holds no measured value, of a CV that is measured rarely, tell nothing: it has
    both their error and their coverage as 0.
    """
    usual, measured = np.array(told["rmse"]["twin"]), np.array(told["coverage"]["measured"])
    judged = (usual > 0) | (measured > 0)
    usual = np.maximum(usual, TINY * scale)
    ratio, coverage = np.full(len(parts), np.nan), np.full(len(parts), np.nan)
    for b, block in enumerate(parts):
        rmse, known = rms(found.errors[block], found.mask[block])
        if (known * judged).any():
            ratio[b] = float(np.average(rmse / usual, weights=known * judged))
        if known.any():
            coverage[b] = float((found.mask[block] * found.inside[block]).sum() / found.mask[block].sum())
    seen = np.isfinite(ratio)
    asked = told["coverage"]["asked"]
    report, error = (float(part[judged].mean()) if judged.any() else 0.0 for part in (measured, usual))
    mean, low, high = interval(np.log(ratio[seen] + TINY)) if seen.any() else (np.nan,) * 3
    some = np.isfinite(coverage)
    held = interval(coverage[some]) if some.any() else (np.nan,) * 3
    rmse, known = rms(found.errors, found.mask)
    answer = {
        "unit": unit,
        "rmse": {"report": error, "since": _number(rmse.mean() if known.any() else np.nan)},
        "ratio": {k: _number(np.exp(v)) for k, v in zip(("mean", "low", "high"), (mean, low, high), strict=True)},
        "coverage": {
            "asked": asked,
            "report": report,
            "since": {k: _number(np.clip(v, 0, 1)) for k, v in zip(("mean", "low", "high"), held, strict=True)},
        },
        "bias": _number((found.mask * found.errors).sum() / max(found.mask.sum(), 1) if known.any() else np.nan),
    }
    return answer, ratio, coverage


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _of_cv(
    name: str, cv: dict[str, Any], ratio: np.ndarray, coverage: np.ndarray, starts: list[str]
) -> Iterator[Reason]:
    grew = cv["ratio"]
    if grew["mean"] is not None and grew["mean"] > GREW:
        certain = grew["low"] is not None and grew["low"] > GREW
        since = _since(ratio > GREW, starts)
        detail = f"forecasts of {name} err {grew['mean']:.2f} times as much as in the report"
        yield Reason("error_grew", detail, grew["mean"], 1.0, GREW, name, certain, since)
    held, report = cv["coverage"]["since"], cv["coverage"]["report"]
    limit = min(report, cv["coverage"]["asked"]) - LOST
    if held["mean"] is not None and held["mean"] < limit:
        certain = held["high"] is not None and held["high"] < limit
        detail = f"bands of {name} hold {held['mean']:.0%} of its values, {report:.0%} in the report"
        yield Reason(
            "coverage_lost", detail, held["mean"], report, limit, name, certain, _since(coverage < limit, starts)
        )


def _since(beyond: np.ndarray, starts: list[str]) -> str | None:
    """The start of the first block from which on all are beyond."""
    if not beyond[-1]:
        return None
    within = np.flatnonzero(~beyond)
    return starts[int(within[-1]) + 1 if len(within) else 0]


def _biased(twin: Twin, found: Hindcast) -> Iterator[Reason]:
    """CVs that are forecast off to one side by more than single forecasts usually are."""
    if twin.calibration.shift is None:
        return
    usual = twin.calibration.shift.size * twin.scaler.y_scale
    mean = (found.mask * found.errors).sum(axis=(0, 1)) / np.maximum(found.mask.sum(axis=(0, 1)), 1)
    for tag, off, size in zip(twin.plant.cvs, mean, usual, strict=True):
        if abs(off) > BIASED * size:
            detail = f"{tag.name} has come out {off:+.3g}{tag.behind} from its forecasts on average"
            yield Reason("biased", detail, float(off), float(size), float(BIASED * size), tag.name)


def _outside(twin: Twin, grid: Grid, ends: np.ndarray) -> float:
    """The share of forecasts whose history and inputs lay outside the trained region."""
    window, w = grid.window(ends, twin.history), grid.future(ends, twin.horizon).w
    return float((np.asarray(_distances(twin.region, window, w)) > 1).mean())


@jax.jit
def _distances(region: Region, window: Window, w: jax.Array) -> jax.Array:
    return jax.vmap(region.distance)(window, jnp.asarray(w))


def _beyond(twin: Twin, telemetry: Telemetry) -> dict[str, float]:
    """Of each input, the share of rows beyond its trained range."""
    slack = MARGIN * (twin.seen.high - twin.seen.low) + 1e-9 * np.maximum(abs(twin.seen.low), abs(twin.seen.high))
    past = (telemetry.w < twin.seen.low - slack) | (telemetry.w > twin.seen.high + slack)
    known = np.maximum(np.isfinite(telemetry.w).sum(axis=0), 1)
    return {tag.name: float(share) for tag, share in zip(twin.plant.inputs, past.sum(axis=0) / known, strict=True)}


def _of_inputs(outside: float, beyond: dict[str, float]) -> Iterator[Reason]:
    if outside > OUTSIDE:
        detail = f"{outside:.0%} of the forecasts began outside the trained region: training on them would widen it"
        yield Reason("outside_region", detail, outside, 1 - SHARE, OUTSIDE)
    for name, share in beyond.items():
        if share > BEYOND:
            detail = f"{name} was beyond its trained range in {share:.0%} of the rows: training on them would widen it"
            yield Reason("beyond_trained_range", detail, share, 0.0, BEYOND, name)


def _said(status: str, reasons: list[Reason], windows: int) -> str:
    if status == "stable":
        return f"{windows} forecasts since the training err as the report says: no need to train again"
    if status == "watch":
        return f"not as in training, but the forecasts are not surely worse for it: {reasons[0].detail}"
    worst = [reason for reason in reasons if reason.certain]
    since = min((reason.since for reason in worst if reason.since), default=None)
    when = f" since {since}" if since else ""
    return (
        f"train again: {worst[0].detail}{when}. If something broke then, mend it; if the plant was changed then, train"
        " on rows from then on"
    )
