"""Round trips of predict (60 rows) and optimize (2 MVs, 60 rows) on loopback, after warm-up.

    python tests/benchmarks/latency.py [--requests 300]

Starts the service, trains a short twin of the quadruple tank (latency does not depend on how well it is trained),
and asks one question after another on one kept-alive connection, from the stored history and from one in the
request. Prints p50 and p99 and writes `results/latency.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from support.service import Service, history, running

from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator

RESULTS = Path(__file__).parent / "results"
SLUG = "tank"
HORIZON_S = 300.0
WARM_UP = 20


def round_trips(ask: Callable[[float], object], requests: int, service: Service) -> dict[str, float]:
    """Milliseconds of each round trip: p50, p99, the largest; mean CPU time of the server. No question is repeated."""
    for k in range(WARM_UP):
        ask(12.0 + 1e-3 * k)
    spent, cpu_s = [], service.cpu_s()
    for k in range(requests):
        begin = time.perf_counter()
        ask(13.0 + 1e-3 * k)
        spent.append(1e3 * (time.perf_counter() - begin))
    p50, p99 = np.quantile(spent, [0.5, 0.99]).tolist()
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": max(spent),
        "server_cpu_ms": 1e3 * (service.cpu_s() - cpu_s) / requests,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    requests = parser.parse_args().requests
    simulator = Simulator(QuadrupleTank(), 1)
    telemetry = simulator.excite(2000)
    recent = history(telemetry.last_run(150))
    with running() as service:
        service.put_plant(SLUG, telemetry.plant)
        service.upload(SLUG, telemetry)
        _, train_s = service.train(SLUG, budget_s=30.0)

        def predict(value: float, **given: object) -> object:
            moves = {"pump_1": [{"after_s": 0.0, "value": value / 5}]}
            return service.ask(SLUG, "predict", {"horizon_s": HORIZON_S, "moves": moves, **given})

        def optimize(value: float, **given: object) -> object:
            objective = {"setpoints": {"level_1": {"value": value}, "level_2": {"value": 11.0}}}
            return service.ask(SLUG, "optimize", {"horizon_s": HORIZON_S, "objective": objective, **given})

        cases = {
            "predict, stored history": predict,
            "predict, history in the request": lambda value: predict(value, history=recent),
            "optimize, stored history": optimize,
            "optimize, history in the request": lambda value: optimize(value, history=recent),
        }
        results = {name: round_trips(ask, requests, service) for name, ask in cases.items()}
    print(f"{'':36}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'server CPU ms':>15}")
    for name, (p50, p99, most, cpu) in ((name, figures.values()) for name, figures in results.items()):
        print(f"{name:36}{p50:9.1f}{p99:9.1f}{most:9.1f}{cpu:15.1f}")
    RESULTS.mkdir(exist_ok=True)
    document = {"requests": requests, "cores": os.cpu_count(), "train_s": round(train_s, 1), "round_trips": results}
    (RESULTS / "latency.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
