"""Closed loop: a twin learned from telemetry, over REST, against do-mpc with the plant's true equations.

    python tests/benchmarks/closed_loop.py [quadruple-tank] [cstr]

Prints a table and writes `results/closed_loop.json` (and traces to `cache/`). Plants, seeds and tasks are in
`support/scenarios.py`; both controllers see the same noisy rows and are scored by one quadratic cost on the true
state (`support.loop.Score`).
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections import deque
from pathlib import Path

import pandas as pd
from support.loop import Hold, Score, as_json, run
from support.oracle import TrueModel
from support.scenarios import SCENARIOS, Scenario
from support.service import Service, running

RESULTS = Path(__file__).parent / "results"
CACHE = Path(__file__).parent / "cache"
HISTORY_ROWS = 150


class OverRest:
    """Plans by `POST /optimize`, with the last rows in the request."""

    name = "twin over REST"

    def __init__(self, scenario: Scenario, service: Service) -> None:
        self._scenario, self._service = scenario, service
        self._rows: deque[dict[str, float]] = deque(maxlen=HISTORY_ROWS)
        self._clock = pd.Timestamp("2026-06-01T00:00:00Z")
        self.solve_s: list[float] = []
        self.planner_ms: list[float] = []
        self.statuses: dict[str, int] = {}

    def cpu_s(self) -> float:
        """CPU time of the serving process."""
        return self._service.cpu_s()

    def observe(self, row: dict[str, float]) -> None:
        """Remember a row."""
        self._rows.append(row)
        self._clock += pd.Timedelta(seconds=self._scenario.process.plant.sample_period_s)

    def decide(self, setpoints: dict[str, float]) -> dict[str, float]:
        """The answer's `next`."""
        plant, task = self._scenario.process.plant, self._scenario.task
        period = pd.Timedelta(seconds=plant.sample_period_s)
        times = pd.date_range(end=self._clock, periods=len(self._rows), freq=period)
        question = {
            "history": {
                "times": [time.isoformat() for time in times],
                "values": {name: [row[name] for row in self._rows] for name in plant.names},
            },
            "horizon_s": task.horizon * plant.sample_period_s,
            "objective": {
                "setpoints": {name: {"value": value} for name, value in setpoints.items()},
                "move_suppression": {tag.name: task.suppression for tag in plant.mvs},
            },
        }
        begin = time.perf_counter()
        answer = self._service.ask(self._scenario.slug, "optimize", question)
        self.solve_s.append(time.perf_counter() - begin)
        self.planner_ms.append(answer["solve_ms"])
        self.statuses[answer["status"]] = self.statuses.get(answer["status"], 0) + 1
        return answer["next"]


def compare(scenario: Scenario, service: Service) -> dict:
    """Train a twin on the step test, then run every controller from the same start."""
    _, training = scenario.tested()
    service.put_plant(scenario.slug, scenario.process.plant)
    service.upload(scenario.slug, training)
    twin, train_s = service.train(scenario.slug)
    rest = OverRest(scenario, service)
    controllers = (Hold(), TrueModel(scenario.process, scenario.equations, scenario.task), rest)
    scores, traces = [], {}
    for controller in controllers:
        score, traces[controller.name] = run(scenario, controller)
        scores.append(score)
        _print(score, scores)
    CACHE.mkdir(exist_ok=True)
    (CACHE / f"closed_loop_{scenario.slug}.json").write_text(json.dumps(traces))
    return {
        "plant": scenario.slug,
        "training_rows": scenario.training_rows,
        "train_s": round(train_s, 1),
        "twin": twin,
        "statuses": rest.statuses,
        "planner_ms_p50": sorted(rest.planner_ms)[len(rest.planner_ms) // 2],
        "scores": [as_json(score) for score in scores],
    }


def _print(score: Score, scores: list[Score]) -> None:
    oracle = next((s.cost for s in scores if s.controller == TrueModel.name), None)
    ratio = "" if oracle is None else f"{score.cost / oracle:8.3f}"
    print(
        f"{score.controller:20} {score.cost:11.3e} {ratio:>8} {score.offset:8.4f} {score.mv_violations:6d}"
        f" {score.cv_violations:6d} {score.solve_ms_p50:9.1f} {score.solve_ms_p99:9.1f}{score.cpu_ms:9.1f}",
        flush=True,
    )


def main(slugs: list[str]) -> None:
    """Run the scenarios named, or all."""
    path = RESULTS / "closed_loop.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    with running() as service:
        for scenario in SCENARIOS:
            if slugs and scenario.slug not in slugs:
                continue
            print(f"\n{scenario.slug}: {scenario.rows} rows of {scenario.process.plant.sample_period_s:g} s")
            print(
                f"{'controller':20} {'cost':>11} {'of true':>8} {'offset':>8} {'MV viol':>6} {'CV':>6} ms p50     p99"
            )
            results[scenario.slug] = compare(scenario, service)
            RESULTS.mkdir(exist_ok=True)
            path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="do_mpc|casadi")
    main(sys.argv[1:])
