"""The verdict on one answer of a twin: what `trust.verdict` weighs, gathered from its history and planned inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.region import Region
from twin.history import present_inputs
from twin.rollout import rollout
from twin.telemetry import Telemetry
from twin.trust import Trust, verdict
from twin.windows import Grid, Window, latest

MARGIN = 0.05  # of the trained range of an input, beyond which a value counts as not seen


def judge(twin: Twin, history: Telemetry, inputs: np.ndarray) -> list[Trust]:
    """How far each answer under planned inputs (answers, rows, inputs), engineering units, can be trusted."""
    window = Window(*(part[0] for part in latest(history, twin.scaler, twin.history)))
    # The region looks at the mean of the planned inputs only: one row of it keeps the shape, whatever the horizon.
    mean = twin.scaler.w_in(inputs.mean(axis=1, keepdims=True))
    distances = np.asarray(_distances(twin.region, window, np.pad(mean, ((0, -len(mean) % 4), (0, 0), (0, 0)))))
    surprise = _surprise(twin, history)
    present = present_inputs(twin, history)
    recent = history.last_run(len(history))
    stale, frozen = twin.seen.stale(recent), twin.seen.frozen(recent)
    return [
        verdict(
            distance=float(distance),
            surprise=surprise,
            beyond=_beyond(twin, planned),
            stale=stale,
            frozen=frozen,
            unknown=_unknown(twin, planned, present),
            beyond_horizon_s=twin.horizon_s if len(planned) > twin.horizon else None,
        )
        for planned, distance in zip(inputs, distances, strict=False)
    ]


@jax.jit
def _distances(region: Region, window: Window, inputs: jax.Array) -> jax.Array:
    return jax.vmap(lambda w: region.distance(window, w))(inputs)


def _unknown(twin: Twin, planned: np.ndarray, present: np.ndarray) -> list[tuple[str, str]]:
    """Inputs that are to move although the training data cannot show their effect, and why it cannot."""
    moved = {tag.name: bool((planned[:, i] != present[i]).any()) for i, tag in enumerate(twin.plant.inputs)}
    return [(name, why) for name, why in twin.card.get("unknown_effects", {}).items() if moved[name]]


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


def _surprise(twin: Twin, history: Telemetry) -> dict[str, float]:
    """CV → how badly the last rows were forecast from the rows before; empty where history is too short."""
    rows = len(twin.calibration.surprise.size)
    recent = history.last_run(twin.history + rows)
    if len(recent) < twin.history + rows:
        return {}
    grid = Grid.of(recent, twin.scaler)
    start = np.array([twin.history - 1])
    window = Window(*(part[0] for part in grid.window(start, twin.history)))
    future = grid.future(start, rows)
    y = np.asarray(_hindcast(twin.dynamics, window, jnp.asarray(future.w[0])))
    ratio = twin.calibration.surprise.ratio(future.y[0] - y, future.mask[0])
    return {tag.name: float(r) for tag, r in zip(twin.plant.cvs, ratio, strict=True)}


@jax.jit
def _hindcast(dynamics: Ensemble, window: Window, w: jax.Array) -> jax.Array:
    return rollout(dynamics, dynamics.begin(window, w), w)
