"""Calibrate: how far plans must stay inside the limits of CVs, from the errors of the forecasts they are made by.

The forecasts are the planner's own: with δ and b estimated from the last rows as `optimize.plan` does, under the
moves that were made, held against what was measured. At the end of training that telemetry is the training's, each
part forecast by the member that never saw it; later it is whatever has been recorded since.
"""

from __future__ import annotations

import uuid

import jax
import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.errors import TrainingError
from twin.inheritance import folds_of
from twin.moves import Envelope, strict
from twin.planning.absorbed import forecasts
from twin.planning.backoff import BackOff
from twin.rollout import rollout
from twin.telemetry import Telemetry
from twin.training.correction import CHUNK, member, recent
from twin.training.disturbances import expected
from twin.training.folds import COUNT, spread
from twin.trust import COVERAGE, TINY, Bands, Surprise
from twin.windows import Grid, Window

WINDOWS = 300  # a fold
FEWEST = 100  # windows of live telemetry that say enough; and values of a CV, to narrow its band
SHRINKS = 0.5  # live telemetry narrows a band to this share at the least


def calibrate(twin: Twin, telemetry: Telemetry) -> BackOff:
    """The first calibration of a twin.

    Args:
        twin: as training made it.
        telemetry: what it was trained on, all of it: the blocks that each member did not see follow from it.
    """
    telemetry = twin.reads(telemetry)
    folds = folds_of(twin, telemetry)
    grid = Grid.of(telemetry, twin.scaler)
    held_out = [spread(folds.held_out(fold), WINDOWS) for fold in range(COUNT)]
    of_fold = np.repeat(np.arange(COUNT), WINDOWS)

    def errors(announced: bool) -> tuple[np.ndarray, np.ndarray]:
        parts = [_errors(member(twin.dynamics, i), grid, twin, ends, announced) for i, ends in enumerate(held_out)]
        return np.concatenate([part for part, _ in parts]), np.concatenate([mask for _, mask in parts])

    residuals, mask = errors(announced=True)
    bands = Bands.across(residuals, mask, of_fold)
    alone = None
    if twin.disturbances is not None:
        alone = Bands.across(*errors(announced=False), of_fold).containing(bands)
    rows = reaction(twin, alone or bands)
    return _record(twin, bands, alone, rows, Surprise.fit(residuals, mask), "training", len(residuals), telemetry)


def renew(twin: Twin, before: BackOff, telemetry: Telemetry) -> BackOff:
    """A calibration from telemetry that the twin was not trained on, such as the last weeks under its own control.

    The bands of the record before keep their shape; each side of each CV is stretched, or shrunk, until it holds. What
    counts as a surprise is raised to what these rows show, never lowered.

    Raises:
        TrainingError: there is too little of it.
    """
    telemetry = twin.reads(telemetry)
    grid = Grid.of(telemetry, twin.scaler)
    usable = grid.ends(twin.history, twin.horizon)
    if len(usable) < FEWEST:
        raise TrainingError(
            f"{len(usable)} forecasts can be held against these {len(telemetry)} rows, {FEWEST} are needed: each takes"
            f" {twin.history} rows before and {twin.horizon} behind it without a gap"
        )
    ends = spread(usable, min(COUNT * WINDOWS, len(usable)))
    residuals, mask = _errors(twin.dynamics, grid, twin, ends)
    fitted = _stretched(before.bands, before.reaction, residuals, mask)
    alone = before.unannounced
    if alone is not None:
        found, _ = _errors(twin.dynamics, grid, twin, ends, announced=False)
        alone = _stretched(alone, before.reaction, found, mask).containing(fitted)
    surprise = before.surprise and before.surprise.widened(residuals, mask)
    return _record(twin, fitted, alone, before.reaction, surprise, "live", len(ends), telemetry)


def _stretched(bands: Bands, reaction: np.ndarray, residuals: np.ndarray, mask: np.ndarray) -> Bands:
    """Each side of each CV's band so wide that it holds for these residuals (n, K, CVs) until the reaction."""
    quantiles, horizon = bands.quantiles.copy(), residuals.shape[1]
    low, high = bands.at(1 - COVERAGE, horizon), bands.at(COVERAGE, horizon)
    median = bands.levels >= 0.5
    for cv, rows in enumerate(reaction):
        known = mask[:, :rows, cv] > 0
        for side, edge in ((median, np.maximum(high, TINY)), (~median, np.minimum(low, -TINY))):
            reached = (residuals[:, :rows, cv] / edge[None, :rows, cv])[known]
            least = SHRINKS if len(reached) >= FEWEST else 1.0
            share = max(float(np.quantile(reached, COVERAGE)), least) if len(reached) else 1.0
            quantiles[side, :, cv] *= share
    return Bands(bands.levels, np.maximum.accumulate(quantiles, axis=0))


def reaction(twin: Twin, bands: Bands) -> np.ndarray:
    """(CVs,) rows until one MV, moving at its full rate through its trained range, has moved a CV by as much as the
    band is wide there; the whole horizon where none ever does."""
    low, high = bands.interval(COVERAGE, twin.horizon)
    answers = _answers(twin)
    reached = answers.max(axis=0, initial=0.0) >= (high - low) / 2
    return np.where(reached.any(axis=0), reached.argmax(axis=0) + 1, twin.horizon)


def _answers(twin: Twin) -> np.ndarray:
    """(MVs, K, CVs) half of what separates full rate up from full rate down, from the reference on: model units."""
    present = np.asarray(twin.scaler.w_out(twin.reference.w[-1]), np.float64)
    held = np.tile(present, (twin.horizon, 1))
    out = []
    for i, tag in enumerate(twin.plant.mvs):
        envelope = Envelope.of(tag, twin.plant.sample_period_s)
        ends = []
        for edge in (twin.seen.low[i], twin.seen.high[i]):
            moved = held.copy()
            moved[:, i] = strict([float(edge)] * twin.horizon, float(present[i]), envelope)
            ends.append(np.asarray(_follow(twin.dynamics, twin.reference, twin.scaler.w_in(moved))))
        out.append(np.abs(ends[1] - ends[0]) / 2)
    return np.array(out).reshape(-1, twin.horizon, len(twin.plant.cvs))


def _record(
    twin: Twin,
    bands: Bands,
    unannounced: Bands | None,
    rows: np.ndarray,
    surprise: Surprise | None,
    source: str,
    windows: int,
    telemetry: Telemetry,
) -> BackOff:
    first, last = (pd.Timestamp(telemetry.times[i], tz="UTC") for i in (0, -1))
    now = pd.Timestamp.now("UTC").floor("us")
    of = uuid.uuid4().hex[:12]
    return BackOff(of, twin.id, bands, rows, source, windows, first, last, now, surprise, unannounced)


def _errors(
    dynamics: Ensemble, grid: Grid, twin: Twin, ends: np.ndarray, announced: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """(n, K, CVs) measured less forecast at each end, and where it was measured.

    Args:
        announced: whether forecasts knew what the DVs would do, or went by what the twin expects of them.
    """
    future = grid.future(ends, twin.horizon)
    w = future.w
    if not announced and twin.disturbances is not None:
        w = expected(twin.disturbances, twin.scaler, grid, ends, twin.horizon)
    found = []
    for start in range(0, len(ends), CHUNK):
        part = np.resize(np.arange(start, min(start + CHUNK, len(ends))), CHUNK)  # repeated: one compiled shape
        windows, whole = recent(grid, ends[part], twin.history)
        y = np.asarray(forecasts(dynamics, windows, whole, w[part]))
        found.append(future.y[start : start + CHUNK] - y[: len(ends) - start])
    return np.concatenate(found).astype(np.float64), future.mask


@jax.jit
def _follow(dynamics: Ensemble, window: Window, w: jax.Array) -> jax.Array:
    """(K, CVs)."""
    return rollout(dynamics, dynamics.encode(window), w)
