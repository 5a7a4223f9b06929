"""The set-point task of pc-gym's CSTR, on the plant written anew (`twin.plants.exothermic_cstr`).

    python tests/benchmarks/pc_gym.py [causes]

60 periods from 0.8 mol/L and 330 K, no noise; the setpoint of the concentration is 0.85, then 0.90 and 0.87 for 20
periods each. The score is the sum of squared errors of the concentration after each period against the setpoint in
force in that period, with and without preview of its changes. The planner has the true model; its peer is IPOPT on
the same equations with every move free, from the same state.

The learned twin has seen 4,000 noisy rows of a step test (`support/twins.py`) and no equation. It needs a history,
which the task has none of: the plant at rest under the warmest coolant, whose last row is the task's start.
*Causes* takes apart what the learned twin loses: with a history that leads to the start (15 rows of thinner feed
under a coolant of 302.8 K, as no move within the limits does), with the residual at full weight outside of the trained
region,
without taking out constant errors, and with a shorter memory of them.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support.exact import Planner
from support.full_move import FullMove, rk4_step
from support.oracle import exothermic_equations
from support.twins import trained

from twin import optimize
from twin.artifact import Twin
from twin.dynamics.offset_free import FILTER_GAIN, MEMORY, estimate
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.plants.exothermic_cstr import ExothermicCstr
from twin.telemetry import Telemetry

SETPOINTS = np.repeat([0.85, 0.90, 0.87], 20)
HORIZON = 20
STATE = ("concentration", "temperature")
RESULTS = Path(__file__).parent / "results" / "pc_gym.json"


LEADS = (302.82020168724625, 0.9769745708399012)  # coolant and feed concentration that lead to the start from rest
LEADS_ROWS = 15


class Learned:
    """The planner with a twin, from measured rows (without noise, as the task has none)."""

    def __init__(self, twin: Twin | None = None, leads: bool = False) -> None:
        """With `leads`, the history is one that leads to the start."""
        self._twin = trained("exothermic-cstr") if twin is None else twin
        process = ExothermicCstr()
        coolant = process.moves[0] if leads else process.plant.mvs[0].high
        rest = np.array([coolant, *(d.rest for d in process.disturbances)])
        self._rows = [_row(_steps(process, process.published, rest, 300)[-1], coolant)] * 80
        if leads:
            w = np.array([LEADS[0], process.disturbances[0].rest, LEADS[1]])
            path = _steps(process, np.array([self._rows[0][name] for name in STATE]), w, LEADS_ROWS)
            np.testing.assert_allclose(path[-1], process.published, rtol=1e-6)
            self._rows = [*self._rows, *(_row(state, LEADS[0]) for state in path[:-1])][-80:]
        self._coolant = LEADS[0] if leads else coolant
        self.cpu_s: list[float] = []

    def decide(self, state: np.ndarray, moves: np.ndarray, target: np.ndarray) -> np.ndarray:
        plant = self._twin.plant
        last = dict(zip(STATE, state.tolist(), strict=True))
        now = float(moves[0]) if self.cpu_s else self._coolant
        self._rows = [*self._rows[1:], last | {"coolant": now, "feed_temperature": 350.0}]
        values = np.array([[row[name] for name in plant.names] for row in self._rows])
        period = np.timedelta64(round(plant.sample_period_s * 1e9), "ns")
        times = np.datetime64("2026-01-01", "ns") + period * np.arange(len(values))
        history = Telemetry(plant, times, values, np.zeros(len(values), np.int64))
        wanted = Objective({"concentration": Setpoint(trajectory=target[:, 0].tolist())}, {}, {"coolant": 0.0})
        begun = time.process_time()
        answer = plan(self._twin, history, wanted, horizon_s=HORIZON * plant.sample_period_s)
        self.cpu_s.append(time.process_time() - begun)
        return np.array([answer.next["coolant"]])


def _steps(process: ExothermicCstr, state: Any, w: np.ndarray, rows: int) -> list[np.ndarray]:
    """States under constant inputs."""
    found = [np.asarray(state)]
    with jax.enable_x64(True):
        step = jax.jit(process.step)
        for _ in range(rows):
            found.append(np.asarray(step(found[-1], w)))
    return found[1:]


def _row(state: np.ndarray, coolant: float) -> dict[str, float]:
    return dict(zip(STATE, state.tolist(), strict=True)) | {"coolant": coolant, "feed_temperature": 350.0}


def episode(controller, preview: bool) -> float:
    """The sum of squared errors."""
    process, moves, total = ExothermicCstr(), np.array([298.0]), 0.0
    state = np.array(process.published)
    with jax.enable_x64(True):
        step = jax.jit(process.step)
    for k in range(len(SETPOINTS)):
        ahead = SETPOINTS[np.minimum(k + np.arange(HORIZON), len(SETPOINTS) - 1)]
        target = ahead[:, None] if preview else ahead[:1, None].repeat(HORIZON, 0)
        moves = controller.decide(state, moves, target)
        with jax.enable_x64(True):
            state = np.asarray(step(state, np.r_[np.clip(moves, 295.0, 302.0), 350.0, 1.0]))
        total += float((state[0] - SETPOINTS[k]) ** 2)
    return total


def causes() -> None:
    """Print and keep what the learned twin scores when one thing after another is as the task would have it."""
    twin, usual, found = trained("exothermic-cstr"), optimize._estimate, {}
    whiten = 1e-3 * np.asarray(twin.dynamics.region.whiten)
    everywhere = replace(twin.dynamics, region=replace(twin.dynamics.region, whiten=whiten))
    open_gate = replace(twin, dynamics=everywhere)
    cases = (
        ("by default", twin, False, 1.0, MEMORY, FILTER_GAIN),
        ("a history that leads there", twin, True, 1.0, MEMORY, FILTER_GAIN),
        ("residual at full weight", open_gate, False, 1.0, MEMORY, FILTER_GAIN),
        ("constant errors left in", open_gate, False, 0.0, MEMORY, 1.0),
        ("leads there, memory 0.3", open_gate, True, 1.0, 0.3, 1.0),
    )
    for name, model, leads, share, memory, gain in cases:
        optimize._estimate = _estimating(share, memory, gain)
        scores = [episode(Learned(model, leads), preview) for preview in (False, True)]
        found[name] = dict(zip(("sse", "sse_with_preview"), scores, strict=True))
        print(f"{name:28} SSE {scores[0]:.5f}, with preview {scores[1]:.5f}", flush=True)
    optimize._estimate = usual
    _keep({"causes": found})


def _estimating(share: float, memory: float, gain: float) -> Any:
    """`optimize._estimate` with other constants."""

    @jax.jit
    def estimating(dynamics, windows, whole, base):
        last = jax.tree.map(lambda part: part[-1], windows)
        model, state = estimate(dynamics, windows, whole, lambda w: dynamics.begin(w, base), memory, gain)
        return model.scaled(jnp.float32(share)), state, dynamics.region.distance(last, base)

    return estimating


def _keep(results: dict[str, Any]) -> None:
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(known | results, indent=1) + "\n")


def main() -> None:
    """Print and keep the scores."""
    process = ExothermicCstr()
    step = rk4_step(exothermic_equations, 2, 3, process.plant.sample_period_s)
    results = {}
    for preview in (False, True):
        for name in ("planner", "ipopt", "learned"):
            if name == "planner":
                controller = Planner(process, ("concentration",), HORIZON, 0.0, 60.0)
            elif name == "learned":
                controller = Learned()
            else:
                controller = FullMove(process, step, lambda x: x, ("concentration",), HORIZON, 0.0)
            score = episode(controller, preview)
            cpu = float(np.median(controller.cpu_s[5:]) * 1e3)
            results[f"{name}, {'with' if preview else 'without'} preview"] = {"sse": score, "cpu_p50_ms": cpu}
            print(f"{name:8} preview {preview!s:5} SSE {score:.5f} CPU {cpu:.1f} ms", flush=True)
    _keep(results)


if __name__ == "__main__":
    causes() if sys.argv[1:] == ["causes"] else main()
