"""Keeping the signs of gains that an engineer asked for: in the linear backbone, and in what the residual adds.

A linear model keeps a sign where its step response has it at the end of the horizon and at twice that: a response that
goes the other way first is left alone. A fit of one CV is kept to its signs (`twin.training.signed`) by bounds on its
whole step response: of y = (sum of b_j w_{t-j}) / (1 - sum of a_i z^-i) the sums of b_j up to every lag, and the
steady-state gain, which are linear in a and b. (Gains bounded in neural models: Turner and Guiver, J. Process Control
15 (2005) 407.)

The residual's answer to a step adds to the backbone's, in proportion to its readout: for each CV there is a largest
share of it that leaves no sign wrong at any of many operating points. Every smaller share, and so every gate, keeps
them too.
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

from twin.dynamics.ensemble import Ensemble
from twin.dynamics.jepa import Jepa
from twin.dynamics.lti import Lti
from twin.forecasting import forecaster
from twin.training.correction import member, recent
from twin.windows import Grid, Window

HORIZONS = 2  # horizons over which a step response is followed
LEAST = 0.02  # steady-state gain that bounds ask for: deviations of the CV by one deviation of the MV
ZERO = 0.01  # the same: an effect below it counts as none
ROUNDING = 1e-4  # the same: an answer this small has no sign in float32
FLOOR = 0.05  # of the backbone's answer to a step: what the residual must leave of it
STEP = 0.5  # deviations of an MV: the size of a test step, up and down
POINTS = 96  # windows, each of them twice: with the MV where it was, and at another level


def step_answers(model: Lti, moves: int, rows: int) -> np.ndarray:
    """(rows, moves, CVs) float64: what a unit step in each of the first `moves` inputs does."""
    m = {field.name: np.asarray(getattr(model, field.name), np.float64) for field in fields(Lti)}
    state, push = np.zeros((len(m["a"]), moves)), m["B"][:, :moves]
    answers = np.empty((rows, moves, len(m["c"])))
    with np.errstate(invalid="ignore", over="ignore"):
        for k in range(rows):
            state = m["A"] @ state + push
            answers[k] = (m["C"] @ state).T
    return answers


def wrong(answers: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(..., MVs, CVs) bool: whether step responses break what is asked.

    Args:
        answers: (..., rows, MVs, CVs) over `HORIZONS` horizons, model units.
        asked: (MVs, CVs) 1, -1, 0 or NaN.
    """
    rows = answers.shape[-3]
    ends = np.stack([answers[..., rows // HORIZONS - 1, :, :], answers[..., -1, :, :]])
    size = np.abs(answers).max(axis=-3)
    return _breaks(asked * ends, size, asked)


def _breaks(signed: np.ndarray, size: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """From answers by the sign asked for (2, ..., MVs, CVs) and the largest ones (..., MVs, CVs)."""
    with np.errstate(invalid="ignore"):
        broken: np.ndarray = np.where(asked == 0, size > ZERO, (signed <= -ROUNDING).any(axis=0))
    return broken & np.isfinite(asked)


def bounded(normal: np.ndarray, across: np.ndarray, rows: np.ndarray, least: np.ndarray) -> np.ndarray:
    """(n,) the x that minimises ½ x' normal x - across' x under rows @ x >= least, by its dual (a non-negative
    least-squares problem; Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23).

    Args:
        normal: (n, n), positive definite.
        across: (n,).
        rows: (m, n).
        least: (m,).
    """
    free, moved = np.linalg.solve(normal, across), np.linalg.solve(normal, rows.T)
    dual = rows @ moved
    dual += 1e-12 * np.trace(dual) / len(dual) * np.eye(len(dual))
    root = np.linalg.cholesky(dual)
    prices, _ = nnls(root.T, np.linalg.solve(root, least - rows @ free))
    solved: np.ndarray = free + moved @ prices
    return solved


def response_bounds(lags: int, inputs: np.ndarray, sign: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and least values, for `bounded`, that give a CV's step responses their signs, and leave it no growing lag.

    Args:
        lags: of the CV itself, the first coefficients.
        inputs: (input rows, moves) where the coefficients of the bounded MVs stand, the row's own first.
        sign: (moves,) 1 or -1.
        count: of coefficients.
    """
    stable = np.zeros((1, count))
    stable[0, :lags] = -1.0  # sum(a) <= 1
    rows, least = [stable], [np.full(1, -1.0)]
    for at, s in zip(inputs.T, sign, strict=True):
        sums = np.zeros((len(at), count))
        sums[:, at] = s * np.tri(len(at))
        floor = np.zeros(len(at))
        sums[-1, :lags], floor[-1] = LEAST, LEAST  # s sum(b) >= LEAST (1 - sum(a))
        rows.append(sums)
        least.append(floor)
    return np.concatenate(rows), np.concatenate(least)


class Points(NamedTuple):
    """Operating points of the trained region.

    Attributes:
        windows: (n, m, L, ·) the windows up to each.
        whole: (n, m) which of them are whole.
        held: (n, inputs) what the inputs are to hold.
        low, high: (n, MVs) where a step in an MV goes from and to; all in model units.
    """

    windows: Window
    whole: np.ndarray
    held: np.ndarray
    low: np.ndarray
    high: np.ndarray


def operating_points(grid: Grid, ends: np.ndarray, history: int, dynamics: Ensemble, moves: int, seed: int) -> Points:
    """Points all over the trained region: windows as they were, and with MVs at other levels of their range.

    Args:
        ends: rows at which windows may end.
        moves: how many of the inputs are MVs.
    """
    rng = np.random.default_rng(seed)
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, POINTS).round().astype(np.int64))]
    low, high = grid.w[:, :moves].min(axis=0), grid.w[:, :moves].max(axis=0)
    present = grid.w[ends]
    elsewhere = present.copy()
    elsewhere[:, :moves] = low + rng.random((len(ends), moves)).astype(np.float32) * (high - low)
    twice, held = np.r_[ends, ends], np.concatenate([present, elsewhere])
    window = grid.window(twice, history)
    near = np.asarray(jax.jit(jax.vmap(lambda p, w: dynamics.region.distance(p, w[None])))(window, held)) <= 1
    near[: len(ends)] |= not near.any()
    twice, held = twice[near], held[near]
    at = held[:, :moves]
    return Points(*recent(grid, twice, history), held, np.maximum(at - STEP, low), np.minimum(at + STEP, high))


class Answers(NamedTuple):
    """What steps do at operating points, a unit of an MV each, model units.

    Attributes:
        ends: (2, members, n, MVs, CVs) at the end of the horizon and at the end of `HORIZONS` of them.
        size: (members, n, MVs, CVs) the largest on the way.
    """

    ends: np.ndarray
    size: np.ndarray


def answers(dynamics: Ensemble, points: Points, mvs: np.ndarray, horizon: int, correction: Any = 0.0) -> Answers:
    """By each member, as `predict` would forecast it, of the MVs (m,) at `mvs`."""
    parts = []
    for number in range(dynamics.members):
        one = _answers(member(dynamics, number), points, jnp.asarray(mvs), horizon, np.asarray(correction, np.float32))
        parts.append([np.asarray(part, np.float64) for part in one])
    first, last, size = (np.stack(part) for part in zip(*parts, strict=True))
    return Answers(np.stack([first, last]), size)


@partial(jax.jit, static_argnames="horizon")
def _answers(
    dynamics: Ensemble, points: Points, mvs: jax.Array, horizon: int, correction: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    def one(point: Points) -> jax.Array:
        forecast = forecaster(dynamics, point.windows, jnp.asarray(point.whole), correction)
        held = jnp.tile(point.held, (HORIZONS * horizon, 1))

        def answer(mv: jax.Array) -> jax.Array:
            up, down = forecast(held.at[:, mv].set(point.high[mv])), forecast(held.at[:, mv].set(point.low[mv]))
            return (up - down) / jnp.maximum(point.high[mv] - point.low[mv], 1e-6)

        return jax.vmap(answer)(mvs)  # (MVs, rows, CVs)

    found = jax.lax.map(one, points, batch_size=16)
    return found[:, :, horizon - 1], found[:, :, -1], jnp.abs(found).max(axis=2)


def shares(dynamics: Ensemble, points: Points, asked: np.ndarray, horizon: int) -> np.ndarray:
    """(CVs,) in [0, 1]: the largest share of the residual under which no member's answer to a step at any point has a
    wrong sign. Where the backbone alone is wrong, nothing is taken that makes it worse.

    Args:
        asked: (MVs, CVs).
    """
    mvs = np.flatnonzero(np.isfinite(asked).any(axis=1))
    both = answers(dynamics, points, mvs, horizon)
    linear = answers(dynamics.linear, points, mvs, horizon)
    sign = asked[mvs]
    with np.errstate(invalid="ignore", divide="ignore"):
        base, added = sign * linear.ends, sign * (both.ends - linear.ends)
        room = np.maximum((1 - FLOOR) * base, np.maximum(np.minimum(base, 0.0) + ROUNDING / 2, 0.0))
        most = np.where(added < 0, room / -added, np.inf).min(axis=(0, 1, 2))
        most = np.where(sign == 0, ZERO / 2 / np.maximum(both.size.max(axis=(0, 1)), 1e-9), most)
    out: np.ndarray = np.minimum(np.where(np.isfinite(sign), most, np.inf).min(axis=0), 1.0)
    return out


def shrunk(residuals: Jepa, share: np.ndarray) -> Jepa:
    """Residuals (members, ·) of which each CV takes its share (CVs,)."""

    def scaled(path: tuple, leaf: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        return leaf * jnp.asarray(share, jnp.float32)[None] if name.startswith("share") else leaf

    out: Jepa = jax.tree_util.tree_map_with_path(scaled, residuals)
    return out
