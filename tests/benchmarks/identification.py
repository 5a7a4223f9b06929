"""Free-run error on systems after the standard benchmarks of nonlinear identification, beside a cubic NARX model.

    python tests/benchmarks/identification.py [system ...] [--only MODEL ...] [--again] [--budget S] [--cpu]

The systems are simulated from their published form (`support/identification_systems.py`); models are trained and judged
as on real plants (`real_data.py`), one process each, with cubic NARX models by least squares as a further peer. Results
are kept in `results/identification.json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import real_data
from peers.narx import best_narx, second_order
from support.identification_systems import SYSTEMS, write

from twin.train import Options

RESULTS = Path(__file__).parent / "results" / "identification.json"
CACHE = Path(__file__).parent / "cache" / "identification"


def _narx(task: real_data.Task) -> real_data.Trained:
    found = {"narx": best_narx, "narx-2": second_order}
    models = {who: of(task.grid, task.history, task.horizon) for who, of in found.items()}
    return {who: (forecast, {"kind": kind}) for who, (kind, forecast) in models.items()}


JOBS = {**real_data.JOBS, "narx": _narx}
ORDER = ("twin", "narx", "narx-2", "arx", "subspace", "gru", "jax-sysid", "persistence")


def judge(job: str, name: str, budget_s: float, cpu: bool) -> dict[str, Any]:
    """One job on one system."""
    data = CACHE / "data"
    if not (data / name / "plant.json").exists():
        write(name, data / name)
    real_data.CACHE, real_data.JOBS["narx"] = CACHE / "twins", _narx
    return real_data.judge(job, name, data, budget_s, cpu)


def table(results: dict[str, Any]) -> None:
    """Mean NRMSE over rows 1 to K, and at single rows."""
    for row in (None, *real_data.HORIZONS):
        print(f"\n{'mean' if row is None else f'row {row}':<14}" + "".join(f"{who:>12}" for who in ORDER))
        for name, r in results.items():
            at = r["nrmse"] if row is None else {w: e.get(str(row)) for w, e in r["cvs"]["answer"]["nrmse"].items()}
            print(f"{name:<14}" + "".join(f"{at[who]:>12.4f}" if at.get(who) else f"{'-':>12}" for who in ORDER))
    print()
    for name, r in results.items():
        for who, told in r["models"].items():
            print(f"{name:<14}{who:<12}{told['train_cpu_s']:>6.0f} CPU s  {told['commit']}  {told['kind']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", choices=[*SYSTEMS, []], help="all by default")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS), help="which models")
    parser.add_argument("--cpu", action="store_true", help="the budget counts CPU time, not the clock")
    parser.add_argument("--again", action="store_true", help="train models even where there are results")
    parser.add_argument("--budget", type=float, default=Options().budget_s, help="seconds of training a model")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(judge(asked.only[0], asked.systems[0], asked.budget, asked.cpu)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in asked.systems or SYSTEMS:
        for job in asked.only:
            known = results.get(name, {}).get("models", {})
            if asked.again or not any(real_data.JOB_OF.get(who, who.split("-")[0]) == job for who in known):
                command = [sys.executable, __file__, name, "--one", "--only", job, "--budget", str(asked.budget)]
                done = subprocess.run([*command, *["--cpu"] * asked.cpu], stdout=subprocess.PIPE, text=True, check=True)
                results = real_data.merged(results, {name: json.loads(done.stdout.splitlines()[-1])})
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(f"{name}: {job} done", flush=True)
    table(results)


if __name__ == "__main__":
    main()
