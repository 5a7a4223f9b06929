"""fit: telemetry in, a twin out.

The backbone is chosen by its free run over held-out blocks; the latent residual is cross-fitted around it and
shipped where it pays; what each member forecast on the blocks it never saw calibrates the bands.
"""

from __future__ import annotations

import resource
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin, libraries
from twin.branches import with_components
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.lti import padded
from twin.dynamics.noise import Linear, parts
from twin.errors import QuestionError, TrainingError
from twin.fleet.start import Joining, Start
from twin.gain_sign import asked_of, signs
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
from twin.training.noise import Chosen
from twin.training.pace import BACKBONE_SHARE, PAYS, RACE, STEPS, Pace, Progress, Report
from twin.training.region import trained_region
from twin.training.residual import Cases, Evaluation, Recipe, Trainer
from twin.training.sampling import sampling
from twin.training.signs import operating_points, shares, shrunk
from twin.trust import Calibration, Seen
from twin.ways import AS_GOOD, CALIBRATED, Plan, Way, better, held_out, raced, warm
from twin.windows import Grid, Window

REFERENCES = 4000  # windows at most, of which the one nearest to the middle is kept


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
    if asked is None and shared is None:  # signs of gains are kept by linear models, and a fleet's are linear
        for done, curved in enumerate(polynomial.select(grid, folds), start=len(ROUNDS) + 1):
            chosen_so_far(done, min(scores[0].error, curved.error if curved else np.inf))
    plan = Plan(grid, folds, Recipe(pure=options.pure), options.seed, asked)
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
        way, run, began = warm(own, plan, curved, pace, inherited)
    elif shared is not None:
        way, run, began = better(own, plan.around(shared.scores(grid)[0], noise=False), shared, plan.recipe, pace)
        scores = [way.chosen, *scores] if way is not own else scores
    else:
        way, run, began = raced(own, plan, curved, pace, standing)
    curve, best = run.curve, run.best
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

    ends = [spread(folds.held_out(f), CALIBRATED) for f in range(COUNT)]
    judged = out_of_fold(dynamics, grid, folds, ends, alone if told_of_dvs else None)
    card = _card(telemetry, folds, scaler, scores, chosen, curve, best, ships, plan.recipe)
    if only:
        card["training"]["residual"]["why"] += f" It does so for {', '.join(only)} alone, and ships for no other CV."
    card["training"] |= {"blocks": blocks(telemetry, folds.label), "apart": folds.apart, **began}
    card["training"]["noise_model"] = _noise_card(telemetry, linear)
    card["training"]["polynomial"] = _polynomial_card(curved, own, way, asked is not None, shared is not None)
    card["training"]["sampling"] = sampling(grid, telemetry.plant.sample_period_s)
    card["disturbances"] = told_of_dvs
    card["training"]["correction"] = {
        "share": judged.share,
        "outside": judged.outside,
        "shares": SHARES,
        "errors": judged.errors,
    }
    best_arx = next(score for score in scores if isinstance(score.candidate, Arx))
    arx = held_out(grid, folds, best_arx.fits)
    residuals = {"twin": judged.residuals, "arx": _linear(arx), "persistence": _persistence(arx)}
    card["backtest"] = backtest(telemetry.plant, scaler, residuals, judged.mask, judged.fold)
    card["training"]["stopped_by"] = run.stopped
    card["training"]["seconds"] = clock() - run.started
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


def _from_fleet(fleet: Joining, telemetry: Telemetry, options: Options, start: Twin | None) -> Start:
    """The start that a fleet is for these rows."""
    if start is not None:
        raise QuestionError.at(("from_twin",), "a twin starts from an earlier twin or from a fleet, not from both")
    if options.horizon_s is not None:
        raise QuestionError.at(("horizon_s",), "that of the fleet holds for a twin that starts from it")
    if options.pure:
        raise QuestionError.at(("options", "pure"), "a fleet's residual is not trained that way")
    return Start.of(fleet, telemetry)


def _known(telemetry: Telemetry, options: Options, start: Twin | None) -> np.ndarray | None:
    """(MVs, CVs) the signs of gains that are asked; None where none is."""
    given = options.gain_sign
    if given is None and start is not None:
        given = asked_of(start.card)
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
    """Refuse an MV, DV or CV that was never measured."""
    if not len(telemetry):
        return
    known = np.isfinite(np.concatenate([telemetry.w, telemetry.y], axis=1)).any(axis=0)
    tags = telemetry.plant.inputs + telemetry.plant.cvs
    never = [tag.name for tag, some in zip(tags, known, strict=True) if not some]
    if never:
        raise TrainingError(f"no measured value of {', '.join(never)}: upload some, or leave the tag out")


def _usable(telemetry: Telemetry, folds: Folds) -> Folds:
    """The folds, where each has windows to learn from and to be judged on, CVs that move, and were measured in both."""
    if not all(len(folds.training(fold)) and len(folds.held_out(fold)) for fold in range(COUNT)):
        raise TrainingError(f"{len(telemetry)} rows in {len(np.unique(telemetry.run))} runs: the runs are too short")
    if (np.nanmax(telemetry.y, axis=0) == np.nanmin(telemetry.y, axis=0)).all():
        still = ", ".join(tag.name for tag in telemetry.plant.cvs)
        raise TrainingError(f"{still} never moved in these rows: there is nothing to learn from them")
    measured = np.isfinite(telemetry.y).any(axis=1)
    if not all(measured[folds.label != fold].any() for fold in range(COUNT)):
        first, last = telemetry.times[np.flatnonzero(measured)[[0, -1]]].astype("datetime64[s]")
        why = f"no CV was measured outside of one block of rows, from {first} to {last} alone"
        raise TrainingError(f"{why}: train on that span, or on more rows")
    return folds


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
    curved: polynomial.Fitted | None, own: Way, way: Way, signs_asked: bool, from_fleet: bool
) -> dict[str, Any]:
    """Whether the polynomial part ships, and why."""
    if curved is None:
        why = "too few rows for so many tags, or none that comes to rest where inputs are held"
        why = "signs of gains are asked, and linear models keep them" if signs_asked else why
        why = "twins from a fleet have linear models" if from_fleet else why
        return {"ships": False, "why": f"There is no polynomial: {why}."}
    ships, of_linear = way.polynomials is not None, curved.error / own.chosen.error
    verb = "ships" if ships else "does not ship"
    why = (
        f"The best {curved.form.name} has {100 * of_linear:.0f} % of the linear part's error out of fold. It {verb}: "
        f"what counts is whether it alone forecasts better than a residual around the linear part after {RACE} steps."
    )
    told = {"name": curved.form.name, "terms": curved.terms, "error": curved.error}
    return {"ships": ships, **told, "of_linear": of_linear, "why": why}


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
