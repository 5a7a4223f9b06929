"""Free-run error on real plants: twins trained by defaults beside persistence, ARX and subspace models.

    python tests/benchmarks/real_data.py [plant ...] [--again] [--budget SECONDS] [--cpu] [--data FOLDER]

Each plant is trained on its `train` runs in a process of its own and judged once on its `test` runs. Results are
kept in `results/real_data.json`; plants found there are not run again unless asked. Two plants are averaged over
blocks of rows first, as their sample period is short against their dynamics. The default budget counts seconds of
a clock; on a machine that is busy with other work let it count CPU time (`--cpu`).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from peers.linear import best_arx, best_subspace, persistence
from support.free_run import Forecaster, free_run, free_run_errors

from twin.dynamics.lti import Lti
from twin.forecasting import forecaster
from twin.plant import Plant
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.windows import Grid, latest

RESULTS = Path(__file__).parent / "results" / "real_data.json"
DATA = Path(__file__).parents[3] / "shared" / "data"
STRIDES = {"tclab": 5, "tennessee_eastman": 3}  # rows averaged into one
HORIZONS = (1, 10, 30, 60)
INITIAL = 5  # samples that start the whole-test free run of the cascaded tanks


def load(folder: Path, split: str, stride: int) -> Telemetry:
    """The runs of one split, averaged over blocks of `stride` rows."""
    plant = Plant.from_json(json.loads((folder / "plant.json").read_text()))
    frame = pd.read_parquet(folder / "telemetry.parquet").set_index("time")
    jitter = pd.Timedelta(plant.sample_period_s / 2, "s")
    runs = [r for r in json.loads((folder / "runs.json").read_text()) if r["split"] == split]
    parts = [frame.loc[pd.Timestamp(r["start"]) - jitter : pd.Timestamp(r["end"]) + jitter] for r in runs]
    plant = Plant(plant.name, plant.sample_period_s * stride, plant.tags)
    return Telemetry.from_frame(plant, pd.concat([_averaged(part, stride) for part in parts]))


def _averaged(frame: pd.DataFrame, stride: int) -> pd.DataFrame:
    rows = len(frame) // stride * stride
    blocks = frame.to_numpy(np.float64)[:rows].reshape(-1, stride, frame.shape[1])
    return pd.DataFrame(blocks.mean(axis=1), frame.index[stride - 1 : rows : stride], frame.columns)


def judge(name: str, data: Path, budget_s: float, cpu_budget: bool) -> dict[str, Any]:
    """Train and judge everything on one plant."""
    stride = STRIDES.get(name, 1)
    train, test = load(data / name, "train", stride), load(data / name, "test", stride)
    begin, cpu = time.monotonic(), time.process_time()
    twin = fit(train, Options(budget_s=budget_s), clock=time.process_time if cpu_budget else time.monotonic)
    seconds, cpu_seconds = time.monotonic() - begin, time.process_time() - cpu
    scaler, training = twin.scaler, twin.card["training"]
    grid, unseen = Grid.of(train, scaler), Grid.of(test, scaler)
    peers: dict[str, tuple[str, Lti]] = {
        "persistence": ("last value", persistence(grid.y.shape[1], grid.w.shape[1], twin.history)),
        "arx": best_arx(grid, twin.history, twin.horizon),
        "subspace": best_subspace(grid, twin.history, twin.horizon),
    }
    share = np.float32(twin.correction)
    forecasters: dict[str, Forecaster] = {
        "twin": lambda windows, whole, w: forecaster(twin.dynamics, windows, whole, share)(w)
    } | {who: partial(free_run, model) for who, (_, model) in peers.items()}
    errors = {
        who: free_run_errors(forecast, unseen, twin.history, twin.horizon) for who, forecast in forecasters.items()
    }
    steps = [k for k in HORIZONS if k <= twin.horizon]
    out: dict[str, Any] = {
        "rows": {"train": len(train), "test": len(test)},
        "stride": stride,
        "history": twin.history,
        "horizon": twin.horizon,
        "budget_s": budget_s,
        "budget_of": "CPU time" if cpu_budget else "clock",
        "train_s": round(seconds, 1),
        "train_cpu_s": round(cpu_seconds, 1),
        "peak_memory_mib": round(training["peak_memory_mib"]),
        "backbone": training["backbone"]["name"],
        "residual_ships": training["residual"]["ships"],
        "correction": twin.correction,
        "stopping_step": training["stopping_step"],
        "peers": {who: kind for who, (kind, _) in peers.items()},
        "nrmse": {who: float(rmse.mean()) for who, rmse in errors.items()},
        "cvs": {
            tag.name: {
                "unit": tag.unit,
                "nrmse": {who: {str(k): float(e[k - 1, i]) for k in steps} for who, e in errors.items()},
                "nrmse_mean": {who: float(e[:, i].mean()) for who, e in errors.items()},
                "rmse": {
                    who: {str(k): float(e[k - 1, i] * scaler.y_scale[i]) for k in steps} for who, e in errors.items()
                },
            }
            for i, tag in enumerate(train.plant.cvs)
        },
    }
    if name == "cascaded_tanks":
        out["whole_test_rmse_v"] = {
            who: _whole_run(forecast, test, twin.history, scaler) for who, forecast in forecasters.items()
        }
    out["process_peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return out


def _whole_run(forecast: Forecaster, test: Telemetry, history: int, scaler: Any) -> float:
    """RMSE in volt of one free run over the whole test, from its first samples alone."""
    window = latest(test.rows(slice(0, INITIAL)), scaler, history)
    w = scaler.w_in(test.w[INITIAL:])
    y = scaler.y_out(np.asarray(jax.jit(forecast)(window, np.zeros(1, np.float32), w)))
    return float(np.sqrt(np.mean((y - test.y[INITIAL:]) ** 2)))


def table(results: dict[str, Any]) -> None:
    """Mean NRMSE over CVs and rows 1 to K, and what training took."""
    head = f"{'plant':<19}{'twin':>8}{'ARX':>8}{'subsp.':>8}{'persist.':>9}"
    print(f"{head}{'train s':>9}{'CPU s':>7}{'MiB':>7}  residual, backbone")
    for name, r in results.items():
        e = r["nrmse"]
        row = f"{name:<19}{e['twin']:>8.3f}{e['arx']:>8.3f}{e['subspace']:>8.3f}{e['persistence']:>9.3f}"
        ships = "ships" if r["residual_ships"] else "no"
        print(f"{row}{r['train_s']:>9.0f}{r['train_cpu_s']:>7.0f}{r['peak_memory_mib']:>7}  {ships:<5} {r['backbone']}")
    for name, r in results.items():
        for who, rmse in r.get("whole_test_rmse_v", {}).items():
            print(f"{name}: whole-test free run, {who}: {rmse:.3f} V")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plants", nargs="*", help="names of folders of the data; all by default")
    parser.add_argument("--cpu", action="store_true", help="the budget counts CPU time, not the clock")
    parser.add_argument("--again", action="store_true", help="run plants even where there are results")
    parser.add_argument("--budget", type=float, default=Options().budget_s, help="seconds of training a plant")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"no plant data in {asked.data}: give its folder by --data")
    if asked.one:
        print(json.dumps(judge(asked.plants[0], asked.data, asked.budget, asked.cpu)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in asked.plants or sorted(path.name for path in asked.data.iterdir() if path.is_dir()):
        if asked.again or name not in results:
            command = [
                sys.executable,
                __file__,
                name,
                "--one",
                "--budget",
                str(asked.budget),
                "--data",
                str(asked.data),
                *["--cpu"] * asked.cpu,
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results[name] = json.loads(done.stdout.splitlines()[-1])
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
            print(f"{name} done", flush=True)
    table(results)


if __name__ == "__main__":
    main()
