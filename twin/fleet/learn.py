"""learn: the rows of many similar units in, a fleet out.

All units are put into the fleet's coordinates. The order of the linear part is chosen by the free run of each unit's
own fit over its last rows; a prior says how units differ (`twin.fleet.prior`). The residual is trained on the windows
of all units at once, as an ensemble: each member without a part of the units and judged on those, so that its curve
is the error on units never seen, whose linear part had a tenth of their rows. So that it knows what linear parts of new
units are like, half of the windows it learns from have one from a short span of their unit's rows.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.lti import Lti
from twin.dynamics.region import Region
from twin.errors import QuestionError
from twin.fleet.common import Common, Parameters, Unit, equations, lti
from twin.fleet.fleet import Fleet, scaler_of
from twin.fleet.prior import STRENGTHS, Equations, Prior
from twin.fleet.shape import Shape, Tags, converted, matched
from twin.scaling import FLAT, Scaler
from twin.telemetry import Telemetry
from twin.training.backbone import squares
from twin.training.folds import COUNT, ROWS, Folds, spread
from twin.training.residual import JUDGED, Cases, Evaluation, Members, Recipe, alarms, cases, most_windows, padding

ORDERS = ((2, 2), (4, 4), (8, 8), (12, 12), (2, 32), (4, 32))  # lags of CVs and rows of inputs
MAX_COEFFICIENTS = 150
FITTED = 0.75  # of a unit's rows, while the order is chosen
RIDGE = 1e-4  # then
WINDOWS = 64  # of a unit, that judge an order
PARSIMONY = 1.01  # a smaller model within 1 % of the best is preferred
TENTH = 0.1  # of its rows has a unit that is judged
FEWEST = 64  # rows of a short span at least
SPANS = 6  # short spans of a unit's rows that judge how strongly the prior should count
ALIKE = 3.0  # times: by how much deviations, and means by how many of them, may differ and units share one scaler
REGION_WINDOWS = 4000
STEPS = 10_000


@dataclass(frozen=True)
class Learning:
    """What may be asked; nothing needs to be.

    Args:
        horizon: rows the fleet is trained to forecast.
        budget_s: seconds after which training stops with the best so far.
        seed: of the network, its batches, and which units are held out together.
    """

    horizon: int = ROWS
    budget_s: float = 120.0
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """Telemetry of one unit, and its tags by the fleet's where they have other names."""

    telemetry: Telemetry
    tags: Tags = field(default_factory=dict)


Told = Callable[[float, dict[str, float], tuple[str, ...]], object]


def learn(
    sources: Mapping[str, Source],
    options: Learning = Learning(),
    progress: Told = lambda *_: None,
    clock: Callable[[], float] = time.monotonic,
) -> Fleet:
    """A fleet from its units by name; the first gives tags and their units of engineering.

    Args:
        progress: told the share of the work done, the last losses and alarms; it may raise `Cancelled`.
        clock: what the budget is measured by.

    Raises:
        QuestionError: fewer than two units, or one that does not fit.
        TrainingError: a unit with too few rows.
    """
    if len(sources) < 2:
        raise QuestionError.at(("units",), f"{len(sources)}; a fleet needs two or more: train a twin of one instead")
    started = clock()
    first = next(iter(sources.values()))
    shape = replace(Shape.named(first.telemetry.plant, first.tags), horizon=options.horizon)
    rows = {name: matched(shape, source.telemetry, source.tags) for name, source in sources.items()}
    scaler, shared = _nominal(shape, list(rows.values()))
    scalers = [scaler_of(shape, one, scaler if shared else None) for one in rows.values()]
    units = [Unit.of(shape, s.telemetry, s.tags, own) for s, own in zip(sources.values(), scalers, strict=True)]
    shape, tried = _ordered(shape, units)
    progress(0.05, {}, ())
    rng = np.random.default_rng(options.seed)
    found = [equations(shape, unit.grid, unit.grid.ends(shape.past, 1)) for unit in units]
    prior = Prior.fit(found)
    progress(0.1, {}, ())
    held = _held_out(len(units), rng)
    known = [Prior.fit([found[u] for u in _others(found, out)]) if len(units) >= COUNT else prior for out in held]
    strengths = _strengths(shape, units, known, held, rng)
    progress(0.12, {}, ())
    members = Members(
        shape.sizes, *_windows(shape, units, found, known, held, rng, _best(strengths)), Recipe(), options.seed
    )
    curve, best = _trained(members, options, progress, clock, started)
    card = {
        "units": [
            {"unit": name, "rows": len(one), "tags": dict(sources[name].tags), "held_out_by": held_by}
            for (name, one), held_by in zip(rows.items(), _by(held, len(units)), strict=True)
        ],
        "order": {"lags": shape.lags, "input_rows": shape.input_rows, "tried": tried},
        "shared_scaler": shared,
        "strengths": strengths,
        "residual": {
            "step": best.step,
            "out_of_unit": best.out_of_fold,
            "backbone_error": float(members.scale.mean()),
            "curve": curve,
        },
        "how": f"units held out, their linear part from {TENTH:.0%} of their rows, the rest forecast"
        + ("" if len(units) >= COUNT else "; the prior of linear parts knows them: there are too few units without"),
        "options": asdict(options),
        "seconds": clock() - started,
    }
    parameters = Parameters(jnp.asarray(prior.mean, jnp.float32), best.residuals)
    return Fleet(uuid.uuid4().hex[:12], Common(shape, parameters), prior, scaler, shared, _region(shape, units), card)


def _nominal(shape: Shape, rows: Sequence[Telemetry]) -> tuple[Scaler, bool]:
    """Mean and deviation of all units' rows together, in the fleet's units of engineering, and whether units are alike
    enough to share them."""
    found = []
    for one in rows:
        values = np.concatenate([one.w, one.y], axis=1)
        known = np.where(np.isfinite(values).any(axis=0), values, 0.0)
        mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
        deviation = np.where(deviation > FLAT * np.abs(mean), deviation, 0.0)
        size = converted(shape, one.plant, mean, np.abs(mean), back=True)[1]
        found.append((*converted(shape, one.plant, mean, deviation, back=True), size))
    means, deviations, sizes = (np.stack(part) for part in zip(*found, strict=True))  # (units, tags)
    mean = means.mean(axis=0)
    scale = np.sqrt((deviations**2 + (means - mean) ** 2).mean(axis=0))
    scale = np.where(scale > FLAT * sizes.max(axis=0), scale, 1.0)
    moved = np.where(deviations > 0, deviations, np.nan)
    middle = np.nan_to_num(np.nanmedian(np.where(np.isnan(moved).all(axis=0), 1.0, moved), axis=0), nan=1.0)
    ratio = np.nan_to_num(moved / middle, nan=1.0)
    away = np.abs(means - mean) / scale
    shared = bool((ratio < ALIKE).all() and (ratio > 1 / ALIKE).all() and (away < ALIKE).all())
    inputs = shape.inputs
    return Scaler(mean[inputs:], scale[inputs:], mean[:inputs], scale[:inputs]), shared


def _ordered(shape: Shape, units: Sequence[Unit]) -> tuple[Shape, list[dict[str, Any]]]:
    """The shape with the order whose fits of each unit forecast its last rows best, and what was tried."""
    scores: list[tuple[float, Shape]] = []
    for lags, rows in ORDERS:
        one = replace(shape, lags=lags, input_rows=min(rows, shape.history))
        if one.coefficients > MAX_COEFFICIENTS or one.past >= shape.history + 1:
            continue
        errors = [_last_rows(one, unit) for unit in units]
        scores.append((float(np.mean(errors)), one))
    if not scores:  # many tags: the smallest there is
        return replace(shape, lags=1, input_rows=1), []
    near = [one for error, one in scores if error <= PARSIMONY * min(scores, key=lambda s: s[0])[0]]
    tried = [{"lags": one.lags, "input_rows": one.input_rows, "error": error} for error, one in scores]
    return min(near, key=lambda one: one.coefficients), tried


def _last_rows(shape: Shape, unit: Unit) -> float:
    """NRMSE of a unit's own fit over its last rows."""
    cut = int(FITTED * len(unit.grid.run))
    fitted, ends = unit.grid.ends(shape.past, 1), unit.grid.ends(shape.history, shape.horizon)
    early, late = fitted[fitted + 1 < cut], ends[ends - shape.history + 1 >= cut]
    if len(late) < 4 or not unit.grid.mask[early + 1].any():
        early, late = fitted, ends
    found = equations(shape, unit.grid, early)
    ridge = RIDGE * max(found.rows, 1.0) * np.eye(len(found.normal))
    fit = lti(shape, np.linalg.solve(found.normal + ridge, found.across))
    late = spread(late, WINDOWS)
    error = squares(fit, unit.grid.window(late, shape.history), unit.grid.future(late, shape.horizon))
    rmse = float(np.sqrt(error).mean())
    return rmse if np.isfinite(rmse) else 1e6


def _held_out(units: int, rng: np.random.Generator) -> list[list[int]]:
    """For each member of the ensemble, the units that it does not learn from: one at least."""
    order = rng.permutation(units).tolist()
    return [order[member::COUNT] or [order[member % units]] for member in range(COUNT)]


def _by(held: Sequence[Sequence[int]], units: int) -> list[int]:
    """For each unit, a member that did not learn from it."""
    return [next(member for member, out in enumerate(held) if unit in out) for unit in range(units)]


def _others(units: Sequence[Any], held: Sequence[int]) -> list[int]:
    """The units that a member learns from."""
    return [u for u in range(len(units)) if u not in held]


def _strengths(
    shape: Shape,
    units: Sequence[Unit],
    priors: Sequence[Prior],
    held_out: Sequence[Sequence[int]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """How strongly the prior should count, by units that it does not know: for each of `STRENGTHS` the mean logarithm
    of the forecast error over windows outside of the short span of rows that the unit's linear part was fitted to.
    One row ahead is what the coefficients are fitted to, the free run what they are for: as errors one row ahead are
    no white noise, rows count for less than Bayes has them."""
    found = []
    for held, prior in zip(held_out, priors, strict=True):
        for u in held:
            for _ in range(SPANS):
                own, span = _span(shape, units[u], rng, TENTH)
                ends = spread(_clear(shape, units[u], span), WINDOWS)
                case = units[u].grid.window(ends, shape.history), units[u].grid.future(ends, shape.horizon)
                fits = [lti(shape, prior.posterior(own, strength)) for strength in STRENGTHS]
                errors = [np.sqrt(squares(fit, *case)).mean() for fit in fits]
                found.append(np.log(np.clip(np.nan_to_num(errors, nan=1e6), 1e-6, 1e6)))
    rows = float(np.mean([len(unit.grid.run) for unit in units]))
    return {"of": [str(s) for s in STRENGTHS], "log_error": np.mean(found, axis=0).tolist(), "rows": rows}


def _best(strengths: Mapping[str, Any]) -> float:
    """The strength with the least error."""
    return STRENGTHS[int(np.argmin(strengths["log_error"]))]


def _windows(
    shape: Shape,
    units: Sequence[Unit],
    found: Sequence[Equations],
    priors: Sequence[Prior],
    held_out: Sequence[Sequence[int]],
    rng: np.random.Generator,
    strength: float = 1.0,
) -> tuple[Cases, Cases]:
    """For each member the windows it learns from and those it is judged on.

    Args:
        priors: of each member, from the units that it learns from.
        strength: of the priors of linear parts.
    """
    count = most_windows(shape.sizes, shape.horizon)
    pools, judged = [], []
    for held, known in zip(held_out, priors, strict=True):
        others = _others(units, held)
        each = max(2, count // (2 * len(others)))
        parts = []
        for u in others:
            whole = lti(shape, known.posterior(found[u], strength))
            short, _ = _short(shape, units[u], known, strength, rng)
            both = whole, short
            parts += [_cases(shape, units[u], one, each, padding(rng, shape.history, each)) for one in both]
        pools.append(_resized(parts, count))
        each = max(2, -(-2 * JUDGED // len(held)))
        parts = []
        for u in held:
            backbone, span = _short(shape, units[u], known, strength, rng, TENTH)
            parts.append(_cases(shape, units[u], backbone, each, outside=span))
        judged.append(_resized(parts, 2 * JUDGED))
    stack = [jax.tree.map(lambda *a: jnp.stack(a), *one) for one in (pools, judged)]
    return stack[0], stack[1]


def _short(
    shape: Shape, unit: Unit, prior: Prior, strength: float, rng: np.random.Generator, share: float | None = None
) -> tuple[Lti, tuple[int, int]]:
    """A linear part from a short span of a unit's rows, and the span (first and last row)."""
    own, span = _span(shape, unit, rng, share)
    return lti(shape, prior.posterior(own, strength)), span


def _span(shape: Shape, unit: Unit, rng: np.random.Generator, share: float | None) -> tuple[Equations, tuple[int, int]]:
    """A short span of a unit's rows: its equations, its first and last row."""
    ends = unit.grid.ends(shape.past, 1)
    most = max(len(ends) // 2, min(FEWEST, len(ends)))
    least = min(FEWEST, most)
    length = np.exp(rng.uniform(np.log(least), np.log(most))) if share is None else share * len(ends)
    count = int(np.clip(length, least, most))
    start = int(rng.integers(0, len(ends) - count + 1))
    span = ends[start : start + count]
    return equations(shape, unit.grid, span), (int(span[0]), int(span[-1]))


def _clear(shape: Shape, unit: Unit, outside: tuple[int, int]) -> np.ndarray:
    """Ends of the windows of which what they forecast lies outside of a span of rows; all where there is none."""
    ends = unit.grid.ends(shape.history, shape.horizon)
    clear = ends[(ends + shape.horizon < outside[0]) | (ends > outside[1])]
    return clear if len(clear) else ends


def _cases(
    shape: Shape,
    unit: Unit,
    backbone: Lti,
    count: int,
    pads: np.ndarray | None = None,
    outside: tuple[int, int] = (-1, -1),
) -> Cases:
    """`count` windows of a unit; what they forecast lies outside of a span of rows, where there is enough."""
    folds = Folds(unit.grid.run, np.zeros(len(unit.grid.run), np.int64), shape.history, shape.horizon)
    return cases(unit.grid, folds, backbone, spread(_clear(shape, unit, outside), count), pads)


def _resized(parts: Sequence[Cases], count: int) -> Cases:
    """The windows of all parts, some of them twice where there are fewer than `count`."""
    whole = jax.tree.map(lambda *a: np.concatenate([np.asarray(one) for one in a]), *parts)
    index = np.resize(np.arange(len(whole.y_lin)), count)
    out: Cases = jax.tree.map(lambda a: a[index], whole)
    return out


def _trained(
    members: Members, options: Learning, progress: Told, clock: Callable[[], float], started: float
) -> tuple[list[dict[str, Any]], Evaluation]:
    """The curve of errors on units held out, and the evaluation at its least."""
    curve: list[dict[str, Any]] = []
    best: Evaluation | None = None
    until = started + options.budget_s

    def spent() -> float:  # whatever the linear parts took, the residual is trained
        return (clock() - started) / max(until - started, 1e-3) if len(curve) > 1 else 0.0

    for now in members.run(STEPS, spent):
        curve.append({"step": now.step, "out_of_unit": now.out_of_fold, **now.losses})
        if best is None or now.out_of_fold < best.out_of_fold:
            best = now._replace(moment=None)
        if len(curve) == 2 and clock() + 0.5 * options.budget_s > until:  # compiled: half of it is for training itself
            started = clock()
            until = started + 0.5 * options.budget_s
        told = now.losses | {"out_of_unit": now.out_of_fold}
        progress(0.12 + 0.88 * min(max(now.step / STEPS, spent()), 1.0), told, alarms(now.losses, members.recipe))
    assert best is not None  # noqa: S101
    return curve, best


def _region(shape: Shape, units: Sequence[Unit]) -> Region:
    each = max(2, REGION_WINDOWS // len(units))
    windows, inputs = [], []
    for unit in units:
        ends = spread(unit.grid.ends(shape.history, shape.horizon), each)
        windows.append(unit.grid.window(ends, shape.history))
        inputs.append(unit.grid.future(ends, shape.horizon).w)
    whole = type(windows[0])(*(np.concatenate(part) for part in zip(*windows, strict=True)))
    return Region.fit(whole, np.concatenate(inputs))
