"""The interior point against DAQP, SciPy and problems solved by hand."""

import daqp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from twin.solvers.qp import QP, solve

INF = np.inf
solve_jit = jax.jit(solve, static_argnums=2)


def qp(H, g, A, low, high, low_penalty=INF, high_penalty=INF):
    A = np.asarray(A, float)
    rows = [np.broadcast_to(np.asarray(v, float), (len(A),)) for v in (low, high, low_penalty, high_penalty)]
    return QP(np.asarray(H, float), np.asarray(g, float), A, *rows)


def x_of(problem, start=None, most=None):
    with jax.enable_x64(True):
        n = len(problem.g)
        begin = jnp.zeros(n) if start is None else jnp.asarray(start)
        found = solve_jit(jax.tree.map(jnp.asarray, problem), begin, most)
        return np.asarray(found.x), found


def value(p, x):
    ax = p.A @ x
    soft = np.where(np.isfinite(p.low_penalty), p.low_penalty, 0) @ np.maximum(p.low - ax, 0)
    soft += np.where(np.isfinite(p.high_penalty), p.high_penalty, 0) @ np.maximum(ax - p.high, 0)
    return 0.5 * x @ p.H @ x + p.g @ x + soft


def random_problem(seed, n=12, r=40, soft=False):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n // 2 if seed % 2 else n))
    H = root @ root.T + 1e-3 * np.eye(n)
    A = np.vstack([np.eye(n), rng.normal(size=(r, n))])
    low = np.r_[np.full(n, -1.0), rng.uniform(-2, 0, r)]
    high = np.r_[np.full(n, 1.0), rng.uniform(0, 2, r)]
    penalty = np.full(n + r, INF)
    if soft:
        low[n:] += rng.choice([0, 4], r)  # some rows cannot be kept
        penalty[n:] = rng.choice([1.0, 10.0, 100.0], r)
    return qp(H, 3 * rng.normal(size=n), A, low, high, penalty, penalty)


@pytest.mark.parametrize("seed", range(12))
def test_hard_rows_agree_with_daqp(seed):
    p = random_problem(seed)
    x, found = x_of(p)
    n = len(p.g)
    oracle, _, flag, _ = daqp.solve(p.H, p.g, p.A[n:].copy(), p.high.copy(), p.low.copy(), np.zeros(len(p.A), np.int32))
    assert flag == 1
    np.testing.assert_allclose(x, oracle, atol=1e-6)
    assert float(found.residual) < 1e-8
    assert int(found.iterations) < 25


@pytest.mark.parametrize("seed", range(12))
def test_soft_rows_agree_with_daqp_given_the_slacks_as_variables(seed):
    p = random_problem(seed, n=6, r=15, soft=True)
    x, _ = x_of(p)
    n, r = 6, 15
    H = np.zeros((n + 2 * r, n + 2 * r))
    H[:n, :n] = p.H
    H[n:, n:] = 1e-9 * np.eye(2 * r)
    g = np.r_[p.g, p.low_penalty[n:], p.high_penalty[n:]]
    eye, zero = np.eye(r), np.zeros((r, r))
    A = np.vstack([np.c_[p.A[n:], eye, zero], np.c_[p.A[n:], zero, -eye]])
    high = np.r_[p.high[:n], np.full(2 * r, 1e30), np.full(r, 1e30), p.high[n:]]
    low = np.r_[p.low[:n], np.zeros(2 * r), p.low[n:], np.full(r, -1e30)]
    oracle, _, flag, _ = daqp.solve(H, g, A, high, low, np.zeros(len(high), np.int32))
    assert flag == 1
    assert value(p, x) == pytest.approx(value(p, oracle[:n]), rel=1e-6, abs=1e-6)
    assert (np.maximum(p.low - p.A @ x, 0)[n:] > 1e-3).any()  # the problem does have rows it cannot keep


@pytest.mark.parametrize("seed", range(6))
def test_a_linear_program_agrees_with_scipy(seed):
    rng = np.random.default_rng(seed)
    n, r = 8, 10
    A = np.vstack([np.eye(n), rng.normal(size=(r, n))])
    low, high = np.r_[np.zeros(n), np.full(r, -INF)], np.r_[np.ones(n), rng.uniform(0.5, 2, r)]
    p = qp(np.zeros((n, n)), rng.normal(size=n), A, low, high)
    x, _ = x_of(p)
    oracle = linprog(p.g, A_ub=A[n:], b_ub=high[n:], bounds=(0, 1))
    assert oracle.success
    assert p.g @ x == pytest.approx(oracle.fun, abs=1e-6)


def test_by_hand():
    """min ½(x − 3)² with x ≤ 1: hard gives 1; soft with ρ = 5 is exact; with ρ = 0.5 the pull wins till x = 2.5."""
    for penalty, expected in ((INF, 1.0), (5.0, 1.0), (0.5, 2.5), (0.0, 3.0)):
        x, _ = x_of(qp([[1.0]], [-3.0], [[1.0]], -INF, 1.0, INF, penalty))
        assert x[0] == pytest.approx(expected, abs=1e-7)


def test_limits_that_cross_go_to_the_one_with_the_larger_penalty():
    x, _ = x_of(qp([[0.0]], [0.0], [[1.0], [1.0]], [2.0, -9], [INF, 1.0], [10.0, 1.0], [1.0, 1.0]))
    assert x[0] >= 2.0 - 1e-6  # low 2 outranks high 1
    x, _ = x_of(qp([[0.0]], [0.0], [[1.0], [1.0]], [2.0, -9], [INF, 1.0], [1.0, 1.0], [1.0, 10.0]))
    assert x[0] <= 1.0 + 1e-6


def test_absent_rows_change_nothing_whatever_they_hold():
    p = random_problem(3)
    x, _ = x_of(p)
    A = np.vstack([p.A, np.zeros((2, 12)), np.ones((1, 12))])
    masked = QP(p.H, p.g, A, np.r_[p.low, -INF, 5, 7], np.r_[p.high, INF, 4, 3], np.r_[p.low_penalty, 1, 0, 0],
                np.r_[p.high_penalty, INF, 0, 0])  # fmt: skip
    again, found = x_of(masked)
    np.testing.assert_allclose(again, x, atol=1e-7)
    assert np.isfinite(float(found.residual))


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e3])
def test_weights_far_apart_stay_finite_and_inside(scale):
    p = random_problem(4)
    x, _ = x_of(p._replace(H=p.H * scale, g=p.g * scale))
    assert np.isfinite(x).all()
    assert (p.A @ x <= p.high + 1e-7).all()
    assert (p.A @ x >= p.low - 1e-7).all()


def test_from_an_infeasible_start():
    p = random_problem(5)
    np.testing.assert_allclose(x_of(p, np.full(12, 50.0))[0], x_of(p)[0], atol=1e-6)


def test_bounds_and_rates_as_rows_of_their_own_kind_are_the_same_problem():
    rng = np.random.default_rng(0)
    p = random_problem(6, soft=True)
    n = 12
    linked = np.r_[0.0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1]
    change = np.eye(n) - np.diag(linked[1:], -1)
    steps = rng.uniform(0.1, 0.4, n)
    rows = [np.r_[part[:n], extra, part[n:]] for part, extra in
            ((p.low, -steps), (p.high, steps), (p.low_penalty, [INF] * n), (p.high_penalty, [INF] * n))]  # fmt: skip
    dense = QP(p.H, p.g, np.vstack([np.eye(n), change, p.A[n:]]), *rows)
    chained = QP(p.H, p.g, p.A[n:], *rows, linked=linked)
    x, found = x_of(dense)
    again, same = x_of(chained)
    np.testing.assert_allclose(again, x, atol=1e-7)
    np.testing.assert_allclose(same.multiplier, found.multiplier, atol=1e-5)
    assert np.abs(change @ x).max() == pytest.approx(steps[np.abs(change @ x).argmax()], abs=1e-7)  # rates do bind


@pytest.mark.parametrize("most", [6, 12, 30])
@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_rows_alone_lead_to_the_same_solution(seed, most):
    """With 6 of 52 rows the first sets are too small, so that in the end all are taken."""
    p = random_problem(seed, soft=True)
    x, _ = x_of(p)
    again, near = x_of(p, most=most)
    assert value(p, again) == pytest.approx(value(p, x), rel=1e-7, abs=1e-7)
    columns = p.A.T @ np.asarray(near.multiplier)
    np.testing.assert_allclose(p.H @ again + p.g + columns, 0, atol=1e-5)


def test_a_row_that_gives_breaks_quadratically():
    """min ½(x − 3)² + (x − 1)₊² / (2 c): x = (3 + 1/c) / (1 + 1/c)."""
    for c in (0.1, 1.0, 10.0):
        p = qp([[1.0]], [-3.0], [[1.0]], -INF, 1.0)._replace(give=np.array([c]))
        assert x_of(p)[0][0] == pytest.approx((3 + 1 / c) / (1 + 1 / c), abs=1e-6)
    inside = qp([[1.0]], [-0.5], [[1.0]], -INF, 1.0)._replace(give=np.array([0.1]))
    assert x_of(inside)[0][0] == pytest.approx(0.5, abs=1e-6)
