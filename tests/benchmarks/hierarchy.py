"""What do two time scales bring? Cost and CPU time against flat plans, at horizons of 1, 10 and 100 settling times.

    python tests/benchmarks/hierarchy.py [plant …] [--rows n]

Two plants (`twin/plants`): a house with a heat pump under a tariff of the day, and two reactors with a separator and a
large recycle, whose grade changes on a schedule that is known ahead. Each twin learns from 6,000 rows, with a slow one
by defaults. Then

1. forecasts: from moments of other telemetry, under the inputs that came, the averages over slow periods of the fast
   twin, run on far beyond its horizon, and of the slow one, against what was measured, in deviations; CPU beside;
2. loops: the plant runs under noise and wander, planned anew every hour (house) or ten minutes (reactors), in between
   the moves of the plan. `flat` is the fast twin over its own horizon, `flat long` over the whole horizon as far as it
   may look (20 of its horizons), `two scales` the hierarchy, `practice` the thermostat or PI loops at the setpoints.

Cost is what truly happened: money paid (less the worth of the heat that is stored more than at the beginning, at the
mean price) plus the price of discomfort, or squared setpoint errors over the span and what heat and recycle cost. CPU
is that of one decision, after the first two, which compile. Results are kept as they are made; a rerun goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from twin import artifact, optimize, predict
from twin.artifact import Twin
from twin.hierarchy.planning import LayeredPlan
from twin.hierarchy.planning import plan as plan_at_two_scales
from twin.hierarchy.stride import averaged, means
from twin.hierarchy.training import fit
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.plants.base import Process
from twin.plants.heat_pump import HeatPump, Thermostat, ordinary, tariff
from twin.plants.practice import Loop, Loops, Practice
from twin.plants.reactor_separator import ReactorSeparator
from twin.plants.simulator import Simulator
from twin.sandbox.processes import truth
from twin.telemetry import Telemetry
from twin.timeline import MAX_HORIZON
from twin.train import Options

HERE = Path(__file__).parent
RESULTS, CACHE = HERE / "results" / "hierarchy.json", HERE / "cache" / "hierarchy"
ROWS, SEED, UNSEEN = 6000, 20, 31
BUDGET_S = 60.0  # of CPU time
TIMES = (1, 10, 100)  # settling times
MOMENTS = 12
DISCOMFORT = 0.2  # money for an hour a kelvin below 20 or above 23 degC


@dataclass(frozen=True)
class Case:
    """A plant, how it is run, and what is wanted.

    Attributes:
        telemetry: rows of it, by number and seed.
        practice, setpoints: the usual practice, and its setpoints by row.
        every: rows between two plans.
        rows: of the loop.
        objective: over so many rows from a row of the loop on.
        score: of true CVs (rows, CVs) and MVs (rows, MVs): by part, and their sum as `cost`.
    """

    process: Process
    telemetry: Callable[[int, int], Telemetry]
    practice: Callable[[], Practice]
    setpoints: Callable[[int], dict[str, float]]
    every: int
    rows: int
    objective: Callable[[int, int], Objective]
    limits: dict[str, Limit]
    score: Callable[[np.ndarray, np.ndarray], dict[str, float]]


def _house(row: int, rows: int) -> Objective:
    hours = (row + 1 + np.arange(rows)) / 12.0
    return Objective(prices={"power": tariff(hours).tolist()}, move_suppression={"power": 1e-4})


def _lived(cvs: np.ndarray, mvs: np.ndarray) -> dict[str, float]:
    house, prices = HeatPump(), tariff((1 + np.arange(len(mvs))) / 12.0)
    stored = (cvs[-1] - cvs[0]) @ np.array([house.room, house.floor, house.water]) / 3600 / house.performance
    paid = float((prices * mvs[:, 0]).sum() / 12)
    beyond = float((np.maximum(20 - cvs[:, 0], 0) + np.maximum(cvs[:, 0] - 23, 0)).sum() / 12)
    kept = float(stored * tariff(np.arange(0, 24, 0.25)).mean())
    return {"cost": paid - kept + DISCOMFORT * beyond, "paid": paid, "stored": kept, "kelvin_hours": beyond}


GRADES = ((0, 25.0), (240, 14.0), (600, 32.0), (840, 20.0))  # row and A in the product, wt%
HEAT, RECYCLED = 1e-3, 1e-3  # per kelvin over 350 and per m3/h of recycle, an hour


def _grade(row: int) -> float:
    return next(value for first, value in reversed(GRADES) if row >= first)


def _chemistry(row: int, rows: int) -> Objective:
    path = [_grade(row + 1 + k) for k in range(rows)]
    # A setpoint's error is averaged over the horizon and prices are integrated: so an hour is worth the same in all.
    weight = 20.0 * rows / 30.0
    prices = {"hot_1": HEAT, "hot_2": HEAT, "recycle": RECYCLED}
    return Objective({"a_in_product": Setpoint(trajectory=path, weight=weight)}, prices)


def _made(cvs: np.ndarray, mvs: np.ndarray) -> dict[str, float]:
    off = (cvs[:, 2] - [_grade(k + 1) for k in range(len(cvs))]) / 60.0
    missed = float(20.0 * (off**2).sum() / 30)
    spent = float((HEAT * (mvs[:, :2].sum(axis=1) - 700) + RECYCLED * mvs[:, 2]).sum() / 30)
    hot = int((cvs[:, :2] > 405).any(axis=1).sum())
    return {"cost": missed + spent, "missed": missed, "spent": spent, "rows_too_hot": hot}


LOOPS = (Loop("hot_1", "a_in_product", -0.5, 7200.0), Loop("hot_2", "a_in_product", -0.5, 7200.0))

CASES = {
    "heat-pump": Case(
        HeatPump(), ordinary, Thermostat, lambda row: {"room": 20.7}, 12, 12 * 24 * 4, _house, {}, _lived
    ),
    "reactor-separator": Case(
        ReactorSeparator(),
        lambda rows, seed: Simulator(ReactorSeparator(), seed).excite(rows),
        lambda: Loops(LOOPS, ReactorSeparator.plant.sample_period_s),
        lambda row: {"a_in_product": _grade(row)},
        5,
        1080,
        _chemistry,
        {},
        _made,
    ),
}


def learned(name: str) -> Twin:
    """The twin with its slow one, trained once."""
    folder = CACHE / name
    if not folder.exists():
        rows = CASES[name].telemetry(ROWS, SEED)
        artifact.save(fit(rows, Options(budget_s=BUDGET_S), clock=time.process_time), folder)
    return artifact.load(folder)


def forecasts(name: str) -> dict[str, Any]:
    """Root mean square error of averages, in deviations of the training, by horizon; CPU of one forecast, ms."""
    twin = learned(name)
    slow = twin.slow
    assert slow is not None
    unseen = CASES[name].telemetry(ROWS, UNSEEN)
    settling = twin.card["slow"]["settling_s"] / twin.plant.sample_period_s
    found: dict[str, Any] = {"settling_s": twin.card["slow"]["settling_s"], "stride": twin.stride}
    for times in TIMES:
        slow_rows = max(round(times * settling / twin.stride), 1)
        rows, before = slow_rows * twin.stride, twin.stride * (slow.min_history_rows + 10)
        if before + rows > len(unseen) or slow_rows > MAX_HORIZON * slow.horizon:
            continue
        errors: dict[str, list[np.ndarray]] = {"fast": [], "slow": [], "hold": []}
        cpu: dict[str, list[float]] = {"fast": [], "slow": []}
        for at in np.linspace(before, len(unseen) - rows, MOMENTS).astype(int):
            history, ahead = unseen.rows(slice(0, at)), unseen.rows(slice(at, at + rows))
            true = averaged(ahead, twin.stride).y
            past = averaged(history, twin.stride)
            errors["hold"].append(past.y[-1] - true)
            for who in ("fast", "slow"):
                if who == "fast" and rows > MAX_HORIZON * twin.horizon:
                    continue
                begun = time.process_time()
                if who == "fast":
                    answer = predict.under(twin, history, ahead.w[None], [], [], 0.9)
                else:
                    answer = predict.under(slow, past, means(ahead.w, twin.stride)[None], [], [], 0.9)
                cpu[who].append(1e3 * (time.process_time() - begun))
                y = np.stack([answer.baseline[tag.name].mean for tag in twin.plant.cvs], axis=1)
                errors[who].append((means(y, twin.stride) if who == "fast" else y) - true)
        scale = twin.scaler.y_scale
        found[str(times)] = {
            "rows": rows,
            **{who: float(np.sqrt(np.mean((np.array(e) / scale) ** 2))) for who, e in errors.items() if e},
            **{f"{who}_cpu_ms": float(np.median(spent[2:])) for who, spent in cpu.items() if spent},
        }
        print(f"{name}, forecast of {times} settling times: {found[str(times)]}", flush=True)
    return found


def loop(name: str, how: str, times: int, rows: int | None) -> dict[str, Any]:
    """One way to run a plant: the score of what truly happened, and CPU of a decision."""
    case, twin = CASES[name], learned(name)
    process = case.process
    assert twin.slow is not None
    horizon_s = min(times * twin.card["slow"]["settling_s"], MAX_HORIZON * twin.slow.horizon_s)
    simulator = Simulator(process, UNSEEN)
    history = simulator.run(np.tile(process.moves, (twin.stride * 64, 1)))
    practice = case.practice()
    total = rows or case.rows
    row = dict(zip(twin.plant.names, history.values[-1].tolist(), strict=True))
    cvs, mvs, cpu, told = [], [], [], []
    planned: dict[str, np.ndarray] = {}
    for k in range(total):
        if how == "practice":
            wanted = practice.decide(row, case.setpoints(k))
        else:
            if k % case.every == 0:
                begun = time.process_time()
                planned, said = _decided(twin, history, case, how, horizon_s, k)
                cpu.append(1e3 * (time.process_time() - begun))
                told.append(said)
            wanted = {tag: float(values[min(k % case.every, len(values) - 1)]) for tag, values in planned.items()}
        row = simulator.advance(wanted)
        history = _with(history, row, simulator)
        cvs.append(truth(process, simulator.state))
        mvs.append(simulator.moves.copy())
    out: dict[str, Any] = {**case.score(np.array(cvs), np.array(mvs)), "rows": total}
    if cpu:
        out |= {"cpu_ms_p50": float(np.median(cpu[2:])), "cpu_ms_p90": float(np.quantile(cpu[2:], 0.9))}
        out["told"] = {word: told.count(word) for word in sorted(set(told))}
    return out


def _decided(
    twin: Twin, history: Telemetry, case: Case, how: str, horizon_s: float, k: int
) -> tuple[dict[str, np.ndarray], str]:
    period_s = twin.plant.sample_period_s
    longest = {"flat": twin.horizon_s, "flat long": MAX_HORIZON * twin.horizon_s}.get(how, math.inf)
    ahead_s = min(horizon_s, longest)
    objective = case.objective(k, round(ahead_s / period_s))
    if how == "two scales":
        made = plan_at_two_scales(
            twin, history, objective, case.limits, horizon_s=ahead_s, hierarchy=True, now=history.at
        )
        assert isinstance(made, LayeredPlan)
        chosen, said = made.plan, made.used
    else:
        chosen = optimize.plan(twin, history, objective, case.limits, horizon_s=ahead_s, now=history.at)
        said = chosen.status
    return {tag: values for tag, values in chosen.moves.items() if values is not None}, said


def _with(history: Telemetry, row: dict[str, float], simulator: Simulator) -> Telemetry:
    values = np.vstack([history.values[1:], [row[name] for name in history.plant.names]])
    last = np.datetime64(simulator.time.tz_localize(None), "ns")
    return Telemetry(history.plant, np.append(history.times[1:], last), values, history.run)


def main() -> None:
    """Print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plants", nargs="*")
    parser.add_argument("--rows", type=int, help="of a loop, for a quick look; nothing is kept")
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def keep() -> None:
        if asked.rows is None:
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")

    for name in asked.plants or CASES:
        kept = results.setdefault(name, {})
        if "forecasts" not in kept:
            kept["forecasts"] = forecasts(name)
            keep()
        ways = [("practice", 1), ("flat", 1), *(("two scales", t) for t in TIMES), ("flat long", 1), ("flat long", 10)]
        for how, times in ways:
            key = how if how in ("practice", "flat") else f"{how}, {times}"
            if key not in kept.setdefault("loops", {}):
                kept["loops"][key] = loop(name, how, times, asked.rows)
                keep()
            print(f"{name}, {key}: {kept['loops'][key]}", flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    jax.config.update("jax_compilation_cache_dir", str(CACHE / "compiled"))
    main()
