"""The verdict on one answer of a twin: what `trust.verdict` weighs, gathered from its history and planned inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from twin.artifact import Twin
from twin.dynamics.region import Region
from twin.history import present_inputs, recent_rows
from twin.lookback import LookBack, look_back, shift, surprise
from twin.telemetry import Telemetry
from twin.trust import Reason, Trust, verdict
from twin.windows import Grid, Window

MARGIN = 0.05  # of the trained range of an input, beyond which a value counts as not seen
MOVED = 0.01  # of the trained range of an MV: a smaller change leans on nothing
BUCKET = 4  # answers are judged in multiples of so many, so that few shapes are compiled
LEANS = 0.1  # deviations of a CV: an answer leans on an effect that moves it so far


def judge(
    twin: Twin,
    history: Telemetry,
    inputs: np.ndarray,
    lasting: Callable[[], Mapping[str, float] | None] = lambda: None,
    unsure: Sequence[Reason] = (),
    look: LookBack | None = None,
) -> list[Trust]:
    """How far each answer under planned inputs (answers, rows, inputs), engineering units, can be trusted.

    Args:
        lasting: of a plan, `planning.absorbed.lasting`; asked where the process does not behave as it did.
        unsure: more reasons: a learned part that is behind, and of a plan CVs that it may steer the wrong way.
        look: back, where that has been done.
    """
    present = present_inputs(twin, history)
    look, distances = look or look_back(twin, history), _distances(twin, history, inputs)
    surprising, shifted = surprise(twin, look), shift(twin, look)
    changed = shifted[0] > 1 or any(ratio > 1 for ratio in surprising.values())
    absorbed = lasting() if changed else None
    recent = history.last_run(len(history))
    stale, frozen = twin.seen.stale(recent), twin.seen.frozen(recent)
    return [
        verdict(
            distance=float(distance),
            surprise=surprising,
            shift=shifted,
            lasting=absorbed,
            beyond=_beyond(twin, planned),
            stale=stale,
            frozen=frozen,
            effects=[*leans_on(twin, planned, present), *unsure],
            beyond_horizon_s=twin.horizon_s if len(planned) > twin.horizon else None,
        )
        for planned, distance in zip(inputs, distances, strict=True)
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


def _distances(twin: Twin, history: Telemetry, inputs: np.ndarray) -> np.ndarray:
    """(answers,) how far from the trained region the present lies with each of the inputs (answers, rows, inputs)."""
    grid = Grid.of(recent_rows(twin, history, twin.history), twin.scaler)
    window = grid.window(np.array([len(grid.y) - 1]), twin.history)
    planned = twin.scaler.w_in(inputs.mean(axis=1))  # the region looks at their mean only
    planned = np.pad(planned, ((0, -len(planned) % BUCKET), (0, 0)))
    return np.asarray(_away(twin.region, window, planned))[: len(inputs)]


@jax.jit
def _away(region: Region, window: Window, planned: jax.Array) -> jax.Array:
    """(answers,) distances of a window (1, L, ·) with inputs planned (answers, inputs)."""
    present = jax.tree.map(lambda part: part[0], window)
    return jax.vmap(lambda mean: region.distance(present, mean[None]))(planned)
