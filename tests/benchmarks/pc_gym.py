"""The set-point task of pc-gym's CSTR, on the plant written anew (`twin.plants.exothermic_cstr`).

    python tests/benchmarks/pc_gym.py

60 periods from 0.8 mol/L and 330 K, no noise; the setpoint of the concentration is 0.85, then 0.90 and 0.87 for 20
periods each. The score is the sum of squared errors of the concentration after each period against the setpoint in
force in that period, with and without preview of its changes. The planner has the true model; its peer is IPOPT on
the same equations with every move free, from the same state.

The learned twin has seen 4,000 noisy rows of a step test (`support/twins.py`) and no equation. It needs a history,
which the task has none of: the plant at rest under the warmest coolant, whose last row is the task's start.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import jax
import numpy as np
from support.exact import Planner
from support.full_move import FullMove, rk4_step
from support.oracle import exothermic_equations
from support.twins import trained

from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.plants.exothermic_cstr import ExothermicCstr
from twin.telemetry import Telemetry

SETPOINTS = np.repeat([0.85, 0.90, 0.87], 20)
HORIZON = 20
RESULTS = Path(__file__).parent / "results" / "pc_gym.json"


class Learned:
    """The planner with a twin, from measured rows (without noise, as the task has none)."""

    def __init__(self) -> None:
        self._twin = trained("exothermic-cstr")
        process = ExothermicCstr()
        warm = np.array([process.plant.mvs[0].high, *(d.rest for d in process.disturbances)])
        with jax.enable_x64(True):
            step = jax.jit(process.step)
            state = process.rest()
            for _ in range(300):
                state = step(state, warm)
        row = dict(zip(("concentration", "temperature"), np.asarray(state).tolist(), strict=True))
        self._rows = [row | {"coolant": warm[0], "feed_temperature": warm[1]}] * 80
        self.cpu_s: list[float] = []

    def decide(self, state: np.ndarray, moves: np.ndarray, target: np.ndarray) -> np.ndarray:
        plant = self._twin.plant
        last = dict(zip(("concentration", "temperature"), state.tolist(), strict=True))
        now = {"coolant": float(moves[0]) if self.cpu_s else self._rows[-1]["coolant"], "feed_temperature": 350.0}
        self._rows = [*self._rows[1:], last | now]
        values = np.array([[row[name] for name in plant.names] for row in self._rows])
        period = np.timedelta64(round(plant.sample_period_s * 1e9), "ns")
        times = np.datetime64("2026-01-01", "ns") + period * np.arange(len(values))
        history = Telemetry(plant, times, values, np.zeros(len(values), np.int64))
        wanted = Objective({"concentration": Setpoint(trajectory=target[:, 0].tolist())}, {}, {"coolant": 0.0})
        begun = time.process_time()
        answer = plan(self._twin, history, wanted, horizon_s=HORIZON * plant.sample_period_s)
        self.cpu_s.append(time.process_time() - begun)
        return np.array([answer.next["coolant"]])


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
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
