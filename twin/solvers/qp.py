"""A convex QP with hard and soft two-sided rows, by Mehrotra's predictor–corrector interior point.

    minimise   ½ xᵀHx + gᵀx + Σ over sides of  min over s, q ≥ 0 of  ρ s + q² / (2 c),   s + q ≥ what x breaks

A side whose penalty ρ is infinite is hard where its give c is zero, and breaks quadratically (a zone) where it is
not; one whose penalty is zero, or whose bound is infinite, is absent. The slacks are eliminated analytically, so
that each iteration factors one matrix of the size of x, whatever the number of rows, and the problem is feasible
whenever its hard rows are. Bounds and rates of x are rows of their own kind, which cost nothing to multiply with.
Mehrotra, SIAM J. Optim. 2 (1992) 575; for the soft rows Scokaert and Rawlings, AIChE J. 45 (1999) 1649.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

MAX_ITERATIONS = 40
TOLERANCE = 1e-9  # on the mean complementarity, the rows, and stationarity relative to its terms
FRACTION = 0.995  # of the way to the boundary
BROKEN = 1e-8  # a row that was left out may be broken by so much
TRIES = 2  # working sets, before all rows are taken


class QP(NamedTuple):
    """Arrays of one problem, with n variables and r rows.

    The rows are A x; where `linked` is given, x itself, x_i − linked_i x_(i−1), and A x, so that r counts all three.

    Attributes:
        H: (n, n) symmetric, positive semidefinite.
        g: (n,).
        A: (r, n), or (r − 2n, n).
        low, high: (r,) bounds of the rows.
        low_penalty, high_penalty: (r,) ρ ≥ 0 of each side; infinite is hard.
        give: (r,) c ≥ 0 of both sides; none is zero.
        linked: (n,) 1 where a variable's change from the one before is bounded too, else 0; or none.
    """

    H: jax.Array
    g: jax.Array
    A: jax.Array
    low: jax.Array
    high: jax.Array
    low_penalty: jax.Array
    high_penalty: jax.Array
    give: jax.Array | None = None
    linked: jax.Array | None = None


class Solution(NamedTuple):
    """Where the solver stopped: x (n,), its iterations, what is left of the optimality conditions, and the
    multipliers (r,) of the rows, positive at high sides."""

    x: jax.Array
    iterations: jax.Array
    residual: jax.Array
    multiplier: jax.Array


class _Sides(NamedTuple):
    """Both sides of the rows, (2, r) each: upper sides Ax ≤ high, then lower sides −Ax ≤ −low."""

    bound: jax.Array
    penalty: jax.Array
    give: jax.Array
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


class _Left(NamedTuple):
    """What a point leaves: of stationarity (n,), of the rows (2, r), the mean complementarity, and the worst."""

    dual: jax.Array
    primal: jax.Array
    gap: jax.Array
    worst: jax.Array


def solve(problem: QP, start: jax.Array, most: int | None = None) -> Solution:
    """Solve a QP in float64, whatever the precision of its arrays and of the caller.

    Args:
        start: (n,) where to start; it need not be feasible.
        most: rows of A that are taken at first, those nearest to be broken; all, where those prove too few.

    Returns:
        the solution in the precision of `start`.
    """
    out = start.dtype
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda part: jax.lax.convert_element_type(part, jnp.float64), problem)
        if wide.give is None:
            wide = wide._replace(give=jnp.zeros_like(wide.low))
        x = jax.lax.convert_element_type(start, jnp.float64)
        few = most is not None and most < len(problem.A)
        found = _from_the_nearest(wide, x, most or 0) if few else _interior_point(wide, x)
        return Solution(
            jax.lax.convert_element_type(found.x, out),
            jax.lax.convert_element_type(found.iterations, jnp.int32),
            jax.lax.convert_element_type(found.residual, out),
            jax.lax.convert_element_type(found.multiplier, out),
        )


def _from_the_nearest(qp: QP, start: jax.Array, most: int) -> Solution:
    """Solve with `most` rows of A; then with those that it broke too; then, where that does not do, with all."""
    first = len(qp.low) - len(qp.A)
    sides = _sides(qp)
    size = jnp.linalg.norm(qp.A, axis=1) + 1e-9

    def room(x: jax.Array) -> jax.Array:
        """(rows of A,) how far away the nearer side is, in steps of x."""
        left = jnp.where(sides.present, sides.bound - _times(qp, x), jnp.inf)[:, first:]
        return left.min(axis=0) / size

    def attempt(near: jax.Array) -> tuple[Solution, jax.Array, jax.Array]:
        chosen = jax.lax.top_k(-near, most)[1].astype(jnp.int64)
        rows = jnp.concatenate([jnp.arange(first), first + chosen])
        parts = {f: getattr(qp, f)[rows] for f in ("low", "high", "low_penalty", "high_penalty", "give")}
        found = _interior_point(qp._replace(A=qp.A[chosen], **parts), start)
        left = room(found.x).at[chosen].set(jnp.inf)
        spread = jnp.zeros_like(qp.low).at[rows].set(found.multiplier)
        return found._replace(multiplier=spread), jnp.minimum(near, left), jnp.min(left) < -BROKEN

    def again(carry: tuple) -> tuple:
        found, near, broken = attempt(carry[1])
        return found._replace(iterations=found.iterations + carry[0].iterations), near, broken, carry[3] + 1

    none = Solution(start, jnp.asarray(0), jnp.asarray(jnp.inf, start.dtype), jnp.zeros_like(qp.low))
    begun = (none, room(start), jnp.asarray(True), jnp.asarray(0))
    found, _, broken, _ = jax.lax.while_loop(lambda carry: carry[2] & (carry[3] < TRIES), again, begun)
    return jax.lax.cond(broken, lambda: _interior_point(qp, start), lambda: found)


def _interior_point(qp: QP, start: jax.Array) -> Solution:
    sides = _sides(qp)

    def advance(carry: tuple[_Point, _Left, jax.Array]) -> tuple[_Point, _Left, jax.Array]:
        point, left, k = carry
        ahead = _mehrotra(qp, sides, point, left)
        then = _left(qp, sides, ahead)
        fine = jnp.isfinite(then.worst)  # false where rounding has used up the last digits: keep what there is, stop
        kept = jax.tree.map(lambda a, b: jnp.where(fine, a, b), (ahead, then), (point, left))
        return (*kept, jnp.where(fine, k + 1, MAX_ITERATIONS))

    def unfinished(carry: tuple[_Point, _Left, jax.Array]) -> jax.Array:
        return (carry[2] < MAX_ITERATIONS) & (carry[1].worst > TOLERANCE)

    first = _begin(qp, sides, start)
    point, left, iterations = jax.lax.while_loop(unfinished, advance, (first, _left(qp, sides, first), jnp.asarray(0)))
    return Solution(point.x, iterations, left.worst, point.m[0] - point.m[1])


def _sides(qp: QP) -> _Sides:
    bound = jnp.stack([qp.high, -qp.low])
    penalty = jnp.stack([qp.high_penalty, qp.low_penalty])
    present = (bound < jnp.inf) & (penalty > 0)
    soft = present & (penalty < jnp.inf)
    both = jnp.zeros_like(qp.low) if qp.give is None else qp.give
    give = jnp.where(present, jnp.stack([both, both]), 0.0)
    return _Sides(jnp.where(present, bound, 0.0), jnp.where(soft, penalty, 1.0), give, present, soft)


def _times(qp: QP, x: jax.Array) -> jax.Array:
    """(2, r) both sides of the rows at x."""
    rows = qp.A @ x
    if qp.linked is not None:
        rows = jnp.concatenate([x, x - qp.linked * jnp.roll(x, 1), rows])
    return jnp.stack([rows, -rows])


def _columns(qp: QP, sides: jax.Array) -> jax.Array:
    """(n,) the transposed rows times multipliers (2, r)."""
    both = sides[0] - sides[1]
    if qp.linked is None:
        return both @ qp.A
    n = len(qp.g)
    change = both[n : 2 * n]
    return both[:n] + change - jnp.roll(qp.linked * change, -1) + both[2 * n :] @ qp.A


def _gram(qp: QP, d: jax.Array) -> jax.Array:
    """(n, n) the transposed rows times d (r,) times the rows."""
    if qp.linked is None:
        return (qp.A * d[:, None]).T @ qp.A
    n = len(qp.g)
    change = d[n : 2 * n]
    beside = qp.linked * change
    diagonal = d[:n] + change + jnp.roll(qp.linked * beside, -1)
    full = (qp.A * d[2 * n :, None]).T @ qp.A + jnp.diag(diagonal)
    return full - jnp.diag(beside[1:], -1) - jnp.diag(beside[1:], 1)


def _begin(qp: QP, sides: _Sides, x: jax.Array) -> _Point:
    room = sides.bound - _times(qp, x)
    t = jnp.where(sides.present, jnp.maximum(room, 0.0) + 0.1, 1.0)
    s = jnp.where(sides.soft, jnp.maximum(-room, 0.0) + 0.1, 0.0)
    m = jnp.where(sides.present, jnp.where(sides.soft, jnp.minimum(0.1, 0.5 * sides.penalty), 0.1), 0.0)
    return _Point(x, t, m, s, jnp.where(sides.soft, sides.penalty - m, 1.0))


def _gap(sides: _Sides, point: _Point) -> jax.Array:
    """Of t m = 0 and s v = 0, on average."""
    count = jnp.maximum(jnp.sum(sides.present) + jnp.sum(sides.soft), 1).astype(jnp.float64)
    products = jnp.where(sides.present, point.t * point.m, 0.0) + jnp.where(sides.soft, point.s * point.v, 0.0)
    return jnp.sum(products) / count


def _left(qp: QP, sides: _Sides, point: _Point) -> _Left:
    pull = _columns(qp, point.m)
    dual = qp.H @ point.x + qp.g + pull
    rows = _times(qp, point.x) - point.s - sides.give * point.m + point.t - sides.bound
    primal = jnp.where(sides.present, rows, 0.0)
    gap = _gap(sides, point)
    size = 1.0 + jnp.max(jnp.abs(qp.g)) + jnp.max(jnp.abs(pull))
    worst = jnp.maximum(jnp.max(jnp.abs(dual)) / size, jnp.max(jnp.abs(primal), initial=0.0))
    return _Left(dual, primal, gap, jnp.maximum(worst, gap))


def _mehrotra(qp: QP, sides: _Sides, point: _Point, left: _Left) -> _Point:
    """One predictor–corrector step."""
    present, soft = sides.present, sides.soft
    x, t, m, s, v = point
    safe_m = jnp.where(present, m, 1.0)
    d = jnp.where(present, 1.0 / (t / safe_m + s / v + sides.give), 0.0)
    scale = jnp.max(jnp.abs(jnp.diagonal(qp.H)))
    matrix = qp.H + _gram(qp, d[0] + d[1]) + jnp.eye(len(x)) * (1e-12 * jnp.maximum(scale, 1.0))
    factor = cho_factor(matrix, lower=True)

    def direction(tm: jax.Array, sv: jax.Array) -> _Point:
        """The Newton direction toward t·m + … = 0 with complementarity right-hand sides tm and sv."""
        q = left.primal + tm / safe_m - jnp.where(soft, sv / v, 0.0)
        dx = cho_solve(factor, -left.dual - _columns(qp, d * q))
        dm = d * (_times(qp, dx) + q)
        dt = jnp.where(present, (tm - t * dm) / safe_m, 0.0)
        ds = jnp.where(soft, (sv + s * dm) / v, 0.0)
        return _Point(dx, dt, dm, ds, jnp.where(soft, -dm, 0.0))

    def longest(step: _Point) -> tuple[jax.Array, jax.Array]:
        """How far the slacks, and the multipliers, can go."""
        slack = jnp.minimum(_ratio(t, step.t, present), _ratio(s, step.s, soft))
        return slack, jnp.minimum(_ratio(m, step.m, present), _ratio(v, step.v, soft))

    predictor = direction(-t * m, -s * v)
    slack, multiplier = longest(predictor)
    lengths = (slack, slack, multiplier, slack, multiplier)
    ahead = _Point(*(a + length * b for a, b, length in zip(point, predictor, lengths, strict=True)))
    target = left.gap * (_gap(sides, ahead) / jnp.maximum(left.gap, 1e-300)) ** 3
    corrected = direction(target - t * m - predictor.t * predictor.m, target - s * v - predictor.s * predictor.v)
    length = jnp.minimum(FRACTION * jnp.minimum(*longest(corrected)), 1.0)
    return _Point(*(a + length * b for a, b in zip(point, corrected, strict=True)))


def _ratio(value: jax.Array, change: jax.Array, counted: jax.Array) -> jax.Array:
    shrinking = counted & (change < 0)
    return jnp.min(
        jnp.where(shrinking, -value / jnp.where(shrinking, change, -1.0), 1.0 / FRACTION), initial=1.0 / FRACTION
    )
