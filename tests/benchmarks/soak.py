"""MV limits over a million random problems: not one may be broken, by a checker that shares no code with the planner.

    python tests/benchmarks/soak.py [--moves 1000000] [--plans 200] [--minutes 10]

`moves` goes through `twin.moves.strict` with random limits, rates, largest moves, periods and requests, among them
NaN, infinities and present values outside; `plans` through the whole of `plan()` on random twins and questions.
Resumes where it stopped: `results/soak.json` holds the count and the next seed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
from planner import histories, random_twin

from twin.limits import Limit
from twin.moves import Envelope, strict
from twin.objective import Objective, Setpoint, Zone
from twin.optimize import plan

RESULTS = Path(__file__).parent / "results" / "soak.json"
BATCH = 10_000
SHAPES = ((2, 2), (3, 4))


def breaks(
    values: np.ndarray, present: float, low: float, high: float, rate: float, period_s: float, most: float
) -> int:
    """Rows that break a bound, the rate or the largest move, in float64 without tolerance.

    A row outside of the bounds is allowed only while it comes back from outside as fast as it may.
    """
    count, previous = 0, present
    for value in values.tolist():
        change = abs(value - previous)
        fast = change > rate * period_s or change / period_s > rate or change > most
        outside = not low <= value <= high
        returning = not low <= previous <= high and change >= min(rate * period_s, most) * (1 - 1e-9) - 4 * np.spacing(
            abs(previous)
        )
        count += fast or (outside and not returning)
        previous = value
    return count


def moves(seed: int) -> int:
    """Broken rows of a batch of random requests to `strict`."""
    rng = np.random.default_rng(seed)
    broken = 0
    for _ in range(BATCH // 10):
        size = 10 ** rng.uniform(-6, 6)
        low, high = np.sort(rng.normal(size=2)) * size
        rate = math.inf if rng.random() < 0.1 else size * 10 ** rng.uniform(-6, 1)
        most = size * 10 ** rng.uniform(-4, 1) if rng.random() < 0.3 else math.inf
        period = 10 ** rng.uniform(-2, 4)
        present = rng.uniform(low, high) if rng.random() < 0.8 else rng.normal() * 3 * size
        asked = rng.normal(size=10) * 2 * size
        asked[rng.random(10) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
        kept = strict(asked.tolist(), float(present), Envelope(float(low), float(high), rate, period, most))
        broken += breaks(kept, float(present), float(low), float(high), rate, period, most)
    return broken


def whole(seed: int) -> tuple[int, str]:
    """Broken rows of one whole plan, and its status."""
    rng = np.random.default_rng(seed)
    mvs, cvs = SHAPES[seed % len(SHAPES)]
    twin = random_twin(mvs, cvs, 8 + 3 * cvs, residual=False, seed=seed // 50)
    history = histories(twin, 1, seed)[0]
    limits, envelopes = {}, []
    for i in range(mvs):
        low, high = np.sort(rng.uniform(-3, 3, 2))
        rate, most = rng.uniform(0.001, 0.3), rng.uniform(0.001, 1.0)
        limits[f"u{i}"] = Limit(float(low), float(high), float(rate), max_move=float(most))
        envelopes.append((float(low), float(high), float(rate), 1.0, float(most)))
    for j in range(cvs):
        if rng.random() < 0.5:
            limits[f"y{j}"] = Limit(high=float(rng.uniform(-1, 3)), rank=int(rng.integers(1, 4)))
    setpoints = {f"y{j}": Setpoint(float(rng.normal()), weight=10 ** rng.uniform(-3, 12)) for j in range(cvs)}
    zones = {"y0": Zone(float(rng.normal()), None)} if rng.random() < 0.5 else {}
    prices = {"u0": float(rng.normal()) * 10 ** rng.uniform(-3, 9)} if rng.random() < 0.5 else {}
    answer = plan(
        twin, history, Objective(setpoints, prices, zones=zones), limits, horizon_s=float(rng.integers(1, 60)),
        beyond_trained_range=bool(rng.random() < 0.3), hold_mvs=["u0"] * int(rng.random() < 0.1),
        deadline_ms=None if rng.random() < 0.8 else float(rng.uniform(1, 20)),
    )  # fmt: skip
    present = history.values[-1]
    broken = sum(
        breaks(answer.moves[f"u{i}"], float(present[twin.plant.column(f"u{i}")]), *envelopes[i]) for i in range(mvs)
    )
    return broken, answer.status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=1_000_000)
    parser.add_argument("--plans", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    until = time.monotonic() + 60 * asked.minutes
    state = {"moves": 0, "moves_broken": 0, "plans": 0, "plans_broken": 0, "statuses": {}}
    if RESULTS.exists():
        state = json.loads(RESULTS.read_text())
    while time.monotonic() < until and (state["moves"] < asked.moves or state["plans"] < asked.plans):
        if state["moves"] < asked.moves:
            state["moves_broken"] += moves(state["moves"])
            state["moves"] += BATCH
        if state["plans"] < asked.plans:
            for _ in range(10):
                broken, status = whole(state["plans"])
                state["plans_broken"] += broken
                state["plans"] += 1
                state["statuses"][status] = state["statuses"].get(status, 0) + 1
        RESULTS.write_text(json.dumps(state, indent=1) + "\n")
    print(
        f"{state['moves']} moves, {state['moves_broken']} break a limit; {state['plans']} plans,"
        f" {state['plans_broken']} moves of them do; {state['statuses']}"
    )


if __name__ == "__main__":
    main()
