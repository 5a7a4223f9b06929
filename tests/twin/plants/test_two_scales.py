"""The plants of two time scales against equations written out anew, and against balances by hand."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from twin.plants.base import Process, inputs_at_rest
from twin.plants.heat_pump import HeatPump, tariff
from twin.plants.reactor_separator import ReactorSeparator


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def house(_: float, x: list[float], w: np.ndarray) -> list[float]:
    """Halvgaard et al. (2012), in kJ and hours, over 3600."""
    room, floor, water = x
    power, outdoor, sun, people = w[0], w[1], 3600 * w[2], 3600 * w[3]
    return [
        (624 * (floor - room) - 28 * (room - outdoor) + 0.9 * sun + people) / 810 / 3600,
        (28 * (water - floor) - 624 * (floor - room) + 0.1 * sun) / 3315 / 3600,
        (3 * 3600 * power - 28 * (water - floor)) / 836 / 3600,
    ]


def separation(_: float, x: list[float], w: np.ndarray) -> list[float]:
    """Liu, Muñoz de la Peña and Christofides (2009), vessel by vessel, of vessels ten times as large."""
    a1, b1, t1, a2, b2, t2, a3, b3, t3 = x
    hot_1, hot_2, recycle, feed, spent = w
    total = 3.5 * a3 + 1.0 * b3 + 0.5 * (1 - a3 - b3)
    ar, br = 3.5 * a3 / total, b3 / total
    f1 = feed + recycle
    f2 = f1 + 5.04

    def rates(a: float, b: float, t: float) -> tuple[float, float]:
        return 2.77e3 * 3600 * np.exp(-5e4 / 8.314 / t) * a, 2.5e3 * 3600 * np.exp(-6e4 / 8.314 / t) * b

    (p1, q1), (p2, q2) = rates(a1, b1, t1), rates(a2, b2, t2)
    first, second = 6e4 / 250 / 4.2, 7e4 / 250 / 4.2
    per_hour = [
        (feed * (1 - spent - a1) + recycle * (ar - a1)) / 10 - p1,
        (feed * (spent - b1) + recycle * (br - b1)) / 10 + p1 - q1,
        (feed * (300 - t1) + recycle * (t3 - t1)) / 10 + first * p1 + second * q1 + 12 * (hot_1 - t1),
        (f1 * (a1 - a2) + 5.04 * (1 - spent - a2)) / 5 - p2,
        (f1 * (b1 - b2) + 5.04 * (spent - b2)) / 5 + p2 - q2,
        (f1 * (t1 - t2) + 5.04 * (300 - t2)) / 5 + first * p2 + second * q2 + 12 * (hot_2 - t2),
        (f2 * (a2 - a3) - (recycle + 0.504) * (ar - a3)) / 10,
        (f2 * (b2 - b3) - (recycle + 0.504) * (br - b3)) / 10,
        f2 * (t2 - t3) / 10 + 12 * (370 - t3),
    ]
    return [value / 3600 for value in per_hour]


@pytest.mark.parametrize(
    ("process", "slope", "sizes"),
    [(HeatPump(), house, (0.1, -5.0, 0.1, 0.05)), (ReactorSeparator(), separation, (10.0, -8.0, -10.0, 1.0, 0.05))],
)
def test_rows_follow_the_equations_as_another_integrator_solves_them(process: Process, slope, sizes):
    w = np.asarray(inputs_at_rest(process)) + np.array(sizes)
    state, period_s = np.asarray(process.rest()), process.plant.sample_period_s
    then = solve_ivp(slope, (0, 20 * period_s), state, args=(w,), method="DOP853", rtol=1e-10, atol=1e-10).y[:, -1]
    step = jax.jit(process.step)
    for _ in range(20):
        state = step(state, w)
    np.testing.assert_allclose(state, then, rtol=1e-6)


@pytest.mark.parametrize("process", [HeatPump(), ReactorSeparator()])
def test_rest_is_where_nothing_changes_and_every_array_fits(process: Process):
    rest, w = process.rest(), inputs_at_rest(process)
    np.testing.assert_allclose(process.step(rest, w), rest, rtol=1e-9)
    assert process.read(rest).shape == (len(process.plant.cvs),)
    assert len(process.noise) == len(process.plant.cvs)
    for value, tag in zip(process.read(rest), process.plant.cvs, strict=True):
        assert tag.low < value < tag.high


def test_a_house_at_rest_gives_off_what_its_pump_brings():
    """120 W of heat from 40 W, and 30 W of sun: 28 kJ/(h K) lose it at a difference of 19.3 K."""
    room, floor, water = np.asarray(HeatPump().rest())
    assert room - 2.0 == pytest.approx((0.12 + 0.03) * 3600 / 28)
    assert water - floor == pytest.approx(0.12 * 3600 / 28)


def test_the_tariff_by_the_hour_of_any_day():
    assert tariff(np.array([3.0, 7.0, 16.9, 17.0, 20.9, 21.0, 27.0, 41.0])).tolist() == [
        0.1, 0.3, 0.3, 0.45, 0.45, 0.1, 0.1, 0.45,
    ]  # fmt: skip


def test_temperatures_answer_in_minutes_and_compositions_in_hours():
    process = ReactorSeparator()
    slopes = np.asarray(jax.jacfwd(process.derivative)(process.rest(), inputs_at_rest(process)))
    constants = np.sort(-1 / np.linalg.eigvals(slopes).real / 60)  # minutes
    assert (constants > 0).all()
    assert constants[0] < 5
    assert constants[-1] > 60
