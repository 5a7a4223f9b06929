"""The SQP on small nonlinear problems, against SciPy and by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from twin.solvers import sqp
from twin.solvers.problem import TOLERANCE, Problem, begin, cost

K, N = 12, 6


def tank(x):
    """A level (K, 1) and its square root (K, 2): dh/dt = u − sqrt(h), each move held two rows."""

    def advance(h, u):
        h = h + 0.3 * (1.0 + u - jnp.sqrt(jnp.maximum(h, 1e-3)))
        return h, jnp.stack([h, jnp.sqrt(jnp.maximum(h, 1e-3))])

    return jax.lax.scan(advance, jnp.asarray(1.0, x.dtype), jnp.repeat(x, 2))[1]


improve = jax.jit(partial(sqp.improve, tank))


def problem(**changes):
    """Follow a level of 1.6 within moves of ±0.5 that change by at most 0.3."""
    weight = np.zeros((K, 2))
    weight[:, 0] = 1 / K
    parts = {
        "target": np.full((K, 2), 1.6),
        "weight": weight,
        "price": np.zeros((K, 2)),
        "low": np.zeros((K, 2)),
        "high": np.zeros((K, 2)),
        "low_penalty": np.zeros((K, 2)),
        "high_penalty": np.zeros((K, 2)),
        "H": 1e-3 * np.eye(N),
        "g": np.zeros(N),
        "zone_low": np.zeros((K, 2)),
        "zone_high": np.zeros((K, 2)),
        "zone_weight": np.zeros((K, 2)),
        "x_low": np.full(N, -0.5),
        "x_high": np.full(N, 0.5),
        "change": np.full(N, 0.3),
        "linked": np.r_[0.0, np.ones(N - 1)],
        "free": np.ones(N),
    }
    return Problem(**{k: np.asarray(v, np.float32) for k, v in (parts | changes).items()})


def solved(p, x=None, iterations=30):
    x = np.zeros(N, np.float32) if x is None else np.asarray(x, np.float32)
    return improve(p, begin(x), np.int32(iterations))


def oracle(p, extra=()):
    constraints = [
        {"type": "ineq", "fun": lambda x: 0.5 - np.abs(x)},
        {"type": "ineq", "fun": lambda x: 0.3 - np.diff(x, prepend=0.0)},
        {"type": "ineq", "fun": lambda x: 0.3 + np.diff(x, prepend=0.0)},
        *extra,
    ]
    with jax.enable_x64(True):
        wide = p._replace(**{k: np.asarray(v, np.float64) for k, v in p._asdict().items()})
        value = jax.jit(jax.value_and_grad(lambda x: cost(wide, x, tank(x))))
        found = minimize(
            lambda x: tuple(np.asarray(part) for part in value(x)),
            np.zeros(N),
            jac=True,
            method="SLSQP",
            constraints=constraints,
            options={"ftol": 1e-12, "maxiter": 300},
        )
    assert found.success
    x = np.asarray(found.x, np.float32)
    return found.x, float(cost(p, x, tank(x)))


def test_tracking_agrees_with_slsqp():
    p = problem()
    solution = solved(p)
    x, best = oracle(p)
    assert float(cost(p, solution.x, tank(solution.x))) == pytest.approx(best, rel=2e-3)
    np.testing.assert_allclose(solution.x[:3], x[:3], atol=5e-3)
    assert float(solution.residual) <= TOLERANCE
    assert float(solution.penalty) == 0


def test_economics_end_at_the_limit_of_an_output():
    """Filling earns; the level may not pass 1.4, and only the bounds and rates limit the moves."""
    price = np.zeros((K, 2))
    price[:, 0] = -1 / K
    high, penalty = np.full((K, 2), 1.4), np.zeros((K, 2))
    penalty[:, 0] = 100 / K
    p = problem(weight=np.zeros((K, 2)), price=price, high=high, high_penalty=penalty)
    solution = solved(p)
    level = np.asarray(tank(solution.x))[:, 0]
    assert float(solution.penalty) == 0
    assert level.max() <= 1.4
    assert level[-6:] == pytest.approx(np.full(6, 1.4), abs=1e-3)
    _, best = oracle(p, [{"type": "ineq", "fun": lambda x: 1.4 - np.asarray(tank(jnp.asarray(x)))[:, 0]}])
    assert float(cost(p, solution.x, tank(solution.x))) == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("strong", [0, 1])
def test_limits_that_cross_are_kept_by_rank(strong):
    """The level cannot be above 1.5 while its root is below 1.1 (a level of 1.21)."""
    low, high = np.zeros((K, 2)), np.zeros((K, 2))
    low_penalty, high_penalty = np.zeros((K, 2)), np.zeros((K, 2))
    low[:, 0], low_penalty[6:, 0] = 1.5, (1000 if strong == 0 else 100) / K
    high[:, 1], high_penalty[6:, 1] = 1.1, (1000 if strong == 1 else 100) / K
    solution = solved(problem(low=low, low_penalty=low_penalty, high=high, high_penalty=high_penalty))
    y = np.asarray(tank(solution.x))[6:]
    assert float(solution.penalty) > 0
    if strong == 0:
        assert y[:, 0].min() >= 1.5 - 1e-4
    else:
        assert y[:, 1].max() <= 1.1 + 1e-4


def test_held_moves_stay_and_the_others_make_up_for_them():
    free = np.ones(N)
    free[:2] = 0
    solution = solved(problem(free=free))
    assert solution.x[:2].tolist() == [0.0, 0.0]
    assert float(solution.x[2]) == pytest.approx(0.3, abs=1e-4)  # the rate limit


def test_bounds_and_rates_hold_on_the_way_too():
    p = problem()
    for iterations in range(1, 5):
        x = np.asarray(solved(p, iterations=iterations).x)
        assert np.abs(x).max() <= 0.5 + 1e-6
        assert np.abs(np.diff(x, prepend=0.0)).max() <= 0.3 + 1e-6


def test_a_model_that_fails_ahead_is_not_followed_there():
    """The model breaks down above a level of 1.3: the search stops short of it, with finite moves."""

    def brittle(x):
        y = tank(x)
        return jnp.where(jnp.any(y[:, 0] > 1.3), jnp.nan, 1.0) * y

    solution = jax.jit(partial(sqp.improve, brittle))(problem(), begin(np.zeros(N, np.float32)), np.int32(20))
    y = np.asarray(brittle(solution.x))
    assert np.isfinite(y).all()
    assert y[:, 0].max() > 1.1


def test_new_data_never_recompiles():
    before = improve._cache_size()
    solved(problem())
    compiled = improve._cache_size()
    assert compiled <= before + 1
    rng = np.random.default_rng(0)
    for _ in range(4):
        solved(
            problem(
                target=rng.normal(size=(K, 2)),
                weight=rng.uniform(size=(K, 2)),
                price=rng.normal(size=(K, 2)),
                high=rng.normal(size=(K, 2)),
                high_penalty=rng.uniform(size=(K, 2)),
                free=rng.integers(0, 2, N),
            ),
            iterations=int(rng.integers(1, 9)),
        )
    assert improve._cache_size() == compiled


def test_small_costs_are_minimised_to_the_same_share():
    """Outputs are the moves themselves, so that the best ones are the targets, cut at the bounds."""
    target = 1e-3 * np.array([0.2, -0.4, 0.6, 0.1, -0.9, 0.3])
    flat = {name: np.zeros((N, 1)) for name in Problem._fields[2:10]}
    p = problem(
        **flat, target=target[:, None], weight=np.full((N, 1), 1 / N), H=np.zeros((N, N)), x_low=np.full(N, -5e-4),
        x_high=np.full(N, 5e-4),
    )  # fmt: skip
    solution = jax.jit(partial(sqp.improve, lambda x: x[:, None]))(p, begin(np.zeros(N, np.float32)), np.int32(30))
    np.testing.assert_allclose(solution.x, np.clip(target, -5e-4, 5e-4), atol=1e-5)
    assert float(solution.residual) <= TOLERANCE


def test_what_an_unsolved_qp_promises_is_not_taken_for_optimal(monkeypatch):
    def gives_up(inside, start, most=None):
        none = jnp.zeros_like(inside.low)
        return sqp.qp.Solution(start, jnp.asarray(sqp.qp.MAX_ITERATIONS), jnp.asarray(0.5, start.dtype), none)

    monkeypatch.setattr(sqp.qp, "solve", gives_up)
    found = jax.jit(partial(sqp.improve, tank))(problem(), begin(np.zeros(N, np.float32)), np.int32(16))
    assert not np.asarray(found.x).any()  # and the best moves are not zero: the level is to rise from 1 to 1.6
    assert float(found.residual) > TOLERANCE
