"""What move suppression does to plans that earn: costs, travel of the MVs, rows beyond limits, statuses.

    python tests/benchmarks/calm.py [system …] [--weights default 0.01 1 …] [--budget CPU SECONDS]

The objectives with prices of the six systems (`notebooks/objectives`), each in closed loop under noise and wander by a
twin of 4,000 rows of ordinary operation, with the same weight of moves for all MVs, or by the planner's default. The
objective is judged with moves at 0.01 whatever the plan was made with. Results are kept in `results/calm.json`; runs
found there are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from systems import OBJECTIVES, SEED

from twin.artifact import Twin
from twin.plants.systems import SYSTEMS
from twin.sandbox.loop import Planner, run
from twin.sandbox.practice import UsualPractice
from twin.sandbox.scenario import Scenario
from twin.train import Options, fit

RESULTS = Path(__file__).parent / "results" / "calm.json"
ROWS, JUDGED = 4000, 0.01


def judge(slug: str, scenario: Scenario, weight: float | None, twin: Twin) -> dict[str, Any]:
    """One closed loop."""
    system = SYSTEMS[slug]
    made = run(system.process, Planner(twin, base=UsualPractice(system)), replace(scenario, suppression=weight))
    reach = [tag.high - tag.low for tag in made.trace.plant.mvs]
    moves = ((made.trace.mvs[1:] - made.trace.mvs[:-1]) / reach) ** 2
    calm = moves.sum(axis=1).mean()
    hours = scenario.horizon * system.process.plant.sample_period_s / 3600
    used = JUDGED if weight is None else weight
    objective = made.cost + (JUDGED - used) * calm + hours * made.paid_per_h
    return {
        "objective": float(objective),
        "travel": made.travel,
        "rows_over": made.cv_rows,
        "worst": made.cv_worst,
        "mv_violations": made.mv_violations,
        "statuses": made.statuses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--weights", nargs="*", default=["0.01", "default"])
    parser.add_argument("--budget", type=float, default=40.0)
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for slug in asked.systems:
        twin: Twin | None = None
        for body in json.loads((OBJECTIVES / f"{slug}.json").read_text()):
            scenario = Scenario.from_json(body | {"seed": SEED}, SYSTEMS[slug].process.plant)
            if not any(event.prices for event in scenario.events):
                continue
            for weight in asked.weights:
                key = f"{slug}/{scenario.name}/{weight}/{asked.budget:g}"
                if key not in results:
                    if twin is None:
                        rows = SYSTEMS[slug].telemetry(ROWS, 0)
                        twin = fit(rows, Options(budget_s=asked.budget), clock=time.process_time)
                    results[key] = judge(slug, scenario, None if weight == "default" else float(weight), twin)
                    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(f"{key:<70} {results[key]}", flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
