"""The polynomial backbone, whose moves are worked out on paper."""

import jax.numpy as jnp
import numpy as np
import pytest

from twin.dynamics.polynomial import Polynomial
from twin.windows import Window

# one CV, one input; v = [y, y before, w]; z = [y, y − y before, w'] / [1, 1, 2]
MODEL = Polynomial(
    table=jnp.zeros((1, 4, 4))
    .at[0, [0, 0, 2, 3], [0, 1, 3, 3]]
    .set(jnp.array([0.5, -0.1, 1.0, 0.25])),  # 1, z1, z2 z3, z3²
    mix=jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5]]),
    shift=jnp.zeros(3),
    low=jnp.array([-10.0, -10.0, -4.0, -4.0]),
    high=jnp.array([10.0, 10.0, 4.0, 4.0]),
    window=jnp.array([4, 2, 5]),
    after=jnp.array([0, 2, 1]),
)


def test_the_state_is_read_from_the_last_rows():
    window = Window(np.array([[1.0], [2.0], [3.0]]), np.array([[7.0], [8.0], [9.0]]), np.ones((3, 1)))
    state = MODEL.encode(window)
    np.testing.assert_array_equal(state, [3.0, 2.0, 9.0])
    np.testing.assert_array_equal(MODEL.read(state), [3.0])


def test_a_step_adds_the_products():
    # z = [3, 1, 2 / 2]: 3 + 0.5 − 0.1 · 3 + 1 · 1 · 1 + 0.25 · 1
    np.testing.assert_allclose(MODEL.step(jnp.array([3.0, 2.0, 9.0]), jnp.array([2.0])), [4.45, 3.0, 2.0], rtol=1e-6)


def test_beyond_the_ranges_a_move_grows_no_further():
    state, beyond = jnp.array([3.0, 2.0, 0.0]), jnp.array([5.0, 1e6])
    moves = [float(MODEL.step(state, w[None])[0]) for w in beyond]
    assert moves[0] == moves[1] == pytest.approx(3 + 0.5 - 0.3 + 2.0 + 1.0)  # as for w = 4
