"""Stored trajectories of every simulated plant, held against the code and against independent equations.

`python tests/trajectories/test_trajectories.py` writes them anew, after a deliberate change of a plant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from twin.plants.base import Process, inputs_at_rest
from twin.plants.cstr import Cstr
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.shell import DEAD_TIMES_MIN, GAINS, TIME_CONSTANTS_MIN, ShellFractionator
from twin.plants.surge_tank import SurgeTank

FOLDER = Path(__file__).parent
ROWS = 80

# Each plant, and by how much each of its inputs is stepped away from rest.
PLANTS: dict[str, tuple[Process, tuple[float, ...]]] = {
    "quadruple_tank": (QuadrupleTank(), (0.6, -0.8, 1.5, 0.1, -0.05)),
    "quadruple_tank_nonminimum_phase": (QuadrupleTank.nonminimum_phase(), (0.6, -0.8, 1.5, 0.1, -0.05)),
    "cstr": (Cstr(), (60.0, 1500.0, -5.0, 0.3)),
    "shell": (ShellFractionator(), (0.3, -0.2, 0.1, 0.25, -0.25, 0.1)),
    "surge_tank": (SurgeTank(), (4.0, -6.0, 2.5)),
}


def steps(process: Process, sizes: tuple[float, ...]) -> np.ndarray:
    """Inputs (ROWS, inputs): one after the other leaves rest by its size for 40 rows and comes back."""
    with jax.enable_x64(True):
        inputs = np.tile(np.asarray(inputs_at_rest(process)), (ROWS, 1))
    for i, size in enumerate(sizes):
        inputs[2 + 6 * i : 42 + 6 * i, i] += size
    return inputs


def simulate(process: Process, inputs: np.ndarray) -> np.ndarray:
    """CVs (rows, CVs) of the plant from rest."""
    with jax.enable_x64(True):
        step = jax.jit(lambda x, w: (process.step(x, w), process.read(process.step(x, w))))
        state, rows = process.rest(), []
        for w in inputs:
            state, cvs = step(state, w)
            rows.append(np.asarray(cvs))
    return np.array(rows)


def trajectory(name: str) -> dict:
    process, sizes = PLANTS[name]
    inputs = steps(process, sizes)
    tags = [tag.name for tag in process.plant.mvs] + [d.name for d in process.disturbances]
    cvs = simulate(process, inputs)
    return {
        "plant": process.plant.name,
        "sample_period_s": process.plant.sample_period_s,
        "inputs": dict(zip(tags, inputs.T.tolist(), strict=True)),
        "cvs": dict(zip((tag.name for tag in process.plant.cvs), cvs.T.tolist(), strict=True)),
    }


def write(name: str) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(trajectory(name), indent=1) + "\n", encoding="utf-8")


def stored(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def table(columns: dict[str, list[float]]) -> np.ndarray:
    return np.array(list(columns.values())).T


def test_every_stored_file_is_of_a_plant_and_every_plant_has_one():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(PLANTS)


@pytest.mark.parametrize("name", PLANTS)
def test_no_stored_trajectory_is_stale(name):
    now, then = trajectory(name), stored(name)
    assert {k: now[k] for k in ("plant", "sample_period_s", "inputs")} == {
        k: then[k] for k in ("plant", "sample_period_s", "inputs")
    }
    assert list(now["cvs"]) == list(then["cvs"])
    np.testing.assert_allclose(table(now["cvs"]), table(then["cvs"]), rtol=1e-10, atol=1e-12)


def tank(pump: tuple, split: tuple) -> Callable:
    """Johansson's equations (1), one line a tank."""
    area, hole = (28.0, 32.0, 28.0, 32.0), (0.071, 0.057, 0.071, 0.057)

    def slope(_, h, w):
        v1, v2, inflow, leak1, leak2 = w
        out = [a * math.sqrt(2 * 981.0 * level) for a, level in zip(hole, h, strict=True)]
        return [
            (-out[0] * (1 + leak1) + out[2] + split[0] * pump[0] * v1) / area[0],
            (-out[1] * (1 + leak2) + out[3] + split[1] * pump[1] * v2) / area[1],
            (-out[2] + (1 - split[1]) * pump[1] * v2 + inflow) / area[2],
            (-out[3] + (1 - split[0]) * pump[0] * v1) / area[3],
        ]

    return slope


def reactor(_, state, w):
    """Chen, Kremling and Allgöwer's equations, per second, in kelvin inside."""
    a, b, warm, jacket = state
    feed, cooling, feed_temperature, feed_concentration = w
    k1 = 1.287e12 * math.exp(-9758.3 / (warm + 273.15))
    k3 = 9.043e9 * math.exp(-8560.0 / (warm + 273.15))
    heat = k1 * a * 4.2 + k1 * b * (-11.0) + k3 * a**2 * (-41.85)
    across = 4032.0 * 0.215
    per_hour = [
        feed / 10.0 * (feed_concentration - a) - k1 * a - k3 * a**2,
        -feed / 10.0 * b + k1 * a - k1 * b,
        feed / 10.0 * (feed_temperature - warm)
        - heat / (0.9342 * 3.01)
        + across / (0.9342 * 3.01 * 10.0) * (jacket - warm),
        (-cooling + across * (warm - jacket)) / (5.0 * 2.0),
    ]
    return [value / 3600.0 for value in per_hour]


def integrate(slope: Callable, start: list[float], inputs: np.ndarray, period_s: float) -> np.ndarray:
    """States (rows, n) by an adaptive integrator of order 8, after settling at the first inputs."""
    tight = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-11}
    state = solve_ivp(slope, (0, 1e5), start, args=(inputs[0],), **tight).y[:, -1]
    rows = []
    for w in inputs:
        state = solve_ivp(slope, (0, period_s), state, args=(w,), **tight).y[:, -1]
        rows.append(state)
    return np.array(rows)


@pytest.mark.parametrize(
    ("name", "slope", "start", "cvs"),
    [
        ("quadruple_tank", tank((3.33, 3.35), (0.7, 0.6)), [12.4, 12.7, 1.8, 1.4], slice(None)),
        ("quadruple_tank_nonminimum_phase", tank((3.14, 3.29), (0.43, 0.34)), [12.6, 13.0, 4.8, 4.9], slice(None)),
        ("cstr", reactor, [2.14, 1.09, 114.2, 112.9], slice(1, None)),
    ],
)
def test_stored_trajectories_agree_with_an_independent_integration(name, slope, start, cvs):
    then = stored(name)
    states = integrate(slope, start, table(then["inputs"]), then["sample_period_s"])
    np.testing.assert_allclose(table(then["cvs"]), states[:, cvs], rtol=2e-7)


def test_the_shell_fractionator_is_the_sum_of_its_delayed_step_responses():
    then = stored("shell")
    inputs = table(then["inputs"])
    inputs[:, 3] += inputs[:, 5]
    moves = np.diff(inputs[:, :5], axis=0, prepend=0.0)
    minutes = 4.0 * np.arange(1, ROWS + 1)
    expected = np.zeros((ROWS, 7))
    for row, column in np.ndindex(7, 5):
        for k in np.flatnonzero(moves[:, column]):
            since = np.maximum(minutes - 4.0 * k - DEAD_TIMES_MIN[row][column], 0.0)
            response = GAINS[row][column] * (1.0 - np.exp(-since / TIME_CONSTANTS_MIN[row][column]))
            expected[:, row] += moves[k, column] * response
    np.testing.assert_allclose(table(then["cvs"]), expected, atol=1e-12)


def test_the_surge_tank_holds_what_flowed_in_less_what_flowed_out():
    then = stored("surge_tank")
    outflow, feed, stream = table(then["inputs"]).T
    volume = np.cumsum((feed + stream - outflow) * 10.0 / 3600.0)  # m3
    np.testing.assert_allclose(table(then["cvs"])[:, 0], 2.0 + volume / 4.0, atol=1e-12)


if __name__ == "__main__":
    for plant in PLANTS:
        write(plant)
