"""Limits of one plan: the plant's, tightened by the request. A request can never widen what the plant allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from twin.errors import Location, Problem, QuestionError
from twin.moves import Envelope
from twin.plant import Plant, Role, Tag

PENALTY = 100.0  # of a limit of the last rank broken by its span throughout, against a cost of order one
STEEP = 10.0  # between ranks


@dataclass(frozen=True)
class Limit:
    """A limit a request adds.

    Attributes:
        low, high: engineering units.
        rate_per_s: of an MV.
        max_move: of an MV, its largest change from one row to the next.
        ramp_s: of a CV: where it is beyond a limit now, the limit comes in from the present value over so long.
        rank: of a CV's limit: where not all can be kept, rank 1 is kept first; equal by default.
        hard: relaxed only after every rank, and then told.
    """

    low: float | None = None
    high: float | None = None
    rate_per_s: float | None = None
    rank: int | None = None
    hard: bool | None = None
    max_move: float | None = None
    ramp_s: float | None = None


class CvLimits(NamedTuple):
    """Of each CV in engineering units: absent limits are infinite.

    Attributes:
        low, high: (CVs,), or (K, CVs) where they are ramped.
        rank, hard: (CVs,).
        ramp_s: (CVs,) how long a limit takes to come in; 0 is at once.
    """

    low: np.ndarray
    high: np.ndarray
    rank: np.ndarray
    hard: np.ndarray
    ramp_s: np.ndarray

    def ramped(self, present: np.ndarray, low: np.ndarray, high: np.ndarray, period_s: float) -> CvLimits:
        """The limits (K, CVs) row by row: one with a ramp starts at the present value, with room for its margin
        there, where that is beyond it.

        Args:
            present: (CVs,) values now; where one is not known its limits hold at once.
            low, high: (K, CVs) the margins.
        """
        rows = len(low)
        share = np.arange(1, rows + 1)[:, None] * period_s / np.where(self.ramp_s > 0, self.ramp_s, np.inf)
        left = np.where(self.ramp_s > 0, np.maximum(1.0 - share, 0.0), 0.0)
        below = np.nan_to_num(np.maximum(self.low + low - present, 0.0), nan=0.0, posinf=0.0)
        above = np.nan_to_num(np.maximum(present - self.high + high, 0.0), nan=0.0, posinf=0.0)
        return self._replace(low=self.low - left * below, high=self.high + left * above)

    def without(self, cvs: np.ndarray) -> CvLimits:
        """The same with no limits of some CVs (CVs,) bool."""
        return self._replace(low=np.where(cvs, -np.inf, self.low), high=np.where(cvs, np.inf, self.high))


class MvLimits(NamedTuple):
    """Of one MV.

    Attributes:
        envelope: where it may go; inside the plant's limits whatever was asked.
        asked: the limits before they were reconciled: (low, high); they may cross.
    """

    envelope: Envelope
    asked: tuple[float, float]


def merge(plant: Plant, limits: Mapping[str, Limit]) -> tuple[tuple[MvLimits, ...], CvLimits]:
    """The plant's limits and the request's together.

    Raises:
        QuestionError: an unknown tag, a limit of a DV, a rate limit of a CV, a number that is not finite, a limit
            or rate wider than the plant's, or an MV without limits; every such problem is named.
    """
    problems = [problem for name, limit in limits.items() for problem in _problems(plant, name, limit)]
    unbounded = [tag.name for tag in plant.mvs if tag.low is None or tag.high is None]
    problems += [Problem(("plant", name), "an MV needs low and high before it can be optimized") for name in unbounded]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise QuestionError(f"{'.'.join(map(str, problems[0].loc))}: {problems[0].msg}{more}", problems)
    mvs = tuple(_of_mv(tag, limits.get(tag.name, Limit()), plant.sample_period_s) for tag in plant.mvs)
    return mvs, _of_cvs(plant, limits)


def penalties(cvs: CvLimits) -> np.ndarray:
    """(CVs,) what breaking a limit by its span costs: ten times more a rank, hard ones more than all."""
    ranks = np.unique(cvs.rank)
    place = len(ranks) - 1 - np.searchsorted(ranks, cvs.rank)
    place = np.where(cvs.hard, len(ranks), place)
    return PENALTY * STEEP ** np.minimum(place, 6).astype(np.float64)


def _of_mv(tag: Tag, limit: Limit, period_s: float) -> MvLimits:
    plants = Envelope.of(tag, period_s)
    low, high = _tightest(plants.low, limit.low, max), _tightest(plants.high, limit.high, min)
    # Limits that cross leave no room: anywhere between them breaks both by the least sum, so the plan stays there.
    inside = [min(max(value, plants.low), plants.high) for value in sorted((low, high))] if low > high else [low, high]
    rate = _tightest(plants.rate_per_s, limit.rate_per_s, min)
    most = math.inf if limit.max_move is None else float(limit.max_move)
    return MvLimits(Envelope(inside[0], inside[1], rate, period_s, most), (low, high))


def _of_cvs(plant: Plant, limits: Mapping[str, Limit]) -> CvLimits:
    asked = [limits.get(tag.name, Limit()) for tag in plant.cvs]
    pairs = list(zip(plant.cvs, asked, strict=True))
    low = [_tightest(-math.inf if t.limit_low is None else t.limit_low, a.low, max) for t, a in pairs]
    high = [_tightest(math.inf if t.limit_high is None else t.limit_high, a.high, min) for t, a in pairs]
    rank = [1 if a.rank is None else a.rank for a in asked]
    hard, ramp_s = [bool(a.hard) for a in asked], [a.ramp_s or 0.0 for a in asked]
    return CvLimits(np.array(low), np.array(high), np.array(rank), np.array(hard), np.array(ramp_s))


def _tightest(of_plant: float, asked: float | None, choose: Callable[[float, float], float]) -> float:
    return float(of_plant if asked is None else choose(of_plant, asked))


def _problems(plant: Plant, name: str, limit: Limit) -> list[Problem]:
    loc: Location = ("limits", name)
    try:
        tag = plant.tag(name)
    except QuestionError as error:
        return [Problem(loc, error.detail)]
    if tag.role is Role.DV:
        return [Problem(loc, f"{name} is a DV: nothing the planner does can keep a limit of it")]
    if tag.role is Role.CV and limit.rate_per_s is not None:
        return [Problem((*loc, "rate_per_s"), "only an MV has a rate limit")]
    if tag.role is Role.CV and limit.max_move is not None:
        return [Problem((*loc, "max_move"), "only an MV has a largest move")]
    if tag.role is Role.MV and limit.ramp_s is not None:
        return [Problem((*loc, "ramp_s"), "only a limit of a CV is ramped; an MV returns at its full rate")]
    given = {f: getattr(limit, f) for f in ("low", "high", "rate_per_s", "max_move", "ramp_s")}
    found = [
        Problem((*loc, field), "must be a finite number")
        for field, value in given.items()
        if value is not None and not math.isfinite(value)
    ]
    return found or _wider(tag, limit, loc)


def _wider(tag: Tag, limit: Limit, loc: Location) -> list[Problem]:
    """A limit of the request beyond the plant's is a mistake that must not pass silently."""
    of_mv = tag.role is Role.MV
    low, high = (tag.low, tag.high) if of_mv else (tag.limit_low, tag.limit_high)
    found = []
    if limit.low is not None and low is not None and limit.low < low:
        found.append(Problem((*loc, "low"), f"{limit.low:g} is wider than the plant's limit {low:g}{tag.behind}"))
    if limit.high is not None and high is not None and limit.high > high:
        found.append(Problem((*loc, "high"), f"{limit.high:g} is wider than the plant's limit {high:g}{tag.behind}"))
    rate, most = limit.rate_per_s, tag.rate_limit_per_s
    if rate is not None and rate < 0:
        found.append(Problem((*loc, "rate_per_s"), "cannot be negative"))
    if rate is not None and most is not None and rate > most:
        found.append(Problem((*loc, "rate_per_s"), f"{rate:g} is wider than the plant's limit {most:g} {tag.unit}/s"))
    found += [
        Problem((*loc, name), "cannot be negative")
        for name, value in (("max_move", limit.max_move), ("ramp_s", limit.ramp_s))
        if value is not None and value < 0
    ]
    if limit.rank is not None and limit.rank < 1:
        found.append(Problem((*loc, "rank"), "ranks count from 1, which matters most"))
    return found
