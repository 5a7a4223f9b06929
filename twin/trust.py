"""How far one answer can be trusted: calibrated bands, and a verdict on what the twin has seen.

Bands are split conformal per CV and horizon step (Lei et al., JASA 2018) from out-of-fold residuals
(cross-conformal, Vovk 2015). Residuals of one plant are autocorrelated and one part of its telemetry is not like
another, so bands are stretched until they hold in parts they were not fitted to; there is still no finite-sample
promise: the coverage is measured and shown in the report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from twin import anomalies
from twin.errors import QuestionError
from twin.plant import Plant, Role
from twin.shift import Shift
from twin.telemetry import BRIDGE, Telemetry
from twin.windows import hold

LOWER = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4]
LEVELS = np.array([*LOWER, 0.5, *(1 - level for level in reversed(LOWER))])
COVERAGE = 0.9  # of the bands that folds are compared by
ENOUGH = 40  # residuals that a quantile is taken of, where there are so many: of neighbouring steps together
TINY = 1e-9
HINDCAST = 10  # rows: how far back the twin forecasts what has happened since
# what such an effect leaves of the score; a learned part that is behind has been surprised, which lowers it already
DOUBT = {"unidentifiable_effect": 0.1, "weak_effect": 0.8, "unknown_direction": 0.5, "learned_part_behind": 1.0}
MADE_UP_FOR = 0.5  # what a plan's score keeps where the process has changed and the plan makes up for it
UNKNOWN = 9.0  # surprise of a CV whose residuals nobody knows: three of its own deviations
FALSE_ALARM = 0.002  # share of healthy windows whose surprise, of any CV, is called one


@dataclass(frozen=True)
class Bands:
    """Quantiles of forecast residuals (measured − forecast), in model units.

    Attributes:
        levels: (q,) float64, increasing, in (0, 1).
        quantiles: (q, K, CVs) float64.
    """

    levels: np.ndarray
    quantiles: np.ndarray

    @classmethod
    def fit(cls, residuals: np.ndarray, mask: np.ndarray) -> Bands:
        """From residuals (n, K, CVs) that are alike; entries whose mask is 0 were not measured.

        The quantile of n residuals is the conformal one, rank ⌈(n + 1) p⌉ (for p below one half, mirrored). Of a CV
        that is measured too rarely for it, as in a laboratory, those of some steps are taken together; where it was
        never measured, its band is as wide as it itself varies.
        """
        held = np.where(mask > 0, residuals, np.nan)
        count = np.isfinite(held).sum(axis=0)
        quantiles = _quantiles(held)
        for cv in np.flatnonzero((count < ENOUGH).any(axis=0)):
            block = _together(count[:, cv])
            for number in np.unique(block):
                pooled = held[:, block == number, cv].reshape(-1, 1)
                quantiles[:, block == number, cv] = _quantiles(pooled)
            if not count[:, cv].any():
                quantiles[:, :, cv] = ndtri(LEVELS)[:, None]
        return cls(LEVELS, quantiles)

    @classmethod
    def across(cls, residuals: np.ndarray, mask: np.ndarray, fold: np.ndarray) -> Bands:
        """From residuals of several blocks of telemetry, wide enough to hold in a block they were not fitted to.

        Args:
            fold: (n,) the block of each window.
        """
        bands = cls.fit(residuals, mask)
        return cls(bands.levels, bands.quantiles * stretch(exceedance(residuals, mask, fold), mask))

    def at(self, level: float, steps: int) -> np.ndarray:
        """(steps, CVs): the quantile at a level, linear between levels.

        Past the calibrated horizon K it grows like a random walk, with √(k / K); `verdict` says so.
        """
        if not self.levels[0] <= level <= self.levels[-1]:
            raise QuestionError(f"coverage: bands are calibrated between {self.levels[0]} and {self.levels[-1]}")
        i = int(np.clip(np.searchsorted(self.levels, level), 1, len(self.levels) - 1))
        share = (level - self.levels[i - 1]) / (self.levels[i] - self.levels[i - 1])
        known = (1 - share) * self.quantiles[i - 1] + share * self.quantiles[i]
        horizon = len(known)
        if steps <= horizon:
            return known[:steps]
        growth = np.sqrt(np.arange(horizon + 1, steps + 1) / horizon)
        return np.concatenate([known, growth[:, None] * known[-1]])

    def containing(self, other: Bands) -> Bands:
        """The same, nowhere narrower than others of the same levels."""
        mine, theirs, upper = self.quantiles, other.quantiles, (self.levels >= 0.5)[:, None, None]
        return Bands(self.levels, np.where(upper, np.maximum(mine, theirs), np.minimum(mine, theirs)))

    def interval(self, coverage: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """The central two-sided band at a coverage: (low, high), each (steps, CVs)."""
        return self.at((1 - coverage) / 2, steps), self.at((1 + coverage) / 2, steps)


def _quantiles(held: np.ndarray) -> np.ndarray:
    """(q, ...) the conformal quantiles of residuals (n, ...), of which NaN were not measured."""
    n = np.isfinite(held).sum(axis=0)
    ordered = np.sort(held, axis=0)  # NaN last
    quantiles = np.empty((len(LEVELS), *held.shape[1:]))
    for i, level in enumerate(LEVELS):
        upper = np.ceil((n + 1) * max(level, 1 - level)).astype(int)
        rank = np.clip(upper if level >= 0.5 else n + 1 - upper, 1, np.maximum(n, 1))
        quantiles[i] = np.take_along_axis(ordered, rank[None] - 1, axis=0)[0]
    found: np.ndarray = np.maximum.accumulate(quantiles, axis=0)
    return found


def _together(count: np.ndarray) -> np.ndarray:
    """(K,) the block of each step, of steps that follow each other and together hold `ENOUGH` of count (K,)
    residuals; a step that holds so many is one of its own."""
    before = np.cumsum(count) - count
    block: np.ndarray = np.minimum(before // ENOUGH, max(count.sum() // ENOUGH - 1, 0))
    return block


def exceedance(residuals: np.ndarray, mask: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n, K, CVs) how far each residual goes toward the edge of the other folds' band: past 1 is outside."""
    out = np.zeros(residuals.shape)
    for held in np.unique(fold):
        mine = fold == held
        others = ~mine if (~mine).any() else mine
        low, high = Bands.fit(residuals[others], mask[others]).interval(COVERAGE, residuals.shape[1])
        out[mine] = np.maximum(residuals[mine] / np.maximum(high, TINY), residuals[mine] / np.minimum(low, -TINY))
    return out


def stretch(exceedance: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(CVs,) what bands must be multiplied by, at least 1, to hold their coverage in a fold they were not fitted to."""
    held = np.where(mask > 0, exceedance, np.nan).reshape(-1, exceedance.shape[2])
    held = np.where(np.isnan(held).all(axis=0), 1.0, held)
    return np.fmax(np.nanquantile(held, COVERAGE, axis=0), 1.0)


@dataclass(frozen=True)
class Surprise:
    """Whether the process still behaves as it did: recent CVs against a hindcast of them.

    A CV's surprise is the mean square, over `HINDCAST` rows, of its residual over the residual's usual size
    at that step; its threshold is a quantile of the same statistic out of fold.

    Attributes:
        size: (H, CVs) root mean square residual at each step, model units.
        threshold: (CVs,).
    """

    size: np.ndarray
    threshold: np.ndarray

    @classmethod
    def fit(cls, residuals: np.ndarray, mask: np.ndarray) -> Surprise:
        """From residuals (n, K, CVs) of healthy telemetry and where CVs were measured."""
        rows = min(HINDCAST, residuals.shape[1])
        residuals, mask = residuals[:, :rows], mask[:, :rows]
        count, total = mask.sum(axis=0), (mask * residuals**2).sum(axis=0)
        rare = (count < ENOUGH).any(axis=0)  # of those one size serves all steps
        count, total = (np.where(rare, part.sum(axis=0), part) for part in (count, total))
        size = np.where(count > 0, np.sqrt(total / np.maximum(count, 1)) + 1e-6, 1.0)
        return cls(size, _threshold(size, residuals, mask))

    def widened(self, residuals: np.ndarray, mask: np.ndarray) -> Surprise:
        """The same, for a process whose residuals (n, K, CVs) have since been larger."""
        rows = len(self.size)
        found = _threshold(self.size, residuals[:, :rows], mask[:, :rows])
        return Surprise(self.size, np.maximum(self.threshold, found))

    def ratio(self, residuals: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(CVs,): the surprise over its threshold; above 1 the process has changed (or a sensor has)."""
        statistic: np.ndarray = _mean_square((residuals / self.size)[None], mask[None])[0] / self.threshold
        return statistic


def _threshold(size: np.ndarray, residuals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(CVs,): what the surprise of healthy residuals (n, H, CVs) hardly ever exceeds, where it was measured; of a CV
    that never was, `UNKNOWN`."""
    level = 1 - FALSE_ALARM / residuals.shape[2]
    found = np.where((mask > 0).any(axis=1), _mean_square(residuals / size, mask), np.nan)
    never = np.isnan(found).all(axis=0)
    # The tail of an autocorrelated sample is known only as far as its largest value: leave a margin above it.
    threshold: np.ndarray = 1.2 * np.nanquantile(np.where(never, UNKNOWN, found), level, axis=0) + 1e-6
    return threshold


def _mean_square(standardised: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n, CVs): the mean over the measured rows of each (n, H, CVs)."""
    total: np.ndarray = (mask * standardised**2).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    return total


@dataclass(frozen=True)
class Calibration:
    """What the forecast errors of one twin look like: bands for answers, thresholds for alarms.

    Attributes:
        bands: where all DVs are known.
        unannounced: where the twin itself says what DVs will do; None where it has none.
    """

    bands: Bands
    surprise: Surprise
    shift: Shift | None = None
    unannounced: Bands | None = None

    def bands_for(self, unannounced: bool) -> Bands:
        """Those of an answer for which some DV's course is not given, or every one's is."""
        return self.unannounced if unannounced and self.unannounced is not None else self.bands

    @classmethod
    def fit(
        cls,
        residuals: np.ndarray,
        mask: np.ndarray,
        fold: np.ndarray,
        plain: np.ndarray | None = None,
        unannounced: np.ndarray | None = None,
    ) -> Calibration:
        """From out-of-fold residuals (n, K, CVs) in model units, where CVs were measured, and each window's fold.

        Args:
            plain: the residuals without the correction of recent errors, which would hide a lasting fault.
            unannounced: the residuals where DVs did not do what they came to do, but what the twin expects of them.
        """
        plain = residuals if plain is None else plain
        bands = Bands.across(residuals, mask, fold)
        wider = None if unannounced is None else Bands.across(unannounced, mask, fold).containing(bands)
        return cls(bands, Surprise.fit(plain, mask), Shift.fit(plain, mask), wider)


@dataclass(frozen=True)
class Seen:
    """The ranges and the stillness of the training telemetry, in engineering units.

    Attributes:
        low, high: (inputs,) the least and greatest value of each MV and DV.
        still: (tags,) rows of the longest stretch in which a tag's value did not change at all; where a CV or DV looked
            frozen even then, that is not how still it may stand.
        absent: (tags,) rows of the longest stretch without a value.
    """

    low: np.ndarray
    high: np.ndarray
    still: np.ndarray
    absent: np.ndarray

    @classmethod
    def of(cls, telemetry: Telemetry) -> Seen:
        """What these rows have shown."""
        low, high = np.nanmin(telemetry.w, axis=0), np.nanmax(telemetry.w, axis=0)
        still = np.where(_frozen(telemetry), 0, _stillness(telemetry.values, telemetry.run)).max(axis=0)
        return cls(low, high, still, _absence(telemetry.values).max(axis=0))

    def stale(self, history: Telemetry) -> dict[str, int]:
        """Tags that have been without a value for longer than they ever were, and than is bridged → rows."""
        now = _absence(history.values)[-1]
        late = (now > np.maximum(self.absent, BRIDGE)) & _spoken_for(history.plant)
        return {
            tag.vector or tag.name: int(n) for tag, n, old in zip(history.plant.tags, now, late, strict=True) if old
        }

    def frozen(self, history: Telemetry) -> list[str]:
        """CVs that have now stood still for more than twice as long as ever before."""
        now = _stillness(history.values, history.run)[-1]
        names = {tag.name for tag in history.plant.cvs}
        still = (now > 2 * self.still + 2) & _spoken_for(history.plant)
        return [name for name, stuck in zip(history.plant.names, still, strict=True) if stuck and name in names]


def _spoken_for(plant: Plant) -> np.ndarray:
    """(tags,) which are told of when they fail: of a vector tag its first component alone."""
    first = {name for branch in plant.branches for name in branch.names[:1]}
    return np.array([tag.vector is None or tag.name in first for tag in plant.tags])


def _stillness(values: np.ndarray, run: np.ndarray) -> np.ndarray:
    """(N, tags): for how many rows up to each one the value has not changed; a missing value is no change."""
    known = hold(values, run)
    moved = np.ones(values.shape, bool)
    moved[1:] = (known[1:] != known[:-1]) | (run[1:] != run[:-1])[:, None]
    rows = np.arange(len(values))[:, None]
    still: np.ndarray = rows - np.maximum.accumulate(np.where(moved, rows, 0), axis=0)
    return still


def _frozen(telemetry: Telemetry) -> np.ndarray:
    """(N, tags): where the value of a CV or DV was held suspiciously long, and not at an end of what was seen, where an
    instrument saturates or a vessel is empty."""
    found = np.zeros(telemetry.values.shape, bool)
    for i, tag in enumerate(telemetry.plant.tags):
        column = telemetry.values[:, i]
        if tag.role is not Role.MV and np.isfinite(column).any():
            inside = (column > np.nanmin(column)) & (column < np.nanmax(column))
            found[:, i] = anomalies.frozen(column, telemetry.run) & inside
    return found


def _absence(values: np.ndarray) -> np.ndarray:
    """(N, tags): for how many rows up to each one there has been no value."""
    rows = np.arange(1, len(values) + 1)[:, None]
    absent: np.ndarray = rows - np.maximum.accumulate(np.where(np.isfinite(values), rows, 0), axis=0)
    return absent


@dataclass(frozen=True)
class Reason:
    """One reason to trust an answer less.

    Attributes:
        tag: that it is about, where it is about one.
        cvs: of an effect, the CVs on which it is doubted.
    """

    code: str
    detail: str
    tag: str | None = None
    cvs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        tag = {} if self.tag is None else {"tag": self.tag}
        return {"code": self.code, **tag, **({"cvs": list(self.cvs)} if self.cvs else {}), "detail": self.detail}


@dataclass(frozen=True)
class Trust:
    """The verdict on one answer.

    Attributes:
        in_distribution: the twin has seen telemetry like this, and the process behaves as it did then.
        score: 0 (do not trust) to 1.
        calibrated: the bands keep their coverage here.
        reasons: what lowers the score, worst first.
    """

    in_distribution: bool
    score: float
    calibrated: bool
    reasons: tuple[Reason, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "in_distribution": self.in_distribution,
            "score": self.score,
            "calibrated": self.calibrated,
            "reasons": [reason.to_json() for reason in self.reasons],
        }


def verdict(
    *,
    distance: float,
    surprise: Mapping[str, float],
    shift: tuple[float, Mapping[str, str]] = (0.0, {}),
    lasting: Mapping[str, float] | None = None,
    beyond: Mapping[str, tuple[float, float, float]] = {},
    stale: Mapping[str, int] = {},
    frozen: Sequence[str] = (),
    effects: Sequence[Reason] = (),
    beyond_horizon_s: float | None = None,
) -> Trust:
    """Weigh what is known about one answer.

    Args:
        distance: how far the history and the planned inputs lie from the trained region, over the distance
            that 99 % of the training windows keep: above 1 is outside.
        surprise: CV → `Surprise.ratio`.
        shift: `Shift.ratio`, and CV → how far its forecasts were off, of those that stand out.
        lasting: of a plan, which corrects its forecasts: CV → the least surprise of those that plans were lately made
            by, where that is known. What these make up for, or may yet, lowers the score once, whatever its size.
        beyond: tag → (value asked, trained low, trained high) of inputs asked beyond their trained range.
        stale: tag → rows since its last measured value.
        frozen: tags that did not move although they always did.
        effects: that the answer leans on although the training data cannot show them (`unidentifiable_effect`), or
            hardly (`weak_effect`); CVs that may be steered the wrong way (`unknown_direction`); that what is learned
            beyond the linear part counts less (`learned_part_behind`).
        beyond_horizon_s: the calibrated horizon, where the answer reaches past it.
    """
    reasons: list[tuple[float, Reason]] = []
    outside = calibrated = False
    distance = _sure(distance)
    if distance > 1:
        outside = True
        detail = f"history and planned inputs lie {distance:.1f} times as far out as the trained region reaches"
        reasons.append((1 / distance, Reason("outside_region", detail)))
    changed = _changed(surprise, shift)
    if lasting is not None:
        kept = [(MADE_UP_FOR if i == 0 else 1.0, reason) for i, (_, reason) in enumerate(sorted(changed, key=_factor))]
        failing = {tag: _sure(ratio) for tag, ratio in lasting.items()}
        changed = kept + [(1 / ratio, _failing(tag, ratio)) for tag, ratio in failing.items() if ratio > 1]
    outside = outside or bool(changed)
    reasons += changed
    for tag, (value, low, high) in beyond.items():
        outside = True
        past = max(low - value, value - high) / (high - low) if high > low else math.inf
        detail = f"{tag} = {value:g} lies outside its trained range, {low:g} to {high:g}"
        reasons.append((1 / (1 + 4 * past), Reason("beyond_trained_range", detail, tag)))
    for tag, rows in stale.items():
        reasons.append((0.7, Reason("stale", f"{tag} has had no value for {rows} rows", tag)))
    reasons += [(0.5, Reason("frozen", f"{tag} has not moved, although it always did", tag)) for tag in frozen]
    for reason in effects:
        outside = outside or reason.code == "unidentifiable_effect"
        reasons.append((DOUBT[reason.code], reason))
    calibrated = not outside and not frozen
    if beyond_horizon_s is not None:
        calibrated = False
        detail = f"bands are calibrated to {beyond_horizon_s:g} s; past it they grow like a random walk"
        reasons.append((0.9, Reason("beyond_horizon", detail)))
    reasons.sort(key=_factor)
    score = math.prod(factor for factor, _ in reasons)
    return Trust(not outside, round(float(score), 4), calibrated, tuple(reason for _, reason in reasons))


def _changed(surprise: Mapping[str, float], shift: tuple[float, Mapping[str, str]]) -> list[tuple[float, Reason]]:
    """Why the process does not behave as it did, each with what it leaves of the score."""
    found = []
    shift = _sure(shift[0]), shift[1]
    for tag, ratio in ((tag, _sure(ratio)) for tag, ratio in surprise.items()):
        if ratio > 1:
            detail = f"forecasts of the last rows missed {tag} by {math.sqrt(ratio):.1f} times the alarm size"
            found.append((1 / ratio, Reason("surprise", detail, tag)))
    if shift[0] > 1:
        most = ", ".join(f"{tag} by {off}" for tag, off in shift[1].items())
        detail = f"forecasts over the last horizon were off to one side, {math.sqrt(shift[0]):.1f} times the alarm size"
        found.append((1 / shift[0], Reason("shift", f"{detail}: {most}", next(iter(shift[1]), None))))
    return found


def _sure(ratio: float) -> float:
    """The same; what is no number was worked out from values too large for any: that is infinitely far."""
    return math.inf if math.isnan(ratio) else ratio


def _failing(tag: str, ratio: float) -> Reason:
    detail = (
        f"plans do not make up for it: for as long as they look back, the forecasts they are made by missed {tag} by"
        f" {math.sqrt(ratio):.1f} times the alarm size"
    )
    return Reason("not_made_up_for", detail, tag)


def _factor(pair: tuple[float, Reason]) -> float:
    return pair[0]
