"""A fleet's common model for new units: accuracy against rows, beside a twin of the unit alone and ARX.

    python tests/benchmarks/fleet.py [accuracy] [glucose] [size] [--kinds NAME ...] [--units N] [--budget CPU SECONDS]
                                     [--again]

`accuracy`: a fleet of simulated units with parameters drawn at random, and new units of the same kind with few rows,
judged on a step test of their own against its noise-free truth; errors are over the deviation of the unit's full
history. With `--units` the fleet is of so many, with 1,000 rows each in place of 2,000. `glucose`: the fleet is the
patients of the train split, each patient of the test split starts with the first rows of its run and is judged on the
rest, as measured. `size`: what fleets of 12 to 200 units cost to learn, and what they give a new unit. Each run is a
process of its own; those found in `results/fleet.json` are not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from peers.linear import best_arx
from real_data import DATA, load
from support.fleet_units import unit
from support.free_run import free_run

from twin.artifact import Twin
from twin.errors import TwinError
from twin.fleet import fleet as fleets
from twin.fleet.fleet import Fleet
from twin.fleet.learn import Learning, Source, learn
from twin.fleet.start import Joining
from twin.forecasting import forecaster
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.training.correction import recent
from twin.windows import Grid

RESULTS = Path(__file__).parent / "results" / "fleet.json"
CACHE = Path(__file__).parent / "cache"
ROWS = (100, 200, 400, 1000, 4000)
FULL, TEST, STRIDE, WINDOWS = 4000, 1500, 7, 300
UNITS = 12  # of the fleet, unless asked otherwise
NEW = {"quadruple_tank": (100, 101, 102), "cstr": (100, 101, 102)}
SIZES = ((12, 2000), (50, 1000), (200, 1000))  # units, and rows of each
HISTORY, HORIZON = 32, 60
GLUCOSE_ROWS = (120, 240, 480, 1200)


def fleet_of(kind: str, units: int, rows: int, budget_s: float) -> Fleet:
    """Learnt once and kept."""
    folder = CACHE / f"fleet_{kind}_{units}_{rows}_{budget_s:g}"
    if not folder.exists():
        if kind == "glucose":
            sources = {str(i): Source(t) for i, t in enumerate(_patients("train"))}
        else:
            sources = {str(i): Source(unit(kind, i, rows)[0]) for i in range(units)}
        fleets.save(learn(sources, Learning(budget_s=budget_s), clock=time.process_time), folder)
    return fleets.load(folder)


def _patients(split: str) -> list[Telemetry]:
    """One a run."""
    rows = load(DATA / "glucose", split, 1)
    return [rows.rows(rows.run == run) for run in np.unique(rows.run)]


def _truth(kind: str, number: int) -> tuple[Telemetry, Telemetry, np.ndarray]:
    """A new unit's full history, its test, and the CVs that forecasts are held against."""
    if kind != "glucose":
        return unit(kind, number, FULL)[0], *unit(kind, number, TEST, 1)
    run = _patients("test")[number]
    test = run.rows(slice(max(GLUCOSE_ROWS), None))
    return run.rows(slice(max(GLUCOSE_ROWS))), test, test.y


def judge(
    kind: str, number: int, rows: int, who: str, budget_s: float, fleet: tuple[int, int, float]
) -> dict[str, Any]:
    """One unit with so many rows: a twin `alone`, or from the `fleet`, and with it ARX and the fleet's mean."""
    full, test, truth = _truth(kind, number)
    few, deviation = full.rows(slice(rows)), np.nanstd(full.y, axis=0)
    of = fleet_of(kind, *fleet) if who.startswith("fleet") else None
    cpu = time.process_time()
    try:
        twin = fit(few, Options(budget_s=budget_s), clock=time.process_time, fleet=None if of is None else Joining(of))
    except TwinError as error:
        return {"refused": error.detail}
    cpu = time.process_time() - cpu
    score = partial(_errors, test=test, truth=truth, deviation=deviation, twin=twin)
    share = twin.corrections
    out = {
        "nrmse": score(lambda windows, whole, w: forecaster(twin.dynamics, windows, whole, share)(w)),
        "cpu_s": round(cpu, 1),
        "horizon": twin.horizon,
        "residual_ships": twin.card["training"]["residual"]["ships"],
        "backbone": twin.card["training"]["backbone"]["name"],
        "coverage": _coverage(twin, test),
    }
    if who == "alone":
        grid = Grid.of(few, twin.scaler)
        name, model = best_arx(grid, twin.history, twin.horizon)
        out |= {"arx": score(partial(free_run, model)), "arx_name": name}
        return out
    assert of is not None
    out["mean_unit"] = score(partial(free_run, of.common.backbone))
    told = twin.card["training"]["common"]
    return out | {"kept": told["kept"], "out_of_fold": told["out_of_fold"]}


def _errors(forecast: Any, test: Telemetry, truth: np.ndarray, deviation: np.ndarray, twin: Twin) -> float:
    """Mean over rows of the horizon and CVs of the RMSE over the unit's deviation; the same windows for all."""
    seen = Grid.of(test, twin.scaler)
    ends = seen.ends(HISTORY, HORIZON)[::STRIDE]
    ends = ends[:: max(1, len(ends) // WINDOWS)]
    windows, whole = recent(seen, ends, twin.history)
    future = seen.future(ends, HORIZON)
    y = twin.scaler.y_out(np.asarray(jax.jit(jax.vmap(forecast))(windows, whole, future.w)))
    error = (y - truth[ends[:, None] + np.arange(1, HORIZON + 1)]) / deviation
    return float(np.sqrt(np.nanmean(error**2, axis=0)).mean())


def _coverage(twin: Twin, test: Telemetry) -> float:
    """The share of measured values inside bands of 0.9 over the twin's own horizon."""
    seen = Grid.of(test, twin.scaler)
    ends = seen.ends(HISTORY, HORIZON)[::STRIDE]
    windows, whole = recent(seen, ends, twin.history)
    future, share = seen.future(ends, twin.horizon), twin.corrections
    forecast = jax.jit(jax.vmap(lambda a, b, w: forecaster(twin.dynamics, a, b, share)(w)))
    error = future.y - np.asarray(forecast(windows, whole, future.w))
    low, high = twin.calibration.bands.interval(0.9, twin.horizon)
    return float(((error >= low) & (error <= high))[future.mask > 0].mean())


def size(kind: str, units: int, rows: int, budget_s: float) -> dict[str, Any]:
    """What a fleet of so many units costs, beside what it gives units held out."""
    sources = {str(i): Source(unit(kind, i, rows)[0]) for i in range(units)}
    cpu = time.process_time()
    found = learn(sources, Learning(budget_s=budget_s), clock=time.process_time)
    cpu = time.process_time() - cpu
    told = found.card["residual"]
    folder = CACHE / f"fleet_{kind}_{units}_{rows}_{budget_s:g}"
    if not folder.exists():
        fleets.save(found, folder)
    return {
        "cpu_s": round(cpu, 1),
        "steps": told["step"],
        "backbone_error": told["backbone_error"],
        "error": told["backbone_error"] * told["out_of_unit"],
        "bytes": sum(f.stat().st_size for f in folder.iterdir()),
    }


def table(results: dict[str, Any]) -> None:
    """Means over the new units of a kind, by rows and size of the fleet."""
    print(f"{'kind':<16}{'rows':>6}{'who':>10}{'units':>6}{'error':>9}{'ARX':>9}{'mean unit':>11}{'kept':>6}"
          f"{'cover':>7}{'CPU s':>7}")  # fmt: skip
    cells: dict[tuple[str, int, str, str], list[dict[str, Any]]] = {}
    for key, r in results.items():
        part, kind, *more = key.split("/")
        if part == "accuracy" and "nrmse" in r:
            cells.setdefault((kind, int(more[1]), more[2], more[3]), []).append(r)
    for (kind, rows, who, budget), done in sorted(cells.items()):
        alone = who == "alone"
        kept = "–" if alone else sum(r["kept"] == "common" for r in done)
        print(f"{kind:<16}{rows:>6}{who:>10}{len(done):>6}{_mean(done, 'nrmse'):>9}{_mean(done, 'arx'):>9}"
              f"{_mean(done, 'mean_unit'):>11}{kept:>6}{_mean(done, 'coverage'):>7}{_mean(done, 'cpu_s'):>7}"
              f"  budget {budget}")  # fmt: skip
    sizes = {key: r for key, r in results.items() if key.startswith("size")}
    if sizes:
        print(
            f"\n{'kind':<16}{'units':>6}{'rows':>6}{'CPU s':>8}{'a unit':>8}{'linear':>9}{'+ residual':>11}{'KiB':>6}"
        )
    for key, r in sizes.items():
        _, kind, units, rows, _ = key.split("/")
        print(f"{kind:<16}{units:>6}{rows:>6}{r['cpu_s']:>8}{r['cpu_s'] / int(units):>8.2f}{r['backbone_error']:>9.4f}"
              f"{r['error']:>11.4f}{r['bytes'] // 1024:>6}")  # fmt: skip


def _mean(found: list[dict[str, Any]], name: str) -> str:
    if not found or name not in found[0]:
        return "–"
    return f"{np.mean([r[name] for r in found]):.{1 if name == 'cpu_s' else 3}f}"


def _wanted(asked: argparse.Namespace) -> list[str]:
    """Keys of all runs."""
    keys = []
    budget = f"{asked.budget:g}"
    of = "fleet" if asked.units == UNITS else f"fleet{asked.units}"
    for kind in asked.kinds if "accuracy" in asked.parts else ():
        for rows in asked.rows or ROWS:
            for number in NEW[kind]:
                who = [of if who == "fleet" else who for who in asked.who]
                keys += [f"accuracy/{kind}/{number}/{rows}/{one}/{budget}" for one in who]
    if "glucose" in asked.parts:
        for rows in asked.rows or GLUCOSE_ROWS:
            for number in range(3):
                keys += [f"accuracy/glucose/{number}/{rows}/{who}/{budget}" for who in asked.who]
    if "size" in asked.parts:
        keys += [f"size/{kind}/{units}/{rows}/{budget}" for kind in asked.kinds for units, rows in SIZES]
    return keys


def _run(key: str) -> dict[str, Any]:
    part, kind, *more = key.split("/")
    if part == "size":
        units, rows, budget = more
        return size(kind, int(units), int(rows), float(budget))
    number, rows, who, budget = more
    units = int(who.removeprefix("fleet") or UNITS) if who != "alone" else UNITS
    fleet = (6, 0, 30.0) if kind == "glucose" else (units, dict(SIZES)[units], 60.0)
    return judge(kind, int(number), int(rows), who, float(budget), fleet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["accuracy", "glucose", "size"])
    parser.add_argument("--kinds", nargs="*", default=list(NEW), choices=list(NEW))
    parser.add_argument("--rows", nargs="*", type=int)
    parser.add_argument("--units", type=int, default=UNITS, choices=[units for units, _ in SIZES])
    parser.add_argument("--who", nargs="*", default=["fleet", "alone"], choices=["fleet", "alone"])
    parser.add_argument("--budget", type=float, default=20.0, help="CPU seconds of training a twin or a fleet")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--table", action="store_true", help="only what is there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(_run(asked.one)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for key in [] if asked.table else _wanted(asked):
        if key in results and not asked.again:
            continue
        done = subprocess.run([sys.executable, __file__, "--one", key], stdout=subprocess.PIPE, text=True, check=True)
        results = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | {key: json.loads(done.stdout)}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        print(key, results[key], flush=True)
    table(dict(sorted(results.items())))


if __name__ == "__main__":
    main()
