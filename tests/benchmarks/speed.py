"""How fast a twin trains and answers on its own: no service, no planner.

    python tests/benchmarks/speed.py [--skip-large]

CPU time, as the machine may be busy: one encoding and rollout of 60 rows (p50, p99), rollouts a second of CPU in
batches, training of a small plant, and of 50 CVs × 14,000 rows with its peak memory (the process's). Writes
`results/speed.json`. Run it with `taskset -c 0` for figures of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.plant import Plant, Role, Tag
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.rollout import rollout
from twin.telemetry import Telemetry
from twin.train import Options, fit

RESULTS = Path(__file__).parent / "results" / "speed.json"
ROWS, CALLS = 60, 2000
BATCHES = (1, 16, 64, 256, 1024)


def one(twin: Twin) -> dict[str, float]:
    """CPU and wall milliseconds of one encoding and 60 rows."""
    run = jax.jit(lambda window, w: rollout(twin.dynamics, twin.dynamics.begin(window, w), w))
    window, w = twin.reference, np.tile(twin.reference.w[-1], (ROWS, 1))
    run(window, w).block_until_ready()
    cpu, wall = np.empty(CALLS), np.empty(CALLS)
    for i in range(CALLS):
        began = time.process_time(), time.perf_counter()
        run(window, w).block_until_ready()
        cpu[i], wall[i] = time.process_time() - began[0], time.perf_counter() - began[1]
    told = {
        f"{kind}_ms_p{q}": float(1e3 * np.quantile(t, q / 100))
        for kind, t in (("cpu", cpu), ("wall", wall))
        for q in (50, 99)
    }
    return {"cpu_ms_mean": float(1e3 * cpu.mean()), **told}


def batches(twin: Twin) -> dict[str, float]:
    """Rollouts of 60 rows a second of CPU, from one state, by the size of a batch."""
    out = {}
    run = jax.jit(jax.vmap(lambda state, w: rollout(twin.dynamics, state, w), in_axes=(None, 0)))
    state = twin.dynamics.encode(twin.reference)
    for size in BATCHES:
        w = np.tile(twin.reference.w[-1], (size, ROWS, 1))
        run(state, w).block_until_ready()
        began, count = time.process_time(), 0
        while time.process_time() - began < 2.0:
            run(state, w).block_until_ready()
            count += size
        out[str(size)] = count / (time.process_time() - began)
    return out


def trained(telemetry: Telemetry, budget_s: float) -> tuple[Twin, dict[str, Any]]:
    cpu, wall = time.process_time(), time.perf_counter()
    twin = fit(telemetry, Options(budget_s=budget_s), clock=time.process_time)
    training = twin.card["training"]
    return twin, {
        "rows": len(telemetry),
        "cpu_s": round(time.process_time() - cpu, 1),
        "wall_s": round(time.perf_counter() - wall, 1),
        "stopped_by": training["stopped_by"],
        "residual": training["residual"]["why"],
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def large(rows: int = 14_000, cvs: int = 50, mvs: int = 10) -> Telemetry:
    """A stable random linear plant with saturating MVs: as large as Tennessee Eastman."""
    rng = np.random.default_rng(0)
    gain = rng.normal(size=(cvs, mvs)) * (rng.random((cvs, mvs)) < 0.3)
    keep = np.exp(-1 / rng.uniform(3, 40, cvs))
    u = np.repeat(rng.uniform(-1, 1, (rows // 20 + 1, mvs)), 20, axis=0)[:rows]
    y, path = np.zeros(cvs), np.empty((rows, cvs))
    for t in range(rows):
        y = keep * y + (1 - keep) * (gain @ np.tanh(1.5 * u[t]))
        path[t] = y
    path += 0.05 * path.std(axis=0) * rng.normal(size=path.shape)
    tags = [Tag(f"u{i}", Role.MV) for i in range(mvs)] + [Tag(f"y{i}", Role.CV) for i in range(cvs)]
    index = pd.date_range("2026-01-01", periods=rows, freq="60s", tz="UTC")
    frame = pd.DataFrame(np.concatenate([u, path], axis=1), index, [tag.name for tag in tags])
    return Telemetry.from_frame(Plant("Large", 60.0, tuple(tags)), frame)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skip-large", action="store_true")
    asked = parser.parse_args()
    twin, small = trained(Simulator(QuadrupleTank(), 20).excite(4000), 40.0)
    out: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "small": small}
    out |= {"one": one(twin), "rollouts_per_cpu_s": batches(twin), "residual": twin.dynamics.residuals is not None}
    print(json.dumps(out, indent=1), flush=True)
    if not asked.skip_large:
        out["large"] = trained(large(), 90.0)[1]
        print(json.dumps(out["large"], indent=1), flush=True)
    RESULTS.write_text(json.dumps(out, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
