"""The offset-free estimate: held moves predict no change from a plant at rest, however wrong the model is."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twin.dynamics.offset_free import FILTER_GAIN, MEMORY, estimate
from twin.rollout import rollout
from twin.windows import Window


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lag:
    """y' = a y + b w, its state estimated as half the last and half the mean reading of the window."""

    a: jax.Array
    b: jax.Array

    def encode(self, window):
        y = jnp.asarray(window.y)
        return 0.5 * y[-1] + 0.5 * jnp.mean(y, axis=0)

    def step(self, state, w):
        return self.a * state + self.b @ w

    def read(self, state):
        return jnp.tanh(state) + 0.3 * state


def lag(a=0.8):
    return Lag(jnp.asarray([a, 0.5], jnp.float32), jnp.asarray([[0.3, 0.1], [0.0, 0.7]], jnp.float32))


def windows(y, w, length, mask=None):
    """(n, length, ·) all windows of the rows, oldest first."""
    ends = range(length, len(y) + 1)
    mask = np.ones_like(y) if mask is None else mask
    return Window(*(np.stack([part[e - length : e] for e in ends]).astype(np.float32) for part in (y, w, mask)))


def test_a_plant_at_rest_is_predicted_to_rest_whatever_the_models_error():
    y, w = np.tile([1.7, -0.4], (12, 1)), np.tile([0.2, 0.9], (12, 1))
    model, state = jax.jit(estimate)(lag(), windows(y, w, 5), jnp.ones(8))
    held = rollout(model, state, jnp.tile(jnp.asarray([0.2, 0.9], jnp.float32), (40, 1)))
    np.testing.assert_allclose(held, y[:1].repeat(40, 0), atol=2e-6)
    bare = rollout(lag(), state, jnp.tile(jnp.asarray([0.2, 0.9], jnp.float32), (40, 1)))
    assert np.abs(np.asarray(bare) - y[0]).max() > 0.5


def test_against_the_formula_written_out():
    rng = np.random.default_rng(0)
    y, w = rng.normal(size=(9, 2)), rng.normal(size=(9, 2))
    a, b = np.array([0.8, 0.5]), np.array([[0.3, 0.1], [0.0, 0.7]])
    model, state = estimate(lag(), windows(y, w, 4), jnp.ones(6))
    z = [0.5 * y[t] + 0.5 * y[t - 3 : t + 1].mean(0) for t in range(8, 2, -1)]  # z[i]: i rows ago
    omega = MEMORY ** np.arange(5)
    drift = sum(o * (z[i] - (a * z[i + 1] + b @ w[8 - i])) for i, o in enumerate(omega / omega.sum()))
    omega = MEMORY ** np.arange(6)
    bias = sum(o * (y[8 - i] - np.tanh(z[i]) - 0.3 * z[i]) for i, o in enumerate(omega / omega.sum()))
    np.testing.assert_allclose(model.drift, drift, atol=1e-5)
    np.testing.assert_allclose(model.bias, bias, atol=1e-5)
    filtered = z[5]
    for i in range(4, -1, -1):
        foreseen = a * filtered + b @ w[8 - i] + drift
        filtered = foreseen + FILTER_GAIN * (z[i] - foreseen)
    np.testing.assert_allclose(state, filtered, atol=1e-5)
    np.testing.assert_allclose(estimate(lag(), windows(y, w, 4), jnp.ones(6), filter_gain=1)[1], z[0], atol=1e-6)


def test_a_controller_starts_nearer_to_the_true_state_when_readings_are_noisy():
    rng = np.random.default_rng(3)
    model = Lag(jnp.asarray([0.9]), jnp.asarray([[0.5]]))
    w, true = rng.normal(size=(400, 1)), np.zeros((400, 1))
    for t in range(1, 400):
        true[t] = 0.9 * true[t - 1] + 0.5 * w[t]
    rows = windows(true + rng.normal(size=(400, 1)), w, 1)

    def starts(gain):
        parts = (jax.tree.map(lambda part, t=t: part[t - 24 : t + 1], rows) for t in range(30, 400, 5))
        return [float(estimate(model, part, jnp.ones(25), filter_gain=gain)[1][0]) for part in parts]

    found = np.array([starts(1), starts(FILTER_GAIN)])
    last, filtered = np.sqrt(np.mean((found - true[30:400:5, 0]) ** 2, axis=1))
    assert 0.9 < last < 1.1  # as large as the noise
    assert filtered < 0.75 * last  # a steady filter without δ would have 0.56 of it


def test_readings_that_were_not_measured_do_not_count():
    rng = np.random.default_rng(1)
    y, w = rng.normal(size=(9, 2)), rng.normal(size=(9, 2))
    mask = np.ones_like(y)
    mask[8, 0] = 0
    model, _ = estimate(lag(), windows(y, w, 4, mask), jnp.ones(6))
    z = [0.5 * y[t] + 0.5 * y[t - 3 : t + 1].mean(0) for t in range(8, 2, -1)]
    omega = MEMORY ** np.arange(1, 6)
    expected = sum(
        o * (y[8 - i] - np.tanh(z[i]) - 0.3 * z[i])[0] for i, o in zip(range(1, 6), omega / omega.sum(), strict=True)
    )
    assert float(model.bias[0]) == pytest.approx(expected, abs=1e-5)


def test_windows_with_padding_count_only_for_the_present_reading():
    rng = np.random.default_rng(2)
    y, w = rng.normal(size=(9, 2)), rng.normal(size=(9, 2))
    model, state = estimate(lag(), windows(y, w, 4), jnp.zeros(6))
    assert np.abs(model.drift).max() == 0
    np.testing.assert_allclose(model.read(state), y[-1], atol=1e-6)
