"""What happens where it gets hard: a table of closed loops, of limits ridden with mismatch, and of bad questions.

    python tests/benchmarks/robustness.py [questions] [unstable] [loops] [ceiling] [limits]

Twins are those of `support/twins.py`; loops are those of `twin.sandbox.loop`, one seed each. *Questions*: each bad
input that the planner defines an answer for, and the answer. *Unstable*: plants that grow when nobody acts, drawn
by hand. *Loops*: near the point where an exothermic reactor runs away, gains 30 % off either way, a sensor that
freezes, a limit that jumps by half of its span. *Ceiling*: van de Vusse's reactor held where its product is highest,
so that the gain of the feed changes sign, over six seeds; and disturbances three times as large as those of
`learned_control.py`, which must not stop a plant whose gains are sure. *Limits*: a price drives a CV against its
limit while the plant's gains are not the twin's; how many rows are beyond it at a coverage of 0.95, with the
calibration of training and with one renewed on another seed's rows.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from planner import HISTORY, MEMBERS, random_twin
from support.scenarios import CSTR, QUADRUPLE_TANK, SHELL
from support.scenarios import Scenario as Task
from support.twins import ROWS, SEED, trained

from twin.calibrate import calibrate, renew
from twin.dynamics.lti import arx
from twin.errors import TwinError
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.planning.backoff import BackOff
from twin.plants.simulator import Simulator
from twin.sandbox.loop import Hold, Outcome, Planner, run
from twin.sandbox.processes import SIMULATED, Altered, TwinProcess
from twin.sandbox.scenario import Event, Scenario
from twin.sandbox.trials import trials
from twin.telemetry import Telemetry

RESULTS = Path(__file__).parent / "results" / "robustness.json"
JUMP = 80  # the row at which a limit jumps


def loops() -> Iterator[tuple[str, str, Scenario]]:
    """Name, plant and scenario."""
    for concentration, name in ((0.80, "as near the runaway as may be"), (0.60, "setpoint beyond the fold")):
        wanted = Event(20, {"concentration": concentration})
        yield name, "exothermic-cstr", Scenario(name, 160, (Event(0, {"concentration": 0.87}), wanted))
    for slug in ("quadruple-tank", "cstr", "shell"):
        cvs = {"shell": ("top_end_point", "side_end_point")}.get(slug, ())
        (steps,) = trials(SIMULATED[slug], cvs, ("setpoints",))
        for gain in (1.0, 1.3, 0.7):
            gains = {tag.name: gain for tag in SIMULATED[slug].plant.mvs}
            yield f"gains × {gain:g}", slug, replace(steps, gain=gains)
    levels = {"level_1": 12.4, "level_2": 12.7}
    frozen = (Event(0, levels), Event(40, freeze={"level_1": True}), Event(60, {"level_1": 14.0}))
    yield (
        "level_1 freezes at row 40",
        "quadruple-tank",
        Scenario("frozen", 160, (*frozen, Event(130, freeze={"level_1": False}))),
    )
    jump = Event(JUMP, limits={"level_1": {"high": 10.0}})  # from 18: half of its span of 2 to 18
    yield "limit jumps by half its span", "quadruple-tank", Scenario("jump", 180, (Event(0, levels), jump))


def run_loops() -> list[dict]:
    """Each beside held MVs; cases that are there are kept."""
    found = json.loads(RESULTS.read_text()).get("loops", []) if RESULTS.exists() else []
    for name, slug, scenario in loops():
        if any((row["plant"], row["case"]) == (slug, name) for row in found):
            continue
        twin = trained(slug)
        held, ours = (run(SIMULATED[slug], c, scenario) for c in (Hold(), Planner(twin)))
        after = beyond(ours, JUMP) if scenario.name == "jump" else None
        found.append({"plant": slug, "case": name, "held_cost": held.cost, **ours.to_json(), "rows_until_kept": after})
        keep("loops", found)
        print(
            f"{slug:16} {name:32} cost {ours.cost:.2e} (held {held.cost:.2e}) offset {ours.offset:.4f}"
            f" CV rows {ours.cv_rows} worst {ours.cv_worst:.3f} MV {ours.mv_violations} {ours.statuses} {after or ''}",
            flush=True,
        )
    return found


def ceiling() -> Iterator[tuple[str, Task | None, Scenario]]:
    """Name, the task whose step test goes before, and scenario."""
    (steps,) = trials(SIMULATED["cstr"], (), ("setpoints",))
    for seed in range(6):
        yield "cstr", None, replace(steps, name="product at its ceiling", seed=seed)
    for task in (CSTR, QUADRUPLE_TANK, SHELL):
        row, name, offset = task.disturbance
        for times in (1, 3):
            trial = replace(task, disturbance=(row, name, times * offset)).trial()
            yield task.slug, task, replace(trial, name=f"{name} {times * offset:+g}")


def run_ceiling() -> list[dict]:
    """Cost beside held MVs, where the MVs ended, and how many plans were made; cases that are there are kept."""
    found = json.loads(RESULTS.read_text()).get("ceiling", []) if RESULTS.exists() else []
    for slug, task, scenario in ceiling():
        if any((row["plant"], row["case"], row["seed"]) == (slug, scenario.name, scenario.seed) for row in found):
            continue
        held, ours = (
            run(SIMULATED[slug], controller, scenario, task and task.tested()[0])
            for controller in (Hold(), Planner(trained(slug)))
        )
        least, last = ours.trace.mvs.min(axis=0).tolist(), ours.trace.mvs[-1].tolist()
        row = {"plant": slug, "case": scenario.name, "seed": scenario.seed, "held_cost": held.cost, **ours.to_json()}
        found.append(row | {"least_mvs": least, "last_mvs": last})
        keep("ceiling", found)
        print(
            f"{slug:16} {scenario.name:28} seed {scenario.seed} cost {ours.cost:.2e} (held {held.cost:.2e})"
            f" offset {ours.offset:.4f} least {np.round(least, 1)} last {np.round(last, 1)} {ours.statuses}",
            flush=True,
        )
    return found


def keep(name: str, found: list[dict]) -> None:
    """Write one part of the results, and leave the others."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = found
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def beyond(outcome: Outcome, first: int) -> int:
    """Rows from one on until the first CV keeps its limit for good."""
    trace = outcome.trace
    out = np.flatnonzero(trace.truth[first:, 0] > trace.high[first:, 0])
    return int(out[-1]) + 1 if len(out) else 0


def run_unstable() -> list[dict]:
    """A plant that grows by so much a row when nobody acts, its twin right and with the gain 30 % off."""
    found = []
    for pole in (1.02, 1.1, 1.3):
        model = arx(np.array([[[pole]]]), np.array([[[0.2]]]), np.zeros(1), HISTORY)
        stacked = jax.tree.map(lambda leaf: np.stack([leaf] * MEMBERS), model)
        drawn = random_twin(1, 1, 1, residual=False)
        twin = replace(drawn, dynamics=replace(drawn.dynamics, backbones=stacked))
        steps = (Event(0, {"y0": 0.0}), Event(20, {"y0": 1.0}), Event(60, disturb={"u0.load": 0.3}))
        for gain in (1.0, 1.3, 0.7):
            scenario = Scenario(f"pole {pole:g}", 160, steps, gain={"u0": gain}, noise=0.1, wander=0.0, resting=60)
            ours = run(TwinProcess(twin), Planner(twin), scenario)
            found.append({"pole": pole, "gain": gain, **ours.to_json()})
            print(pole, gain, ours.to_json(), flush=True)
    return found


RIDES = (
    ("quadruple-tank", "level_4", "high", 2.2, 1.0),
    ("quadruple-tank", "level_4", "high", 2.2, 1.3),
    ("shell", "top_end_point", "high", 0.4, 1.0),
    ("shell", "top_end_point", "high", 0.4, 1.3),
)


def ride(slug: str, cv: str, side: str, limit: float, gain: float, seed: int, back_off: BackOff) -> Outcome:
    """A price drives the CV against its limit."""
    process = SIMULATED[slug]
    wanted = Event(0, prices={cv: -1.0 if side == "high" else 1.0}, limits={cv: {side: limit}})
    gains = {tag.name: gain for tag in process.plant.mvs}
    scenario = Scenario(f"{cv} {side}", 360, (wanted,), gain=gains, seed=seed)
    return run(process, Planner(trained(slug), back_off), scenario)


def telemetry(outcome: Outcome, slug: str, seed: int, gain: float) -> Telemetry:
    """What a historian would have kept of a ride: the same seed once more, under the same moves."""
    process = SIMULATED[slug]
    simulator = Simulator(Altered(process, (gain,) * len(process.plant.mvs)), seed)
    simulator.run(np.tile(process.moves, (150, 1)))
    return simulator.run(outcome.trace.mvs)


def run_limits() -> list[dict]:
    """Shares of measured and of true rows beyond the limit, after 60 rows to arrive; cases that are there are kept."""
    found = json.loads(RESULTS.read_text()).get("limits", []) if RESULTS.exists() else []
    for slug, cv, side, limit, gain in RIDES:
        if any((row["plant"], row["gain"], row["calibration"]) == (slug, gain, "renewed") for row in found):
            continue
        found = [row for row in found if (row["plant"], row["gain"]) != (slug, gain)]
        process, twin = SIMULATED[slug], trained(slug)
        column = [tag.name for tag in process.plant.cvs].index(cv)
        first = calibrate(twin, Simulator(process, SEED).excite(ROWS))
        live = ride(slug, cv, side, limit, gain, 101, first)
        renewed = renew(twin, first, telemetry(live, slug, 101, gain))
        for name, back_off in (("training", first), ("renewed", renewed)):
            outcome = ride(slug, cv, side, limit, gain, 202, back_off)
            sign = 1.0 if side == "high" else -1.0
            measured, true = (
                sign * (part[60:, column] - limit) for part in (outcome.trace.measured, outcome.trace.truth)
            )
            row = {
                "plant": slug, "cv": cv, "side": side, "gain": gain, "calibration": name,
                "measured_beyond": float((measured > 0).mean()), "true_beyond": float((true > 0).mean()),
                "mean_distance": float(-true.mean()), "mv_violations": outcome.mv_violations,
                "statuses": outcome.statuses,
            }  # fmt: skip
            found.append(row)
            keep("limits", found)
            print(row, flush=True)
    return found


def questions() -> Iterator[tuple[str, Callable[[], object]]]:
    """Each bad input, and the call."""
    slug = "quadruple-tank"
    twin, process = trained(slug), SIMULATED[slug]
    history = Simulator(process, 3).run(np.tile(process.moves, (120, 1)))
    goal = Objective({"level_1": Setpoint(13.0), "level_2": Setpoint(12.5)})

    def ask(objective: Objective = goal, limits: dict[str, Limit] | None = None, rows=history, **options) -> object:
        return plan(twin, rows, objective, limits or {}, **{"horizon_s": 300.0, **options})

    def with_missing(names: list[str], count: int) -> Telemetry:
        values = history.values.copy()
        values[-count:, [process.plant.column(name) for name in names]] = np.nan
        return Telemetry(history.plant, history.times, values, history.run)

    yield "CV limits that cross", lambda: ask(limits={"level_1": Limit(low=14.0, high=12.0)})
    yield "MV limits that cross", lambda: ask(limits={"pump_1": Limit(low=3.2, high=3.0)})
    yield "prices without a bound but the limits", lambda: ask(Objective(prices={"pump_1": -1.0, "level_1": -1.0}))
    yield "a price of 1e12", lambda: ask(Objective(prices={"pump_1": 1e12}))
    yield "weight zero", lambda: ask(Objective({"level_1": Setpoint(13.0, weight=0.0)}))
    yield "negative weight", lambda: ask(Objective({"level_1": Setpoint(13.0, weight=-1.0)}))
    yield "weight 1e12", lambda: ask(Objective({"level_1": Setpoint(13.0, weight=1e12), "level_2": Setpoint(12.5)}))
    yield "weight infinite", lambda: ask(Objective({"level_1": Setpoint(13.0, weight=float("inf"))}))
    yield "a missing value in the last row", lambda: ask(rows=with_missing(["level_1"], 1))
    yield "a CV missing for 20 rows", lambda: ask(rows=with_missing(["level_1"], 20))
    yield "all values missing for 60 rows", lambda: ask(rows=with_missing(list(process.plant.names), 60))
    yield "an MV unknown now", lambda: ask(rows=with_missing(["pump_1"], 1))
    yield "all MVs held", lambda: ask(hold_mvs=["pump_1", "pump_2"])
    yield "setpoint outside the CV's limits", lambda: ask(Objective({"level_1": Setpoint(25.0)}))
    yield "deadline of 1 ms", lambda: ask(deadline_ms=1.0)
    yield "deadline of 1 ms, once compiled", lambda: ask(deadline_ms=1.0)
    yield "horizon of one row", lambda: ask(horizon_s=5.0)
    shell = SIMULATED["shell"]
    still = Simulator(shell, 3).run(np.tile(shell.moves, (120, 1)))
    far = Objective({"top_end_point": Setpoint(0.3)})
    yield "horizon shorter than the dead time", lambda: plan(trained("shell"), still, far, horizon_s=1200.0)


def run_questions() -> list[dict]:
    """Status and words, or the refusal."""
    found = []
    for name, call in questions():
        try:
            answer = call()
            told = {"status": answer.status, "detail": answer.detail, "next": answer.next}
        except TwinError as error:
            told = {"status": "refused", "detail": error.detail}
        found.append({"question": name, **told})
        print(f"{name:40} {told['status']:10} {told['detail'][:200]}", flush=True)
    return found


def main(parts: list[str]) -> None:
    """Run the parts named, or all; the others' results are kept."""
    every = {
        "questions": run_questions, "unstable": run_unstable, "loops": run_loops, "ceiling": run_ceiling,
        "limits": run_limits,
    }  # fmt: skip
    for name, part in every.items():
        if not parts or name in parts:
            keep(name, part())


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(sys.argv[1:])
