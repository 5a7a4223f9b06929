"""The network between a running controller and everything else is cut for ten minutes, in real time.

    python tests/benchmarks/control_cut.py [--seconds 600] [--seed 30]

`twin control` runs in a network namespace of its own; the quadruple tank, served over OPC UA with the base layer that
watches the heartbeat, and the service stand outside. A minute in closed loop, the cut, and a minute behind it, when the
operator has confirmed closed loop again. Several seeds may run side by side. Needs root. What the controller did is
taken from its own log, what the plant saw from the plant; goes into `results/control_cut.json`, by length and seed.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))  # a benchmark is run as a script
from support.namespace import namespace
from support.rig import Killable, plant_file
from support.scenarios import QUADRUPLE_TANK

from api.cli.demo.served_plant import ServedPlant
from twin.plants.simulator import Simulator

RESULTS = Path(__file__).parent / "results"
CACHE = Path(__file__).parent / "cache"
SLUG, PLANT = QUADRUPLE_TANK.slug, QUADRUPLE_TANK.process.plant
PATH = f"/v1/plants/{SLUG}/controller"
BUDGET_S = 40.0  # of training
AROUND_S = 60.0  # in closed loop, before and behind
PATIENCE_S = 600.0  # for a good cycle: a controller that starts anew needs rows first
CONTROL = """[control]
horizon_s = 300
closed_loop_allowed = true
setpoints = {level_1 = {value = 13.5}, level_2 = {value = 12.0}}
move_suppression = {pump_1 = 0.01, pump_2 = 0.01}
mvs = {pump_1 = {mode_tag = "pump_1.mode", safe = 2.5}, pump_2 = {mode_tag = "pump_2.mode", safe = 2.5}}
watchdog = {tag = "heartbeat"}
permissives = {"controller.permitted" = 1}
release = {"pump_1.mode" = 0, "pump_2.mode" = 0}
"""


async def closed(service: Killable, served: ServedPlant) -> float:
    """Hand the loops over and confirm closed loop; how long that took, s."""
    begun = time.monotonic()
    for tag in PLANT.mvs:
        await served.set(f"{tag.name}.mode", 1.0)
    body = {"mode": "closed", "confirm": SLUG, "reason": "the benchmark"}
    while time.monotonic() < begun + PATIENCE_S:
        told = (await asyncio.to_thread(service.client.get, PATH)).json()
        state = (told["state"] or {}) if told["running"] else {}  # else it is what was reported before the cut
        if state.get("mode") == "closed":
            return time.monotonic() - begun
        if state.get("ready"):
            (await asyncio.to_thread(service.client.put, PATH, json=body)).raise_for_status()
        await asyncio.sleep(1.0)
    raise RuntimeError(f"not closed: {state}")


async def watched(served: ServedPlant, seconds: float) -> dict[str, Any]:
    """What the plant sees meanwhile: when its base layer took over, and whether an MV moved after that."""
    begun, lost, held = time.monotonic(), None, None
    moved = 0
    while (passed := time.monotonic() - begun) < seconds:
        if lost is None and await served.value("heartbeat.lost"):
            lost, held = passed, served.simulator.moves.copy()
        moved += held is not None and bool((served.simulator.moves != held).any())
        await asyncio.sleep(0.5)
    return {"base_layer_takes_over_s": lost, "looks_with_moved_mvs": moved}


async def story(folder: Path, seed: int, seconds: float) -> dict[str, Any]:
    """One cut."""
    with namespace() as network:
        service = Killable(folder / "data", "0.0.0.0")
        try:
            service.start()
            service.ready()
            now = pd.Timestamp.now("UTC").floor("s")
            simulator = Simulator(QUADRUPLE_TANK.process, seed, now - pd.Timedelta(seconds=151 * PLANT.sample_period_s))
            resting = simulator.run(np.tile(simulator.moves, (150, 1)))
            async with ServedPlant(simulator, host=network.here) as served:
                frame = resting.frame().reset_index()
                body = frame.to_csv(index=False).encode()
                sent = service.client.post(
                    f"/v1/plants/{SLUG}/telemetry", content=body, headers={"Content-Type": "text/csv"}
                )
                sent.raise_for_status()
                text = plant_file(SLUG, f"http://{network.here}:{service.port}", served, CONTROL)
                (folder / "plant.toml").write_text(text)
                plant = asyncio.create_task(served.run(1.0, now.to_pydatetime()))
                command = [*network.inside, sys.executable, "-m", "api.cli.main", "control", str(folder / "plant.toml")]
                controller = subprocess.Popen(command, env={**os.environ, "TWIN_KEY": service.key})
                try:
                    told = await _told(network, service, served, seconds)
                finally:
                    controller.terminate()
                    controller.wait(30)
                    plant.cancel()
                return told | _journal(folder / "control-log", told["cut"], told["mended"], seconds)
        finally:
            service.kill()


async def _told(network: Any, service: Killable, served: ServedPlant, seconds: float) -> dict[str, Any]:
    await closed(service, served)
    await asyncio.sleep(AROUND_S)
    await closed(service, served)  # where it has given up by itself meanwhile, on a busy machine
    cut = datetime.now(UTC)
    network.cut()
    seen = await watched(served, seconds)
    network.mend()
    mended = datetime.now(UTC)
    again_s = await closed(service, served)
    await asyncio.sleep(AROUND_S)
    await asyncio.to_thread(service.client.put, PATH, json={"mode": "shadow", "reason": "the end"})
    await asyncio.sleep(2 * PLANT.sample_period_s)
    report = service.client.get(f"{PATH}/report").raise_for_status().json()
    return seen | {"cut": cut, "mended": mended, "closed_again_s": again_s, "cycles_reported": report["cycles"]}


def _journal(folder: Path, cut: datetime, mended: datetime, seconds: float) -> dict[str, Any]:
    """What the controller did, by its log."""
    records = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    cycles = [record for record in records if record["kind"] == "cycle"]
    during = [record for record in cycles if cut < _at(record) < mended]
    modes = [record for record in records if record["kind"] == "mode" and cut < _at(record)]
    intents = [record for record in records if record["kind"] == "intent"]
    behind = [record for record in intents if _at(record) > mended and record["mode"] == "closed"]
    safe = next((record for record in modes if record["to"] not in ("closed", "shedding")), None)
    good = next((record for record in cycles if _at(record) > mended and record["ok"]), None)
    most = {tag.name: tag.rate_limit_per_s * PLANT.sample_period_s for tag in PLANT.mvs}
    moves = [(tag, value, record["present"][tag]) for record in intents for tag, value in record["moves"].items()]
    return {
        "cut": cut.isoformat(),
        "mended": mended.isoformat(),
        "cycles": len(cycles),
        "cycles_in_the_cut": len(during),
        "cycles_due_in_the_cut": seconds / PLANT.sample_period_s,
        "cycles_missed": sum(record["missed"] for record in cycles),
        "written_in_the_cut": sum(bool(record["written"]) for record in during),
        "faults": dict(Counter(record["fault"]["code"] for record in during if record["fault"])),
        "modes": [[(_at(record) - cut).total_seconds(), record["to"], record["reason"]] for record in modes],
        "to_safe_s": (_at(safe) - cut).total_seconds() if safe else None,
        "good_again_s": (_at(good) - mended).total_seconds() if good else None,
        "written_behind": len(behind),
        "return_step_share": max(abs(v - behind[0]["present"][t]) / most[t] for t, v in behind[0]["moves"].items())
        if behind
        else None,
        "mv_violations": sum(
            not (PLANT.tag(tag).low <= value <= PLANT.tag(tag).high and abs(value - before) <= most[tag])
            for tag, value, before in moves
        ),
        "moves": len(moves),
    }


def _at(record: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(record["at"])


def main() -> None:
    """Train where there is no twin, cut, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=30)
    asked = parser.parse_args()
    if os.getuid() != 0:
        raise SystemExit("only root makes network namespaces")
    path, key = RESULTS / "control_cut.json", f"{asked.seconds:g} s, seed {asked.seed}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "control_cut.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and key in (found := json.loads(path.read_text())):
            print(f"{key}: {json.dumps(found[key])}")
            return
        known = Killable(CACHE / "control_cut")
        try:
            known.trained(QUADRUPLE_TANK, BUDGET_S)
        finally:
            known.kill()
    folder = CACHE / f"control_cut_{asked.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(CACHE / "control_cut", folder / "data")
    told = asyncio.run(story(folder, asked.seed, asked.seconds))
    print(f"{key}: {json.dumps(told)}")
    with (CACHE / "control_cut.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(found | {key: told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
