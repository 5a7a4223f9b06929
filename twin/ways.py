"""Ways to a twin: a linear part, perhaps a polynomial, a residual around them; raced by their error out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.polynomial import Polynomial
from twin.fleet.start import Start
from twin.inheritance import Inheritance
from twin.training.backbone import Score
from twin.training.checkpoint import Standing
from twin.training.folds import Folds, spread
from twin.training.noise import Chosen, with_noise
from twin.training.pace import OVERTAKEN, PAYS, Pace, Progress, Run, train
from twin.training.polynomial import Fitted
from twin.training.reduction import reduce
from twin.training.residual import JUDGED, Base, Cases, Evaluation, Recipe, Trainer, cases
from twin.training.signed import breaks, keep_signs
from twin.windows import Grid

AS_GOOD = 0.999  # what `PAYS` is for a fleet's residual, for which other units have spoken already
CALIBRATED = 300  # held-out windows a fold that calibrate the bands
UNCHANGED = 0.05  # of its own error: by how much a forecast may change when states are taken out of the backbone


class Way(NamedTuple):
    """A backbone that may become a twin: its linear part as it was chosen, with its noise model, the gains that are
    bound by sign, the polynomial part where there is one, and the training of the residual around them."""

    chosen: Score
    linear: Chosen
    bound: np.ndarray | None
    trainer: Trainer
    polynomials: Polynomial | None = None

    def error(self, best: Evaluation, pays: float) -> float:
        """Out of fold, model units: the mean over rows and CVs, without the residual unless it `pays`."""
        return float(self.trainer.scale.mean()) * (best.out_of_fold if best.out_of_fold <= pays else 1.0)


class Plan(NamedTuple):
    """What all ways share: rows and folds, how residuals are trained, the signs of gains that are asked."""

    grid: Grid
    folds: Folds
    recipe: Recipe
    seed: int
    asked: np.ndarray | None

    def around(self, chosen: Score, noise: bool = True) -> Way:
        """The way around a linear part."""
        bound = None
        if self.asked is not None:
            chosen, bound, _ = keep_signs(chosen, self.grid, self.folds, self.asked)
        chosen = _reduced(chosen, self.grid, self.folds, self.asked)
        cvs = self.grid.y.shape[1]
        linear = Chosen(tuple(chosen.fits), [None] * cvs, np.zeros(cvs))
        if noise:
            linear = with_noise(self.grid, self.folds, chosen.fits)
        return Way(chosen, linear, bound, self._trainer(linear.backbones))

    def bent(self, way: Way, curved: Fitted) -> Way:
        """The same with a residual around the polynomial."""
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *curved.fits)
        return way._replace(trainer=self._trainer(curved.fits), polynomials=stacked)

    def error(self, models: Sequence[Base]) -> float:
        """Mean NRMSE out of fold over CVs and rows, each model on the windows its fold holds out."""
        judged = held_out(self.grid, self.folds, models, JUDGED)
        squares = np.sum(
            [(c.future.mask * (c.future.y - np.asarray(c.y_lin)) ** 2).sum(axis=0) for c in judged], axis=0
        )
        known = np.maximum(np.sum([c.future.mask.sum(axis=0) for c in judged], axis=0), 1.0)
        return float(np.sqrt(squares / known).mean())

    def _trainer(self, base: tuple[Base, ...]) -> Trainer:
        return Trainer(self.grid, self.folds, base, self.recipe, self.seed, self.asked)


class Taken(NamedTuple):
    """The way that was taken, its training, and what the card tells of the choice."""

    way: Way
    run: Run
    told: dict[str, Any]


def raced(own: Way, plan: Plan, curved: Fitted | None, pace: Pace, standing: Standing | None) -> Taken:
    """A residual around the linear part; around the polynomial where that alone forecasts better than the first after
    `RACE` steps."""
    pace = _onward(pace)
    error = np.inf if curved is None else plan.error(curved.fits)
    if not (standing and standing.curved):
        run = train(own.trainer, plan.recipe, pace, standing, beat=error / float(own.trainer.scale.mean()))
        if curved is None or run.stopped != OVERTAKEN:
            return Taken(own, run, {})
        standing = None
    assert curved is not None  # noqa: S101
    way = plan.bent(own, curved)
    return Taken(way, train(way.trainer, plan.recipe, replace(pace, curved=True), standing), {})


def _onward(pace: Pace) -> Pace:
    """The same, whose progress never goes back."""
    furthest = 0.0

    def report(progress: Progress) -> None:
        nonlocal furthest
        furthest = max(furthest, progress.fraction)
        pace.report(replace(progress, fraction=furthest))

    return replace(pace, report=report)


def warm(own: Way, plan: Plan, curved: Fitted | None, pace: Pace, inherited: Inheritance) -> Taken:
    """The way around what an earlier twin's residual was trained around, as far as that still pays."""
    way = own
    if curved is not None and inherited.curved:
        pays = plan.error(curved.fits) <= PAYS * float(own.trainer.scale.mean())
        way = plan.bent(own, curved) if pays else own
    return Taken(way, *trained_on(way.trainer, plan.recipe, pace, inherited))


def trained_on(trainer: Trainer, recipe: Recipe, pace: Pace, inherited: Inheritance) -> tuple[Run, dict[str, Any]]:
    """The better of an earlier residual trained on and a fresh one, in half of the time each; what is told of it."""
    half = replace(pace, budget_s=0.5 * pace.budget_s, share=0.5)
    again = train(trainer, recipe, half, start=inherited.residuals)
    fresh = train(trainer, recipe, replace(half, started=pace.clock(), done=0.5))
    kept = "warm" if again.best.out_of_fold < fresh.best.out_of_fold else "fresh"
    told = {"warm": again.best.out_of_fold, "fresh": fresh.best.out_of_fold}
    why = (
        f"from {inherited.twin} on: {told['warm']:.3f} of the backbone's error out of fold; fresh: {told['fresh']:.3f}"
    )
    before = again.curve[0]["out_of_fold"]
    start = {"twin": inherited.twin, "out_of_fold": told, "before": before, "kept": kept, "why": why}
    return (again if kept == "warm" else fresh)._replace(started=pace.started), {"start": start}


def better(own: Way, common: Way, shared: Start, recipe: Recipe, pace: Pace) -> Taken:
    """Of the unit's own linear part with a fresh residual, and the fleet's with the fleet's, the way with the lesser
    error out of fold; each has half of the time."""
    half = replace(pace, budget_s=0.5 * pace.budget_s, share=0.5)
    theirs = train(common.trainer, recipe, half, start=shared.residuals)
    alone = train(own.trainer, recipe, replace(half, started=pace.clock(), done=0.5))
    errors = {"common": common.error(theirs.best, AS_GOOD), "own": own.error(alone.best, PAYS)}
    kept = "common" if errors["common"] <= errors["own"] else "own"
    fleet, (way, trained) = shared.fleet, (common, theirs) if kept == "common" else (own, alone)
    taken = common.chosen.candidate.name
    why = (
        f"{taken}, residual from the fleet's ({theirs.best.step} steps on): {errors['common']:.4f} out of fold; "
        f"a twin of these rows alone: {errors['own']:.4f}"
    )
    units = len(fleet.card["units"])
    told = {"fleet": fleet.id, "units": units, "out_of_fold": errors, "kept": kept, "why": why, "linear": taken}
    return Taken(way, trained._replace(started=pace.started), {"common": told})


def held_out(grid: Grid, folds: Folds, models: Sequence[Base], count: int = CALIBRATED) -> list[Cases]:
    """`count` windows that each fold holds out, forecast by the model fitted without them."""
    return [cases(grid, folds, model, spread(folds.held_out(f), count)) for f, model in enumerate(models)]


def _reduced(score: Score, grid: Grid, folds: Folds, asked: np.ndarray | None) -> Score:
    """The same candidate with the states that its forecasts do not need taken out of its fits."""
    judged = held_out(grid, folds, score.fits)
    squares = np.mean([(case.future.mask * (case.future.y - case.y_lin) ** 2).mean(axis=0) for case in judged], axis=0)
    near = UNCHANGED * np.sqrt(squares) + 1e-6
    windows, w = [case.window for case in judged], [case.future.w for case in judged]
    fits = tuple(reduce(score.fits, windows, w, near))
    if asked is None:
        return replace(score, fits=fits)
    lost = breaks(fits, asked, folds.horizon) & ~breaks(score.fits, asked, folds.horizon)  # a small gain may get lost
    return score if lost.any() else replace(score, fits=fits)
