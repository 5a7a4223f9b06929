"""The certificate of a plan: what is left of each limit at its worst, judged on the plan as it is returned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from twin.limits import CvLimits, MvLimits
from twin.plant import Plant, Tag


@dataclass(frozen=True)
class Entry:
    """One limit.

    Attributes:
        side: "low", "high", "rate" (of an MV, per second) or "move" (of an MV, from one row to the next).
        limit: engineering units; of a limit that is ramped in, the one it ends at.
        worst: the value nearest to the limit, or furthest beyond it, over the horizon; of a CV the end of its band.
        coverage: one-sided, per step, of that band; 1 for an MV, which is exact.
        span: the first and last time at which the limit is not kept; none where it is.
        rank: of a CV's limit.
        ramp: where the limit is ramped in, it in the first row and in the row of the worst; none where it is not.
    """

    tag: str
    side: str
    limit: float
    worst: float
    coverage: float
    span: tuple[pd.Timestamp, pd.Timestamp] | None
    rank: int | None
    hard: bool
    ramp: tuple[float, float] | None = None

    @property
    def margin(self) -> float:
        """What is left of the limit; negative by as much as it is not kept."""
        limit = self.limit if self.ramp is None else self.ramp[1]
        return self.worst - limit if self.side == "low" else limit - self.worst

    @property
    def kept(self) -> bool:
        return self.margin >= 0

    def to_json(self) -> dict[str, Any]:
        span = self.span and {"start": self.span[0].isoformat(), "end": self.span[1].isoformat()}
        return {
            "tag": self.tag,
            "side": self.side,
            "limit": self.limit,
            "worst": self.worst,
            "margin": self.margin,
            "coverage": self.coverage,
            "kept": self.kept,
            "relaxed_by": max(-self.margin, 0.0),
            "span": span,
            "rank": self.rank,
            "hard": self.hard,
            "ramp": self.ramp and {"first": self.ramp[0], "at_worst": self.ramp[1]},
        }

    def __str__(self) -> str:
        if self.span is None:
            ramp = f", which is approached from {self.ramp[0]:g}" if self.ramp else ""
            return f"{self.tag} keeps its {self.side} limit {self.limit:g}{ramp}"
        first, last = (time.isoformat() for time in self.span)
        kind = {"rate": "rate", "move": "largest move"}.get(self.side, f"{self.side} limit")
        return f"{self.tag} breaks its {kind} {self.limit:g} by up to {-self.margin:.4g} from {first} to {last}"


def certify(
    plant: Plant,
    times: pd.DatetimeIndex,
    cvs: tuple[np.ndarray, np.ndarray],
    cv_limits: CvLimits,
    mvs: np.ndarray,
    mv_limits: Sequence[MvLimits],
    coverage: float,
) -> tuple[Entry, ...]:
    """Every limit of a plan.

    Args:
        times: (K,) of the rows.
        cvs: (K, CVs) low and high ends of the bands.
        mvs: (K + 1, MVs) from the values before the plan on.
        coverage: of the bands, one-sided and per step.
    """
    entries = []
    low, high = (np.broadcast_to(edge, cvs[0].shape) for edge in (cv_limits.low, cv_limits.high))
    for i, tag in enumerate(plant.cvs):
        of_cv = {"coverage": coverage, "rank": int(cv_limits.rank[i]), "hard": bool(cv_limits.hard[i])}
        if np.isfinite(low[:, i]).all():
            values = cvs[0][:, i]
            entries.append(_ramped(tag, "low", low[:, i], values, values - low[:, i], times, of_cv))
        if np.isfinite(high[:, i]).all():
            values = cvs[1][:, i]
            entries.append(_ramped(tag, "high", high[:, i], values, high[:, i] - values, times, of_cv))
    moved = np.abs(np.diff(mvs, axis=0))
    for i, (tag, limits) in enumerate(zip(plant.mvs, mv_limits, strict=True)):
        of_mv = {"coverage": 1.0, "rank": None, "hard": True}
        values, moves, (least, greatest) = mvs[1:, i], moved[:, i], limits.asked
        if math.isfinite(least):
            entries.append(_entry(tag, "low", least, values, values < least, times, of_mv))
        if math.isfinite(greatest):
            entries.append(_entry(tag, "high", greatest, values, values > greatest, times, of_mv))
        rate, most = limits.envelope.rate_per_s, limits.envelope.max_move
        if math.isfinite(rate):
            speed = moves / limits.envelope.period_s
            entries.append(_entry(tag, "rate", rate, speed, speed > rate, times, of_mv))
        if math.isfinite(most):
            entries.append(_entry(tag, "move", most, moves, moves > most, times, of_mv))
    return tuple(entries)


def _ramped(
    tag: Tag,
    side: str,
    limits: np.ndarray,
    values: np.ndarray,
    margins: np.ndarray,
    times: pd.DatetimeIndex,
    of_tag: dict[str, Any],
) -> Entry:
    """One side, judged at the row that leaves least of it: limits, values and margins (K,)."""
    worst = int(np.argmin(margins))
    entry = _entry(tag, side, float(limits[-1]), values, margins < 0, times, of_tag)
    if (limits == limits[-1]).all():
        return entry
    return replace(entry, worst=float(values[worst]), ramp=(float(limits[0]), float(limits[worst])))


def _entry(
    tag: Tag,
    side: str,
    limit: float,
    values: np.ndarray,
    broken: np.ndarray,
    times: pd.DatetimeIndex,
    of_tag: dict[str, Any],
) -> Entry:
    worst = float(values.min() if side == "low" else values.max())
    span = None
    if broken.any():
        rows = np.flatnonzero(broken)
        span = times[rows[0]], times[rows[-1]]
    return Entry(tag=tag.name, side=side, limit=float(limit), worst=worst, span=span, **of_tag)
