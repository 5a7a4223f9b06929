"""The certificate of a plan: what is left of each limit at its worst, judged on the plan as it is returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twin.limits import CvLimits, MvLimits
from twin.plant import Plant, Tag


@dataclass(frozen=True)
class Entry:
    """One limit.

    Attributes:
        side: "low", "high", or "rate" (of an MV, per second).
        limit: engineering units.
        worst: the value nearest to the limit, or furthest beyond it, over the horizon; of a CV the end of its band.
        coverage: one-sided, per step, of that band; 1 for an MV, which is exact.
        span: the first and last time at which the limit is not kept; none where it is.
        rank: of a CV's limit.
    """

    tag: str
    side: str
    limit: float
    worst: float
    coverage: float
    span: tuple[pd.Timestamp, pd.Timestamp] | None
    rank: int | None
    hard: bool

    @property
    def margin(self) -> float:
        """What is left of the limit; negative by as much as it is not kept."""
        return self.worst - self.limit if self.side == "low" else self.limit - self.worst

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
        }

    def __str__(self) -> str:
        if self.span is None:
            return f"{self.tag} keeps its {self.side} limit {self.limit:g}"
        first, last = (time.isoformat() for time in self.span)
        kind = "rate" if self.side == "rate" else f"{self.side} limit"
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
    for i, tag in enumerate(plant.cvs):
        of_cv = {"coverage": coverage, "rank": int(cv_limits.rank[i]), "hard": bool(cv_limits.hard[i])}
        entries += _sides(tag, times, cvs[0][:, i], cvs[1][:, i], (cv_limits.low[i], cv_limits.high[i]), of_cv)
    for i, (tag, limits) in enumerate(zip(plant.mvs, mv_limits, strict=True)):
        of_mv = {"coverage": 1.0, "rank": None, "hard": True}
        entries += _sides(tag, times, mvs[1:, i], mvs[1:, i], limits.asked, of_mv)
        rate, period_s = limits.envelope.rate_per_s, limits.envelope.period_s
        if np.isfinite(rate):
            speed = np.abs(np.diff(mvs[:, i])) / period_s
            entries.append(_entry(tag, "rate", rate, speed, speed > rate, times, of_mv))
    return tuple(entries)


def _sides(
    tag: Tag,
    times: pd.DatetimeIndex,
    low: np.ndarray,
    high: np.ndarray,
    limits: tuple[float, float],
    of_tag: dict[str, Any],
) -> list[Entry]:
    found = []
    if np.isfinite(limits[0]):
        found.append(_entry(tag, "low", limits[0], low, low < limits[0], times, of_tag))
    if np.isfinite(limits[1]):
        found.append(_entry(tag, "high", limits[1], high, high > limits[1], times, of_tag))
    return found


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
    rows = np.flatnonzero(broken)
    span = (times[rows[0]], times[rows[-1]]) if len(rows) else None
    return Entry(tag=tag.name, side=side, limit=float(limit), worst=worst, span=span, **of_tag)
