"""The set-point task of pc-gym's CSTR, on the plant written anew (`twin.plants.exothermic_cstr`).

    python tests/benchmarks/pc_gym.py

60 periods from 0.8 mol/L and 330 K, no noise; the setpoint of the concentration is 0.85, then 0.90 and 0.87 for 20
periods each. The score is the sum of squared errors of the concentration after each period against the setpoint in
force in that period, with and without preview of its changes. The planner has the true model; its peer is IPOPT on
the same equations with every move free, from the same state.
"""

from __future__ import annotations

import json
from pathlib import Path

import casadi as ca
import jax
import numpy as np
from support.exact import Planner
from support.full_move import FullMove, rk4_step

from twin.plants.exothermic_cstr import ExothermicCstr

SETPOINTS = np.repeat([0.85, 0.90, 0.87], 20)
HORIZON = 20
RESULTS = Path(__file__).parent / "results" / "pc_gym.json"


def equations(x: ca.SX, w: ca.SX) -> list:
    """d state / dt, per second."""
    p = ExothermicCstr()
    rate = p.frequency * ca.exp(-p.activation / x[1]) * x[0]
    return [
        (p.flow / p.volume * (w[2] - x[0]) - rate) / 60.0,
        (p.flow / p.volume * (w[1] - x[1]) + p.heating * rate + p.transfer * (w[0] - x[1])) / 60.0,
    ]


def episode(controller, preview: bool) -> float:
    """The sum of squared errors."""
    process, moves, total = ExothermicCstr(), np.array([298.0]), 0.0
    state = np.array(process.published)
    with jax.enable_x64(True):
        step = jax.jit(process.step)
    for k in range(len(SETPOINTS)):
        ahead = SETPOINTS[np.minimum(k + np.arange(HORIZON), len(SETPOINTS) - 1)]
        target = ahead[:, None] if preview else ahead[:1]
        moves = controller.decide(state, moves, target)
        with jax.enable_x64(True):
            state = np.asarray(step(state, np.r_[np.clip(moves, 295.0, 302.0), 350.0, 1.0]))
        total += float((state[0] - SETPOINTS[k]) ** 2)
    return total


def main() -> None:
    """Print and keep the scores."""
    process = ExothermicCstr()
    step = rk4_step(equations, 2, 3, process.plant.sample_period_s)
    results = {}
    for preview in (False, True):
        for name in ("planner", "ipopt"):
            if name == "planner":
                controller = Planner(process, ("concentration",), HORIZON, 0.0, 60.0)
            else:
                controller = FullMove(process, step, lambda x: x, ("concentration",), HORIZON, 0.0)
            score = episode(controller, preview)
            cpu = float(np.median(controller.cpu_s[5:]) * 1e3)
            results[f"{name}, {'with' if preview else 'without'} preview"] = {"sse": score, "cpu_p50_ms": cpu}
            print(f"{name:8} preview {preview!s:5} SSE {score:.5f} CPU {cpu:.1f} ms", flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
