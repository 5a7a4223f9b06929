"""The six systems against what their papers print, and against their equations written a second time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from twin.plants.annealing_line import AIR_CELLS, CELLS, ZONES, AnnealingLine
from twin.plants.base import Process, inputs_at_rest
from twin.plants.boiler_turbine import BoilerTurbine
from twin.plants.gas_liquid_reactor import GasLiquidReactor
from twin.plants.patient import Patient
from twin.plants.practice import BasalBolus, Loop, Loops, meals
from twin.plants.simulator import Simulator
from twin.plants.systems import SYSTEMS
from twin.plants.toggle_switch import ToggleSwitch
from twin.plants.turbofan import Turbofan


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def stepped(process: Process, changes: tuple[float, ...], rows: int) -> np.ndarray:
    """States (rows, n) after each input left rest by its change, all at once."""
    step = jax.jit(process.step)
    w, state, found = np.asarray(inputs_at_rest(process)) + np.array(changes), process.rest(), []
    for _ in range(rows):
        state = step(state, w)
        found.append(np.asarray(state))
    return np.array(found)


def integrated(slope: Callable, start: np.ndarray, seconds: float, rows: int) -> np.ndarray:
    """States (rows, n) by an adaptive integrator of order 8; `slope` takes seconds and the state."""
    times = seconds * np.arange(1, rows + 1)
    return solve_ivp(slope, (0, times[-1]), start, "DOP853", times, rtol=1e-10, atol=1e-10).y.T


@pytest.mark.parametrize("slug", SYSTEMS)
def test_rest_is_steady_and_every_array_fits_the_plant(slug):
    system = SYSTEMS[slug]
    process, plant = system.process, system.process.plant
    rest, w = process.rest(), inputs_at_rest(process)
    assert w.shape == (len(plant.mvs) + len(process.disturbances),)
    assert len(process.noise) == len(plant.cvs)
    assert [d.name for d in process.disturbances][: len(plant.dvs)] == [tag.name for tag in plant.dvs]
    assert process.read(rest).shape == (len(plant.cvs),)
    np.testing.assert_allclose(process.step(rest, w), rest, rtol=1e-9, atol=1e-9)
    for tag, value in zip(plant.mvs, process.moves, strict=True):
        assert tag.low < value < tag.high
    for tag, value in zip(plant.cvs, np.asarray(process.read(rest)), strict=True):
        assert (tag.limit_low or -np.inf) < value < (tag.limit_high or np.inf)
    assert set(system.tests) <= {tag.name for tag in plant.mvs}
    assert set(system.targets) <= {tag.name for tag in plant.cvs}


@pytest.mark.parametrize("slug", SYSTEMS)
def test_ordinary_operation_is_telemetry_that_moves_every_mv_and_repeats(slug):
    found = SYSTEMS[slug].telemetry(120, 3)
    again = SYSTEMS[slug].telemetry(120, 3)
    np.testing.assert_array_equal(found.values, again.values)
    assert np.isfinite(found.values).all()
    plant = found.plant
    for i, tag in enumerate(plant.mvs):
        column = found.w[:, i]
        assert ((column >= tag.low) & (column <= tag.high)).all()
        assert len(np.unique(column)) > 5
        if tag.rate_limit_per_s is not None:
            assert np.abs(np.diff(column)).max() <= tag.rate_limit_per_s * plant.sample_period_s * (1 + 1e-12)


# Bell and Åström's operating points: pressure, power, density, fuel, steam, feedwater, level.
POINTS = [
    (75.6, 15.27, 299.6, 0.156, 0.483, 0.183, -0.97),
    (86.4, 36.65, 342.4, 0.209, 0.552, 0.256, -0.65),
    (97.2, 50.52, 385.2, 0.271, 0.621, 0.340, -0.32),
    (108.0, 66.65, 428.0, 0.340, 0.690, 0.433, 0.0),
    (118.8, 85.06, 470.8, 0.418, 0.759, 0.543, 0.32),
    (129.6, 105.8, 513.6, 0.505, 0.828, 0.663, 0.64),
    (140.4, 128.9, 556.4, 0.600, 0.897, 0.793, 0.98),
]


@pytest.mark.parametrize("point", POINTS[1:], ids=lambda point: f"{point[0]:g} kgf/cm2")
def test_the_boiler_rests_at_the_published_points(point):
    """The source's table is rounded, and its first power does not meet its own equations."""
    pressure, power, density, fuel, steam, feedwater, level = point
    boiler = BoilerTurbine(pressure, steam, density)
    np.testing.assert_allclose(boiler.moves, (fuel, steam, feedwater), atol=0.004)
    np.testing.assert_allclose(boiler.read(boiler.rest()), (pressure, power, level), atol=0.35, rtol=0.01)
    assert float(boiler.read(boiler.rest())[2]) == pytest.approx(level, abs=0.02)


def test_the_boiler_moves_as_its_equations_say():
    rows, change = 30, (0.05, -0.06, 0.04, 0.0)
    fuel, steam, feedwater = (a + b for a, b in zip(BoilerTurbine().moves, change, strict=False))

    def slope(_, x):
        pressure, power, _density = x
        return [
            0.9 * fuel - 0.0018 * steam * pressure**1.125 - 0.15 * feedwater,
            0.1 * ((0.73 * steam - 0.16) * pressure**1.125 - power),
            (141 * feedwater - (1.1 * steam - 0.19) * pressure) / 85,
        ]

    expected = integrated(slope, np.asarray(BoilerTurbine().rest())[:3], 10.0, rows)
    np.testing.assert_allclose(stepped(BoilerTurbine(), change, rows)[:, :3], expected, rtol=1e-5)


def test_more_steam_first_swells_the_drum():
    """Flashing lifts the level before the mass that leaves lowers it: the drum's non-minimum phase."""
    levels = np.array([BoilerTurbine().read(x)[2] for x in stepped(BoilerTurbine(), (0.0, 0.1, 0.0, 0.0), 120)])
    start = float(BoilerTurbine().read(BoilerTurbine().rest())[2])
    assert levels[0] > start + 0.02
    assert levels[-1] < start


def test_the_reactor_rests_at_the_published_base_case():
    """Ricker 1993, table 2: 100 kmol/h, 2,700 kPa, 44.18 %, 47 mol% of A, 0.2415 USD/kmol."""
    reactor = GasLiquidReactor()
    np.testing.assert_allclose(reactor.read(reactor.rest()), (100.0, 2700.0, 44.18, 47.0, 0.2415), rtol=2e-4)


def test_the_reactor_moves_as_its_equations_say():
    rows, change = 20, (4.0, -6.0, 8.0, 0.01)
    u = np.array(GasLiquidReactor().moves) + change[:3]
    share = 0.485 + change[3]

    def slope(_, x):
        a, b, c, d, *valves = x
        volume = 122 - d / 8.3
        pressure = (a + b + c) * 8.314 * 373 / volume
        total, root = a + b + c, math.sqrt(pressure - 100)
        f1, f2, f3, f4 = 3.3046 * valves[0], 0.2246 * valves[1], 0.00352 * valves[2] * root, 0.0417 * valves[3] * root
        made = 0.00117 * (a / total * pressure) ** 1.2 * (c / total * pressure) ** 0.4
        level = d / 8.3 / 30 * 100
        wanted = [*u, 47.03024823457651 + 1.4 * (level - 44.17670682730923)]
        flows = [
            share * f1 + f2 - f3 * a / total - made,
            0.005 * f1 - f3 * b / total,
            (0.995 - share) * f1 - f3 * c / total - made,
            made - f4,
        ]
        return [*(f / 3600 for f in flows), *((to - at) / 10 for to, at in zip(wanted, valves, strict=True))]

    expected = integrated(slope, np.asarray(GasLiquidReactor().rest()), 360.0, rows)
    np.testing.assert_allclose(stepped(GasLiquidReactor(), change, rows), expected, rtol=1e-4)


def test_the_patient_moves_as_hovorkas_equations_say():
    rows, change = 48, (3.0, 1.5, -0.1)
    insulin, meal, sensitivity = 6.6 + change[0], change[1], 1.0 + change[2]

    def slope(_, x):
        q1, q2, s1, s2, i, x1, x2, x3, d1, d2, sensor = x
        g = q1 / 0.16
        used = 0.0097 if g >= 4.5 else 0.0097 * g / 4.5
        leaves = 0.003 * (g - 9) * 0.16 if g >= 9 else 0.0
        absorbed = d2 / 40 / 70
        per_minute = [
            -used - x1 * q1 + 0.066 * q2 - leaves + absorbed + 0.0161 * (1 - x3),
            x1 * q1 - (0.066 + x2) * q2,
            insulin - s1 / 55,
            (s1 - s2) / 55,
            s2 / 55 / (0.12 * 70) - 0.138 * i,
            -0.006 * x1 + 0.006 * 51.2e-4 * sensitivity * i,
            -0.06 * x2 + 0.06 * 8.2e-4 * sensitivity * i,
            -0.03 * x3 + 0.03 * 520e-4 * sensitivity * i,
            0.8 * meal * 1000 / 180.156 - d1 / 40,
            (d1 - d2) / 40,
            (g - sensor) / 8,
        ]
        return [value / 60 for value in per_minute]

    expected = integrated(slope, np.asarray(Patient().rest()), 300.0, rows)
    np.testing.assert_allclose(stepped(Patient(), change, rows), expected, rtol=2e-4, atol=1e-4)


def test_insulin_lowers_glucose_late_and_meals_raise_it():
    start = float(Patient().rest()[-1])
    assert 5.0 < start < 7.0
    more, meal = (stepped(Patient(), change, 48)[:, -1] for change in ((6.6, 0.0, 0.0), (0.0, 1.0, 0.0)))
    assert abs(more[1] - start) < 0.02 < 1.0 < start - more[-1]
    assert meal[17] > start + 1.0  # an hour and a half of 1 g/min


def test_the_toggle_switch_moves_as_its_equations_say():
    rows, change = 40, (-10.0, 0.1, 0.05)
    atc, iptg, vigour = 25.0 + change[0], 0.30 + change[1], 1.0 + change[2]

    def slope(_, x):
        ml, mt, laci, tetr, a, i = x
        held_l = 1 / (1 + (tetr / 30 / (1 + (a / 11.65) ** 2)) ** 2)
        held_t = 1 / (1 + (laci / 31.94 / (1 + (i / 9.06e-2) ** 2)) ** 2)
        per_minute = [
            3.2e-2 + 8.3 * held_l - 0.1386 * ml,
            0.119 + 2.06 * held_t - 0.1386 * mt,
            0.9726 * ml - 1.65e-2 * vigour * laci,
            0.9726 * mt - 1.65e-2 * vigour * tetr,
            (0.162 if atc > a else 0.02) * (atc - a),
            (2.75e-2 if iptg > i else 0.111) * (iptg - i),
        ]
        return [value / 60 for value in per_minute]

    expected = integrated(slope, np.asarray(ToggleSwitch().rest()), 300.0, rows)
    np.testing.assert_allclose(stepped(ToggleSwitch(), change, rows), expected, rtol=1e-4)


def test_the_switch_stays_on_either_side_under_the_same_inducers():
    """Bistable at 20 ng/mL and 0.25 mmol/L, the reference concentrations of the balancing experiments."""
    switch = dataclasses.replace(ToggleSwitch(), moves=(20.0, 0.25))
    step, w = jax.jit(switch.step), inputs_at_rest(switch)
    ends = []
    for proteins in ((3000.0, 30.0), (30.0, 800.0)):
        state = jnp.array([1.0, 1.0, *proteins, 20.0, 0.25])
        for _ in range(600):
            state = step(state, w)
        ends.append(np.asarray(switch.read(state)))
    assert ends[0][0] > 1500 > 500 > ends[1][0]
    assert ends[0][1] < 200 < 400 < ends[1][1]


def test_the_annealing_line_spends_the_heat_it_is_given():
    """At rest, what the burners fire leaves with the strip and through the walls."""
    line = AnnealingLine()
    rest = np.asarray(line.rest())
    zones, strip = rest[:ZONES], rest[ZONES : ZONES + ZONES * CELLS + AIR_CELLS]
    fired = line.fired * sum(line.moves[:3]) / 100
    lost = line.lost * (zones - 30.0).sum()
    mass = 7850 * 1.2 * 0.001 * line.moves[3] / 60  # kg/s
    carried = mass * 0.62 * (strip[ZONES * CELLS - 1] - 30.0)
    assert fired == pytest.approx(lost + carried, rel=1e-9)
    assert float(line.read(rest)[4]) == pytest.approx(3.6 * mass, rel=1e-9)


def test_strip_is_measured_a_dead_time_behind_the_furnace():
    """40 m of air at 90 m/min: 27 s go by before anything burnt can show, most of it later."""
    line = AnnealingLine()
    start = float(line.read(line.rest())[3])
    strip = np.array([float(line.read(x)[3]) for x in stepped(line, (0.0, 0.0, 20.0, 0.0, 0.0, 0.0), 40)])
    assert abs(strip[0] - start) < 0.01 * (strip[-1] - start)
    assert strip[-1] > start + 20


def test_the_turbofan_balances_at_its_design_point():
    """Both spools at 100 %, vanes open, standard day: power and pressures worked out by hand from the cycle."""
    fan = Turbofan()
    hot_side, cold_side = (0.333 / 1.333) * 0.9, (0.4 / 1.4) / 0.88
    t13 = 288.15 * 1.6**cold_side
    t3 = t13 * 16**cold_side
    fuel = 55.0 * 1.15 * (1550.0 - t3) / (43_000.0 - 1.15 * 1550.0)
    gas = 55.0 + fuel
    t45 = 1550.0 - 55.0 * 1.005 * (t3 - t13) / (gas * 1.15)
    t5 = t45 - 330.0 * 1.005 * (t13 - 288.15) / (gas * 1.15)
    slope = fan.derivative(jnp.array([1.0, 1.0, t45, t45, fuel, 0.0]), jnp.array([fuel, 0.0, 288.15, 1.0]))
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)
    p5 = 0.95 * 101.325 * 25.6 * (t45 / 1550.0) ** (1 / hot_side) * (t5 / t45) ** (1 / hot_side)
    core = math.sqrt(2300 * t5 * (1 - (101.325 / p5) ** (0.333 / 1.333)))
    cold = math.sqrt(2010 * t13 * (1 - 1.6 ** -(0.4 / 1.4)))
    read = fan.read(jnp.array([1.0, 1.0, t45, t45, fuel, 0.0, 288.15, 1.0]))
    np.testing.assert_allclose(read, (100.0, 100.0, t45, 25.0, (gas * core + 275.0 * cold) / 1000), rtol=1e-6)


def test_the_compressor_runs_where_the_guide_vanes_swallow_its_flow():
    """Off design the pressure ratio is the root of one equation, found here by bisection."""
    fan = Turbofan()
    n1, n2, fuel, vanes = 0.85, 0.93, 0.7, 8.0
    t13 = 288.15 * (1 + 0.6 * n1**2) ** ((0.4 / 1.4) / 0.88)
    design = 288.15 * 1.6 ** ((0.4 / 1.4) / 0.88)
    warm = math.sqrt(t13 / design)
    through = (n2 / warm) ** 2.5 * (1 - 0.008 * vanes)
    ahead = 1 + 0.6 * n1**2
    core = 55.0 * through * ahead / 1.6 / warm
    t3d = design * 16 ** ((0.4 / 1.4) / 0.88)
    fuel_d = 55.0 * 1.15 * (1550.0 - t3d) / (43_000.0 - 1.15 * 1550.0)
    guide = (55.0 + fuel_d) * math.sqrt(1550.0) / (0.95 * 101.325 * 25.6)

    def over(ratio):
        t4 = (core * 1.15 * t13 * ratio ** ((0.4 / 1.4) / 0.88) + fuel * 43_000) / ((core + fuel) * 1.15)
        return (core + fuel) * math.sqrt(t4) - guide * 0.95 * 101.325 * ahead * ratio

    ratio = brentq(over, 2.0, 40.0)
    margin = 100 * ((1 + 19.0 * through**1.15 * (1 + 0.012 * vanes)) / ratio - 1)
    read = fan.read(jnp.array([n1, n2, 900.0, 900.0, fuel, vanes, 288.15, 1.0]))
    assert float(read[3]) == pytest.approx(margin, rel=1e-5)


def test_a_burst_of_fuel_eats_the_stall_margin_before_the_core_speeds_up():
    fan = Turbofan()
    margins = [float(fan.read(x)[3]) for x in stepped(fan, (0.3, 0.0, 0.0, 0.0), 80)]
    start = float(fan.read(fan.rest())[3])
    assert min(margins) < start - 5.0
    assert min(margins) < margins[-1] - 2.0


def test_a_pi_loop_moves_by_gain_and_integral_and_forgets_when_it_is_off():
    loops = Loops((Loop("valve", "level", 2.0, 100.0),), 10.0)
    assert loops.decide({"valve": 5.0, "level": 1.0}, {"level": 2.0}) == {"valve": 5.0 + 2.0 * 0.1 * 1.0}
    # error 1 → 0.5: proportional −1.0, integral 2 · 0.1 · 0.5
    assert loops.decide({"valve": 5.2, "level": 1.5}, {"level": 2.0}) == {"valve": pytest.approx(5.2 - 1.0 + 0.1)}
    assert loops.decide({"valve": 5.2, "level": 1.5}, {}) == {}
    assert loops.decide({"valve": 4.0, "level": 0.0}, {"level": 2.0}) == {"valve": pytest.approx(4.0 + 2.0 * 0.1 * 2.0)}


def test_a_bolus_is_what_the_meal_needs_delivered_as_fast_as_the_pump_can():
    """60 g at 30 g a unit are 2,000 mU on top of the basal rate."""
    therapy = BasalBolus(10.0, ratio=30.0, fastest=150.0)
    rates = [therapy.decide({"meal": 12.0, "glucose": 6.0}, {})["insulin"]]
    rates += [therapy.decide({"meal": 0.0, "glucose": 6.0}, {})["insulin"] for _ in range(5)]
    assert sum(rate - 10.0 for rate in rates) * 5.0 == pytest.approx(2000.0)
    assert rates[0] == 150.0
    assert therapy.decide({"meal": 0.0, "glucose": 3.9}, {}) == {"insulin": 0.0}


def test_three_meals_a_day_begin_and_end():
    found = meals(288, 300.0, 1)
    rows = [row for row in sorted(found) if row < 288]
    assert len(rows) == 6
    starts, ends = rows[::2], rows[1::2]
    assert [end - start for start, end in zip(starts, ends, strict=True)] == [3, 3, 3]
    assert all(30.0 <= found[row]["meal"] * 15 <= 90.0 for row in starts)
    assert all(found[row] == {"meal": 0.0} for row in ends)


def test_a_simulator_tells_where_its_disturbances_are():
    simulator = Simulator(Patient(), 1)
    np.testing.assert_array_equal(simulator.disturbances, [0.0, 1.0])
    simulator.disturb(meal=2.0)
    assert simulator.disturbances[0] == 2.0
