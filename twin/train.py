"""fit: telemetry in, a twin out.

The backbone is chosen by its free run over held-out blocks; the latent residual is cross-fitted around it and
shipped where it pays; what each member forecast on the blocks it never saw calibrates the bands.
"""

from __future__ import annotations

import resource
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin, libraries
from twin.branches import with_components
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.jepa import Jepa
from twin.dynamics.lti import Lti, padded
from twin.dynamics.noise import Linear, parts
from twin.dynamics.polynomial import Polynomial
from twin.errors import QuestionError, TrainingError
from twin.fleet.start import Joining, Start
from twin.gain_sign import signs
from twin.identifiability import identifiability
from twin.inheritance import Inheritance, blocks, inherit
from twin.scaling import Scaler
from twin.sign_check import sign_check
from twin.telemetry import Telemetry
from twin.training import polynomial
from twin.training.backbone import ROUNDS, Arx, Score, choose, select
from twin.training.backtest import backtest
from twin.training.checkpoint import Checkpoint, Standing, fingerprint
from twin.training.correction import SHARES, out_of_fold
from twin.training.disturbances import expected
from twin.training.disturbances import fit as fit_disturbances
from twin.training.extrapolation import extrapolating
from twin.training.folds import COUNT, ROWS, Folds, sizes, split, spread
from twin.training.noise import Chosen, with_noise
from twin.training.reduction import reduce
from twin.training.region import trained_region
from twin.training.residual import JUDGED, Base, Cases, Evaluation, Recipe, Trainer, alarms, cases
from twin.training.sampling import sampling
from twin.training.signed import breaks, keep_signs
from twin.training.signs import operating_points, shares, shrunk
from twin.trust import Calibration, Seen
from twin.windows import Grid, Window

STEPS = 10_000  # of training at most
BACKBONE_SHARE = 0.15  # of the progress bar
PAYS = 0.95  # the residual ships where it brings the out-of-fold error to this share of the backbone's
AS_GOOD = 0.999  # the same of a fleet's residual, for which other units have spoken already
CALIBRATED = 300  # held-out windows a fold that calibrate the bands
REFERENCES = 4000  # windows at most, of which the one nearest to the middle is kept
RACE = 400  # steps after which a residual around the linear part must be better than the polynomial alone
OVERTAKEN = "overtaken by the polynomial"
UNCHANGED = 0.05  # of its own error: by how much a forecast may change when states are taken out of the backbone


@dataclass(frozen=True)
class Options:
    """What may be asked of training; nothing needs to be.

    Args:
        horizon_s: how far the twin is trained and calibrated to forecast; 60 rows by default.
        budget_s: seconds after which training stops with the best so far. The residual has half of them for itself,
            so that a busy machine trains for longer, up to about twice the budget, rather than worse.
        seed: of the network and its batches; the same seed gives the same twin, unless time stopped it.
        pure: train the latent by joint embedding alone, the readout behind a stop-gradient.
        gain_sign: what is known of the process, {MV: {CV: 1, -1 or 0}}: a twin of it keeps that sign of the gain, or
            0 (no effect), and its card says whether it does. With an earlier twin to start from, that one's by default.
    """

    horizon_s: float | None = None
    budget_s: float = 90.0
    seed: int = 0
    pure: bool = False
    gain_sign: Mapping[str, Mapping[str, int]] | None = None


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


def fit(
    telemetry: Telemetry,
    options: Options = Options(),
    progress: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
    checkpoint: Checkpoint | None = None,
    start: Twin | None = None,
    fleet: Joining | None = None,
) -> Twin:
    """Train a twin of the plant from its telemetry.

    Args:
        telemetry: rows on the plant's grid; windows never cross its gaps.
        progress: called a few times a second at most; it may raise `Cancelled`.
        clock: what the budget is measured by; `time.process_time` where the machine is busy with other work.
        checkpoint: where training of the residual stands is kept there, and taken up where it stood; what was spent
            of the budget until then stays spent. The backbone is chosen again: its choice is the same.
        start: an earlier twin of the plant, whose latent residual is trained on (`twin.inheritance`) beside a fresh one
            in half of the time each; the one with the lesser error out of fold is kept. It has no checkpoints.
        fleet: what was learnt from similar units (`twin.fleet.learn`): the twin starts from its linear part and its
            residual, and a twin of these rows alone is trained beside it, in half of the time each; the one with the
            lesser error out of fold is kept. Few rows will do. It has no checkpoints.

    Raises:
        TrainingError: too few rows, or a CV that was never measured.
        QuestionError: the earlier twin, or the fleet, is no start, or a sign is asked of tags that the plant does not
            have.
    """
    started = clock()
    telemetry = with_components(telemetry, None if start is None else start.plant.branches)
    report = progress or (lambda _: None)
    shared = None if fleet is None else _from_fleet(fleet, telemetry, options, start)
    inherited = None if start is None else inherit(start, telemetry)
    known = _known(telemetry, options, start)
    if shared is None:
        folds = _folds(telemetry, options, inherited)
    else:
        _measured(telemetry)
        folds = _usable(telemetry, shared.folds)
    scaler = shared.scaler if shared else inherited.scaler if inherited else Scaler.fit(telemetry)
    grid = Grid.of(telemetry, scaler)
    report(Progress(0, STEPS, 0.0, options.budget_s))
    scores: list[Score] = []
    rounds = len(ROUNDS) + polynomial.ROUNDS

    def chosen_so_far(done: int, error: float) -> None:
        left = max(options.budget_s - (clock() - started), 0.0)
        report(Progress(0, STEPS, BACKBONE_SHARE * done / rounds, left, {"backbone": error}))

    for done, scores in enumerate(select(grid, folds), start=1):
        chosen_so_far(done, scores[0].error)
    curved: polynomial.Fitted | None = None
    asked = _learnable(known, telemetry)
    if asked is None:  # signs of gains are kept by linear models
        for done, curved in enumerate(polynomial.select(grid, folds), start=len(ROUNDS) + 1):
            chosen_so_far(done, min(scores[0].error, curved.error if curved else np.inf))
    plan = _Plan(grid, folds, Recipe(pure=options.pure), options.seed, asked)
    own = plan.around(choose(scores, grid.y.shape[1], grid.w.shape[1]))
    if inherited is not None or shared is not None:
        checkpoint = None
    of = fingerprint(telemetry, {**asdict(options), **asdict(plan.recipe), **libraries()}) if checkpoint else ""
    standing = checkpoint.load(of, own.trainer.start()) if checkpoint else None

    def keep(standing: Standing) -> None:
        if checkpoint:
            checkpoint.keep(standing, of)

    pace = Pace(options.budget_s, started, report, clock, keep)
    if inherited is not None:
        way, trained = _warm(own, plan, curved, pace, inherited)
    elif shared is not None:
        way, trained = _better(own, plan.around(shared.scores(grid)[0], noise=False), shared, plan.recipe, pace)
        scores = [way.chosen, *scores] if way is not own else scores
    else:
        way, trained = _raced(own, plan, curved, pace, standing)
    curve, best, stopped, spent, began = trained
    linear, chosen, pays = way.linear, way.chosen, PAYS if way.chosen is own.chosen else AS_GOOD
    names = [tag.name for tag in telemetry.plant.cvs]
    best, taken, ships, only = _within_signs(best, plan.asked, way.trainer, linear.backbones, grid, folds, names, pays)
    dynamics = replace(_ensemble(linear.backbones, best, ships, grid, folds), polynomials=way.polynomials)
    if curved is not None and way.polynomials is not None and not ships:
        dynamics = replace(dynamics, region=extrapolating(dynamics.region, grid, folds, chosen.candidate, curved.form))
    if shared is not None and way is not own:
        dynamics = replace(dynamics, region=shared.region)
    disturbances, told_of_dvs = fit_disturbances(telemetry, folds)

    def alone(ends: np.ndarray) -> np.ndarray:
        return expected(disturbances, scaler, grid, ends, folds.horizon)

    held_out = [spread(folds.held_out(f), CALIBRATED) for f in range(COUNT)]
    judged = out_of_fold(dynamics, grid, folds, held_out, alone if told_of_dvs else None)
    card = _card(telemetry, folds, scaler, scores, chosen, curve, best, ships, plan.recipe)
    if only:
        card["training"]["residual"]["why"] += f" It does so for {', '.join(only)} alone, and ships for no other CV."
    card["training"] |= {"blocks": blocks(telemetry, folds.label), "apart": folds.apart, **began}
    card["training"]["noise_model"] = _noise_card(telemetry, linear)
    card["training"]["polynomial"] = _polynomial_card(curved, own, way, asked)
    card["training"]["sampling"] = sampling(grid, telemetry.plant.sample_period_s)
    card["disturbances"] = told_of_dvs
    card["training"]["correction"] = {
        "share": judged.share,
        "outside": judged.outside,
        "shares": SHARES,
        "errors": judged.errors,
    }
    best_arx = next(score for score in scores if isinstance(score.candidate, Arx))
    arx = _judged(grid, folds, best_arx.fits)
    residuals = {"twin": judged.residuals, "arx": _linear(arx), "persistence": _persistence(arx)}
    card["backtest"] = backtest(telemetry.plant, scaler, residuals, judged.mask, judged.fold)
    card["training"]["stopped_by"] = stopped
    card["training"]["seconds"] = clock() - spent
    card["training"]["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    twin = Twin(
        id=uuid.uuid4().hex[:12],
        plant=telemetry.plant,
        scaler=scaler,
        dynamics=dynamics,
        history=folds.history,
        horizon=folds.horizon,
        seen=Seen.of(telemetry),
        calibration=Calibration.fit(judged.residuals, judged.mask, judged.fold, judged.plain, judged.unannounced),
        correction=(judged.share, judged.outside),
        reference=_reference(grid, folds),
        card=card,
        disturbances=disturbances if told_of_dvs else None,
    )
    if known is not None:
        card["gain_sign"] = sign_check(twin, telemetry, known, way.bound, taken if ships else None)
        twin = replace(twin, card=card)
    return replace(twin, card={**card, "identifiability": identifiability(twin, telemetry)})


class _Way(NamedTuple):
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


class _Plan(NamedTuple):
    """What all ways share: rows and folds, how residuals are trained, the signs of gains that are asked."""

    grid: Grid
    folds: Folds
    recipe: Recipe
    seed: int
    asked: np.ndarray | None

    def around(self, chosen: Score, noise: bool = True) -> _Way:
        """The way around a linear part."""
        bound = None
        if self.asked is not None:
            chosen, bound, _ = keep_signs(chosen, self.grid, self.folds, self.asked)
        chosen = _reduced(chosen, self.grid, self.folds, self.asked)
        cvs = self.grid.y.shape[1]
        linear = Chosen(tuple(chosen.fits), [None] * cvs, np.zeros(cvs))
        if noise:
            linear = with_noise(self.grid, self.folds, chosen.fits)
        return _Way(chosen, linear, bound, self._trainer(linear.backbones))

    def bent(self, way: _Way, curved: polynomial.Fitted) -> _Way:
        """The same with a residual around the polynomial."""
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *curved.fits)
        return way._replace(trainer=self._trainer(curved.fits), polynomials=stacked)

    def error(self, models: Sequence[Base]) -> float:
        """Mean NRMSE out of fold over CVs and rows, each model on the windows its fold holds out."""
        held = [spread(self.folds.held_out(fold), JUDGED) for fold in range(COUNT)]
        judged = [cases(self.grid, self.folds, *case) for case in zip(models, held, strict=True)]
        squares = np.sum(
            [(c.future.mask * (c.future.y - np.asarray(c.y_lin)) ** 2).sum(axis=0) for c in judged], axis=0
        )
        known = np.maximum(np.sum([c.future.mask.sum(axis=0) for c in judged], axis=0), 1.0)
        return float(np.sqrt(squares / known).mean())

    def _trainer(self, base: tuple[Base, ...]) -> Trainer:
        return Trainer(self.grid, self.folds, base, self.recipe, self.seed, self.asked)


def _from_fleet(fleet: Joining, telemetry: Telemetry, options: Options, start: Twin | None) -> Start:
    """The start that a fleet is for these rows."""
    if start is not None:
        raise QuestionError.at(("from_twin",), "a twin starts from an earlier twin or from a fleet, not from both")
    if options.horizon_s is not None:
        raise QuestionError.at(("horizon_s",), "that of the fleet holds for a twin that starts from it")
    if options.pure:
        raise QuestionError.at(("options", "pure"), "a fleet's residual is not trained that way")
    return Start.of(fleet, telemetry)


def _better(own: _Way, common: _Way, shared: Start, recipe: Recipe, pace: Pace) -> tuple[_Way, _Trained]:
    """Of the unit's own linear part with a fresh residual, and the fleet's with the fleet's, the way with the lesser
    error out of fold; each has half of the time."""
    half = replace(pace, budget_s=0.5 * pace.budget_s, share=0.5)
    theirs = _train(common.trainer, recipe, half, start=shared.residuals)
    alone = _train(own.trainer, recipe, replace(half, started=pace.clock(), done=0.5))
    errors = {"common": common.error(theirs[1], AS_GOOD), "own": own.error(alone[1], PAYS)}
    kept = "common" if errors["common"] <= errors["own"] else "own"
    fleet, (way, trained) = shared.fleet, (common, theirs) if kept == "common" else (own, alone)
    taken = common.chosen.candidate.name
    why = (
        f"{taken}, residual from the fleet's ({theirs[1].step} steps on): {errors['common']:.4f} out of fold; "
        f"a twin of these rows alone: {errors['own']:.4f}"
    )
    units = len(fleet.card["units"])
    told = {"fleet": fleet.id, "units": units, "out_of_fold": errors, "kept": kept, "why": why, "linear": taken}
    return way, (*trained[:3], pace.started, {"common": told})


def _known(telemetry: Telemetry, options: Options, start: Twin | None) -> np.ndarray | None:
    """(MVs, CVs) the signs of gains that are asked; None where none is."""
    given = options.gain_sign
    if given is None and start is not None:
        given = {
            mv: {cv: found["asked"] for cv, found in of_mv.items()}
            for mv, of_mv in start.card.get("gain_sign", {"effects": {}})["effects"].items()
        }
    found = signs(telemetry.plant, given or {})
    return found if np.isfinite(found).any() else None


def _learnable(known: np.ndarray | None, telemetry: Telemetry) -> np.ndarray | None:
    """The same of the MVs that moved; the effect of the others is unknown, whatever its sign."""
    if known is None:
        return None
    moved = np.nanmax(telemetry.w, axis=0) > np.nanmin(telemetry.w, axis=0)
    found = np.where(moved[: len(known), None], known, np.nan)
    return found if np.isfinite(found).any() else None


class _Within(NamedTuple):
    """The residuals as far as they leave the signs of gains, which share (CVs,) of each CV's that is, whether they
    ship, and the CVs that alone they do for (all of them where empty)."""

    best: Evaluation
    taken: np.ndarray | None
    ships: bool
    only: tuple[str, ...] = ()


def _within_signs(
    best: Evaluation,
    asked: np.ndarray | None,
    trainer: Trainer,
    backbones: tuple[Linear, ...],
    grid: Grid,
    folds: Folds,
    cvs: Sequence[str],
    least: float = PAYS,
) -> _Within:
    if asked is None:
        return _Within(best, None, best.out_of_fold <= least)
    dynamics = _ensemble(backbones, best, True, grid, folds)
    ends = folds.ends(np.ones(len(folds.run), bool), folds.history, 0)
    points = operating_points(grid, ends, folds.history, dynamics, len(asked), seed=0)
    share = shares(dynamics, points, asked, folds.horizon)
    residuals = shrunk(best.residuals, share)
    error, of_cvs = trainer.judge(residuals)
    pays = of_cvs <= least
    if error > least and pays.any():  # a CV whose own model breaks its sign is hard to forecast: others need not wait
        residuals = shrunk(residuals, pays)
        error, _ = trainer.judge(residuals)
        only = tuple(cv for cv, keep in zip(cvs, pays, strict=True) if keep)
        return _Within(best._replace(residuals=residuals, out_of_fold=error), share, True, only)
    return _Within(best._replace(residuals=residuals, out_of_fold=error), share, error <= least)


def _folds(telemetry: Telemetry, options: Options, inherited: Inheritance | None = None) -> Folds:
    period = telemetry.plant.sample_period_s
    wished = ROWS if options.horizon_s is None else max(2, round(options.horizon_s / period))
    _measured(telemetry)
    if inherited is None:
        history, horizon = sizes(telemetry.run, wished)
    else:
        history, horizon = inherited.history, inherited.horizon
        if options.horizon_s is not None and wished != horizon:
            raise QuestionError.at(("horizon_s",), f"{horizon * period:g} s with from_twin: that of the earlier twin")
    return _usable(telemetry, split(telemetry.run, history, horizon, None if inherited is None else inherited.known))


def _measured(telemetry: Telemetry) -> None:
    """Refuse a CV that was never measured."""
    never = [tag.name for tag in telemetry.plant.cvs if not np.isfinite(telemetry.y[:, _cv(telemetry, tag.name)]).any()]
    if never and len(telemetry):
        raise TrainingError(f"no measured value of {', '.join(never)}: upload some, or leave the tag out")


def _usable(telemetry: Telemetry, folds: Folds) -> Folds:
    """The folds, where each has windows to learn from and to be judged on."""
    if not all(len(folds.training(fold)) and len(folds.held_out(fold)) for fold in range(COUNT)):
        raise TrainingError(f"{len(telemetry)} rows in {len(np.unique(telemetry.run))} runs: the runs are too short")
    return folds


def _cv(telemetry: Telemetry, name: str) -> int:
    return [tag.name for tag in telemetry.plant.cvs].index(name)


def _reduced(score: Score, grid: Grid, folds: Folds, asked: np.ndarray | None) -> Score:
    """The same candidate with the states that its forecasts do not need taken out of its fits."""
    judged = _judged(grid, folds, score.fits)
    squares = np.mean([(case.future.mask * (case.future.y - case.y_lin) ** 2).mean(axis=0) for case in judged], axis=0)
    near = UNCHANGED * np.sqrt(squares) + 1e-6
    windows, w = [case.window for case in judged], [case.future.w for case in judged]
    fits = tuple(reduce(score.fits, windows, w, near))
    if asked is None:
        return replace(score, fits=fits)
    lost = breaks(fits, asked, folds.horizon) & ~breaks(score.fits, asked, folds.horizon)  # a small gain may get lost
    return score if lost.any() else replace(score, fits=fits)


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


_Trained = tuple[list[dict[str, Any]], Evaluation, str, float, dict[str, Any]]


def _raced(
    own: _Way, plan: _Plan, curved: polynomial.Fitted | None, pace: Pace, standing: Standing | None
) -> tuple[_Way, _Trained]:
    """A residual around the linear part; around the polynomial where that alone forecasts better than the first after
    `RACE` steps. With the way: the curve, the best evaluation, why training stopped, and when it began by the clock."""
    error = np.inf if curved is None else plan.error(curved.fits)
    if not (standing and standing.curved):
        trained = _train(own.trainer, plan.recipe, pace, standing, beat=error / float(own.trainer.scale.mean()))
        if curved is None or trained[2] != OVERTAKEN:
            return own, (*trained, {})
        standing = None
    assert curved is not None  # noqa: S101
    way = plan.bent(own, curved)
    return way, (*_train(way.trainer, plan.recipe, replace(pace, curved=True), standing), {})


def _warm(
    own: _Way, plan: _Plan, curved: polynomial.Fitted | None, pace: Pace, inherited: Inheritance
) -> tuple[_Way, _Trained]:
    """The way around what an earlier twin's residual was trained around, as far as that still pays."""
    way = own
    if curved is not None and inherited.curved:
        pays = plan.error(curved.fits) <= PAYS * float(own.trainer.scale.mean())
        way = plan.bent(own, curved) if pays else own
    return way, _trained_on(way.trainer, plan.recipe, pace, inherited)


def _trained_on(trainer: Trainer, recipe: Recipe, pace: Pace, inherited: Inheritance) -> _Trained:
    """An earlier residual trained on and a fresh one, in half of the time each: the better one."""
    half = replace(pace, budget_s=0.5 * pace.budget_s, share=0.5)
    warm = _train(trainer, recipe, half, start=inherited.residuals)
    fresh = _train(trainer, recipe, replace(half, started=pace.clock(), done=0.5))
    kept = "warm" if warm[1].out_of_fold < fresh[1].out_of_fold else "fresh"
    told = {"warm": warm[1].out_of_fold, "fresh": fresh[1].out_of_fold}
    why = (
        f"from {inherited.twin} on: {told['warm']:.3f} of the backbone's error out of fold; fresh: {told['fresh']:.3f}"
    )
    start = {"twin": inherited.twin, "out_of_fold": told, "before": warm[0][0]["out_of_fold"], "kept": kept, "why": why}
    curve, best, stopped, _ = warm if kept == "warm" else fresh
    return curve, best, stopped, pace.started, {"start": start}


def _train(
    trainer: Trainer,
    recipe: Recipe,
    pace: Pace,
    standing: Standing | None = None,
    start: Jepa | None = None,
    beat: float = np.inf,
) -> tuple[list[dict[str, Any]], Evaluation, str, float]:
    """The out-of-fold curve, the evaluation at its least, why training stopped, and when it began by the clock.

    Args:
        beat: the error to be reached within `RACE` steps, or within the time; training is overtaken where it is not.
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
        if PAYS * best.out_of_fold > beat and (now.step >= RACE or over):
            return curve, best, OVERTAKEN, started
        if moment and 0 < now.step < STEPS and not over:  # the last is not kept: there would be nothing to go on with
            spans = (now_s - started, compiled - started, until - started)
            pace.keep(Standing(moment, best, curve, *spans, pace.curved))
    assert best is not None  # noqa: S101
    assert moment is not None  # noqa: S101
    stopped = "no longer improved" if moment.schedule.ended else "steps" if moment.step >= STEPS else "time"
    return curve, best, stopped, started


def _ensemble(fits: tuple[Linear, ...], best: Evaluation, ships: bool, grid: Grid, folds: Folds) -> Ensemble:
    plants, noises = zip(*map(parts, fits), strict=True)
    states = max(len(lti.a) for lti in plants)
    backbones = jax.tree.map(lambda *a: jnp.stack(a), *(padded(lti, states) for lti in plants))
    noise = None if noises[0] is None else jax.tree.map(lambda *a: jnp.stack(a), *noises)
    return Ensemble(backbones, best.residuals if ships else None, trained_region(grid, folds), noise)


def _noise_card(telemetry: Telemetry, linear: Chosen) -> dict[str, Any]:
    """Where there is a noise model: how it was fitted, and by how much it lowers the error, near rows counting more."""
    return {
        tag.name: {**asdict(setting), "gain": float(-gain)}
        for tag, setting, gain in zip(telemetry.plant.cvs, linear.settings, linear.gains, strict=True)
        if setting is not None
    }


def _polynomial_card(
    curved: polynomial.Fitted | None, own: _Way, way: _Way, asked: np.ndarray | None
) -> dict[str, Any]:
    """Whether the polynomial part ships, and why."""
    if asked is not None:
        return {"ships": False, "why": "None was fitted, as signs of gains are asked: linear models keep them."}
    if curved is None:
        return {"ships": False, "why": "None was fitted: too few rows for so many tags."}
    ships, of_linear = way.polynomials is not None, curved.error / own.chosen.error
    found = f"The best {curved.form.name} has {100 * of_linear:.0f} % of the linear part's error out of fold"
    why = f"{found}, less than a residual around the linear part reached: it ships." if ships else f"{found}. "
    if not ships:
        why += "A residual around the linear part is better." if of_linear < 1 else "It does not ship."
    told = {"name": curved.form.name, "terms": int(curved.fits[0].weights.shape[0]), "error": curved.error}
    return {"ships": ships, **told, "of_linear": of_linear, "why": why}


def _judged(grid: Grid, folds: Folds, fits: tuple[Lti, ...]) -> list[Cases]:
    """The windows each fold holds out, forecast by the linear model fitted without them."""
    return [cases(grid, folds, lti, spread(folds.held_out(f), CALIBRATED)) for f, lti in enumerate(fits)]


def _linear(judged: list[Cases]) -> np.ndarray:
    """(n, K, CVs) residuals of the linear models."""
    return np.concatenate([case.future.y - np.asarray(case.y_lin) for case in judged])


def _persistence(judged: list[Cases]) -> np.ndarray:
    """(n, K, CVs) residuals of the last value held."""
    return np.concatenate([case.future.y - case.window.y[:, -1:] for case in judged])


def _reference(grid: Grid, folds: Folds) -> Window:
    """A fully measured history near the middle of what was seen: the window whose means lie nearest to zero."""
    ends = folds.ends(np.ones(len(folds.run), bool), folds.history, folds.horizon)
    window = grid.window(ends[:: max(1, len(ends) // REFERENCES)], folds.history)
    away = (window.y.mean(axis=1) ** 2).mean(axis=1) + (window.w.mean(axis=1) ** 2).mean(axis=1)
    nearest = int(np.argmin(away + (1 - window.mask.mean(axis=(1, 2)))))
    return Window(*(part[nearest] for part in window))


def _card(
    telemetry: Telemetry,
    folds: Folds,
    scaler: Scaler,
    scores: list[Score],
    chosen: Score,
    curve: list[dict[str, Any]],
    best: Evaluation,
    ships: bool,
    recipe: Recipe,
) -> dict[str, Any]:
    """What training knows of its twin; `evaluate.report` adds what can be measured on it."""
    gain = 100 * (1 - best.out_of_fold)
    verb = "ships, as it lowers" if ships else "does not ship, as it does not lower by 5 % or more"
    plural = f"{gain:.0f} %" if ships else f"best {gain:.1f} %"
    return {
        "unknown_effects": _unknown_effects(telemetry, scaler),
        "training": {
            "backbone": {
                "name": chosen.candidate.name,
                "states": int(max(len(lti.a) for lti in chosen.fits)),
                "error": chosen.error,
                "candidates": [{"name": s.candidate.name, "error": s.error} for s in scores if np.isfinite(s.error)],
            },
            "residual": {
                "ships": ships,
                "why": f"The latent residual {verb} the backbone's out-of-fold error ({plural}).",
            },
            "curve": curve,
            "stopping_step": best.step,
            "collapse": {k: v for k, v in curve[-1].items() if k in ("sigreg", "rank", "least_deviation")},
            "folds": [int((folds.label == fold).sum()) for fold in range(COUNT)],
            "history_rows": folds.history,
            "horizon_rows": folds.horizon,
            "recipe": asdict(recipe),
        },
    }


def _unknown_effects(telemetry: Telemetry, scaler: Scaler) -> dict[str, str]:
    """Inputs whose effect these rows cannot show, and why."""
    still = np.nanmax(telemetry.w, axis=0) == np.nanmin(telemetry.w, axis=0)
    return {
        tag.name: "it never moved in the training data"
        for tag, flat in zip(telemetry.plant.inputs, still, strict=True)
        if flat
    }
