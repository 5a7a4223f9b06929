"""What a twin said of the last rows, held against what came.

Three things follow: how surprising the last rows are, whether the last horizon was off to one side, and which share of
what is learned beyond the linear part has lately earned its place. That share is 1 wherever the process behaves as it
did in training. Where it does not, and the linear part alone was nearer to what came over the last horizon, the learned
part counts by (its error / that of the linear part)^-4, in full from an error on that healthy telemetry keeps below.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.history import recent_rows
from twin.rollout import rollout
from twin.shift import mean_errors
from twin.telemetry import Telemetry
from twin.trust import Reason
from twin.windows import Grid, Window

NAMED, STANDS_OUT = 3, 2.0  # CVs that a shift names, and the usual mean errors from which one stands out
TELLS = 0.9  # share of the learned part below which an answer says so
FAR = 100.0  # times as much: no figure is told
TINY = 1e-9

Errors = tuple[np.ndarray, np.ndarray]  # (rows, CVs) of a forecast, model units, and where the CVs were measured


class LookBack(NamedTuple):
    """Errors of forecasts of what has happened since, without a correction; None where history is too short.

    Attributes:
        near: of the last rows, as many as a surprise is told by.
        far: of the last horizon.
        linear: of the last horizon, by the linear part alone.
    """

    near: Errors | None
    far: Errors | None
    linear: Errors | None


def look_back(twin: Twin, history: Telemetry) -> LookBack:
    """Forecasts of the last rows, and of the last horizon, from those before, under the inputs that came."""
    spans = (len(twin.calibration.surprise.size), twin.horizon)
    rows = max(spans)
    recent = recent_rows(twin, history, twin.history + rows)
    grid, end = Grid.of(recent, twin.scaler), len(recent) - 1
    starts = np.maximum(end - np.array(spans), twin.history - 1)
    w = grid.w[np.minimum(starts[:, None] + np.arange(1, rows + 1), end)]
    # The region looks at the mean of the planned inputs only.
    means = [past[:span].mean(axis=0) for past, span in zip(w, spans, strict=True)]
    y, linear = map(np.asarray, _hindcasts(twin.dynamics, grid.window(starts, twin.history), w, np.stack(means)))

    def errors(y: np.ndarray, span: int) -> Errors | None:
        first, after = end + 1 - span, slice(end + 1 - span, end + 1)
        return (grid.y[after] - y[:span], grid.mask[after]) if first >= twin.history else None

    return LookBack(errors(y[0], spans[0]), errors(y[1], spans[1]), errors(linear, spans[1]))


@jax.jit
def _hindcasts(dynamics: Ensemble, windows: Window, w: jax.Array, means: jax.Array) -> tuple[jax.Array, jax.Array]:
    """CVs (2, K, CVs) that follow windows (2, L, ·) under inputs w (2, K, inputs), gated as means (2, inputs) are; and
    (K, CVs) what the linear part alone says of the second."""

    def ahead(window: Window, w: jax.Array, mean: jax.Array) -> jax.Array:
        return rollout(dynamics, dynamics.begin(window, mean[None]), w)

    y = jax.vmap(ahead)(windows, w, means)
    if dynamics.is_linear:
        return y, y[1]
    far = jax.tree.map(lambda part: part[1], windows)
    return y, rollout(dynamics.linear, dynamics.linear.encode(far), w[1])


def surprise(twin: Twin, look: LookBack) -> dict[str, float]:
    """CV → how badly the last rows were forecast from the rows before; empty where history is too short."""
    if look.near is None:
        return {}
    ratios = twin.calibration.surprise.ratio(*look.near)
    return {tag.name: float(ratio) for tag, ratio in zip(twin.plant.cvs, ratios, strict=True)}


def shift(twin: Twin, look: LookBack) -> tuple[float, dict[str, str]]:
    """How far forecasts over the last horizon were off to one side, and which CVs by how much; 0 where unknown."""
    usual = twin.calibration.shift
    if usual is None or look.far is None:
        return 0.0, {}
    means = mean_errors(look.far[0][None], look.far[1][None])
    standard = means[0] / usual.size
    most = [i for i in np.argsort(-np.abs(standard))[:NAMED] if abs(standard[i]) > STANDS_OUT]
    off, tags = means[0] * twin.scaler.y_scale, twin.plant.cvs
    told = {tags[i].name: f"{off[i]:+.3g}{tags[i].behind}" for i in most}
    return float(usual.ratio(means)[0]), told


def earning(twin: Twin, look: LookBack) -> tuple[Twin, list[Reason]]:
    """The twin with the share of its learned part that this has lately earned, and why where that is not all."""
    if twin.dynamics.is_linear or look.far is None or look.linear is None:
        return twin, []
    alarms = [shift(twin, look)[0], *surprise(twin, look).values()]
    changed = float(np.nan_to_num(alarms, nan=np.inf).max())  # what is no number was too large for any
    behind = _size(twin, look.far) / max(_size(twin, look.linear), TINY)
    share = max(behind, 1.0) ** (-4 * float(np.clip(changed - 1, 0, 1))) if np.isfinite(behind) else 0.0
    if share == 1.0:
        return twin, []
    how = f"{behind:.1f} times as much as" if behind < FAR else "far more than"
    detail = (
        f"over the last horizon the learned part missed CVs by {how} the linear part alone:"
        f" it counts for {share:.0%} of what it would"
    )
    doubted = [Reason("learned_part_behind", detail)] if share < TELLS else []
    return replace(twin, dynamics=replace(twin.dynamics, earned=jnp.float32(share))), doubted


def _size(twin: Twin, errors: Errors) -> float:
    """Root mean square over CVs and rows, by each CV's usual size."""
    usual = np.ones(errors[0].shape[1]) if twin.calibration.shift is None else twin.calibration.shift.size
    return float(np.sqrt((errors[1] * (errors[0] / usual) ** 2).sum() / max(errors[1].sum(), 1.0)))
