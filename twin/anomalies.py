"""What looks like a fault of the instruments or of their clock, rather than of the process: values that are frozen,
spikes, levels that jump for good, times that are off the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

HALF = 5  # rows on either side that a value is compared with
LONGEST = 3  # rows: an excursion no longer than this is a spike
BACK = 0.5  # of its height: as near to where it was does a spike come back at once
SPIKE = 8.0  # robust deviations from the median of its neighbours
LEVEL = 40  # rows before and after a jump, whose medians are compared
JUMP = 8.0  # spreads of the levels, and usual changes of a row: a larger jump is none of the process
HELD = 0.8  # of the jump that must last
NEAR = 0.03  # relative: a level this near to what another unit would give is told
LONG = 60  # rows: a value held no longer than this is not called frozen, where the tag repeats values at all
TYPICAL = 20  # times as long as nearly all holds of the tag are: that is frozen
HOUR_S = 3600.0
JITTER = 0.25  # of the period: rows further off their grid point are told
FASTER = 0.5  # of the period: rows that come so much faster have no grid point each
OFF_PERIOD = 0.02  # relative difference of the usual distance of two rows from the sample period
AHEAD_S = 300.0  # rows of times so much later than their upload come from a clock that is ahead

# What a value becomes when its unit changes: unit → other unit → (factor, offset).
CONVERSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "degC": {"degF": (1.8, 32.0), "K": (1.0, 273.15)},
    "degF": {"degC": (1 / 1.8, -32 / 1.8)},
    "K": {"degC": (1.0, -273.15)},
    "bar": {"kPa": (100.0, 0.0), "MPa": (0.1, 0.0), "psi": (14.5038, 0.0), "mbar": (1000.0, 0.0)},
    "kPa": {"bar": (0.01, 0.0), "MPa": (0.001, 0.0), "psi": (0.145038, 0.0)},
    "psi": {"bar": (0.0689476, 0.0), "kPa": (6.89476, 0.0)},
    "m3/h": {"l/min": (16.6667, 0.0), "gal/min": (4.40287, 0.0), "l/s": (0.277778, 0.0)},
    "kg/h": {"t/h": (0.001, 0.0), "kg/s": (1 / 3600, 0.0), "lb/h": (2.20462, 0.0)},
    "t/h": {"kg/h": (1000.0, 0.0)},
    "m": {"cm": (100.0, 0.0), "mm": (1000.0, 0.0), "ft": (3.28084, 0.0)},
    "cm": {"m": (0.01, 0.0), "mm": (10.0, 0.0)},
    "%": {"a fraction": (0.01, 0.0)},
    "1": {"%": (100.0, 0.0)},
}


@dataclass(frozen=True)
class Jump:
    """A level that changed for good from the row before `row` on; `unit` is the unit that would explain it, if any."""

    row: int
    before: float
    after: float
    unit: str | None


def frozen(values: np.ndarray, run: np.ndarray) -> np.ndarray:
    """(N,) bool: rows of a value held suspiciously long.

    That is over `LONG` rows and over `TYPICAL` times the 95th percentile of how long the tag holds a value, so that an
    analyser's or a coarse converter's steps are normal; of a tag that hardly ever repeats a value it is over `TYPICAL`
    rows. A tag that never changes is constant, not frozen.
    """
    if not len(values):
        return np.zeros(0, bool)
    starts = np.flatnonzero(np.r_[True, (values[1:] != values[:-1]) | (np.diff(run) != 0)])
    length = np.diff(np.r_[starts, len(values)])
    if len(starts) < 2:
        return np.zeros(len(values), bool)
    usual, most = (
        np.quantile(length[np.isfinite(values[starts])], [0.95, 0.99]) if np.isfinite(values).any() else (1, 2)
    )
    limit = TYPICAL if most <= 1 else max(LONG, TYPICAL * float(usual))
    return np.repeat((length > limit) & np.isfinite(values[starts]), length)


def spikes(values: np.ndarray, run: np.ndarray) -> np.ndarray:
    """(N,) bool: rows of an excursion of at most `LONGEST` rows from which the value came back (Hampel's filter).

    The deviation from the median of the neighbours is compared with its own usual size in this tag, so that a noisy
    signal and one that moves fast are not full of spikes. Rows near the edge of a run are not judged.
    """
    n = len(values)
    if n <= 2 * HALF or not np.isfinite(values).any():
        return np.zeros(n, bool)
    series = pd.Series(values)
    median = series.rolling(2 * HALF + 1, center=True, min_periods=HALF).median().to_numpy()
    deviation = np.abs(values - median)
    known = deviation[np.isfinite(deviation)]
    if not len(known):
        return np.zeros(n, bool)
    usual = max(1.4826 * float(np.median(known)), 0.5 * float(np.quantile(known, 0.99)))
    far = np.isfinite(deviation) & (deviation > SPIKE * usual + 1e-9 * np.nanmax(np.abs(values)))
    far &= ~_edges(run)
    starts = np.flatnonzero(far & ~np.r_[False, far[:-1]])
    ends = np.flatnonzero(far & ~np.r_[far[1:], False])
    found = np.zeros(n, bool)
    for a, b in zip(starts, ends, strict=True):
        back = abs(values[b + 1] - values[a - 1]) < BACK * deviation[a : b + 1].min()
        found[a : b + 1] = b - a < LONGEST and back
    return found


def jumps(values: np.ndarray, run: np.ndarray, unit: str) -> list[Jump]:
    """Where the level of a tag changed from one row to the next, by far more than it usually does, and for good."""
    known = np.flatnonzero(np.isfinite(values))
    v, r = values[known], run[known]
    if len(v) < 4 * LEVEL:
        return []
    change = np.abs(np.diff(v))
    usual = float(np.quantile(change, 0.99))
    candidates = np.flatnonzero(change > JUMP * usual + 1e-9 * np.abs(v).max()) + 1
    found: list[Jump] = []
    for at in candidates:
        if at < LEVEL or at + LEVEL > len(v) or (found and known[at] - found[-1].row < LEVEL):
            continue
        past, coming = v[at - LEVEL : at], v[at : at + LEVEL]
        before, after = float(np.median(past)), float(np.median(coming))
        spread = 1.4826 * max(np.median(np.abs(past - before)), np.median(np.abs(coming - after)))
        same = r[at - 1] == r[at]
        lasts = abs(after - before) > HELD * change[at - 1] and abs(after - before) > JUMP * spread
        if lasts and same:
            edge = float(np.median(past[-HALF:])), float(np.median(coming[:HALF]))
            found.append(Jump(int(known[at]), before, after, _unit(unit, *edge)))
    return found


def clock(stamps: np.ndarray, period_s: float) -> dict[str, Any]:
    """How rows lie in time.

    Args:
        stamps: (N,) datetime64[ns] of the rows as they were sent, sorted.
        period_s: the plant's sample period.

    Returns:
        usual_period_s: the median distance of two rows; None with fewer than two.
        jitter_s: what 95 % of the rows keep to, in distance from the grid of the run.
        jittery_rows: rows further off than `JITTER` of the period; none where rows come faster than `FASTER` of it
            (they are averaged, and need not lie on the grid).
        crowded_rows: rows beyond the first at one grid point.
        hours: gaps of one hour, to a period: what a local clock that was put forward leaves.
    """
    nothing: dict[str, Any] = {"usual_period_s": None, "jitter_s": 0.0, "jittery_rows": 0}
    nothing |= {"crowded_rows": 0, "hours": []}
    if len(stamps) < 2:
        return nothing
    steps = np.diff(stamps) / np.timedelta64(1, "s")
    starts = np.flatnonzero(np.r_[True, steps > 4.5 * period_s])
    origin = np.repeat(stamps[starts], np.diff(np.r_[starts, len(stamps)]))
    place = (stamps - origin) / np.timedelta64(1, "s") / period_s
    off = np.abs(place - np.rint(place)) * period_s
    crowded = (np.diff(np.rint(place)) == 0) & (np.diff(origin) == np.timedelta64(0))
    hours = np.flatnonzero((np.abs(steps - HOUR_S - period_s) <= period_s) & (period_s < HOUR_S / 4))
    return {
        "usual_period_s": float(np.median(steps)),
        "jitter_s": float(np.quantile(off, 0.95)),
        "jittery_rows": int((off > JITTER * period_s).sum()) if np.median(steps) > FASTER * period_s else 0,
        "crowded_rows": int(crowded.sum()),
        "hours": [pd.Timestamp(stamps[i + 1], tz="UTC").isoformat() for i in hours],
    }


def _edges(run: np.ndarray) -> np.ndarray:
    """(N,) bool: rows within `HALF` of the first or last row of their run."""
    starts = np.flatnonzero(np.r_[True, np.diff(run) != 0])
    length = np.diff(np.r_[starts, len(run)])
    place = np.arange(len(run)) - np.repeat(starts, length)
    return (place < HALF) | (np.repeat(length, length) - place <= HALF)


def _unit(unit: str, before: float, after: float) -> str | None:
    """The unit in which the level after a jump would be the level before it, or the other way round."""
    tolerance = NEAR * max(abs(before), abs(after), 1e-12)
    for other, (factor, offset) in CONVERSIONS.get(unit, {}).items():
        if abs(factor * before + offset - after) < tolerance or abs(factor * after + offset - before) < tolerance:
            return other
    return None
