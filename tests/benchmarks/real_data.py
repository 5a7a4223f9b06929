"""Free-run error on real plants: twins by defaults beside persistence, ARX, subspace models, a GRU and jax-sysid.

    python tests/benchmarks/real_data.py [plant ...] [--only MODEL ...] [--again] [--budget S] [--cpu] [--data FOLDER]

Each model of a plant is trained on its `train` runs in a process of its own and judged once on its `test` runs. Results
are kept in `results/real_data.json`; models found there are not trained again unless asked, and twins stay in `cache/`.
Two plants are averaged over blocks of rows first, as their sample period is short against their dynamics. The budget is
that of a twin, of a GRU and of jax-sysid alike; by default it counts seconds of a clock; on a machine that is busy with
other work let it count CPU time (`--cpu`).
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from peers.gru import best_gru
from peers.linear import best_arx, best_subspace, persistence
from peers.sysid import best_sysid
from support.free_run import Forecaster, free_run, free_run_errors

from twin import artifact
from twin.forecasting import forecaster
from twin.plant import Plant
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.training.folds import ROWS, sizes, split
from twin.windows import Grid, latest

RESULTS = Path(__file__).parent / "results" / "real_data.json"
CACHE = Path(__file__).parent / "cache" / "real_data"
DATA = Path(__file__).parents[3] / "shared" / "data"
STRIDES = {"tclab": 5, "tennessee_eastman": 3}  # rows averaged into one
HORIZONS = (1, 10, 20, 30, 60)
WHO = {
    "twin": "twin",
    "arx": "ARX",
    "subspace": "subspace",
    "gru": "GRU",
    "jax-sysid": "jax-sysid",
    "persistence": "persistence",
}
JOB_OF = {"twin": "twin", "gru": "gru", "jax-sysid": "jax-sysid"} | dict.fromkeys(
    ("arx", "subspace", "persistence"), "linear"
)
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


class Task(NamedTuple):
    """What a model is trained on, and how long."""

    train: Telemetry
    grid: Grid
    history: int
    horizon: int
    budget_s: float
    clock: Callable[[], float]
    keep: Path


Trained = dict[str, tuple[Forecaster, dict[str, Any]]]  # a model's forecaster, and what its training tells


def judge(job: str, name: str, data: Path, budget_s: float, cpu_budget: bool) -> dict[str, Any]:
    """Train the models of one job on one plant and judge them."""
    stride = STRIDES.get(name, 1)
    train, test = load(data / name, "train", stride), load(data / name, "test", stride)
    scaler = Scaler.fit(train)
    history, horizon = sizes(train.run, ROWS)
    clock = time.process_time if cpu_budget else time.monotonic
    task = Task(train, Grid.of(train, scaler), history, horizon, budget_s, clock, CACHE / name)
    begin, cpu = time.monotonic(), time.process_time()
    trained = JOBS[job](task)
    of_all = {
        "train_s": round(time.monotonic() - begin, 1),
        "train_cpu_s": round(time.process_time() - cpu, 1),
        "budget_s": budget_s,
        "budget_of": "CPU time" if cpu_budget else "clock",
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    unseen = Grid.of(test, scaler)
    errors = {who: free_run_errors(forecast, unseen, history, horizon) for who, (forecast, _) in trained.items()}
    steps = [k for k in HORIZONS if k <= horizon]
    out: dict[str, Any] = {
        "rows": {"train": len(train), "test": len(test)},
        "stride": stride,
        "history": history,
        "horizon": horizon,
        "models": {who: told | of_all for who, (_, told) in trained.items()},
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
        whole = {who: _whole_run(forecast, test, history, scaler) for who, (forecast, _) in trained.items()}
        out["whole_test_rmse_v"] = whole
    memory = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    for told in out["models"].values():
        told["process_peak_memory_mib"] = memory
    return out


def _twin(task: Task) -> Trained:
    twin = fit(task.train, Options(budget_s=task.budget_s), clock=task.clock)
    shutil.rmtree(task.keep, ignore_errors=True)
    artifact.save(twin, task.keep)
    share = twin.corrections
    training = twin.card["training"]
    curved = training["polynomial"]
    told = {
        "kind": training["backbone"]["name"] + (f"; {curved['name']}" if curved["ships"] else ""),
        "residual_ships": training["residual"]["ships"],
        "correction": twin.correction,
        "stopping_step": training["stopping_step"],
        "stopped_by": training["stopped_by"],
        "peak_memory_mib": round(training["peak_memory_mib"]),
    }
    return {"twin": (lambda windows, whole, w: forecaster(twin.dynamics, windows, whole, share)(w), told)}


def _linear(task: Task) -> Trained:
    grid = task.grid
    models = {
        "persistence": ("last value", persistence(grid.y.shape[1], grid.w.shape[1], task.history)),
        "arx": best_arx(grid, task.history, task.horizon),
        "subspace": best_subspace(grid, task.history, task.horizon),
    }
    return {who: (partial(free_run, model), {"kind": kind}) for who, (kind, model) in models.items()}


def _gru(task: Task) -> Trained:
    folds = split(task.grid.run, task.history, task.horizon)
    found = best_gru(task.grid, folds, task.budget_s, task.clock)
    return {"gru": (found.forecast, {"kind": found.kind, **found.told})}


def _sysid(task: Task) -> Trained:
    found = best_sysid(task.grid, task.history, task.horizon, task.budget_s, task.clock)
    return {"jax-sysid": (found.forecast, {"kind": found.kind, **found.told})}


JOBS: dict[str, Callable[[Task], Trained]] = {"twin": _twin, "linear": _linear, "gru": _gru, "jax-sysid": _sysid}


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def merged(old: Any, new: Any) -> Any:
    """Nested dictionaries, the new values where both have one."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: merged(old.get(key), value) for key, value in new.items()}


def _whole_run(forecast: Forecaster, test: Telemetry, history: int, scaler: Any) -> float:
    """RMSE in volt of one free run over the whole test, from its first samples alone."""
    window = latest(test.rows(slice(0, INITIAL)), scaler, history)
    w = scaler.w_in(test.w[INITIAL:])
    y = scaler.y_out(np.asarray(jax.jit(forecast)(window, np.zeros(1, np.float32), w)))
    return float(np.sqrt(np.mean((y - test.y[INITIAL:]) ** 2)))


def table(results: dict[str, Any]) -> None:
    """Mean NRMSE over CVs and rows 1 to K, then at single rows, the twin beside the best of the peers."""
    print(f"{'plant':<19}" + "".join(f"{head:>12}" for head in WHO.values()) + f"{'of best':>9}")
    for name, r in results.items():
        figures = [r["nrmse"].get(who) for who in WHO]
        best = min((e for who, e in r["nrmse"].items() if who != "twin"), default=math.nan)
        told = "".join(f"{'-' if e is None else f'{e:.4f}':>12}" for e in figures)
        print(f"{name:<19}{told}{r['nrmse'].get('twin', math.nan) / best:>9.2f}")
    for k in map(str, HORIZONS):
        print(f"\nrow {k}")
        for name, r in results.items():
            of = [cv["nrmse"] for cv in r["cvs"].values()]
            mean = {
                who: float(np.mean([e[who][k] for e in of])) for who in WHO if who in r["nrmse"] and k in of[0][who]
            }
            print(f"{name:<19}" + "".join(f"{f'{mean[who]:.4f}' if who in mean else '-':>12}" for who in WHO))
    print()
    for name, r in results.items():
        for who, told in r["models"].items():
            print(f"{name:<19}{WHO[who]:<12}{told['train_cpu_s']:>6.0f} CPU s  {told['commit']}  {told['kind']}")
        for who, rmse in r.get("whole_test_rmse_v", {}).items():
            print(f"{name}: whole-test free run, {WHO[who]}: {rmse:.3f} V")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plants", nargs="*", help="names of folders of the data; all by default")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS), help="which models")
    parser.add_argument("--cpu", action="store_true", help="the budget counts CPU time, not the clock")
    parser.add_argument("--again", action="store_true", help="train models even where there are results")
    parser.add_argument("--budget", type=float, default=Options().budget_s, help="seconds of training a model")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"no plant data in {asked.data}: give its folder by --data")
    if asked.one:
        print(json.dumps(judge(asked.only[0], asked.plants[0], asked.data, asked.budget, asked.cpu)))
        return
    for name in asked.plants or sorted(path.name for path in asked.data.iterdir() if path.is_dir()):
        for job in asked.only:
            known = _results().get(name, {}).get("models", {})
            if asked.again or not any(JOB_OF[who] == job for who in known):
                options = ["--one", "--only", job, "--budget", str(asked.budget), "--data", str(asked.data)]
                command = [sys.executable, __file__, name, *options, *["--cpu"] * asked.cpu]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                results = merged(_results(), {name: json.loads(done.stdout.splitlines()[-1])})
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(f"{name}: {job} done", flush=True)
    table(_results())


def _results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


if __name__ == "__main__":
    main()
