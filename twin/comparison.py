"""Twins side by side on rows that none of them was trained on: what each would have forecast, and which is better.

Whether one is better is asked of blocks of time, not of single forecasts: neighbouring forecasts err alike, so that
their number says little (the comparison of predictive accuracy of Diebold and Mariano, J. Bus. Econ. Stat. 13 (1995)
253, with blocks in place of a long-run variance).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from twin.artifact import Twin
from twin.errors import QuestionError, TelemetryError
from twin.hindcasts import hindcasts
from twin.telemetry import Telemetry
from twin.timeline import future_times, iso
from twin.training.folds import spread
from twin.windows import Grid

WINDOWS = 480  # forecasts held against what came, evenly spread
FEWEST = 24
BLOCKS = 8  # of time
CERTAIN = 0.95
TINY = 1e-12


class Hindcast(NamedTuple):
    """What one twin would have forecast.

    Attributes:
        errors: (n, K, CVs) measured less forecast, engineering units.
        mask: (n, K, CVs) 1 where the CV was measured.
        held: (n, K, CVs) the same errors of the last measured value held.
        inside: (n, K, CVs) whether the value lay in the band asked for.
    """

    errors: np.ndarray
    mask: np.ndarray
    held: np.ndarray
    inside: np.ndarray


def hindcast(twin: Twin, grid: Grid, ends: np.ndarray, coverage: float) -> Hindcast:
    """Forecasts of one twin from each of `ends` (n,), in engineering units."""
    errors, mask = hindcasts(twin, grid, ends)
    low, high = twin.calibration.bands.interval(coverage, twin.horizon)
    held = grid.future(ends, twin.horizon).y - grid.y[ends][:, None].astype(np.float64)
    scale = twin.scaler.y_scale
    return Hindcast(errors * scale, mask, held * scale, (errors >= low) & (errors <= high))


def usable(twin: Twin, telemetry: Telemetry, start: pd.Timestamp | None) -> np.ndarray:
    """(n,) rows from which the twin can forecast rows that were measured, all of them at `start` or later."""
    length = twin.history + twin.horizon
    if len(telemetry) < length:
        return np.empty(0, np.int64)
    t = np.arange(twin.history - 1, len(telemetry) - twin.horizon)
    t = t[telemetry.run[t - twin.history + 1] == telemetry.run[t + twin.horizon]]
    if start is None:
        return t
    return t[telemetry.times[t + 1] >= np.datetime64(start.tz_convert("UTC").tz_localize(None), "ns")]


def backtest(
    sides: Sequence[tuple[Twin, Telemetry]], start: pd.Timestamp | None = None, coverage: float = 0.9
) -> dict[str, Any]:
    """Twins of one plant on the same rows.

    Args:
        sides: each twin with the rows, on its own plant's tags; the first is the one the others are compared with.
        start: the first row that is forecast; rows before it serve as history.
        coverage: of the bands, two-sided and per step.

    Returns:
        JSON: start, end, windows, coverage, times_s (K), horizons (rows), twins {id: {nrmse, cvs {CV: {unit, scale,
        rmse {twin, persistence, report: [K]}, bias [K], coverage {asked, report, measured: [K]}}}}} and comparisons
        [{twin, against, ratio {mean, low, high}, better, detail}], the ratio that of the errors of `twin` to those of
        `against`.

    Raises:
        QuestionError: the twins have different sample periods, or no CV in common.
        TelemetryError: too few rows.
    """
    first = sides[0][0]
    periods = {twin.plant.sample_period_s for twin, _ in sides}
    if len(periods) > 1:
        raise QuestionError(f"twins with sample periods of {sorted(periods)} s cannot be held against the same rows")
    shared = [cv.name for cv in first.plant.cvs if all(cv.name in twin.plant.names for twin, _ in sides)]
    if not shared:
        raise QuestionError("these twins have no CV in common")
    at = _common_times(sides, start)
    rows = min(twin.horizon for twin, _ in sides)
    found = {twin.id: _one(twin, telemetry, at, coverage) for twin, telemetry in sides}
    scale = {cv.name: float(s) for cv, s in zip(first.plant.cvs, first.scaler.y_scale, strict=True)}
    parts = blocks(at, max(twin.horizon_s for twin, _ in sides))
    scores = {twin.id: _scores(twin, found[twin.id], shared, scale, rows, parts) for twin, _ in sides}
    last = pd.Timestamp(at[-1], tz="UTC")
    return {
        "start": iso(future_times(first, pd.Timestamp(at[0], tz="UTC"), 1))[0],
        "end": iso(future_times(first, last, rows))[-1],
        "windows": len(at),
        "coverage": coverage,
        "times_s": (first.plant.sample_period_s * np.arange(1, rows + 1)).tolist(),
        "horizons": sorted({min(k, rows) for k in (1, 10, 30, 60)}),
        "twins": {
            twin.id: {
                "nrmse": float(scores[twin.id].mean()),
                "cvs": {cv: _cv(twin, found[twin.id], cv, rows, coverage) for cv in shared},
            }
            for twin, _ in sides
        },
        "comparisons": [_compared(first.id, other.id, scores) for other, _ in sides[1:] if other.id != first.id],
    }


def _common_times(sides: Sequence[tuple[Twin, Telemetry]], start: pd.Timestamp | None) -> np.ndarray:
    """The times from which every twin can forecast."""
    ends = [telemetry.times[usable(twin, telemetry, start)] for twin, telemetry in sides]
    times = reduce(np.intersect1d, ends)
    if len(times) < FEWEST:
        twin, telemetry = max(sides, key=lambda side: side[0].history + side[0].horizon)
        raise TelemetryError(
            f"{len(times)} forecasts can be held against these {len(telemetry)} rows, {FEWEST} are needed: each takes"
            f" {twin.history} rows before and {twin.horizon} behind it without a gap, none of them trained on"
        )
    return np.unique(spread(times, min(WINDOWS, len(times))))


def _one(twin: Twin, telemetry: Telemetry, at: np.ndarray, coverage: float) -> Hindcast:
    return hindcast(twin, Grid.of(telemetry, twin.scaler), np.searchsorted(telemetry.times, at), coverage)


def blocks(times: np.ndarray, horizon_s: float) -> list[np.ndarray]:
    """Forecasts begun at times (n,) in blocks of time, none shorter than a horizon, as those that share rows err alike.

    The indices of each block; at most `BLOCKS` of them.
    """
    spanned = float((times[-1] - times[0]) / np.timedelta64(1, "s")) + horizon_s
    return np.array_split(np.arange(len(times)), int(np.clip(spanned // horizon_s, 1, min(BLOCKS, len(times)))))


def _scores(
    twin: Twin, found: Hindcast, shared: list[str], scale: dict[str, float], rows: int, parts: list[np.ndarray]
) -> np.ndarray:
    """(blocks,) the mean NRMSE over CVs and rows in each block of time."""
    names = [cv.name for cv in twin.plant.cvs]
    columns, size = [names.index(name) for name in shared], np.array([scale[name] for name in shared])
    out = []
    for part in parts:
        rmse, known = rms(found.errors[part][:, :rows, columns], found.mask[part][:, :rows, columns])
        out.append(float(np.average(rmse / size, weights=known + TINY)))
    return np.array(out)


def rms(errors: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, CVs) the root mean square of the measured errors (n, K, CVs), and where there were any."""
    count = mask.sum(axis=0)
    return np.sqrt((mask * errors**2).sum(axis=0) / np.maximum(count, 1)), (count > 0).astype(np.float64)


def _cv(twin: Twin, found: Hindcast, name: str, rows: int, coverage: float) -> dict[str, Any]:
    i = [cv.name for cv in twin.plant.cvs].index(name)
    errors, mask, held, inside = (part[:, :rows, i : i + 1] for part in found)
    known = np.maximum(mask.sum(axis=0), 1)
    told = twin.card.get("backtest", {}).get("cvs", {}).get(name)
    return {
        "unit": twin.plant.cvs[i].unit,
        "scale": float(twin.scaler.y_scale[i]),
        "rmse": {
            "twin": rms(errors, mask)[0][:, 0].tolist(),
            "persistence": rms(held, mask)[0][:, 0].tolist(),
            "report": told["rmse"]["twin"][:rows] if told else None,
        },
        "bias": ((mask * errors).sum(axis=0) / known)[:, 0].tolist(),
        "coverage": {
            "asked": coverage,
            "measured": ((mask * inside).sum(axis=0) / known)[:, 0].tolist(),
            "report": told["coverage"]["measured"][:rows] if told and told["coverage"]["asked"] == coverage else None,
        },
    }


def _compared(first: str, other: str, scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """The errors of the other twin over those of the first, and whether the difference is more than chance."""
    ratio = interval(np.log((scores[other] + TINY) / (scores[first] + TINY)))
    mean, low, high = (float(np.exp(value)) for value in ratio)
    better = other if high < 1 else first if low > 1 else None
    wins = int((scores[other] < scores[first]).sum())
    said = {other: "is better", first: "is worse", None: "cannot be told apart from it: the range holds 1"}[better]
    detail = (
        f"the error of {other} is {mean:.3f} of that of {first} ({low:.3f} to {high:.3f}), less in {wins} of"
        f" {len(scores[first])} blocks of time: it {said}"
    )
    told = {"mean": mean, "low": low if low > 0 else None, "high": high if np.isfinite(high) else None}
    return {"twin": other, "against": first, "ratio": told, "better": better, "detail": detail}


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of the values of blocks (n,), and the range of the true mean at `CERTAIN` by Student's t."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, -np.inf, np.inf
    reach = float(stdtrit(n - 1, (1 + CERTAIN) / 2)) * float(values.std(ddof=1)) / np.sqrt(n)
    return mean, mean - reach, mean + reach
