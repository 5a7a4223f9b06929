"""A day of plant time in closed loop over OPC UA: the controller beside do-mpc with the plant's true equations.

    python tests/benchmarks/control_day.py [plant …] [--hours 24] [--only controller|truth] [--again]

Each simulated plant is served over OPC UA; the controller reads, plans by REST and writes as `twin control` does, in
step with the plant, as fast as the machine. Setpoints change every hour to every six, an unmeasured disturbance half
as often again (`support/days.py`). Prints a table and writes `results/control_day.json`. Costs are those of
`closed_loop.py`: mean over rows of squared setpoint errors of the true CVs over their spans, plus 0.01 times squared
moves over theirs. Both sides begin with the same rows at rest and the same 20 rows of control, which do not count. A
side that is finished is not run again (`cache/`), and do-mpc's goes on by hours; the two may run side by side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from support.days import DAYS, Day
from support.oracle import TrueModel
from support.rig import Killable, Rig, rig

from api.control.modes import Mode

RESULTS = Path(__file__).parent / "results"
CACHE = Path(__file__).parent / "cache"
BUDGET_S = 40.0  # of training
HOURS = 24.0
LEAD = 20  # rows of control before the day
Side = tuple[np.ndarray, np.ndarray, dict[str, Any]]


def keep(name: str, states: list[np.ndarray], moves: list[np.ndarray], told: dict[str, Any]) -> None:
    """Write down what a plant did under one side so far."""
    CACHE.mkdir(exist_ok=True)
    np.savez(CACHE / f"control_day_{name}.npz", states=np.array(states), moves=np.array(moves), told=json.dumps(told))


def kept(name: str) -> Side | None:
    """What was written down: (rows, states), (rows + 1, MVs), and what else was told."""
    path = CACHE / f"control_day_{name}.npz"
    if not path.exists():
        return None
    with np.load(path) as found:
        return found["states"], found["moves"], json.loads(str(found["told"]))


def finished(name: str, rows: int) -> bool:
    """Whether so many rows of a side are there."""
    found = kept(name)
    return found is not None and len(found[0]) >= rows


def truth(slug: str, day: Day, rows: int) -> None:
    """do-mpc with the true equations on the same noise and wander."""
    scenario, hourly = day.scenario, round(3600 / day.period_s)
    simulator, _, resting = scenario.start()
    controller = TrueModel(scenario.process, scenario.equations, scenario.task)
    for values in resting.values:
        controller.observe(dict(zip(resting.plant.names, values.tolist(), strict=True)))
    wanted, states, moves = day.wanted(rows), [], []
    known = kept(f"{slug}_truth")
    done, spent_s = (len(known[0]), known[2]["cpu_s"]) if known else (0, 0.0)
    controller.observe(simulator.advance({}))  # the row that is served first
    for k in range(-LEAD, rows):
        if k == 0:
            moves.append(simulator.moves.copy())
        simulator.disturb(**day.offset(max(k, 0)))
        begun = time.process_time()
        if 0 <= k < done:  # what was decided before
            decided = dict(zip([tag.name for tag in simulator.plant.mvs], known[1][k + 1].tolist(), strict=True))
        else:
            decided = (
                controller.decide(dict(zip(day.cvs, wanted[max(k, 0)].tolist(), strict=True))) if k > -LEAD else {}
            )
        controller.observe(simulator.advance(decided))
        if k < 0:
            continue
        spent_s += time.process_time() - begun if k >= done else 0.0
        states.append(simulator.state.copy())
        moves.append(simulator.moves.copy())
        if k >= done and ((k + 1) % hourly == 0 or k + 1 == rows):
            keep(f"{slug}_truth", states, moves, {"cpu_s": spent_s, "cpu_ms": 1e3 * spent_s / (k + 1)})


async def ours(folder: Path, killable: Killable, slug: str, day: Day, rows: int) -> None:
    """The controller over OPC UA."""
    simulator, _, resting = day.scenario.start()
    wanted, hourly = day.wanted(rows), round(3600 / day.period_s)
    control = day.control(wanted[0])
    async with rig(folder, slug, killable.url, killable.key, simulator, resting, control) as r:
        closings = 0
        for k in range(-LEAD, rows):
            if k == 0:
                if r.controller.mode is not Mode.CLOSED:
                    raise RuntimeError(f"not closed: {r.records[-1]['fault']}")
                for held in (r.states, r.records, r.writes, r.moves):
                    held.clear()
                r.moves.append(simulator.moves.copy())
                begun, closings = time.process_time(), 0
            simulator.disturb(**day.offset(max(k, 0)))
            if k > 0 and (wanted[k] != wanted[k - 1]).any():
                r.controller.set_setpoints(dict(zip(day.cvs, wanted[k].tolist(), strict=True)), "day")
            record = await r.cycle()
            if r.controller.mode is not Mode.CLOSED and r.controller.state()["ready"] and not record["held"]:
                await r.controller.request(Mode.CLOSED, "the benchmark", "", scope=True, confirmed=True)
                closings += 1
            if k >= 0 and ((k + 1) % hourly == 0 or k + 1 == rows):
                told = _told(r, 1e3 * (time.process_time() - begun) / (k + 1)) | {"closed_again": closings}
                keep(f"{slug}_controller", r.states, r.moves, told)
                print(f"row {k + 1}: {day.score(np.array(r.states), np.array(r.moves), wanted[: k + 1])}", flush=True)


def _told(r: Rig, cpu_ms: float) -> dict[str, Any]:
    """What the controller did so far."""
    walls = sorted(record["wall_s"] for record in r.records)
    idle = [record for record in r.records if not record["written"]]
    late_s = 0.5 * r.served.simulator.plant.sample_period_s
    return {
        "mv_violations": r.violations(),
        "cycles": len(r.records),
        "cycles_not_written": len(idle),
        "not_written_why": dict(Counter((i["fault"] or {"code": f"mode {i['mode']}"})["code"] for i in idle)),
        "faults": dict(Counter(record["fault"]["code"] for record in r.records if record["fault"])),
        "statuses": dict(Counter(str(record["status"]) for record in r.records)),
        "cycles_open": sum(record["mode"] != "closed" for record in r.records),
        "would_be_late": sum(wall > late_s for wall in walls),
        "cycle_ms_p50": 1e3 * walls[len(walls) // 2],
        "cycle_ms_p99": 1e3 * walls[len(walls) * 99 // 100],
        "controller_cpu_ms": cpu_ms,
    }


def compare(slug: str, day: Day) -> None:
    """Print and write the two sides, over the rows that both have."""
    sides = {side: found for side in ("controller", "truth") if (found := kept(f"{slug}_{side}"))}
    if not sides:
        return
    rows = min(len(states) for states, _, _ in sides.values())
    wanted, result = day.wanted(rows), {"rows": rows, "hours": rows * day.period_s / 3600}
    for side, (states, moves, told) in sides.items():
        result[side] = day.score(states[:rows], moves[: rows + 1], wanted) | told
        print(f"{slug} {side:11} {json.dumps(result[side])}", flush=True)
    if len(sides) == 2:
        result["cost_of_true_model"] = result["controller"]["cost"] / result["truth"]["cost"]
        print(f"{slug}, {rows} rows: cost of the controller / of the true model {result['cost_of_true_model']:.3f}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "control_day.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(found | {slug: result}, indent=1) + "\n")


def run(slug: str, hours: float, only: str | None) -> None:
    """The sides of one plant that are not finished."""
    day = DAYS[slug]
    rows = round(hours * 3600 / day.period_s)
    if only != "truth" and not finished(f"{slug}_controller", rows):
        with tempfile.TemporaryDirectory() as folder:
            killable = Killable(CACHE / "control" / slug)
            try:
                print(f"{slug}: twin {killable.trained(day.scenario, BUDGET_S)}; {rows} rows", flush=True)
                asyncio.run(ours(Path(folder), killable, slug, day, rows))
            finally:
                killable.kill()
    if only != "controller" and not finished(f"{slug}_truth", rows):
        truth(slug, day, rows)
    compare(slug, day)


def main() -> None:
    """Train, run both, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plants", nargs="*", choices=[*DAYS, []], default=[])
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--only", choices=("controller", "truth"))
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    for slug in asked.plants or DAYS:
        for side in (asked.only,) if asked.only else ("controller", "truth"):
            if asked.again:
                (CACHE / f"control_day_{slug}_{side}.npz").unlink(missing_ok=True)
        run(slug, asked.hours, asked.only)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="do_mpc|casadi")
    main()
