"""What a spectrum is worth: a CV that the laboratory measures now and then, forecast with it and without.

    python tests/benchmarks/vectors.py [--budget CPU SECONDS] [--seeds N] [--again] [--cases "no spectrum" …]

The reactor of `twin.plants.nir_reactor`, 4,000 rows of a step test. Twins with the spectrum, with a frame in every
tenth row, with two fifths and with nine tenths of the frames missing at random, without it, and, as the limits, with a
laboratory at every row or every tenth row in place of it; the last laboratory value held. Judged on 2,000 other rows
against the true product, mol/L. Results are kept in `results/vectors.json`; runs found there are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from twin.forecasting import forecaster
from twin.plants.nir_reactor import SPECTRUM, NirReactor
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.training.correction import recent
from twin.windows import Grid

RESULTS = Path(__file__).parent / "results" / "vectors.json"
TRAIN, TEST, STRIDE = 4000, 2000, 7
MISSING = {"two fifths of the frames missing": 0.4, "nine tenths of the frames missing": 0.9}
STEPS = (1, 10, 30, 60)
CASES = {
    "spectrum": NirReactor(),
    "spectrum in one row of ten": NirReactor(frame_rows=10),
    "two fifths of the frames missing": NirReactor(),
    "nine tenths of the frames missing": NirReactor(),
    "no spectrum": NirReactor(),
    "no spectrum, laboratory at every row": NirReactor(laboratory_rows=1),
    "no spectrum, laboratory at every tenth row": NirReactor(laboratory_rows=10),
}


def rows(case: str, count: int, seed: int) -> tuple[Telemetry, np.ndarray]:
    """The telemetry of a case, and the true product."""
    telemetry, truth = CASES[case].telemetry(count, seed)
    columns = list(telemetry.plant.vectors[SPECTRUM])
    if case in MISSING:
        gone = np.random.default_rng((seed, 3)).random(count) < MISSING[case]
        telemetry.values[np.ix_(gone, columns)] = np.nan
    if case.startswith("no"):
        keep = [i for i, tag in enumerate(telemetry.plant.tags) if tag.vector is None]
        plant = replace(telemetry.plant, tags=tuple(telemetry.plant.tags[i] for i in keep))
        telemetry = replace(telemetry, plant=plant, values=telemetry.values[:, keep])
    return telemetry, truth


def judge(case: str, seed: int, budget_s: float) -> dict[str, Any]:
    """Train and judge one twin."""
    train, _ = rows(case, TRAIN, 2 * seed)
    test, truth = rows(case, TEST, 2 * seed + 1)
    cpu = time.process_time()
    twin = fit(train, Options(budget_s=budget_s, seed=seed), clock=time.process_time)
    cpu = time.process_time() - cpu
    read = twin.reads(test)
    grid = Grid.of(read, twin.scaler)
    ends = grid.ends(twin.history, twin.horizon)[::STRIDE]
    windows, whole = recent(grid, ends, twin.history)
    share = twin.corrections
    forecast = jax.jit(jax.vmap(lambda p, k, w: forecaster(twin.dynamics, p, k, share)(w)))
    y = twin.scaler.y_out(np.asarray(forecast(windows, whole, grid.future(ends, twin.horizon).w)))[:, :, 0]
    true = truth[ends[:, None] + np.arange(1, twin.horizon + 1)]
    errors = {"twin": y - true}
    known = np.isfinite(test.y[:, 0])
    last = np.maximum.accumulate(np.where(known, np.arange(len(test)), 0))
    errors["last laboratory value"] = test.y[last[ends], 0][:, None] - true
    rmse = {who: np.sqrt(np.nanmean(e**2, axis=0)) for who, e in errors.items()}  # no laboratory before the first
    return {
        "rmse": {who: {str(k): float(e[k - 1]) for k in STEPS} | {"mean": float(e.mean())} for who, e in rmse.items()},
        "deviation": float(truth.std()),
        "components": len(twin.plant.components),
        "inferred": [name for branch in twin.plant.branches for name in branch.told],
        "residual_ships": twin.card["training"]["residual"]["ships"],
        "cpu_s": round(cpu, 1),
    }


def table(results: dict[str, Any]) -> None:
    """RMS errors in mol/L by rows ahead."""
    print(f"{'case':<40}{'seed':>5}" + "".join(f"{f'row {k}':>9}" for k in STEPS) + f"{'mean':>9}  held: row 1, mean")
    for key, r in results.items():
        case, seed = key.split("/")[:2]
        twin, held = r["rmse"]["twin"], r["rmse"]["last laboratory value"]
        print(f"{case:<40}{seed:>5}" + "".join(f"{twin[str(k)]:>9.4f}" for k in STEPS) + f"{twin['mean']:>9.4f}"
              f"  {held['1']:.4f}, {held['mean']:.4f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), help="only these")
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for case in asked.cases:
        for seed in range(asked.seeds):
            key = f"{case}/{seed}/{asked.budget:g}"
            if key not in results or asked.again:
                results[key] = judge(case, seed, asked.budget)
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(key, results[key], flush=True)
    table(results)


if __name__ == "__main__":
    main()
