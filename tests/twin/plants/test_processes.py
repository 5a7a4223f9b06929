"""The simulated plants against what their papers print."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import eigvals

from twin.plants.base import Process, inputs_at_rest, rk4, steady
from twin.plants.cstr import Cstr
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.shell import GAIN_UNCERTAINTY, GAINS, ShellFractionator

PROCESSES = [QuadrupleTank(), QuadrupleTank.nonminimum_phase(), Cstr(), ShellFractionator()]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@partial(jax.jit, static_argnums=0)
def settle(process: Process, w: np.ndarray) -> jax.Array:
    """The CVs after 400 rows from rest under constant inputs w."""
    return process.read(jax.lax.fori_loop(0, 400, lambda _, x: process.step(x, w), process.rest()))


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.plant.name)
def test_rest_is_a_steady_state_and_every_array_fits_the_plant(process):
    rest, w = process.rest(), inputs_at_rest(process)
    plant = process.plant
    assert w.shape == (len(plant.mvs) + len(process.disturbances),)
    assert len(process.noise) == len(plant.cvs)
    assert [d.name for d in process.disturbances][: len(plant.dvs)] == [tag.name for tag in plant.dvs]
    assert process.read(rest).shape == (len(plant.cvs),)
    np.testing.assert_allclose(process.step(rest, w), rest, atol=1e-9)


@pytest.mark.parametrize(
    ("tank", "published"),
    [(QuadrupleTank(), (12.4, 12.7, 1.8, 1.4)), (QuadrupleTank.nonminimum_phase(), (12.6, 13.0, 4.8, 4.9))],
)
def test_tank_levels_at_rest_are_the_published_ones(tank, published):
    """Table II prints measured levels: the equations meet them within 2 mm."""
    levels = steady(tank.derivative, jnp.array(published), jnp.array([*tank.moves, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(levels, published, atol=0.2)


@pytest.mark.parametrize(
    ("tank", "published"), [(QuadrupleTank(), (-0.060, -0.018)), (QuadrupleTank.nonminimum_phase(), (-0.057, 0.013))]
)
def test_tank_zeros_are_the_published_ones(tank, published):
    """The transmission zeros from pump voltages to lower levels, as the paper prints them."""
    w = jnp.array([*tank.moves, 0.0, 0.0, 0.0])
    levels = jnp.array(tank.levels)  # the paper linearises at the measured levels
    a, b = jax.jacfwd(tank.derivative, (0, 1))(levels, w)
    c = np.eye(2, 4)
    pencil = np.block([[a, b[:, :2]], [c, np.zeros((2, 2))]])
    mass = np.zeros((6, 6))
    mass[:4, :4] = np.eye(4)
    zeros = eigvals(pencil, mass)
    zeros = np.sort(zeros[np.isfinite(zeros) & (np.abs(zeros) < 1e3)].real)
    np.testing.assert_allclose(zeros, published, rtol=0.06)


def test_an_empty_tank_stays_finite():
    tank = QuadrupleTank()
    levels = settle(tank, np.array([0.0, 0.0, 0.0, 0.0, 0.0]))
    assert np.all(np.isfinite(levels))
    assert np.all((levels >= 0.0) & (levels < 1e-2))
    slope = jax.jacfwd(tank.derivative)(jnp.zeros(4), jnp.zeros(5))
    assert np.all(np.isfinite(slope))


def test_the_reactor_rests_where_klatt_and_engell_say():
    """c_A 2.14 and c_B 1.09 mol/L, 114.2 and 112.9 degC (387.34 and 386.06 K)."""
    np.testing.assert_allclose(Cstr().rest(), [2.1402, 1.0903, 387.34 - 273.15, 386.06 - 273.15], atol=6e-3)


def test_the_reactor_has_a_gain_that_changes_sign():
    reactor = Cstr()

    def product(feed: float) -> float:
        return settle(reactor, np.array([feed, 1113.5, 104.9, 5.1]))[0]

    assert product(110.0) > product(100.0)
    assert product(310.0) < product(300.0)


@pytest.mark.parametrize("column", range(5))
def test_shell_gains_move_with_the_published_uncertainty(column):
    errors = [0.0] * 5
    errors[column] = -1.0
    w = np.zeros(6)
    w[column] = 1.0
    gains = settle(ShellFractionator(tuple(errors)), w)
    np.testing.assert_allclose(gains, np.array(GAINS)[:, column] - np.array(GAIN_UNCERTAINTY)[:, column], rtol=1e-6)


def test_a_mismatched_plant_is_a_replaced_dataclass():
    half = dataclasses.replace(QuadrupleTank(), pump=(3.33 / 2, 3.35 / 2))
    w = np.array([3.0, 3.0, 0.0, 0.0, 0.0])
    full_levels, half_levels = settle(QuadrupleTank(), w), settle(half, w)
    np.testing.assert_allclose(half_levels, full_levels / 4, rtol=1e-6)  # outflow goes with the root of the level


def test_runge_kutta_is_of_order_four():
    """x' = -x has the factor 1 - h + h2/2 - h3/6 + h4/24 a step."""
    h = 0.5
    value = rk4(lambda x, w: w * x, jnp.array([1.0]), jnp.array([-1.0]), 2 * h, 2)
    np.testing.assert_allclose(value, [(1 - h + h**2 / 2 - h**3 / 6 + h**4 / 24) ** 2], rtol=1e-15)


def test_steady_finds_the_root():
    root = steady(lambda x, w: x**2 - w, jnp.array([1.0]), jnp.array([2.0]))
    np.testing.assert_allclose(root, [np.sqrt(2.0)], rtol=1e-15)
