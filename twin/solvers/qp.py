"""A dense convex QP with hard and soft two-sided rows, by Mehrotra's predictor–corrector interior point.

    minimise   ½ xᵀHx + gᵀx + Σ ρ_low max(0, low − Ax) + Σ ρ_high max(0, Ax − high)

A row whose penalty is infinite is hard; one whose penalty is zero, or whose bound is infinite, is absent. The
slacks of the exact L1 penalties are eliminated analytically, so that each iteration factors one matrix of the
size of x, whatever the number of rows, and the problem is feasible whenever its hard rows are.
Mehrotra, SIAM J. Optim. 2 (1992) 575; for the soft rows Scokaert and Rawlings, AIChE J. 45 (1999) 1649.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

MAX_ITERATIONS = 40
TOLERANCE = 1e-9  # on the mean complementarity, the rows, and stationarity relative to its terms
FRACTION = 0.995  # of the way to the boundary


class QP(NamedTuple):
    """Arrays of one problem, with n variables and r rows.

    Attributes:
        H: (n, n) symmetric, positive semidefinite.
        g: (n,).
        A: (r, n).
        low, high: (r,) bounds of Ax.
        low_penalty, high_penalty: (r,) ρ ≥ 0 of each side; infinite is hard.
    """

    H: jax.Array
    g: jax.Array
    A: jax.Array
    low: jax.Array
    high: jax.Array
    low_penalty: jax.Array
    high_penalty: jax.Array


class Solution(NamedTuple):
    """Where the solver stopped: x (n,), its iterations, and what is left of the optimality conditions."""

    x: jax.Array
    iterations: jax.Array
    residual: jax.Array


class _Sides(NamedTuple):
    """Both sides of the rows, (2, r) each: upper sides Ax ≤ high, then lower sides −Ax ≤ −low."""

    bound: jax.Array
    penalty: jax.Array
    present: jax.Array
    soft: jax.Array


class _Point(NamedTuple):
    """x (n,); per side (2, r) the distance to the bound t and its multiplier m; of soft ones the violation s too,
    and its multiplier v = ρ − m, kept apart because the difference would lose its digits."""

    x: jax.Array
    t: jax.Array
    m: jax.Array
    s: jax.Array
    v: jax.Array


def solve(problem: QP, start: jax.Array) -> Solution:
    """Solve a QP in float64, whatever the precision of its arrays and of the caller.

    Args:
        start: (n,) where to start; it need not be feasible.

    Returns:
        the solution in the precision of `start`.
    """
    out = start.dtype
    with jax.enable_x64(True):
        wide = QP(*(jax.lax.convert_element_type(part, jnp.float64) for part in problem))
        found = _interior_point(wide, jax.lax.convert_element_type(start, jnp.float64))
        return Solution(
            jax.lax.convert_element_type(found.x, out),
            jax.lax.convert_element_type(found.iterations, jnp.int32),
            jax.lax.convert_element_type(found.residual, out),
        )


def _interior_point(qp: QP, start: jax.Array) -> Solution:
    sides = _sides(qp)
    count = jnp.maximum(jnp.sum(sides.present) + jnp.sum(sides.soft), 1).astype(jnp.float64)

    def gap(point: _Point) -> jax.Array:
        products = jnp.where(sides.present, point.t * point.m, 0.0) + jnp.where(sides.soft, point.s * point.v, 0.0)
        return jnp.sum(products) / count

    def residual(point: _Point) -> jax.Array:
        dual, primal = _residuals(qp, sides, point)
        size = 1.0 + jnp.max(jnp.abs(qp.g)) + jnp.max(jnp.abs(_columns(qp, point.m)))
        worst = jnp.maximum(jnp.max(jnp.abs(dual)) / size, jnp.max(jnp.abs(primal), initial=0.0))
        return jnp.maximum(worst, gap(point))

    def advance(carry: tuple[_Point, jax.Array, jax.Array]) -> tuple[_Point, jax.Array, jax.Array]:
        point, k, before = carry
        ahead = _mehrotra(qp, sides, point, gap)
        left = residual(ahead)
        fine = jnp.isfinite(left)  # false where rounding has used up the last digits: keep what there is, and stop
        kept = jax.tree.map(lambda a, b: jnp.where(fine, a, b), ahead, point)
        return kept, jnp.where(fine, k + 1, MAX_ITERATIONS), jnp.where(fine, left, before)

    def unfinished(carry: tuple[_Point, jax.Array, jax.Array]) -> jax.Array:
        return (carry[1] < MAX_ITERATIONS) & (carry[2] > TOLERANCE)

    first = _begin(qp, sides, start)
    point, iterations, left = jax.lax.while_loop(unfinished, advance, (first, jnp.asarray(0), residual(first)))
    return Solution(point.x, iterations, left)


def _sides(qp: QP) -> _Sides:
    bound = jnp.stack([qp.high, -qp.low])
    penalty = jnp.stack([qp.high_penalty, qp.low_penalty])
    present = (bound < jnp.inf) & (penalty > 0)
    soft = present & (penalty < jnp.inf)
    return _Sides(jnp.where(present, bound, 0.0), jnp.where(soft, penalty, 1.0), present, soft)


def _rows(qp: QP, x: jax.Array) -> jax.Array:
    ax = qp.A @ x
    return jnp.stack([ax, -ax])


def _columns(qp: QP, sides: jax.Array) -> jax.Array:
    return (sides[0] - sides[1]) @ qp.A


def _begin(qp: QP, sides: _Sides, x: jax.Array) -> _Point:
    room = sides.bound - _rows(qp, x)
    t = jnp.where(sides.present, jnp.maximum(room, 0.0) + 0.1, 1.0)
    s = jnp.where(sides.soft, jnp.maximum(-room, 0.0) + 0.1, 0.0)
    m = jnp.where(sides.present, jnp.where(sides.soft, jnp.minimum(0.1, 0.5 * sides.penalty), 0.1), 0.0)
    return _Point(x, t, m, s, jnp.where(sides.soft, sides.penalty - m, 1.0))


def _residuals(qp: QP, sides: _Sides, point: _Point) -> tuple[jax.Array, jax.Array]:
    """Of stationarity (n,), and of Ax − s + t = bound (2, r)."""
    dual = qp.H @ point.x + qp.g + _columns(qp, point.m)
    primal = jnp.where(sides.present, _rows(qp, point.x) - point.s + point.t - sides.bound, 0.0)
    return dual, primal


def _mehrotra(qp: QP, sides: _Sides, point: _Point, gap: Callable[[_Point], jax.Array]) -> _Point:
    """One predictor–corrector step."""
    present, soft = sides.present, sides.soft
    x, t, m, s, v = point
    safe_m = jnp.where(present, m, 1.0)
    d = jnp.where(present, 1.0 / (t / safe_m + s / v), 0.0)
    dual, primal = _residuals(qp, sides, point)
    scale = jnp.max(jnp.abs(jnp.diagonal(qp.H)))
    matrix = qp.H + (qp.A * (d[0] + d[1])[:, None]).T @ qp.A
    matrix = matrix + jnp.eye(len(x)) * (1e-12 * jnp.maximum(scale, 1.0))
    factor = cho_factor(matrix)

    def direction(tm: jax.Array, sv: jax.Array) -> _Point:
        """The Newton direction toward t·m + … = 0 with complementarity right-hand sides tm and sv."""
        q = primal + tm / safe_m - jnp.where(soft, sv / v, 0.0)
        dx = cho_solve(factor, -dual - _columns(qp, d * q))
        dm = d * (_rows(qp, dx) + q)
        dt = jnp.where(present, (tm - t * dm) / safe_m, 0.0)
        ds = jnp.where(soft, (sv + s * dm) / v, 0.0)
        return _Point(dx, dt, dm, ds, jnp.where(soft, -dm, 0.0))

    def longest(step: _Point) -> tuple[jax.Array, jax.Array]:
        """How far the slacks, and the multipliers, can go."""
        slack = jnp.minimum(_ratio(t, step.t, present), _ratio(s, step.s, soft))
        return slack, jnp.minimum(_ratio(m, step.m, present), _ratio(v, step.v, soft))

    mu = gap(point)
    predictor = direction(-t * m, -s * v)
    slack, multiplier = longest(predictor)
    lengths = (slack, slack, multiplier, slack, multiplier)
    ahead = _Point(*(a + length * b for a, b, length in zip(point, predictor, lengths, strict=True)))
    target = mu * (gap(ahead) / jnp.maximum(mu, 1e-300)) ** 3
    corrected = direction(target - t * m - predictor.t * predictor.m, target - s * v - predictor.s * predictor.v)
    length = jnp.minimum(FRACTION * jnp.minimum(*longest(corrected)), 1.0)
    return _Point(*(a + length * b for a, b in zip(point, corrected, strict=True)))


def _ratio(value: jax.Array, change: jax.Array, counted: jax.Array) -> jax.Array:
    shrinking = counted & (change < 0)
    return jnp.min(
        jnp.where(shrinking, -value / jnp.where(shrinking, change, -1.0), 1.0 / FRACTION), initial=1.0 / FRACTION
    )
