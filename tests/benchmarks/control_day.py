"""A day of plant time in closed loop over OPC UA: the controller beside do-mpc with the plant's true equations.

    python tests/benchmarks/control_day.py [hours]

The quadruple tank is served over OPC UA; the controller reads, plans by REST and writes as `twin control` does, in step
with the plant, as fast as the machine. Setpoints change every hour, an unmeasured leak every hour and a half. Prints a
table and writes `results/control_day.json`. Costs are those of `closed_loop.py`: mean over rows of squared setpoint
errors of the true CVs over their spans, plus 0.01 times squared moves over theirs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from support.oracle import TrueModel
from support.rig import Killable, rig
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


def oracle(rows: int) -> dict[str, float]:
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
    return score(states, moves, wanted) | {"cpu_ms": 1e3 * (time.process_time() - begun) / rows}


async def ours(folder: Path, killable: Killable, rows: int) -> dict[str, float]:
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
            if k % 500 == 499:
                print(f"row {k + 1}: {score(r.states, r.moves, wanted[: len(r.states)])}", flush=True)
        cpu_ms = 1e3 * (time.process_time() - begun) / rows
        faults: dict[str, int] = {}
        for record in r.records:
            if record["fault"]:
                faults[record["fault"]["code"]] = faults.get(record["fault"]["code"], 0) + 1
        walls = sorted(record["wall_s"] for record in r.records)
        return score(r.states[:rows], r.moves[: rows + 1], wanted) | {
            "mv_violations": r.violations(),
            "writes": len(r.writes),
            "cycles": len(r.records),
            "cycles_not_written": len(r.records) - len(r.writes),
            "faults": faults,
            "ends_of_closed_loop": sum(record["mode"] != "closed" for record in r.records),
            "cycle_ms_p50": 1e3 * walls[len(walls) // 2],
            "cycle_ms_p99": 1e3 * walls[len(walls) * 99 // 100],
            "controller_cpu_ms": cpu_ms,
        }


def main(hours: float) -> None:
    """Train, run both, compare."""
    rows = round(hours * ROWS_PER_HOUR)
    with tempfile.TemporaryDirectory() as folder:
        killable = Killable(CACHE / "control")
        try:
            print(f"twin {killable.trained(QUADRUPLE_TANK, BUDGET_S)}; {rows} rows", flush=True)
            mine = asyncio.run(ours(Path(folder), killable, rows))
        finally:
            killable.kill()
    print(json.dumps(mine), flush=True)
    truth = oracle(rows)
    print(f"cost {mine['cost']:.3e}, true model {truth['cost']:.3e}: {mine['cost'] / truth['cost']:.3f}")
    result = {
        "hours": hours,
        "rows": rows,
        "controller": mine,
        "true_model": truth,
    }
    result["cost_of_true_model"] = mine["cost"] / truth["cost"]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "control_day.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="do_mpc|casadi")
    main(float(sys.argv[1]) if len(sys.argv) > 1 else HOURS)
