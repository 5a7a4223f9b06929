"""Five plants of the control literature that nothing of the twin was developed on: forecasts, gains and loops.

    python tests/benchmarks/classics.py [plant …] [--again PART …]

Each (`support/classics.py`) is excited by 4,000 rows of a step test; a twin is trained on that by defaults (90 s of CPU
time). Then

1. free runs over another step test, beside ARX, subspace and persistence (NRMSE by the training deviation);
2. what-ifs: from rest each MV steps up and down by a quarter of its range; the change that the twin forecasts over 60
   rows against the change of the noise-free plant, beside ARX of the same telemetry;
3. two objectives in closed loop under noise and wander: setpoints that step, then an unmeasured disturbance; and prices
   against limits of CVs. The peer is this planner with the plant's equations and an extended Kalman filter
   (`support/oracle_planner.py`); neither keeps back from limits (coverage 0.5), the cautious twin does (0.95, by the
   calibration that the service makes at the end of training).

Results are kept as they are made; a rerun goes on from there, and makes the parts named by `--again` anew.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import support.twins as twins
from peers.linear import best_arx
from support.classics import CLASSICS
from support.free_run import beside_linear
from support.oracle_planner import TrueModel
from support.what_if import of_linear, simulated

from twin.artifact import Twin
from twin.calibrate import calibrate
from twin.plants.simulator import Simulator
from twin.predict import Scenario as WhatIf
from twin.predict import forecast
from twin.sandbox.loop import Hold, Planner, run
from twin.sandbox.scenario import Scenario
from twin.timeline import Step
from twin.windows import Grid

RESULTS = Path(__file__).parent / "results" / "classics.json"
ROWS, UNSEEN, RESTING, STEP, SEED = 60, 2000, 150, 0.25, 41

SETPOINTS: dict[str, list[dict[str, Any]]] = {
    "evaporator": [
        {"row": 0, "setpoints": {"level": 1.0, "composition": 25.0, "pressure": 50.5}},
        {"row": 10, "setpoints": {"composition": 29.0}},
        {"row": 100, "setpoints": {"composition": 22.0, "pressure": 48.5}},
        {"row": 200, "disturb": {"feed_composition": 0.4}},
    ],
    "wood-berry": [
        {"row": 0, "setpoints": {"top": 0.0, "bottom": 0.0}},
        {"row": 10, "setpoints": {"top": 1.0}},
        {"row": 100, "setpoints": {"bottom": -1.5}},
        {"row": 200, "disturb": {"load": 1.5}},
    ],
    "neutralisation": [
        {"row": 0, "setpoints": {"pH": 7.0, "level": 14.0}},
        {"row": 10, "setpoints": {"pH": 9.0}},
        {"row": 100, "setpoints": {"pH": 5.5, "level": 15.5}},
        {"row": 200, "disturb": {"buffer": -0.2}},
    ],
    "fermenter": [
        {"row": 0, "setpoints": {"biomass": 7.0, "product": 25.0}},
        {"row": 10, "setpoints": {"product": 28.0}},
        {"row": 100, "setpoints": {"product": 22.0, "biomass": 6.4}},
        {"row": 200, "disturb": {"vigour": -0.06}},
    ],
    "column": [
        {"row": 0, "setpoints": {"top": 99.0, "bottom": 1.0}},
        {"row": 10, "setpoints": {"top": 98.0}},
        {"row": 100, "setpoints": {"top": 99.2, "bottom": 2.0}},
        {"row": 200, "disturb": {"feed_composition": 0.02}},
    ],
}
PRICES: dict[str, dict[str, Any]] = {
    "evaporator": {
        "prices": {"steam_pressure": 0.01, "cooling_water": 0.01, "product_flow": -1.0},
        "limits": {"composition": {"low": 24.0}, "pressure": {"low": 44.0, "high": 53.0}, "level": {"low": 0.8}},
    },
    "wood-berry": {
        "prices": {"steam": 1.0},
        "limits": {"top": {"low": -1.0, "high": 2.0}, "bottom": {"low": -2.0, "high": 1.5}},
    },
    "neutralisation": {
        "prices": {"base": 1.0, "acid": -1.2},
        "limits": {"pH": {"low": 6.0, "high": 8.0}, "level": {"high": 16.0}},
    },
    "fermenter": {
        "prices": {"dilution": -20.0, "product": -0.1},
        "limits": {"substrate": {"high": 4.0}},
    },
    "column": {
        "prices": {"boilup": 10.0},
        "limits": {"top": {"low": 98.0}, "bottom": {"high": 2.0}},
    },
}


def scenarios(slug: str) -> list[Scenario]:
    """The two objectives of a plant."""
    plant, common = CLASSICS[slug].plant, {"rows": 300, "seed": SEED, "resting": RESTING}
    prices = [{"row": 0} | PRICES[slug]]
    return [
        Scenario.from_json(common | {"name": "setpoints", "events": SETPOINTS[slug]}, plant),
        Scenario.from_json(common | {"name": "prices", "events": prices}, plant),
    ]


def forecasts(slug: str, twin: Twin) -> dict[str, Any]:
    """Mean NRMSE over CVs and rows, and of single rows."""
    found = beside_linear(twin, twins.telemetry(slug), Simulator(CLASSICS[slug], SEED).excite(UNSEEN))
    return {
        who: {"mean": float(errors.mean()), "rows 1, 10, 60": [float(errors[k - 1].mean()) for k in (1, 10, ROWS)]}
        for who, errors in found.items()
    }


def what_ifs(slug: str, twin: Twin) -> dict[str, Any]:
    """Errors of forecast changes as a share of the true changes, all CVs in training deviations."""
    process, plant = CLASSICS[slug], CLASSICS[slug].plant
    simulator = Simulator(process, SEED)
    history = simulator.run(np.tile(process.moves, (RESTING, 1)))
    stay: dict[str, list[Step]] = {tag.name: [] for tag in plant.dvs}
    sizes = [(tag, sign * STEP * ((tag.high or 0) - (tag.low or 0))) for tag in plant.mvs for sign in (1, -1)]
    at = dict(zip([tag.name for tag in plant.mvs], simulator.moves.tolist(), strict=True))
    asked = [WhatIf(f"{tag.name} {size:+g}", {tag.name: [Step(0.0, at[tag.name] + size)]}, stay) for tag, size in sizes]
    found = forecast(twin, history, ROWS * plant.sample_period_s, [*asked, WhatIf("still", {}, stay)])
    linear = best_arx(Grid.of(twins.telemetry(slug), twin.scaler), twin.history, twin.horizon)[1]
    held = np.tile(np.r_[simulator.moves, simulator.disturbances], (ROWS, 1))
    still, idle = simulated(process, simulator.state, held), found.scenarios[-1].cvs
    squares = np.zeros(3)
    for scenario in found.scenarios[:-1]:
        w = held.copy()
        w[:, : len(plant.mvs)] = np.stack([scenario.moves[tag.name] for tag in plant.mvs], axis=1)
        true = (simulated(process, simulator.state, w) - still) / twin.scaler.y_scale
        ours = np.stack([scenario.cvs[tag.name].mean - idle[tag.name].mean for tag in plant.cvs], axis=1)
        peer = of_linear(linear, twin, (w - held)[:, : len(plant.inputs)])
        squares += [(e**2).sum() for e in (true, ours / twin.scaler.y_scale - true, peer - true)]
    return {"twin": float(np.sqrt(squares[1] / squares[0])), "arx": float(np.sqrt(squares[2] / squares[0]))}


def loops(slug: str, twin: Twin) -> dict[str, Any]:
    """Objective → controller → how it did."""
    process, out = CLASSICS[slug], {}
    back_off = calibrate(twin, twins.telemetry(slug))
    for scenario in scenarios(slug):
        row: dict[str, Any] = {}
        for controller in (
            Hold(),
            TrueModel(process, scenario.horizon),
            Planner(twin, name="twin"),
            Planner(twin, back_off, name="cautious twin"),
        ):
            coverage = 0.95 if controller.name == "cautious twin" else 0.5
            outcome = run(process, controller, replace(scenario, coverage=coverage))
            hours = scenario.horizon * process.plant.sample_period_s / 3600
            row[controller.name] = {"objective": outcome.cost + hours * outcome.paid_per_h, **outcome.to_json()}
        row["ratio"] = row["twin"]["objective"] / row["true model"]["objective"]
        out[scenario.name] = row
        print(
            f"{slug}, {scenario.name}: "
            + ", ".join(f"{n} {o['objective']:.5g} ({o['cv_rows']} over)" for n, o in row.items() if n != "ratio")
            + f"; ratio {row['ratio']:.3f}, offset {row['twin']['offset']}, {row['twin']['statuses']}",
            flush=True,
        )
    return out


def main() -> None:
    """Print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plants", nargs="*")
    parser.add_argument("--again", nargs="*", default=(), help="forecasts, what_ifs, loops")
    asked = parser.parse_args()
    twins.PLANTS.update(CLASSICS)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for slug in asked.plants or CLASSICS:
        kept, begun = results.setdefault(slug, {}), time.process_time()
        twin = twins.trained(slug)
        kept["training"] = {part: twin.card["training"][part] for part in ("residual", "polynomial", "stopped_by")}
        for measure in (forecasts, what_ifs, loops):
            if measure.__name__ not in kept or measure.__name__ in asked.again:
                kept[measure.__name__] = measure(slug, twin)
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        free = {who: told["mean"] for who, told in kept["forecasts"].items()}
        print(f"{slug}: free run {free}, what-ifs {kept['what_ifs']}, {time.process_time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
