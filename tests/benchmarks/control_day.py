"""A day of plant time in closed loop over OPC UA: the controller beside do-mpc with the plant's true equations.

    python tests/benchmarks/control_day.py [--hours 24] [--only controller|truth]

The quadruple tank is served over OPC UA; the controller reads, plans by REST and writes as `twin control` does, in step
with the plant, as fast as the machine. Setpoints change every hour, an unmeasured leak every hour and a half. Prints a
table and writes `results/control_day.json`. Costs are those of `closed_loop.py`: mean over rows of squared setpoint
errors of the true CVs over their spans, plus 0.01 times squared moves over theirs. Each side keeps what its plant
did in `cache/`, hour by hour; the two may run side by side, and are compared over the rows that both have.
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
from support.oracle import TrueModel
from support.rig import Killable, Rig, rig
from support.scenarios import QUADRUPLE_TANK

RESULTS = Path(__file__).parent / "results"
CACHE = Path(__file__).parent / "cache"
BUDGET_S = 40.0  # of training
HOURS = 24.0
ROWS_PER_HOUR = 720
TARGETS = ((3.0, 3.0), (2.4, 2.9), (2.5, 2.4), (3.2, 2.8), (2.8, 3.2))  # steady states that are asked for in turn
LEAKS = (0.0, 0.08, -0.05, 0.05)  # of tank 1, in turn
SUPPRESSION = 0.01
CONTROL = """[control]
horizon_s = 300
closed_loop_allowed = true
setpoints = {level_1 = {value = %r}, level_2 = {value = %r}}
move_suppression = {pump_1 = 0.01, pump_2 = 0.01}
mvs = {pump_1 = {mode_tag = "pump_1.mode"}, pump_2 = {mode_tag = "pump_2.mode"}}
watchdog = {tag = "heartbeat"}
permissives = {"controller.permitted" = 1}
"""


def targets(rows: int) -> np.ndarray:
    """(rows, 2): levels 1 and 2 that are asked for."""
    held = np.array([QUADRUPLE_TANK._cvs_at(moves) for moves in TARGETS])
    return held[(np.arange(rows) // ROWS_PER_HOUR) % len(TARGETS)]


def leak(row: int) -> float:
    """The unmeasured leak from a row on."""
    return LEAKS[(row * 2 // (3 * ROWS_PER_HOUR)) % len(LEAKS)]


def score(states: list[np.ndarray], moves: list[np.ndarray], wanted: np.ndarray) -> dict[str, float]:
    """Cost of what the true plant did."""
    plant = QUADRUPLE_TANK.process.plant
    spans = np.array([tag.high - tag.low for tag in plant.mvs])
    errors = (np.array(states)[:, :2] - wanted) / 30.0
    steps = np.diff(np.array(moves), axis=0) / spans
    levels = np.array(states)
    beyond = ((levels < [2, 2, 0.1, 0.1]) | (levels > [18, 18, 8, 8])).any(axis=1)
    cost = (errors**2).sum(axis=1).mean() + SUPPRESSION * (steps**2).sum(axis=1).mean()
    return {"cost": float(cost), "rms_cm": float(30 * np.sqrt((errors**2).mean())), "cv_violations": int(beyond.sum())}


def keep(side: str, states: list[np.ndarray], moves: list[np.ndarray], told: dict[str, Any]) -> None:
    """Write down what the plant did under one side so far."""
    CACHE.mkdir(exist_ok=True)
    np.savez(CACHE / f"control_day_{side}.npz", states=np.array(states), moves=np.array(moves), told=json.dumps(told))


def kept(side: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]] | None:
    """What was written down: (rows, states), (rows + 1, MVs), and what else was told."""
    path = CACHE / f"control_day_{side}.npz"
    if not path.exists():
        return None
    with np.load(path) as found:
        return found["states"], found["moves"], json.loads(str(found["told"]))


def oracle(rows: int) -> None:
    """do-mpc with the true equations on the same noise and wander."""
    simulator, _, resting = QUADRUPLE_TANK.start()
    controller = TrueModel(QUADRUPLE_TANK.process, QUADRUPLE_TANK.equations, QUADRUPLE_TANK.task)
    for values in resting.values:
        controller.observe(dict(zip(resting.plant.names, values.tolist(), strict=True)))
    wanted, states, moves = targets(rows), [], [simulator.moves.copy()]
    row = simulator.advance({})
    controller.observe(row)
    begun = time.process_time()
    for k in range(rows):
        simulator.disturb(leak_1=leak(k))
        decided = controller.decide(dict(zip(("level_1", "level_2"), wanted[k].tolist(), strict=True)))
        controller.observe(simulator.advance(decided))
        states.append(simulator.state.copy())
        moves.append(simulator.moves.copy())
        if (k + 1) % ROWS_PER_HOUR == 0 or k + 1 == rows:
            keep("truth", states, moves, {"cpu_ms": 1e3 * (time.process_time() - begun) / (k + 1)})


async def ours(folder: Path, killable: Killable, rows: int) -> None:
    """The controller over OPC UA."""
    simulator, _, resting = QUADRUPLE_TANK.start()
    wanted = targets(rows)
    control = CONTROL % tuple(wanted[0].tolist())
    slug = QUADRUPLE_TANK.slug
    async with rig(folder, slug, killable.url, killable.key, simulator, resting, control) as r:
        await r.cycle(advance=False)
        await r.close_loop()
        for held in (r.states, r.records, r.writes, r.moves):
            held.clear()
        r.moves.append(simulator.moves.copy())
        begun = time.process_time()
        for k in range(rows):
            simulator.disturb(leak_1=leak(k))
            if k and (wanted[k] != wanted[k - 1]).any():
                r.controller.set_setpoints(dict(zip(("level_1", "level_2"), wanted[k].tolist(), strict=True)), "day")
            record = await r.cycle()
            if record["mode"] != "closed":
                await r.close_loop()
            if (k + 1) % ROWS_PER_HOUR == 0 or k + 1 == rows:
                keep("controller", r.states, r.moves, _told(r, 1e3 * (time.process_time() - begun) / (k + 1)))
                print(f"row {k + 1}: {score(r.states, r.moves, wanted[: k + 1])}", flush=True)


def _told(r: Rig, cpu_ms: float) -> dict[str, Any]:
    """What the controller did so far."""
    walls = sorted(record["wall_s"] for record in r.records)
    return {
        "mv_violations": r.violations(),
        "writes": len(r.writes),
        "cycles": len(r.records),
        "cycles_not_written": len(r.records) - len(r.writes),
        "faults": dict(Counter(record["fault"]["code"] for record in r.records if record["fault"])),
        "ends_of_closed_loop": sum(record["mode"] != "closed" for record in r.records),
        "cycle_ms_p50": 1e3 * walls[len(walls) // 2],
        "cycle_ms_p99": 1e3 * walls[len(walls) * 99 // 100],
        "controller_cpu_ms": cpu_ms,
    }


def compare() -> None:
    """Print and write the two sides, over the rows that both have."""
    sides = {side: found for side in ("controller", "truth") if (found := kept(side))}
    rows = min(len(states) for states, _, _ in sides.values())
    wanted, result = targets(rows), {"rows": rows, "hours": rows / ROWS_PER_HOUR}
    for side, (states, moves, told) in sides.items():
        result[side] = score(list(states[:rows]), list(moves[: rows + 1]), wanted) | told
        print(f"{side:11} {json.dumps(result[side])}", flush=True)
    if len(sides) == 2:
        result["cost_of_true_model"] = result["controller"]["cost"] / result["truth"]["cost"]
        print(f"{rows} rows: cost of the controller / of the true model {result['cost_of_true_model']:.3f}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "control_day.json").write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    """Train, run both, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--only", choices=("controller", "truth"))
    asked = parser.parse_args()
    rows = round(asked.hours * ROWS_PER_HOUR)
    if asked.only != "truth":
        with tempfile.TemporaryDirectory() as folder:
            killable = Killable(CACHE / "control")
            try:
                print(f"twin {killable.trained(QUADRUPLE_TANK, BUDGET_S)}; {rows} rows", flush=True)
                asyncio.run(ours(Path(folder), killable, rows))
            finally:
                killable.kill()
    if asked.only != "controller":
        oracle(rows)
    compare()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="do_mpc|casadi")
    main()
