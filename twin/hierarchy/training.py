"""fit: telemetry in, a twin with a slow one beneath it out.

The slow one is a twin like any other, of averages over a stride that follows the dominant settling time: trained by its
own rollout loss, with its own history, horizon and calibrated bands. Days then are as many steps as minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twin import train
from twin.artifact import Twin
from twin.calibrate import calibrate
from twin.errors import Cancelled, QuestionError, TrainingError
from twin.gain_sign import asked_of
from twin.hierarchy.stride import ENOUGH, FEWEST, SHORTEST_STRIDE, averaged, settling_rows, stride_for
from twin.planning.backoff import BackOff
from twin.telemetry import Telemetry
from twin.train import Options
from twin.training.checkpoint import Checkpoint
from twin.training.folds import ROWS, sizes
from twin.training.pace import Progress, Report

FAST = 0.7  # of the budget and of the progress; the rest is the slow twin's, which has fewer rows
BACK_OFF = "back_off"  # in the slow twin's card: the calibration that slow plans keep limits by


def fit(
    telemetry: Telemetry,
    options: Options = Options(),
    stride: int | None = None,
    progress: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
    checkpoint: Checkpoint | None = None,
    start: Twin | None = None,
) -> Twin:
    """Train a twin and a slow one beneath it.

    Args:
        telemetry: rows on the plant's grid.
        options: of both; `horizon_s` is the fast twin's alone.
        stride: rows that a slow row averages; by default a sixth of the dominant settling time, and no slow twin where
            the telemetry is too short for one: the card says which, and why.
        progress, clock: as of `train.fit`.
        checkpoint, start: of the fast twin, as of `train.fit`.

    Raises:
        TrainingError: too few rows, for the twin or for the stride asked.
        QuestionError: the stride is longer than the fast horizon, or no stride at all.
    """
    if stride is not None:
        _check(telemetry, stride)
    report = progress or (lambda _: None)
    budget = replace(options, budget_s=FAST * options.budget_s)
    fast = train.fit(telemetry, budget, _share(report, 0.0, FAST), clock, checkpoint, start)
    settling = settling_rows(fast)
    period_s = fast.plant.sample_period_s
    if stride is not None and stride > fast.horizon:
        msg = f"{stride} rows, longer than the {fast.horizon} rows that the fast twin forecasts"
        raise QuestionError.at(("options", "slow_stride"), msg)
    used = stride_for(settling, fast.horizon, len(telemetry)) if stride is None else stride
    about: dict[str, Any] = {"settling_s": settling * period_s}
    if used is None:
        why = f"no slow twin: {len(telemetry)} rows are too few to average, {SHORTEST_STRIDE * ENOUGH} are needed"
        return replace(fast, card={**fast.card, "slow": {**about, "why": why}})
    rows, signs = averaged(fast.reads(telemetry), used), asked_of(fast.card) or None
    of_slow = replace(options, horizon_s=None, budget_s=(1 - FAST) * options.budget_s, gain_sign=signs)
    try:
        slow = train.fit(rows, of_slow, _share(report, FAST, 1 - FAST), clock)
    except TrainingError as error:
        if stride is not None or isinstance(error, Cancelled):
            raise
        why = f"no slow twin: averages over {used} rows do not do: {error.detail}"
        return replace(fast, card={**fast.card, "slow": {**about, "why": why}})
    slow = replace(slow, card={**slow.card, BACK_OFF: calibrate(slow, rows).to_json()})
    chosen = "as asked" if stride is not None else "a sixth of the dominant settling time, as far as the rows allow"
    about |= {
        "stride": used,
        "period_s": used * period_s,
        "horizon_s": slow.horizon_s,
        "min_history_rows": used * slow.min_history_rows,
        "rows": len(rows),
        "why": f"each slow row averages {used} rows, {used * period_s:g} s: {chosen}",
        "backtest": slow.card["backtest"],
        "training": {name: slow.card["training"][name] for name in ("residual", "stopped_by", "seconds")},
    }
    return replace(fast, slow=slow, card={**fast.card, "slow": about})


def back_off(slow: Twin) -> BackOff:
    """How far slow plans stay inside limits."""
    return BackOff.from_json(slow.card[BACK_OFF])


def _check(telemetry: Telemetry, stride: int) -> None:
    """Refuse a stride that the telemetry is too short for, before anything is trained."""
    if stride < 2:
        raise QuestionError.at(("options", "slow_stride"), "must be 2 rows or more")
    slow = averaged(telemetry, stride)
    left = f"a slow stride of {stride} rows leaves {len(slow)} averages of these {len(telemetry)} rows"
    if len(slow) < FEWEST:
        most = len(telemetry) // FEWEST
        advice = f"a stride of at most {most} rows would do" if most >= 2 else "upload more"
        raise TrainingError(f"{left}, and training needs {FEWEST}: {advice}")
    try:
        sizes(slow.run, ROWS)
    except TrainingError as error:
        raise TrainingError(f"{left}: {error.detail}; a shorter stride leaves longer runs") from error


def _share(report: Report, before: float, share: float) -> Report:
    """Progress of a part of the work."""

    def tell(progress: Progress) -> None:
        report(replace(progress, fraction=before + share * progress.fraction))

    return tell
