"""How fast plans are: CPU and wall time of the solver and of the whole of `plan`, after warm-up.

    python tests/benchmarks/planner.py [--plans 100]

Twins are drawn at random in the shape training gives them: four members, each a stable linear backbone and the
latent residual. So the times are those of learned twins, while the plans mean nothing. Compile time is told apart.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble, jepas
from twin.dynamics.jepa import LASTS, Jepa, Sizes
from twin.dynamics.lti import build
from twin.dynamics.region import Region
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.trust import Calibration, Seen
from twin.windows import Window

HISTORY, HORIZON, MEMBERS = 32, 60, 4
READOUT = 0.5  # of the residual, whose hidden layer is of order one
CASES = ((2, 2, 60), (2, 4, 60), (8, 12, 60), (20, 20, 60))  # MVs, CVs, rows
RESULTS = Path(__file__).parent / "results" / "planner.json"


def random_twin(mvs: int, cvs: int, states: int, residual: bool, seed: int = 0) -> Twin:
    """A twin of stable first-order responses with random gains, seen through random states."""
    rng = np.random.default_rng(seed)
    tags = [Tag(f"u{i}", Role.MV, low=-3.0, high=3.0, rate_limit_per_s=0.3) for i in range(mvs)]
    tags += [Tag(f"y{i}", Role.CV, low=-5.0, high=5.0, limit_low=-3.0, limit_high=3.0) for i in range(cvs)]
    plant = Plant("random", 1.0, tuple(tags))
    members = []
    for _ in range(MEMBERS):
        poles = rng.uniform(0.7, 0.97, states)
        gains = rng.normal(size=(states, mvs)) * (1 - poles)[:, None]
        read = rng.normal(size=(cvs, states)) / np.sqrt(states)
        A = np.diag(poles)
        E = np.zeros((states, HISTORY * (cvs + mvs)))
        E[:, -(cvs + mvs) : -mvs] = np.linalg.pinv(read)
        members.append(build(A=A, B=gains, a=np.zeros(states), C=read, c=np.zeros(cvs), E=E, e=np.zeros(states)))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    network = _with_readout(jepas(Sizes(cvs, mvs, HISTORY), MEMBERS, seed), rng) if residual else None
    region = Region(jnp.zeros(cvs + 2 * mvs), 0.1 * jnp.eye(cvs + 2 * mvs))
    residuals = 0.1 * rng.normal(size=(200, HORIZON, cvs))
    flat = np.zeros(mvs + cvs, int)
    window = Window(*(np.zeros((HISTORY, n), np.float32) for n in (cvs, mvs, cvs)))
    return Twin(
        id=f"random-{mvs}x{cvs}",
        plant=plant,
        scaler=Scaler(np.zeros(cvs), np.ones(cvs), np.zeros(mvs), np.ones(mvs)),
        dynamics=Ensemble(stacked, network, region),
        history=HISTORY,
        horizon=HORIZON,
        seen=Seen(np.full(mvs, -3.0), np.full(mvs, 3.0), flat + HISTORY, flat),
        calibration=Calibration.fit(residuals, np.ones_like(residuals), np.arange(200) % MEMBERS),
        correction=(0.0, 0.0),
        reference=window,
        card={},
    )


def _with_readout(network: Jepa, rng: np.random.Generator) -> Jepa:
    """The residuals with a readout that bends the backbone by some tenths of a deviation, as learned ones do."""
    kernel, cvs = network.g2.kernel[...], network.share.shape[-1]
    fan_in = kernel.shape[1]
    drawn = READOUT * rng.standard_normal((MEMBERS, fan_in, cvs)) / np.sqrt(fan_in)
    network.g2.kernel[...] = kernel.at[..., -cvs:].set(jnp.asarray(drawn / LASTS, jnp.float32))
    return network


def histories(twin: Twin, count: int, seed: int = 1) -> list[Telemetry]:
    """Noisy rows about rest, enough for every check of the recent past."""
    rng = np.random.default_rng(seed)
    rows, tags = HISTORY + HORIZON + 30, len(twin.plant.tags)
    times = np.datetime64("2026-01-01", "ns") + np.arange(rows) * np.timedelta64(1, "s")
    return [
        Telemetry(twin.plant, times, 0.3 * rng.normal(size=(rows, tags)), np.zeros(rows, np.int64))
        for _ in range(count)
    ]


def measure(mvs: int, cvs: int, rows: int, residual: bool, plans: int) -> dict[str, Any]:
    """p50 and p99 of plans with random setpoints and a limit, each from another history."""
    twin = random_twin(mvs, cvs, 8 + 3 * cvs, residual)
    rng = np.random.default_rng(2)
    ask = partial(plan, twin, horizon_s=float(rows))
    cpu, wall, iterations, statuses = [], [], [], {}
    begun = time.perf_counter()
    for i, history in enumerate(histories(twin, plans + 1)):
        setpoints = {f"y{j}": Setpoint(float(rng.uniform(-1, 1))) for j in range(min(mvs, cvs))}
        limits = {"y0": Limit(high=2.0), f"y{cvs - 1}": Limit(low=-2.0)}
        before = time.process_time(), time.perf_counter()
        answer = ask(history, Objective(setpoints), limits)
        if i == 0:
            compile_s = time.perf_counter() - begun
            continue
        cpu.append(1e3 * (time.process_time() - before[0]))
        wall.append(1e3 * (time.perf_counter() - before[1]))
        iterations.append(answer.iterations)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
    quantiles = {
        f"{name}_p{q}_ms": float(np.percentile(v, q)) for name, v in (("cpu", cpu), ("wall", wall)) for q in (50, 99)
    }
    return {
        "mvs": mvs, "cvs": cvs, "rows": rows, "residual": residual, "compile_s": compile_s, **quantiles,
        "iterations_mean": float(np.mean(iterations)), "statuses": statuses,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=100)
    parser.add_argument("--cases", type=int, default=len(CASES), help="only so many, the smallest")
    asked = parser.parse_args()
    results = []
    print("MV CV rows residual | CPU p50  p99 | wall p50  p99 ms | iterations | compile s | statuses")
    for mvs, cvs, rows in CASES[: asked.cases]:
        for residual in (False, True):
            r = measure(mvs, cvs, rows, residual, asked.plans)
            results.append(r)
            print(
                f"{mvs:2} {cvs:2} {rows:4} {residual!s:8} | {r['cpu_p50_ms']:7.1f} {r['cpu_p99_ms']:5.1f}"
                f" | {r['wall_p50_ms']:8.1f} {r['wall_p99_ms']:5.1f} | {r['iterations_mean']:10.1f}"
                f" | {r['compile_s']:9.1f} | {r['statuses']}",
                flush=True,
            )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
