"""The simulator: seeds, clocks, actuators, noise and disturbances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twin.errors import QuestionError
from twin.plant import Plant, Role, Tag
from twin.plants.cstr import Cstr
from twin.plants.excitation import step_test
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import START, Simulator


def test_one_seed_is_one_history():
    first, again, other = (Simulator(QuadrupleTank(), seed).excite(200) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)


def test_rows_follow_each_other_by_a_sample_period_in_utc():
    simulator = Simulator(QuadrupleTank(), start=pd.Timestamp("2026-03-01T10:00:00+02:00"))
    history = simulator.excite(10)
    simulator.advance()
    assert history.frame().index[0] == pd.Timestamp("2026-03-01T08:00:05Z")
    assert history.at == pd.Timestamp("2026-03-01T08:00:50Z")
    assert simulator.time == pd.Timestamp("2026-03-01T08:00:55Z")
    assert np.all(np.diff(history.times) == np.timedelta64(5, "s"))


def test_rows_one_by_one_are_the_rows_of_a_run():
    moves = np.array([[3.1, 2.9], [3.2, 2.9], [3.2, 3.0]])
    together = Simulator(QuadrupleTank(), 7).run(moves).values
    simulator = Simulator(QuadrupleTank(), 7)
    apart = [simulator.advance({"pump_1": pump_1, "pump_2": pump_2}) for pump_1, pump_2 in moves]
    np.testing.assert_allclose([list(row.values()) for row in apart], together, rtol=1e-12)


def test_actuators_keep_limits_and_rates_and_the_row_says_where_they_are():
    simulator = Simulator(QuadrupleTank())
    pumps = [simulator.advance({"pump_1": 99.0})["pump_1"] for _ in range(8)]
    np.testing.assert_allclose(pumps, [3.25, 3.5, 3.75, 4.0, 4.0, 4.0, 4.0, 4.0])  # 0.05 V/s for 5 s a row, 4 V at most
    assert simulator.advance({"pump_1": -99.0})["pump_1"] == pytest.approx(3.75)
    assert simulator.advance()["pump_1"] == pytest.approx(3.75)  # not named: holds


@pytest.mark.parametrize("name", ["level_1", "inflow_3", "pump_3"])
def test_only_mvs_can_be_moved(name):
    with pytest.raises(QuestionError, match=name):
        Simulator(QuadrupleTank()).advance({name: 1.0})


def test_noise_has_the_stated_deviation():
    simulator = Simulator(QuadrupleTank(), 1)
    levels = ("level_1", "level_2", "level_3", "level_4")
    noise = []
    for _ in range(1500):
        row = simulator.advance()
        noise.append([row[level] for level in levels] - simulator.state)
    np.testing.assert_allclose(np.std(noise, axis=0), [0.05, 0.05, 0.02, 0.02], rtol=0.08)
    np.testing.assert_allclose(np.mean(noise, axis=0), 0.0, atol=0.006)


def test_disturbances_wander_as_stated():
    history = Simulator(Cstr(), 5).run(np.tile(Cstr().moves, (20000, 1)))
    feed_temperature = history.frame()["feed_temperature"]
    assert feed_temperature.mean() == pytest.approx(104.9, abs=0.4)
    assert feed_temperature.std() == pytest.approx(1.5, rel=0.15)
    lag_90 = feed_temperature.autocorr(90)  # 90 rows of 20 s are its time constant
    assert lag_90 == pytest.approx(np.exp(-1), abs=0.1)


def test_a_leak_lowers_the_level_by_torricelli():
    simulator = Simulator(QuadrupleTank(), 2)
    before = simulator.run(np.tile(3.0, (400, 2))).frame()["level_2"].mean()
    simulator.disturb(leak_2=0.2)
    simulator.run(np.tile(3.0, (200, 2)))
    after = simulator.run(np.tile(3.0, (400, 2))).frame()["level_2"].mean()
    assert after / before == pytest.approx(1 / 1.2**2, abs=0.06)  # the same outflow through 1.2 times the hole
    with pytest.raises(QuestionError, match="leak_9"):
        simulator.disturb(leak_9=1.0)


def test_a_step_test_covers_the_range_within_limits_and_rates():
    plant = QuadrupleTank.plant
    moves = step_test(plant, np.array([3.0, 3.0]), 4000, 400.0, np.random.default_rng(0))
    assert moves.shape == (4000, 2)
    assert np.all((moves >= 0.5) & (moves <= 4.0))
    assert np.abs(np.diff(moves, axis=0, prepend=[[3.0, 3.0]])).max() <= 0.25 + 1e-12
    assert np.all(np.quantile(moves, 0.05, axis=0) < 0.9)
    assert np.all(np.quantile(moves, 0.95, axis=0) > 3.6)
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.15
    holds = np.diff(np.flatnonzero(np.diff(moves[:, 0]) != 0))
    assert holds.max() > 40  # half a settling time and more: the gain shows


def test_a_step_test_needs_limits():
    plant = Plant("p", 1.0, (Tag("u", Role.MV), Tag("y", Role.CV)))
    with pytest.raises(QuestionError, match="low and high"):
        step_test(plant, np.zeros(1), 10, 5.0, np.random.default_rng(0))


def test_the_clock_starts_where_told():
    assert Simulator(QuadrupleTank()).time == START
