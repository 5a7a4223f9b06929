"""How much telemetry a twin needs: errors by the number of training rows, beside ARX and subspace models.

    python tests/benchmarks/curves.py [--plants NAME ...] [--rows N ...] [--budget CPU SECONDS] [--again]

Simulated plants, step tests of so many rows; all are judged on one other step test against its noise-free truth. Bands
are judged on the same rows as measured: the share of values inside by CV and step. Results are kept in
`results/curves.json`; runs found there are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from family import PLANTS, record
from peers.linear import best_arx, best_subspace
from support.free_run import free_run

from twin.forecasting import forecaster
from twin.train import Options, fit
from twin.training.correction import recent
from twin.windows import Grid

RESULTS = Path(__file__).parent / "results" / "curves.json"
ROWS = (300, 1000, 3000, 10_000)
TEST, STRIDE, ASKED = 2000, 7, 0.9


def judge(plant: str, rows: int, budget_s: float) -> dict[str, Any]:
    """Train and judge everything on the first rows of one step test."""
    process = PLANTS[plant]
    train, _, _ = record(process, max(ROWS), 0)
    train = train.rows(slice(rows))
    test, truth, _ = record(process, TEST, 1)
    cpu = time.process_time()
    twin = fit(train, Options(budget_s=budget_s), clock=time.process_time)
    cpu = time.process_time() - cpu
    grid, seen = Grid.of(train, twin.scaler), Grid.of(test, twin.scaler)
    ends = seen.ends(twin.history, twin.horizon)[::STRIDE]
    windows, whole = recent(seen, ends, twin.history)
    future = seen.future(ends, twin.horizon)
    true = twin.scaler.y_in(truth)[ends[:, None] + np.arange(1, twin.horizon + 1)]
    share = twin.corrections
    arx, subspace = (best(grid, twin.history, twin.horizon) for best in (best_arx, best_subspace))
    forecasters = {
        "twin": lambda p, k, w: forecaster(twin.dynamics, p, k, share)(w),
        "arx": lambda p, k, w: free_run(arx[1], p, k, w),
        "subspace": lambda p, k, w: free_run(subspace[1], p, k, w),
    }
    y = {who: np.asarray(jax.jit(jax.vmap(f))(windows, whole, future.w), np.float64) for who, f in forecasters.items()}
    low, high = twin.calibration.bands.interval(ASKED, twin.horizon)
    error = future.y - y["twin"]
    inside = ((error >= low) & (error <= high)).mean(axis=0)  # (K, CVs)
    rmse = {who: np.sqrt(((values - true) ** 2).mean(axis=0)) for who, values in y.items()}
    return {
        "history": twin.history,
        "horizon": twin.horizon,
        "nrmse": {who: float(e.mean()) for who, e in rmse.items()},
        "step_1": {who: float(e[0].mean()) for who, e in rmse.items()},
        "residual_ships": twin.card["training"]["residual"]["ships"],
        "backbone": twin.card["training"]["backbone"]["name"],
        "coverage": {"mean": float(inside.mean()), "least": float(inside.min()), "most": float(inside.max())},
        "within_3_points": float((np.abs(inside - ASKED) <= 0.03).mean()),
        "cpu_s": round(cpu, 1),
    }


def table(results: dict[str, Any]) -> None:
    """One row a plant and number of rows."""
    print(f"{'plant':<16}{'rows':>7}{'twin':>8}{'ARX':>8}{'subsp':>8}{'/best':>7}  residual  coverage (least to most)")
    for key, r in sorted(results.items(), key=lambda item: (item[0].split("/")[0], int(item[0].split("/")[1]))):
        plant, rows = key.split("/")[:2]
        e, c = r["nrmse"], r["coverage"]
        ratio = e["twin"] / min(e["arx"], e["subspace"])
        ships = "ships" if r["residual_ships"] else "no"
        print(f"{plant:<16}{rows:>7}{e['twin']:>8.4f}{e['arx']:>8.4f}{e['subspace']:>8.4f}{ratio:>7.2f}  {ships:<9}"
              f" {c['mean']:.3f} ({c['least']:.2f} to {c['most']:.2f})")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", nargs="*", default=list(PLANTS), choices=list(PLANTS))
    parser.add_argument("--rows", nargs="*", type=int, default=list(ROWS))
    parser.add_argument("--budget", type=float, default=30.0)
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for plant in asked.plants:
        for rows in asked.rows:
            key = f"{plant}/{rows}/{asked.budget:g}"
            if key not in results or asked.again:
                results[key] = judge(plant, rows, asked.budget)
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(key, results[key], flush=True)
    table(results)


if __name__ == "__main__":
    main()
