"""The linear form against recursions written out by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.lti import arx, padded
from twin.rollout import rollout
from twin.windows import Window

HISTORY, CVS, INPUTS, ROWS = 6, 2, 3, 9


def _window(rng: np.random.Generator) -> Window:
    y, w = rng.normal(size=(HISTORY, CVS)), rng.normal(size=(HISTORY, INPUTS))
    return Window(y.astype(np.float32), w.astype(np.float32), np.ones((HISTORY, CVS), np.float32))


def test_an_arx_model_follows_its_difference_equation() -> None:
    rng = np.random.default_rng(1)
    y_lags = 0.3 * rng.normal(size=(3, CVS, CVS))
    w_lags, constant = rng.normal(size=(4, CVS, INPUTS)), rng.normal(size=CVS)
    window, future = _window(rng), rng.normal(size=(ROWS, INPUTS)).astype(np.float32)
    model = arx(y_lags, w_lags, constant, HISTORY)
    answer = rollout(model, model.encode(window), jnp.asarray(future))

    y, w = list(window.y), [*window.w, *future]
    for row in range(HISTORY, HISTORY + ROWS):
        past = sum(y_lags[i] @ y[row - 1 - i] for i in range(3))
        y.append(past + sum(w_lags[j] @ w[row - j] for j in range(4)) + constant)
    np.testing.assert_allclose(answer, np.stack(y[HISTORY:]), rtol=2e-4, atol=2e-4)


def test_the_state_of_an_arx_model_reads_the_last_row() -> None:
    rng = np.random.default_rng(2)
    window = _window(rng)
    model = arx(np.zeros((2, CVS, CVS)), np.zeros((1, CVS, INPUTS)), np.zeros(CVS), HISTORY)
    np.testing.assert_array_equal(model.read(model.encode(window)), window.y[-1])


def test_idle_states_change_no_answer() -> None:
    rng = np.random.default_rng(3)
    model = arx(0.3 * rng.normal(size=(2, CVS, CVS)), rng.normal(size=(3, CVS, INPUTS)), np.ones(CVS), HISTORY)
    wider = padded(model, 32)
    window, future = _window(rng), jnp.asarray(rng.normal(size=(ROWS, INPUTS)), jnp.float32)
    expected = rollout(model, model.encode(window), future)
    assert wider.A.shape == (32, 32)
    np.testing.assert_allclose(rollout(wider, wider.encode(window), future), expected, rtol=1e-5, atol=1e-5)


def test_the_spectral_radius_is_that_of_the_recursion() -> None:
    # y'' = 1.2 y' − 0.36 y has the double root 0.6
    model = arx(np.array([[[1.2]], [[-0.36]]]), np.zeros((1, 1, 1)), np.zeros(1), HISTORY)
    assert abs(model.spectral_radius() - 0.6) < 1e-3


def test_a_model_is_a_pytree_for_vmap_and_derivatives() -> None:
    model = arx(np.array([[[0.5]]]), np.array([[[2.0]]]), np.zeros(1), HISTORY)
    gain = jax.jacfwd(lambda w: rollout(model, jnp.zeros(1), w)[-1])(jnp.zeros((3, 1)))
    np.testing.assert_allclose(np.ravel(gain), [0.5, 1.0, 2.0], rtol=1e-6)
    two = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), model)
    after = jax.vmap(lambda m: m.step(jnp.ones(1), jnp.ones(1)))(two)
    np.testing.assert_allclose(np.ravel(after), [2.5, 5.0], rtol=1e-6)
