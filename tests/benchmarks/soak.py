"""MV limits over a million random problems: not one may be broken, by a checker that shares no code with the planner.

    python tests/benchmarks/soak.py [--moves 1000000] [--plans 100000] [--minutes 10]

`moves` goes through `twin.moves.strict` with random limits, rates, largest moves, periods and requests, among them
NaN, infinities and present values outside. `plans` goes through the whole of `plan()`: a plant with a residual is
drawn for every 20 of them, a history, limits, an objective and options for each. All have one shape, so nothing is
compiled anew. Resumes where it stopped: `results/soak.json` holds the counts, which are the next seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from planner import HISTORY, random_twin

from twin.artifact import Twin
from twin.errors import QuestionError
from twin.limits import Limit
from twin.moves import Envelope, strict
from twin.objective import Objective, Setpoint, Steady, Zone
from twin.optimize import plan
from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry

RESULTS = Path(__file__).parent / "results" / "soak.json"
BATCH = 10_000
MVS, CVS, ROWS = 2, 3, 60  # of every plan
EACH = 20  # plans of one plant


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


def plant(seed: int) -> Twin:
    """A twin of a plant drawn at random: gains, poles (some integrate or grow), residual, units, period, limits.

    Only arrays differ from seed to seed, so every plan runs the same compiled programs.
    """
    rng = np.random.default_rng((seed, 1))
    twin = random_twin(MVS, CVS, 8 + 3 * CVS, residual=True, seed=seed)
    poles = rng.choice([1.0, 1.0, 1.02, 0.3], size=np.asarray(twin.dynamics.backbones.A).shape[0])
    A = np.array(twin.dynamics.backbones.A)
    A[:, 0, 0] *= poles
    reach = np.float32(10 ** rng.uniform(-1, 2))  # from twins that have seen nearly nothing to those that know it all
    region = replace(twin.region, whiten=twin.region.whiten * reach)
    dynamics = replace(twin.dynamics, backbones=replace(twin.dynamics.backbones, A=A), region=region)
    y, w = (10 ** rng.uniform(-3, 4, n) for n in (CVS, MVS))
    scaler = Scaler(rng.normal(size=CVS) * 10 * y, y, rng.normal(size=MVS) * 10 * w, w)
    low, high = scaler.w_mean - rng.uniform(1, 4, MVS) * w, scaler.w_mean + rng.uniform(1, 4, MVS) * w
    period_s = float(10 ** rng.uniform(-1, 3.5))
    rates = [None if rng.random() < 0.2 else float(r) for r in w / period_s * 10 ** rng.uniform(-4, 1, MVS)]
    tags = [Tag(f"u{i}", Role.MV, "1", float(low[i]), float(high[i]), rate_limit_per_s=rates[i]) for i in range(MVS)]
    for j, (mean, scale) in enumerate(zip(scaler.y_mean.tolist(), y.tolist(), strict=True)):
        limits = (mean - 3 * scale, mean + 3 * scale) if rng.random() < 0.5 else (None, None)
        tags.append(Tag(f"y{j}", Role.CV, "1", mean - 5 * scale, mean + 5 * scale, *limits))
    seen = replace(twin.seen, low=scaler.w_mean - 3 * w, high=scaler.w_mean + 3 * w)
    return replace(twin, plant=Plant("drawn", period_s, tuple(tags)), dynamics=dynamics, scaler=scaler, seen=seen)


def rows(twin: Twin, rng: np.random.Generator) -> Telemetry:
    """Noise about rest; the present is at times outside of MVs' limits, and some values are missing."""
    count = HISTORY + 30
    w = twin.scaler.w_out(0.3 * rng.normal(size=(count, MVS)) + rng.normal(size=MVS))
    if rng.random() < 0.8:
        w = np.clip(w, [t.low for t in twin.plant.mvs], [t.high for t in twin.plant.mvs])
    values = np.hstack([w, twin.scaler.y_out(0.3 * rng.normal(size=(count, CVS)) + rng.normal(size=CVS))])
    if rng.random() < 0.2:
        values[rng.random(values.shape) < 0.02] = np.nan
    step = np.timedelta64(round(twin.plant.sample_period_s * 1e9), "ns")
    return Telemetry(
        twin.plant, np.datetime64("2026-01-01", "ns") + np.arange(count) * step, values, np.zeros(count, np.int64)
    )


def limits(twin: Twin, rng: np.random.Generator) -> dict[str, Limit]:
    """What tightens the plant's: MV bounds that may cross, rates, largest moves; ranks, hard and ramped CV limits."""
    asked = {}
    for tag in twin.plant.mvs:
        low, high = np.sort(rng.uniform(tag.low, tag.high, 2))
        if rng.random() < 0.05:
            low, high = high, low
        width = tag.high - tag.low
        rate = width / twin.plant.sample_period_s * 10 ** rng.uniform(-4, 0)
        asked[tag.name] = Limit(
            float(low) if rng.random() < 0.5 else None,
            float(high) if rng.random() < 0.5 else None,
            float(min(rate, tag.rate_limit_per_s or math.inf)) if rng.random() < 0.5 else None,
            max_move=float(width * 10 ** rng.uniform(-5, 0)) if rng.random() < 0.5 else None,
        )
    for tag, mean, scale in zip(twin.plant.cvs, twin.scaler.y_mean, twin.scaler.y_scale, strict=True):
        if rng.random() < 0.5:
            edge = float(mean + scale * rng.uniform(-1, 3))
            ramp = float(rng.uniform(1, 100)) * twin.plant.sample_period_s if rng.random() < 0.2 else None
            asked[tag.name] = Limit(high=edge, rank=int(rng.integers(1, 4)), hard=bool(rng.random() < 0.2), ramp_s=ramp)
    return asked


def objective(twin: Twin, rng: np.random.Generator) -> Objective:
    """Setpoints, some as trajectories, prices, zones and resting values, with weights from tiny to enormous."""
    y = lambda j: float(twin.scaler.y_mean[j] + twin.scaler.y_scale[j] * rng.normal())  # noqa: E731
    setpoints, zones, prices, steady = {}, {}, {}, {}
    for j in range(CVS):
        weight = float(10 ** rng.uniform(-3, 12 if rng.random() < 0.1 else 2))
        kind = rng.integers(5)
        if kind < 2:
            setpoints[f"y{j}"] = Setpoint(y(j), weight=weight)
        elif kind == 2:
            setpoints[f"y{j}"] = Setpoint(trajectory=[y(j) for _ in range(ROWS)], weight=weight)
        elif kind == 3:
            zones[f"y{j}"] = Zone(y(j), None, weight=weight)
    for i, tag in enumerate(twin.plant.mvs):
        if rng.random() < 0.3:
            prices[tag.name] = float(rng.normal() * 10 ** rng.uniform(-3, 9))
        if rng.random() < 0.2:
            steady[tag.name] = Steady(float(twin.scaler.w_mean[i]), weight=float(10 ** rng.uniform(-3, 1)))
    suppression = {"u0": float(10 ** rng.uniform(-6, 3))} if rng.random() < 0.5 else {}
    return Objective(setpoints, prices, suppression, zones, steady, float(rng.random() < 0.2))


def whole(seed: int, twin: Twin) -> tuple[int, str]:
    """Broken rows of one whole plan, and its status; a question that is refused has none."""
    rng = np.random.default_rng((seed, 2))
    history, asked, wanted = rows(twin, rng), limits(twin, rng), objective(twin, rng)
    period_s, kind = twin.plant.sample_period_s, rng.random()
    held = {"hold_mvs": ["u0"]} if kind < 0.1 else {"manual_mvs": {"u0": None}} if kind < 0.2 else {}
    try:
        answer = plan(
            twin, history, wanted, asked, horizon_s=float(rng.integers(41, ROWS + 1)) * period_s,
            beyond_trained_range=bool(rng.random() < 0.3),
            solver=str(rng.choice(["cem", "mppi", "gradient"])) if rng.random() < 0.02 else "sqp",
            control_horizon_s=float(rng.integers(1, ROWS)) * period_s if rng.random() < 0.2 else None,
            deadline_ms=float(rng.uniform(1, 20)) if rng.random() < 0.1 else None, **held,
        )  # fmt: skip
    except QuestionError:
        return 0, "refused"
    broken, told = 0, json.loads(json.dumps(answer.to_json()))
    for tag in twin.plant.mvs:
        present, limit = float(history.values[-1, twin.plant.column(tag.name)]), asked[tag.name]
        if not math.isfinite(present):
            broken += told["next"] is not None or any(value is not None for value in told["moves"][tag.name])
            continue
        low, high = sorted(
            (tag.low if limit.low is None else limit.low, tag.high if limit.high is None else limit.high)
        )
        rate = min(r for r in (tag.rate_limit_per_s, limit.rate_per_s, math.inf) if r is not None)
        most = math.inf if limit.max_move is None else limit.max_move
        moves = np.array(told["moves"][tag.name], np.float64)
        broken += breaks(moves, present, low, high, rate, period_s, most)
        broken += told["next"] is not None and told["next"][tag.name] != moves[0]
    return broken, answer.status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=1_000_000)
    parser.add_argument("--plans", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    until = time.monotonic() + 60 * asked.minutes
    state = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    state = {"moves": 0, "moves_broken": 0, "plans": 0, "plans_broken": 0, "plans_cpu_s": 0.0, "statuses": {}} | state
    while time.monotonic() < until and (state["moves"] < asked.moves or state["plans"] < asked.plans):
        if state["moves"] < asked.moves:
            state["moves_broken"] += moves(state["moves"])
            state["moves"] += BATCH
        if state["plans"] < asked.plans:
            begun, twin = time.process_time(), plant(state["plans"] // EACH)
            for _ in range(EACH):
                broken, status = whole(state["plans"], twin)
                if broken:
                    print(f"plan {state['plans']} breaks a limit in {broken} rows ({status})", flush=True)
                state["plans_broken"] += int(broken)
                state["plans"] += 1
                state["statuses"][status] = state["statuses"].get(status, 0) + 1
            state["plans_cpu_s"] = round(state["plans_cpu_s"] + time.process_time() - begun, 1)
        RESULTS.write_text(json.dumps(state, indent=1) + "\n")
    print(
        f"{state['moves']} moves, {state['moves_broken']} break a limit; {state['plans']} plans,"
        f" {state['plans_broken']} moves of them do; {state['statuses']}; {state['plans_cpu_s']} s of CPU"
    )


if __name__ == "__main__":
    main()
