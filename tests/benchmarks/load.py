"""How many questions a second the service answers, and whether it stays as it is under mixed traffic for long.

    python tests/benchmarks/load.py [load|soak] [--seconds 20] [--minutes 15]

The service runs in a process of its own; this one asks, over as many kept-alive connections as the table says, each
waiting for its answer before it asks again. No question is asked twice. `together` asks for eight scenarios in one
request: what a batch of eight concurrent requests could gain at most, as it would still have to wait for them, and
answer each. The soak mixes predict, optimize, uploads of the next rows, reads and quality reports, and looks at the
memory of the serving process. Without a word both are run; `results/load.json` keeps the latest of each, and has every
cell of the load as soon as it is measured, and the soak so far every minute.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from support.service import Service, running

from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

RESULTS = Path(__file__).parent / "results" / "load.json"
SLUG = "tank"
CONNECTIONS = (1, 2, 4, 8, 16)
BOUND_MS = 200.0  # p99 that counts
TOGETHER = 8
LOOK_S = 5.0  # between two looks at the memory
SAVE_S = 60.0
count = itertools.count()


def predict_body(scenarios: int = 1) -> dict[str, Any]:
    values = [2.5 + 1e-6 * next(count) for _ in range(scenarios)]
    tried = [{"name": f"s{i}", "moves": {"pump_1": [{"after_s": 0, "value": v}]}} for i, v in enumerate(values)]
    return {"horizon_s": 300.0, "scenarios": tried}


def optimize_body() -> dict[str, Any]:
    setpoints = {"level_1": {"value": 12.0 + 1e-6 * next(count)}, "level_2": {"value": 11.0}}
    return {"horizon_s": 300.0, "objective": {"setpoints": setpoints}}


def asker(service: Service, verb: str, body: Callable[[], dict[str, Any]]) -> Callable[[httpx.Client], int]:
    """What asks once; the status."""
    return lambda client: client.post(f"/v1/plants/{SLUG}/{verb}", json=body()).status_code


def status_of(ask: Callable[[httpx.Client], int], client: httpx.Client) -> int:
    """The status of what was asked; 599 where none came."""
    try:
        return ask(client)
    except httpx.TransportError:
        return 599


def connect(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {service.key}"}, timeout=120)


def under_load(
    service: Service, ask: Callable[[httpx.Client], int], connections: int, seconds: float
) -> dict[str, float]:
    """Requests a second over so many connections, their latencies, and what was no success."""
    spent: list[float] = []
    wrong: list[int] = []
    until = time.perf_counter() + seconds

    def work() -> None:
        with connect(service) as client:
            while time.perf_counter() < until:
                begin = time.perf_counter()
                status = status_of(ask, client)
                spent.append(1e3 * (time.perf_counter() - begin))
                if status >= 400:
                    wrong.append(status)

    begin, cpu_s = time.perf_counter(), service.cpu_s()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = np.quantile(spent, [0.5, 0.99]).tolist()
    return {
        "per_s": len(spent) / (time.perf_counter() - begin),
        "p50_ms": p50,
        "p99_ms": p99,
        "server_cpu_ms": 1e3 * (service.cpu_s() - cpu_s) / len(spent),
        "wrong": len(wrong),
    }


def soak(
    service: Service, telemetry: Telemetry, minutes: float, save: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Mixed traffic: how much of each was answered, what was no success, the server's memory as it went."""
    path, until = f"/v1/plants/{SLUG}", time.monotonic() + 60 * minutes
    answered: dict[str, int] = {}
    wrong: list[str] = []
    rows = iter(range(len(telemetry) - 1_000))

    def tell(client: httpx.Client) -> int:
        a = 1_000 + next(rows)
        text = telemetry.rows(slice(a, a + 1)).frame().to_csv(date_format="%Y-%m-%dT%H:%M:%S%z")
        return client.post(f"{path}/telemetry", content=text, headers={"Content-Type": "text/csv"}).status_code

    acts: dict[str, tuple[float, Callable[[httpx.Client], int]]] = {  # seconds between two
        "predict": (0.05, asker(service, "predict", predict_body)),
        "optimize": (0.2, asker(service, "optimize", optimize_body)),
        "upload": (1.0, tell),
        "read": (0.5, lambda client: client.get(f"{path}/telemetry", params={"max_points": 500}).status_code),
        "quality": (10.0, lambda client: client.get(f"{path}/telemetry/quality").status_code),
    }

    def work(name: str, pause: float, act: Callable[[httpx.Client], int]) -> None:
        with connect(service) as client:
            while time.monotonic() < until:
                status = status_of(act, client)
                answered[name] = answered.get(name, 0) + 1
                if status >= 400:
                    wrong.append(f"{name}: {status}")
                time.sleep(pause)

    threads = [threading.Thread(target=work, args=(name, *act)) for name, act in acts.items()]
    for thread in threads:
        thread.start()
    began = saved = time.monotonic()
    memory: list[tuple[float, float]] = []
    while any(thread.is_alive() for thread in threads):
        memory.append(((time.monotonic() - began) / 60, service.memory_mib()))
        if time.monotonic() - saved > SAVE_S:
            saved = time.monotonic()
            save(soaked(memory, answered, wrong))
        time.sleep(LOOK_S)
    return soaked(memory, answered, wrong)


def soaked(memory: list[tuple[float, float]], answered: dict[str, int], wrong: list[str]) -> dict[str, Any]:
    """What there is to tell of the soak so far."""
    minutes_in, sizes = np.array(memory).T
    settled = minutes_in >= minutes_in[-1] / 3  # caches and compiled programs fill up in the first third
    growth = 60 * np.polyfit(minutes_in[settled], sizes[settled], 1)[0] if settled.sum() > 1 else np.nan
    return {
        "minutes": float(minutes_in[-1]),
        "answered": dict(answered),
        "wrong": wrong[:20],
        "memory_mib_by_thirds": [float(part.mean()) for part in np.array_split(sizes, 3) if len(part)],
        "memory_mib_least_and_most": [float(sizes.min()), float(sizes.max())],
        "growth_mib_per_hour": float(growth),
    }


def loaded(service: Service, seconds: float, save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The table: by question and connections."""
    cases = {
        "predict": asker(service, "predict", predict_body),
        f"predict, {TOGETHER} together": asker(service, "predict", lambda: predict_body(TOGETHER)),
        "optimize": asker(service, "optimize", optimize_body),
    }
    told: dict[str, Any] = {}
    print(f"{'':22}{'connections':>12}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'server CPU ms':>15}{'wrong':>7}")
    for name, ask in cases.items():
        under_load(service, ask, 2, 3.0)  # warm
        for connections in CONNECTIONS:
            found = under_load(service, ask, connections, seconds)
            told.setdefault(name, {})[str(connections)] = found
            save(told)
            per_s, p50, p99, cpu, wrong = found.values()
            print(f"{name:22}{connections:12}{per_s:9.1f}{p50:9.1f}{p99:9.1f}{cpu:15.1f}{wrong:7}", flush=True)
        best = max((f["per_s"] for f in told[name].values() if f["p99_ms"] < BOUND_MS), default=0.0)
        told[name]["most_per_s_within_bound"] = best
        print(f"{name:22}at p99 < {BOUND_MS:g} ms: {best:.1f} a second", flush=True)
    single, together = (told[n]["most_per_s_within_bound"] for n in list(cases)[:2])
    told["batching_gains_at_most"] = gain = TOGETHER * together / single if single else None
    print(f"scenarios a second, {TOGETHER} in a request against one: {gain if gain is None else f'{gain:.2f}'}")
    return told


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("load", "soak"))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--budget", type=float, default=30.0)
    asked = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    telemetry = Simulator(QuadrupleTank(), 1).excite(5_000)
    with running() as service:
        service.put_plant(SLUG, telemetry.plant)
        service.upload(SLUG, telemetry.rows(slice(0, 1_000)))
        service.train(SLUG, budget_s=asked.budget)
        about = {"at": datetime.now(UTC).isoformat(timespec="minutes"), "cores": os.cpu_count()}
        about["load_before"] = os.getloadavg()[0]

        def save(what: str, found: dict[str, Any]) -> None:
            results[what] = about | found
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")

        if asked.what != "soak":
            seconds = {"seconds": asked.seconds}
            save("load", seconds | loaded(service, asked.seconds, lambda found: save("load", seconds | found)))
        if asked.what != "load":
            save("soak", soak(service, telemetry, asked.minutes, lambda found: save("soak", found)))
            print(json.dumps(results["soak"], indent=1))


if __name__ == "__main__":
    main()
