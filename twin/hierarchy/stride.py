"""Averages of telemetry over whole numbers of rows, and how many rows suit a plant."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from twin.artifact import Twin
from twin.plant import Plant
from twin.responses import HORIZONS, step_responses
from twin.telemetry import BRIDGE, Telemetry
from twin.training.folds import DISJOINT, SHORTEST

A_SETTLING = 6  # slow rows in a settling time: ten settling times are a horizon of 60
SHORTEST_STRIDE = 3  # rows: below it a slow twin has nothing to add
FEWEST = DISJOINT * 2 * SHORTEST  # slow rows that training needs
ENOUGH = 2 * FEWEST  # slow rows that a stride nobody asked for must leave
MEASURED = 0.5  # of its rows that an average needs


def coarse(plant: Plant, stride: int) -> Plant:
    """The plant at a period of so many rows. A rate limit is the same a second: an MV that ramps at it reaches a slow
    row's level within that row."""
    return replace(plant, sample_period_s=stride * plant.sample_period_s)


def averaged(telemetry: Telemetry, stride: int) -> Telemetry:
    """Averages over `stride` rows, of every tag, MVs among them: what flowed through is kept.

    Averages are counted back from the last row and bear the time of the last row in them, so that the last one ends
    at `at`. One needs half of its rows; without them it is missing, and more than `BRIDGE` missing end a run.
    """
    plant = coarse(telemetry.plant, stride)
    if not len(telemetry):
        return Telemetry.empty(plant)
    width = np.int64(stride * round(telemetry.plant.sample_period_s * 1e9))  # of rows as they lie on their grid
    stamps = telemetry.times.astype("datetime64[ns]").astype(np.int64)
    age = (stamps[-1] - stamps) // width
    places, place, rows = np.unique(-age, return_inverse=True, return_counts=True)  # 0 is the last, others below
    enough = rows >= MEASURED * stride
    averages = np.full((len(places), telemetry.values.shape[1]), np.nan)
    for column, series in enumerate(telemetry.values.T):
        known = np.isfinite(series)
        count = np.bincount(place[known], minlength=len(places))
        total = np.bincount(place[known], series[known], len(places))
        some = enough & (count > 0)
        averages[some, column] = total[some] / count[some]
    kept = places[enough]
    if not len(kept):
        return Telemetry.empty(plant)
    bounds = np.r_[0, np.flatnonzero(np.diff(kept) > BRIDGE + 1) + 1, len(kept)]
    spans = [np.arange(kept[a], kept[b - 1] + 1) for a, b in pairwise(bounds)]
    index = np.concatenate(spans)
    values = np.full((len(index), averages.shape[1]), np.nan)
    values[np.searchsorted(index, kept)] = averages[enough]
    times = (stamps[-1] + width * index).astype("datetime64[ns]")
    run = np.repeat(np.arange(len(spans)), [len(span) for span in spans])
    return Telemetry(plant, times, values, run)


def means(series: np.ndarray, stride: int) -> np.ndarray:
    """(n / stride, ·) averages of rows (n, ·) over `stride`, each within the rows that it averages."""
    parts = series.reshape(-1, stride, *series.shape[1:])
    out: np.ndarray = np.clip(parts.mean(axis=1), parts.min(axis=1), parts.max(axis=1))
    return out


def settling_rows(twin: Twin) -> int:
    """Rows of the dominant settling time: the longest among the effects that training shows. One that is still moving
    after all of the step response counts as that long."""
    found = step_responses(twin)
    rows = [1]
    for mv, effects in found["settling_times_s"].items():
        for cv, settled in effects.items():
            if found["dead_times_s"][mv][cv] is None:  # an effect that may be zero
                continue
            longest = HORIZONS * twin.horizon
            rows.append(longest if settled is None else round(settled["mean"] / twin.plant.sample_period_s))
    return max(rows)


def stride_for(settling: int, horizon: int, rows: int) -> int | None:
    """The stride that follows a settling time (rows), no longer than a fast horizon (rows) and than leaves enough of so
    many rows of telemetry; None where none does."""
    stride = min(max(round(settling / A_SETTLING), SHORTEST_STRIDE), horizon, rows // ENOUGH)
    return stride if stride >= SHORTEST_STRIDE else None
