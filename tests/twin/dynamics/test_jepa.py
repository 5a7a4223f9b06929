"""The nested ensemble: where it starts, what the gate does, and how it travels."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twin.dynamics.ensemble import Ensemble, arrays, assemble, jepas
from twin.dynamics.jepa import Dense, Sizes
from twin.dynamics.lti import arx
from twin.dynamics.noise import Noise
from twin.dynamics.region import Region
from twin.rollout import rollout
from twin.windows import Window

SIZES = Sizes(cvs=2, inputs=1, history=5, latent=6, hidden=7, encoder=8, embedding=4)
ROWS = 12


run = jax.jit(rollout)


def _nested(readout: bool) -> Ensemble:
    """Three members around lags 0.5, 0.6 and 0.7; with a readout drawn at random, or the zero of a start."""
    lags = [arx(np.eye(2)[None] * a, np.ones((1, 2, 1)), np.zeros(2), SIZES.history) for a in (0.5, 0.6, 0.7)]
    residuals = jepas(SIZES, 3, seed=1)
    if readout:
        corrects = 0.1 * jax.random.normal(jax.random.key(2), (3, SIZES.hidden, SIZES.cvs))
        residuals.g2.kernel[...] = residuals.g2.kernel[...].at[..., -SIZES.cvs :].set(corrects)
    region = Region(jnp.zeros(4), jnp.eye(4))
    return Ensemble(jax.tree.map(lambda *a: jnp.stack(a), *lags), residuals, region)


def _window(level: float = 0.2) -> Window:
    y = level * np.ones((SIZES.history, 2), np.float32)
    return Window(y, level * np.ones((SIZES.history, 1), np.float32), np.ones_like(y))


def _inputs(level: float = 0.1) -> jax.Array:
    return jnp.full((ROWS, 1), level)


def test_training_starts_at_the_mean_of_the_backbones() -> None:
    twin = _nested(readout=False)
    answer = run(twin, twin.encode(_window()), _inputs())
    expected = []
    y = np.full(3, 0.2)
    for _ in range(ROWS):
        y = np.array([0.5, 0.6, 0.7]) * y + 0.1
        expected.append([y.mean()] * 2)
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_the_gate_scales_the_correction_alone() -> None:
    twin = _nested(readout=True)
    linear = dataclasses.replace(twin, residuals=None)
    start = twin.encode(_window())
    full, none, half = (run(twin, start._replace(gate=jnp.asarray(g)), _inputs()) for g in (1.0, 0.0, 0.5))
    np.testing.assert_allclose(none, run(linear, linear.encode(_window()), _inputs()), rtol=1e-5)
    assert np.abs(full - none).max() > 0.05
    np.testing.assert_allclose(half, (full + none) / 2, rtol=1e-4, atol=1e-6)


def test_begin_closes_the_gate_outside_the_region_and_step_carries_it() -> None:
    twin = _nested(readout=True)
    inside, outside = (twin.begin(_window(level), _inputs(level)) for level in (0.1, 1.0))
    assert float(inside.gate) == 1.0
    assert float(outside.gate) == pytest.approx(1 / 16, rel=1e-5)  # four features of 1: distance 2
    assert float(twin.step(outside, jnp.ones(1)).gate) == float(outside.gate)


def test_latents_stay_bounded_however_far_a_rollout_goes() -> None:
    """Features within what their layer reaches; a correction within that over the least share that a row renews."""
    residual = jax.tree.map(lambda a: a[0], _nested(readout=True).residuals)
    residual.renew.kernel[...] = 0.3 * jax.random.normal(jax.random.key(5), residual.renew.kernel[...].shape)
    z = residual.encode(_window())
    drive = residual.drive(jnp.full(2, 50.0), jnp.full(1, -50.0))
    ends = np.asarray(jax.lax.fori_loop(0, 5000, lambda _, z: residual.step(z, drive), z))

    def size(layer: Dense) -> np.ndarray:
        return np.abs(np.asarray(layer.kernel[...])).sum(axis=0)

    reach = size(residual.g2) + np.abs(np.asarray(residual.g2.bias[...]))
    least = 1 / (1 + np.exp(size(residual.renew) - np.asarray(residual.renew.bias[...])))
    bounds = np.concatenate([reach[: SIZES.latent], (reach / least)[SIZES.latent :]])
    assert (np.abs(ends) <= 1.001 * bounds).all()


def test_a_row_adds_to_the_correction_and_what_was_there_fades() -> None:
    """Of b a row, c after k rows is b (1 + r + … + r^(k − 1)) with r = exp(-1 / 10 rows), and a share of it is read."""
    twin = _nested(readout=False)
    assert twin.residuals is not None
    twin.residuals.g2.bias[...] = twin.residuals.g2.bias[...].at[:, -2:].set(0.1)
    twin.residuals.share[...] = jnp.tile(jnp.asarray([1.0, 0.25]), (3, 1))
    linear = dataclasses.replace(twin, residuals=None)
    added = run(twin, twin.encode(_window()), _inputs()) - run(linear, linear.encode(_window()), _inputs())
    r = np.exp(-0.1)
    expected = 0.1 * (1 - r ** np.arange(1, ROWS + 1)) / (1 - r)
    np.testing.assert_allclose(added[:, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(added[:, 1], 0.25 * expected, rtol=1e-4)


def test_features_begin_with_time_constants_of_2_to_100_rows() -> None:
    residual = jax.tree.map(lambda a: a[0], jepas(SIZES, 1, seed=3))
    residual.g2.kernel[...] = jnp.zeros_like(residual.g2.kernel[...])
    after = residual.step(jnp.ones(SIZES.latent + SIZES.cvs), jnp.zeros(SIZES.hidden))[: SIZES.latent]
    np.testing.assert_allclose(after, np.exp(-1 / np.geomspace(2, 100, SIZES.latent)), rtol=1e-5)


def test_the_scenario_gradient_matches_finite_differences() -> None:
    twin = _nested(readout=True)

    def last(level: jax.Array) -> jax.Array:
        return run(twin, twin.encode(_window()), jnp.full((ROWS, 1), level))[-1]

    at, by = jnp.asarray(0.3), 1e-2
    slope = (last(at + by) - last(at - by)) / (2 * by)
    np.testing.assert_allclose(jax.jacfwd(last)(at), slope, rtol=2e-2, atol=1e-3)


def test_arrays_lay_out_the_same_ensemble_again() -> None:
    drawn = jax.random.normal(jax.random.key(4), (3, 2, 2, SIZES.history * 3))
    noise = Noise(jnp.full((3, 2, 2), 0.5), drawn, drawn[..., 0])
    twin = dataclasses.replace(_nested(readout=True), residuals=jepas(Sizes(2, 1, 5), 3, seed=1), noise=noise)
    again = assemble(twin.architecture(), arrays(twin))
    first, second = (run(t, t.begin(_window(), _inputs()), _inputs()) for t in (twin, again))
    np.testing.assert_array_equal(first, second)


def test_modes_of_the_noise_model_add_to_the_backbone_and_halve_each_row() -> None:
    twin = dataclasses.replace(_nested(readout=False), residuals=None)
    constant = jnp.zeros((3, 1, 2)).at[0, 0, 1].set(0.6)  # one member, one CV
    noise = Noise(jnp.full((3, 1, 2), 0.5), jnp.zeros((3, 1, 2, SIZES.history * 3)), constant)
    noisy = dataclasses.replace(twin, noise=noise)
    difference = run(noisy, noisy.encode(_window()), _inputs()) - run(twin, twin.encode(_window()), _inputs())
    np.testing.assert_allclose(difference[:, 0], 0.0, atol=1e-6)
    np.testing.assert_allclose(difference[:, 1], 0.6 / 3 * 0.5 ** np.arange(1, ROWS + 1), atol=1e-6)


def test_arrays_that_do_not_fit_are_refused() -> None:
    twin = dataclasses.replace(_nested(readout=True), residuals=None)
    tensors = arrays(twin)
    with pytest.raises(ValueError, match="do not fit"):
        assemble(twin.architecture(), {k: v for k, v in tensors.items() if k != "backbones.A"})
    with pytest.raises(ValueError, match=r"backbones\.a"):
        assemble(twin.architecture(), tensors | {"backbones.a": np.zeros(3, np.float32)})
