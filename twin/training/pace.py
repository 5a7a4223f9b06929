"""Training against the clock: the budget, the progress that is told, and when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from twin.dynamics.jepa import Jepa
from twin.training.checkpoint import Standing
from twin.training.residual import Evaluation, Recipe, Trainer, alarms

STEPS = 10_000  # of training at most
BACKBONE_SHARE = 0.15  # of the progress bar
PAYS = 0.95  # a part ships where it brings the out-of-fold error to this share of that without it
RACE = 400  # steps after which a residual around the linear part must be better than the polynomial alone
CLEAR = 0.5  # the share of the error that decides a race which time ends before
OVERTAKEN = "overtaken by the polynomial"


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        step, total: training steps; total is what remains at most.
        fraction: 0 to 1, of all the work.
        eta_s: seconds that remain, by the budget or the pace, whichever ends first.
        losses: the last losses, and `out_of_fold`: the error on held-out blocks, 1 for the backbone alone.
        alarms: what speaks of collapsed embeddings.
    """

    step: int
    total: int
    fraction: float
    eta_s: float
    losses: dict[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Pace:
    """How long training may take, and whom it tells.

    Attributes:
        budget_s, started, report, clock: as `fit` has them.
        keep: what is done with where training stands.
        done, share: of the residual's part of the progress bar: what lies behind, and what this training is.
        curved: whether it is around the polynomial.
    """

    budget_s: float
    started: float
    report: Report
    clock: Callable[[], float]
    keep: Callable[[Standing], None] = lambda _: None
    done: float = 0.0
    share: float = 1.0
    curved: bool = False


class Run(NamedTuple):
    """A training that ended.

    Attributes:
        curve: every evaluation, JSON.
        best: the one with the least out-of-fold error.
        stopped: why it ended.
        started: when it began by the clock.
    """

    curve: list[dict[str, Any]]
    best: Evaluation
    stopped: str
    started: float


def train(
    trainer: Trainer,
    recipe: Recipe,
    pace: Pace,
    standing: Standing | None = None,
    start: Jepa | None = None,
    beat: float = np.inf,
) -> Run:
    """Train the residual against the clock.

    Args:
        standing: where it stood, to be taken up there.
        start: weights (members, ·) to start from.
        beat: the error to be reached within `RACE` steps, or nearly within the time; training is overtaken where it is
            not.
    """
    curve: list[dict[str, Any]] = []
    best: Evaluation | None = None
    budget_s, started, clock = pace.budget_s, pace.started, pace.clock
    compiled, until, moment = started, started + 2 * budget_s, None
    if standing:
        curve, best, started, moment = standing.curve, standing.best, clock() - standing.spent_s, standing.moment
        compiled, until = started + standing.compiled_s, started + standing.until_s

    def spent() -> float:
        return (clock() - compiled) / max(until - compiled, 1e-3)

    for now in trainer.run(STEPS, spent, moment, start):
        moment = now.moment
        curve.append({"step": now.step, "out_of_fold": now.out_of_fold, **now.losses})
        if best is None or now.out_of_fold < best.out_of_fold:
            best = now._replace(moment=None)
        now_s = clock()
        if len(curve) == 2:  # compiled: however long the backbone and that took, half the budget is the residual's
            compiled, until = now_s, max(started + budget_s, now_s + 0.5 * budget_s)
        share = max(now.step / STEPS, min((now_s - compiled) / max(until - compiled, 1e-3), 1.0)) if now.step else 0.0
        fraction = BACKBONE_SHARE + (1 - BACKBONE_SHARE) * (pace.done + pace.share * share)
        told = now.losses | {"out_of_fold": now.out_of_fold}
        eta = max(until - now_s, 0.0) if now.step else max(started + budget_s - now_s, 0.5 * budget_s)
        eta += budget_s * (1 - pace.done - pace.share) / pace.share
        pace.report(Progress(now.step, STEPS, fraction, eta, told, alarms(now.losses, recipe)))
        over = moment is None or moment.schedule.ended or now_s >= until
        lead = PAYS if now.step >= RACE else CLEAR
        if (now.step >= RACE or over) and lead * best.out_of_fold > beat:
            return Run(curve, best, OVERTAKEN, started)
        if moment and 0 < now.step < STEPS and not over:  # the last is not kept: there would be nothing to go on with
            spans = (now_s - started, compiled - started, until - started)
            pace.keep(Standing(moment, best, curve, *spans, pace.curved))
    assert best is not None  # noqa: S101
    assert moment is not None  # noqa: S101
    stopped = "no longer improved" if moment.schedule.ended else "steps" if moment.step >= STEPS else "time"
    return Run(curve, best, stopped, started)
