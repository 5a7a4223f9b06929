"""The verdict on one answer of a twin: what `trust.verdict` weighs, gathered from its history and planned inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.history import present_inputs, recent_rows
from twin.rollout import rollout
from twin.shift import mean_errors
from twin.telemetry import Telemetry
from twin.trust import Reason, Trust, verdict
from twin.windows import Grid, Window

MARGIN = 0.05  # of the trained range of an input, beyond which a value counts as not seen
MOVED = 0.01  # of the trained range of an MV: a smaller change leans on nothing
NAMED, STANDS_OUT = 3, 2.0  # CVs that a shift names, and the usual mean errors from which one stands out
BUCKET = 4  # answers are judged in multiples of so many, so that few shapes are compiled
LEANS = 0.1  # deviations of a CV: an answer leans on an effect that moves it so far

Errors = tuple[np.ndarray, np.ndarray]  # (rows, CVs) of a forecast, model units, and where the CVs were measured


def judge(
    twin: Twin,
    history: Telemetry,
    inputs: np.ndarray,
    lasting: Callable[[], Mapping[str, float] | None] = lambda: None,
    unsure: Sequence[Reason] = (),
) -> list[Trust]:
    """How far each answer under planned inputs (answers, rows, inputs), engineering units, can be trusted.

    Args:
        lasting: of a plan, `planning.absorbed.lasting`; asked where the process does not behave as it did.
        unsure: of a plan, CVs that it may steer the wrong way.
    """
    present = present_inputs(twin, history)
    last, horizon, distances = _looked_back(twin, history, inputs)
    surprise, shift = _surprise(twin, last), _shift(twin, horizon)
    changed = shift[0] > 1 or any(ratio > 1 for ratio in surprise.values())
    absorbed = lasting() if changed else None
    recent = history.last_run(len(history))
    stale, frozen = twin.seen.stale(recent), twin.seen.frozen(recent)
    return [
        verdict(
            distance=float(distance),
            surprise=surprise,
            shift=shift,
            lasting=absorbed,
            beyond=_beyond(twin, planned),
            stale=stale,
            frozen=frozen,
            effects=[*leans_on(twin, planned, present), *unsure],
            beyond_horizon_s=twin.horizon_s if len(planned) > twin.horizon else None,
        )
        for planned, distance in zip(inputs, distances, strict=False)
    ]


def leans_on(twin: Twin, planned: np.ndarray, present: np.ndarray) -> list[Reason]:
    """The effects that planned inputs (rows, inputs) lean on although training cannot show them, or hardly."""
    plant, known = twin.plant, twin.card.get("identifiability", {})
    move = planned - present
    found = [
        Reason("unidentifiable_effect", f"{name} is to move, but {why}", name, tuple(tag.name for tag in plant.cvs))
        for name, why in twin.card.get("unknown_effects", {}).items()
        if move[:, [tag.name for tag in plant.inputs].index(name)].any()
    ]
    columns = {tag.name: i for i, tag in enumerate(plant.mvs)}
    for tie in known.get("tied", []):
        found += _against(tie, move[:, : len(columns)], columns, tuple(tag.name for tag in plant.cvs))
    for name, effects in known.get("effects", {}).items():
        i = columns[name]
        size = float(np.abs(move[:, i]).max())
        if size > MOVED * (twin.seen.high[i] - twin.seen.low[i]):
            found += _doubted(twin, name, effects, size)
    return found


def _against(
    tie: Mapping[str, Any], move: np.ndarray, columns: Mapping[str, int], cvs: tuple[str, ...]
) -> list[Reason]:
    """Moves that change a combination of MVs which never changed: along any other direction they are fine."""
    weights = np.zeros(move.shape[1])
    for name, weight in tie["weights"].items():
        weights[columns[name]] = weight
    change = move @ weights
    row = int(np.abs(change).argmax())
    if abs(change[row]) <= max(MARGIN * tie["span"], 3 * tie["std"]):
        return []
    most = max(tie["weights"], key=lambda name: abs(weights[columns[name]] * move[row, columns[name]]))
    sums = " + ".join(f"{weight:g} {name}" for name, weight in tie["weights"].items())
    detail = f"{sums} always was {tie['constant']:g} and is to change by {change[row]:g}: what that does was never seen"
    return [Reason("unidentifiable_effect", detail, most, cvs)]


def _doubted(twin: Twin, mv: str, effects: Mapping[str, Any], size: float) -> list[Reason]:
    """Why the effects of one MV that is to move are doubted, one reason a verdict; ties are judged by direction."""
    told: dict[tuple[str, str], list[str]] = {}
    for (name, effect), scale in zip(effects.items(), twin.scaler.y_scale, strict=True):
        reason = next((r for r in effect["reasons"] if r["code"] not in ("tied", "never_moved")), None)
        if reason is None:
            continue
        if reason["code"] in ("echo", "sign_broken", "sign_bound"):
            told.setdefault(("unidentifiable_effect", reason["detail"]), []).append(name)
        elif effect["gain"] and abs(effect["gain"]["mean"]) * size > LEANS * scale:
            told.setdefault(("weak_effect", reason["detail"]), []).append(name)
    return [
        Reason(code, f"the effect of {mv} on {', '.join(cvs[:5])}{' …' if len(cvs) > 5 else ''}: {why}", mv, tuple(cvs))
        for (code, why), cvs in told.items()
    ]


def _beyond(twin: Twin, inputs: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Inputs asked more than `MARGIN` of their trained range beyond it: tag → (value, low, high)."""
    found = {}
    for i, tag in enumerate(twin.plant.inputs):
        low, high = float(twin.seen.low[i]), float(twin.seen.high[i])
        least, greatest = float(inputs[:, i].min()), float(inputs[:, i].max())
        slack = MARGIN * (high - low) + 1e-9 * max(abs(low), abs(high))
        if least < low - slack or greatest > high + slack:
            found[tag.name] = (least if low - least > greatest - high else greatest, low, high)
    return found


def _surprise(twin: Twin, errors: Errors | None) -> dict[str, float]:
    """CV → how badly the last rows were forecast from the rows before; empty where history is too short."""
    if errors is None:
        return {}
    ratios = twin.calibration.surprise.ratio(*errors)
    return {tag.name: float(ratio) for tag, ratio in zip(twin.plant.cvs, ratios, strict=True)}


def _shift(twin: Twin, errors: Errors | None) -> tuple[float, dict[str, str]]:
    """How far forecasts over the last horizon were off to one side, and which CVs by how much; 0 where unknown."""
    shift = twin.calibration.shift
    if shift is None or errors is None:
        return 0.0, {}
    means = mean_errors(errors[0][None], errors[1][None])
    standard = means[0] / shift.size
    most = [i for i in np.argsort(-np.abs(standard))[:NAMED] if abs(standard[i]) > STANDS_OUT]
    off, tags = means[0] * twin.scaler.y_scale, twin.plant.cvs
    told = {tags[i].name: f"{off[i]:+.3g}{tags[i].behind}" for i in most}
    return float(shift.ratio(means)[0]), told


def _looked_back(twin: Twin, history: Telemetry, inputs: np.ndarray) -> tuple[Errors | None, Errors | None, np.ndarray]:
    """Errors of forecasts of the last rows, and of the last horizon, from those before, without a correction; None
    where history is too short. And how far from the trained region the present lies with each of the inputs."""
    spans = (len(twin.calibration.surprise.size), twin.horizon)
    rows = max(spans)
    recent = recent_rows(twin, history, twin.history + rows)
    grid, end = Grid.of(recent, twin.scaler), len(recent) - 1
    starts = np.maximum(end - np.array(spans), twin.history - 1)
    windows = grid.window(np.append(starts, end), twin.history)
    w = grid.w[np.minimum(starts[:, None] + np.arange(1, rows + 1), end)]
    # The region looks at the mean of the planned inputs only.
    means = [past[:span].mean(axis=0) for past, span in zip(w, spans, strict=True)]
    planned = twin.scaler.w_in(inputs.mean(axis=1))
    planned = np.pad(planned, ((0, -len(planned) % BUCKET), (0, 0)))
    y, distances = map(np.asarray, _look_back(twin.dynamics, windows, w, np.stack(means), planned))

    def errors(i: int) -> Errors | None:
        first, after = end + 1 - spans[i], slice(end + 1 - spans[i], end + 1)
        return (grid.y[after] - y[i, : spans[i]], grid.mask[after]) if first >= twin.history else None

    return errors(0), errors(1), distances


@jax.jit
def _look_back(
    dynamics: Ensemble, windows: Window, w: jax.Array, means: jax.Array, planned: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """CVs (2, K, CVs) that follow the first two windows (3, L, ·) under inputs w (2, K, inputs), gated as means (2,
    inputs) are; distances (answers,) of the last window with planned (answers, inputs)."""
    past, present = (jax.tree.map(lambda part, which=which: part[which], windows) for which in (slice(2), 2))

    def hindcast(window: Window, w: jax.Array, mean: jax.Array) -> jax.Array:
        return rollout(dynamics, dynamics.begin(window, mean[None]), w)

    y = jax.vmap(hindcast)(past, w, means)
    return y, jax.vmap(lambda mean: dynamics.region.distance(present, mean[None]))(planned)
