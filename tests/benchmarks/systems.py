"""Six systems of six kinds: what a twin learned from ordinary operation forecasts, and how it plans what it never knew.

    python tests/benchmarks/systems.py [system …]

Each system (`twin/plants/systems.py`) runs under its usual practice with test moves for 4,000 rows; a twin is trained
on that by defaults (90 s of CPU time). Then

1. free runs over other telemetry, beside ARX, subspace and persistence;
2. what-ifs against truth: from 24 moments of other telemetry each MV steps by half of its test moves; the change that
   the twin forecasts over 60 rows against the change of the noise-free plant, beside ARX of the same telemetry;
3. three objectives (`notebooks/objectives`) that training knew nothing of, each in closed loop under noise, wander and
   what the objective disturbs: the twin, the true model with an observer (`support/oracle_planner.py`), the usual
   practice at the setpoints named (or where it rests), and nothing at all. Where the planner abstains the usual
   practice runs the plant, as where `twin control` hands loops back.

Cost is the planner's own objective of what truly happened: squared setpoint errors and moves over spans, and prices
over the horizon. `share` is how much of what the true model gains over the usual practice the twin gains too; rows
beyond a CV limit are counted beside it. The true model keeps limits without back-off, so the twin it is compared with
does too (coverage 0.5); the cautious twin keeps them at 0.95, by open-loop bands. Results are kept as they are made;
a rerun goes on from there. `--loops` makes the loops of the systems named anew, but for the controllers that are no
twin (nothing, usual practice, true model), whose results stay: as after a change of the planner.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from peers.linear import best_arx
from support.free_run import beside_linear
from support.oracle_planner import TrueModel
from support.twins import telemetry, trained
from support.what_if import of_linear, simulated

from twin.plant import Plant, Tag
from twin.plants.annealing_line import AnnealingLine
from twin.plants.practice import meals, operate
from twin.plants.simulator import Simulator
from twin.plants.systems import SYSTEMS
from twin.predict import Scenario as WhatIf
from twin.predict import forecast
from twin.sandbox.loop import Controller, Hold, Planner, run
from twin.sandbox.practice import UsualPractice
from twin.sandbox.scenario import Scenario
from twin.timeline import Step
from twin.windows import Grid

RESULTS = Path(__file__).parent / "results" / "systems.json"
COMPILED = Path(__file__).parent / "cache" / "systems"  # the true model of the turbofan takes a minute to compile
OBJECTIVES = Path(__file__).parents[2] / "notebooks" / "objectives"
ROWS, STARTS, STEP, BETWEEN = 60, 24, 0.5, 100  # rows ahead, moments, share of the test moves, rows between moments
UNSEEN = 1500  # rows of telemetry for the free runs
COARSER = {"annealing-line": AnnealingLine(substeps=6)}  # what the true model integrates, where that takes long
SMALL = 1e-3  # effects below this share of the largest, squared, are not listed
TWINS = ("twin", "cautious twin")
SEED = 31  # of loops and what-ifs; twins learn from another


def loops(slug: str, found: dict[str, Any], keep: Callable[[], None]) -> None:
    """Objective → controller → how it did; those that are found already are not made again."""
    system = SYSTEMS[slug]
    for body in json.loads((OBJECTIVES / f"{slug}.json").read_text()):
        scenario = Scenario.from_json(body | {"seed": SEED}, system.process.plant)
        makers: dict[str, Callable[[], Controller]] = {
            "hold": Hold,
            "usual practice": lambda: UsualPractice(system),
            "true model": lambda of=scenario: TrueModel(COARSER.get(slug, system.process), of.horizon),
            **{name: lambda name=name: Planner(trained(slug), name=name, base=UsualPractice(system)) for name in TWINS},
        }
        row = found.setdefault(scenario.name, {})
        if all(name in row for name in makers):
            continue
        hours = scenario.horizon * system.process.plant.sample_period_s / 3600
        for controller in [make() for name, make in makers.items() if name not in row]:
            coverage = 0.5 if controller.name == "twin" else scenario.coverage
            outcome = run(system.process, controller, replace(scenario, coverage=coverage))
            row[controller.name] = {"objective": outcome.cost + hours * outcome.paid_per_h, **outcome.to_json()}
            keep()
        usual, true, twin = (row[name]["objective"] for name in ("usual practice", "true model", "twin"))
        row["share"] = (usual - twin) / (usual - true)
        row["ratio"] = twin / true
        keep()
        print(
            f"{slug}, {scenario.name}: "
            + ", ".join(f"{n} {row[n]['objective']:.5g} ({row[n]['cv_rows']} rows over)" for n in makers)
            + f"; share {row['share']:.3f}, ratio {row['ratio']:.3f}, {row['twin']['statuses']}",
            flush=True,
        )


def forecasts(slug: str) -> dict[str, Any]:
    """Mean NRMSE over CVs and rows of free runs over other telemetry than the twin's: twin and peers."""
    system, twin = SYSTEMS[slug], trained(slug)
    found = beside_linear(twin, telemetry(slug), system.telemetry(UNSEEN, SEED))
    out = {who: float(errors.mean()) for who, errors in found.items()}
    print(f"{slug}, free run: " + ", ".join(f"{who} {error:.3f}" for who, error in out.items()), flush=True)
    return out


def what_ifs(slug: str) -> dict[str, Any]:
    """How far forecast changes are from true ones, as a share of these: in all, and by MV and CV; ARX beside."""
    system, twin = SYSTEMS[slug], trained(slug)
    process, plant = system.process, system.process.plant
    simulator, practice = Simulator(process, SEED), system.practice(SEED)
    linear = best_arx(Grid.of(telemetry(slug), twin.scaler), twin.history, twin.horizon)[1]
    squares = {who: np.zeros((len(plant.mvs), len(plant.cvs))) for who in ("true", "twin", "arx")}
    for start in range(STARTS):
        events = meals(BETWEEN, plant.sample_period_s, SEED + start) if system.eats else None
        history = operate(simulator, practice, BETWEEN, system.targets, system.tests, SEED + start, events)
        present = dict(zip([tag.name for tag in plant.mvs], simulator.moves.tolist(), strict=True))
        stay: dict[str, list[Step]] = {tag.name: [] for tag in plant.dvs}  # as in the truth below
        asked = [
            WhatIf(tag.name, {tag.name: [Step(0.0, _stepped(tag, present[tag.name], size))]}, stay)
            for tag, size in ((tag, STEP * system.tests[tag.name]) for tag in plant.mvs)
        ]
        found = forecast(twin, history, ROWS * plant.sample_period_s, [*asked, WhatIf("still", {}, stay)])
        idle = found.scenarios[-1].cvs
        held = np.tile(np.r_[simulator.moves, simulator.disturbances], (ROWS, 1))
        still = simulated(process, simulator.state, held)
        for i, scenario in enumerate(found.scenarios[:-1]):
            w = held.copy()
            w[:, : len(plant.mvs)] = np.stack([scenario.moves[tag.name] for tag in plant.mvs], axis=1)
            moved = simulated(process, simulator.state, w)
            seen = _readable(plant, still) & _readable(plant, moved)
            true = moved - still
            ours = np.stack([scenario.cvs[tag.name].mean - idle[tag.name].mean for tag in plant.cvs], axis=1)
            peer = of_linear(linear, twin, (w - held)[:, : len(plant.inputs)]) * twin.scaler.y_scale
            for who, change in (("true", true), ("twin", ours - true), ("arx", peer - true)):
                squares[who][i] += (change[seen] ** 2).sum(axis=0)
    squares = {who: s / twin.scaler.y_scale**2 for who, s in squares.items()}
    out: dict[str, Any] = {
        who: {
            "all": float(np.sqrt(squares[who].sum() / squares["true"].sum())),
            **{
                f"{mv.name} → {cv.name}": float(np.sqrt(squares[who][i, j] / squares["true"][i, j]))
                for i, mv in enumerate(plant.mvs)
                for j, cv in enumerate(plant.cvs)
                if squares["true"][i, j] > SMALL * squares["true"].max()
            },
        }
        for who in ("twin", "arx")
    }
    print(f"{slug}, what-if: twin {out['twin']['all']:.3f}, ARX {out['arx']['all']:.3f}", flush=True)
    return out


def _readable(plant: Plant, cvs: np.ndarray) -> np.ndarray:
    """(rows,) whether no CV (rows, CVs) has left the range of its instrument yet."""
    low, high = (np.array([getattr(tag, side) for tag in plant.cvs]) for side in ("low", "high"))
    return np.logical_and.accumulate(((cvs >= low) & (cvs <= high)).all(axis=1))


def _stepped(tag: Tag, present: float, size: float) -> float:
    """So far away, toward the middle of the range."""
    return present + (size if present < ((tag.low or 0.0) + (tag.high or 1.0)) / 2 else -size)


MEASURES = {"forecasts": forecasts, "what_ifs": what_ifs}


def main() -> None:
    """Print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="*")
    parser.add_argument("--loops", action="store_true", help="the twins' loops anew")
    asked = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def keep() -> None:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")

    for slug in asked.systems or SYSTEMS:
        kept = results.setdefault(slug, {})
        for name, measure in MEASURES.items():
            if name not in kept:
                kept[name] = measure(slug)
                keep()
        if asked.loops:
            kept["loops"] = {
                name: {who: told for who, told in row.items() if who not in (*TWINS, "share", "ratio")}
                for name, row in kept.get("loops", {}).items()
            }
        loops(slug, kept.setdefault("loops", {}), keep)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    jax.config.update("jax_compilation_cache_dir", str(COMPILED))
    main()
