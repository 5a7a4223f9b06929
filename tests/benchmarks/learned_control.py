"""Closed loop: twins learned from telemetry, in `plan()` itself, beside a controller with the plant's own equations.

    python tests/benchmarks/learned_control.py [plant …] [--seeds 1]

Four plants under their noise, wander and one unmeasured step; 4,000 rows of a step test, trained by defaults (90 s of
CPU time, `support/twins.py`). The peer is this planner with the true model (within 1.002 of full-move IPOPT,
`true_model.py`) from an extended Kalman filter on the same noisy rows with the true noise statistics: it is what do-mpc
is in `closed_loop.py`. Both are run and scored by `twin.sandbox.loop`.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from support.exact import Planner as Exact
from support.oracle import Observer
from support.scenarios import CSTR, NONMINIMUM_PHASE, QUADRUPLE_TANK, SHELL, Scenario
from support.twins import trained

from twin.sandbox.loop import Hold, Outcome, Planner, run
from twin.sandbox.scenario import Ask

RESULTS = Path(__file__).parent / "results" / "learned_control.json"
UNITS_S = {"cstr": 3600.0, "shell": 0.0}
SCENARIOS = (QUADRUPLE_TANK, NONMINIMUM_PHASE, CSTR, SHELL)


class TrueModel:
    """The planner with the plant's equations, and an observer of its state and disturbances."""

    name = "true model"

    def __init__(self, scenario: Scenario) -> None:
        process, task = scenario.process, scenario.task
        self._plant, self._task, self._observer = process.plant, task, Observer(process)
        unit_s = UNITS_S.get(scenario.slug, 1.0)
        self._planner = Exact(process, task.setpoint_cvs, task.horizon, task.suppression, unit_s)
        self._hidden = len(process.disturbances) - len(process.plant.dvs)

    def observe(self, time: pd.Timestamp, row: dict[str, float]) -> None:
        plant = self._plant
        w = np.array([row[tag.name] for tag in plant.inputs])
        estimate = self._observer.update(w, np.array([row[tag.name] for tag in plant.cvs]))
        cut = len(estimate) - self._hidden
        self._state, hidden = estimate[:cut], estimate[cut:]
        self._moves = w[: len(plant.mvs)]
        self._planner.disturbed(w[len(plant.mvs) :], hidden)

    def decide(self, ask: Ask) -> dict[str, float]:
        targets = np.array([ask.setpoints[name] for name in self._task.setpoint_cvs])
        moves = self._planner.decide(self._state, self._moves, targets)
        return dict(zip([tag.name for tag in self._plant.mvs], moves.tolist(), strict=True))

    def status(self) -> None:
        return None


def compare(scenario: Scenario) -> list[Outcome]:
    """Held, true model, twin: each from the same start."""
    found = []
    for controller in (Hold(), TrueModel(scenario), Planner(trained(scenario.slug), name="twin")):
        simulator, _ = scenario.tested()
        found.append(run(scenario.process, controller, scenario.trial(), simulator))
        print(scenario.slug, scenario.seed, found[-1].to_json(), flush=True)
    return found


def main() -> None:
    """Print and keep; what is there already is kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plants", nargs="*")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for scenario in SCENARIOS:
        if asked.plants and scenario.slug not in asked.plants:
            continue
        for seed in range(scenario.seed, scenario.seed + asked.seeds):
            held, true, twin = compare(replace(scenario, seed=seed))
            ratio = twin.cost / true.cost
            print(f"{scenario.slug}, seed {seed}: {ratio:.3f} of the true model's cost", flush=True)
            results.setdefault(scenario.slug, {})[str(seed)] = {
                "ratio": ratio, **{o.controller: o.to_json() for o in (held, true, twin)}
            }  # fmt: skip
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
