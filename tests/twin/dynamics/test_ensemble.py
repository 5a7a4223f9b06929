"""Rows taken together give what the model says row by row, whatever it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twin.dynamics.ensemble import Ensemble, State, jepas
from twin.dynamics.jepa import Sizes
from twin.dynamics.lti import build
from twin.dynamics.noise import Noise
from twin.dynamics.offset_free import OffsetFree
from twin.dynamics.polynomial import Polynomial
from twin.dynamics.region import Region
from twin.responses import _Members
from twin.rollout import rollout

MEMBERS, STATES, CVS, INPUTS, HISTORY, ROWS, MODES = 3, 5, 2, 3, 4, 30, 2


def polynomials(rng: np.random.Generator) -> Polynomial:
    """y' = 0.7 y + terms of degree 2 in [y, w']: the state is the last row's CVs."""
    entries = CVS + INPUTS
    table = 0.1 * rng.normal(size=(MEMBERS, CVS, entries + 1, entries + 1))
    table[:, :, 0, 1 : 1 + CVS] -= 0.3 * np.eye(CVS)
    parts = {
        "mix": np.eye(entries),
        "shift": np.zeros(entries),
        "low": np.full(entries, -1.5),
        "high": np.full(entries, 1.5),
        "window": (HISTORY - 1) * (CVS + INPUTS) + np.arange(CVS),
        "after": np.arange(CVS),
    }
    arrays = {name: jnp.asarray(np.stack([part] * MEMBERS)) for name, part in parts.items()}
    return Polynomial(table=jnp.asarray(table, jnp.float32), **arrays)


def ensemble(residual: bool, noise: bool, polynomial: bool = False) -> Ensemble:
    """Random members whose residuals bend their backbones."""
    rng = np.random.default_rng(4)
    columns = HISTORY * (CVS + INPUTS)
    sizes = {"B": (STATES, INPUTS), "a": (STATES,), "C": (CVS, STATES), "c": (CVS,), "e": (STATES,)}
    members = [
        build(
            A=np.diag(rng.uniform(0.5, 0.95, STATES)),
            E=rng.normal(size=(STATES, columns)),
            **{name: rng.normal(size=shape) for name, shape in sizes.items()},
        )
        for _ in range(MEMBERS)
    ]
    network = jepas(Sizes(CVS, INPUTS, HISTORY), MEMBERS, 0) if residual else None
    if network is not None:
        for layer in (network.g2, network.renew):  # neither corrections nor gates stand still
            layer.kernel[...] = jnp.asarray(rng.normal(size=layer.kernel.shape) / 8, jnp.float32)
    decay = rng.uniform(0.2, 0.9, (MEMBERS, MODES, CVS)).astype(np.float32)
    modes = Noise(jnp.asarray(decay), jnp.zeros((*decay.shape, columns)), jnp.zeros(decay.shape)) if noise else None
    region = Region(jnp.zeros(CVS + 2 * INPUTS), jnp.eye(CVS + 2 * INPUTS))
    bent = polynomials(rng) if polynomial else None
    return Ensemble(jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), network, region, modes, bent)


def drawn(model: Ensemble, seed: int) -> State:
    """A random state of that model, whose gate is half open."""
    rng = np.random.default_rng(seed)
    latent = 0 if model.residuals is None else model.residuals.g2.kernel.shape[-1]
    modes = 0 if model.noise is None else MODES
    shapes = ((MEMBERS, STATES), (MEMBERS, latent), (MEMBERS, modes, CVS), (MEMBERS, CVS if model.polynomials else 0))
    x, z, n, p = (jnp.asarray(0.3 * rng.normal(size=shape), jnp.float32) for shape in shapes)
    return State(x, z, jnp.asarray(0.5), n, p)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("polynomial", [True, False])
def test_rows_together_are_rows_one_by_one(residual, noise, polynomial):
    model = ensemble(residual, noise, polynomial)
    w = jnp.asarray(np.random.default_rng(5).normal(size=(ROWS, INPUTS)), jnp.float32)
    drift = jax.tree.map(lambda leaf: 0.1 * leaf, drawn(model, 7))._replace(gate=jnp.zeros(()))
    corrected = OffsetFree(model, drift, jnp.asarray([0.3, -0.2]))
    for dynamics in (model, corrected, _Members(model)):
        state, expected = drawn(model, 6), []
        for row in w:
            state = dynamics.step(state, row)
            expected.append(np.asarray(dynamics.read(state)))
        assert np.std(expected) > 0.3
        np.testing.assert_allclose(rollout(dynamics, drawn(model, 6), w), expected, rtol=1e-4, atol=1e-4)


def test_a_shut_gate_leaves_the_linear_models():
    model = ensemble(residual=True, noise=True, polynomial=True)
    w = jnp.asarray(np.random.default_rng(5).normal(size=(ROWS, INPUTS)), jnp.float32)
    linear = model.linear
    shut = rollout(model, drawn(model, 6)._replace(gate=jnp.zeros(())), w)
    state = drawn(model, 6)._replace(z=jnp.zeros((MEMBERS, 0)), p=jnp.zeros((MEMBERS, 0)))
    np.testing.assert_allclose(shut, rollout(linear, state, w), rtol=1e-5, atol=1e-5)


def test_an_open_gate_leaves_nothing_of_the_linear_models_around_a_polynomial():
    model = ensemble(residual=False, noise=True, polynomial=True)
    w = jnp.asarray(np.random.default_rng(5).normal(size=(ROWS, INPUTS)), jnp.float32)
    state = drawn(model, 6)._replace(gate=jnp.ones(()))
    alone = [rollout(jax.tree.map(lambda leaf, i=i: leaf[i], model.polynomials), state.p[i], w) for i in range(MEMBERS)]
    np.testing.assert_allclose(rollout(model, state, w), np.mean(alone, axis=0), rtol=1e-4, atol=1e-5)
