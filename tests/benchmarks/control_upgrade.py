"""The service is upgraded, and rolled back, beside a running controller.

    python tests/benchmarks/control_upgrade.py [--old 28f88e6] [--seeds 3]

An older version of the service (a commit of this repository, whose database is of an older revision) plans for the
quadruple tank, with a twin that it trained itself; the controller of this version runs over OPC UA. Then, as the page
on operations says: a backup, the service is stopped, this version is started in the same folder and migrates the
database. Later it is stopped, the backup is restored, and the older version is started again. The controller runs all
the while, a cycle a period, in real time: a start of several seconds costs as many cycles as it lasts periods. Writes
`results/control_upgrade.json`, and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from support.rig import Killable, Rig, rig
from support.scenarios import QUADRUPLE_TANK

from twin.plants.simulator import Simulator

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "control_upgrade.json"
CACHE = Path(__file__).parent / "cache"
SLUG = QUADRUPLE_TANK.slug
PERIOD_S = QUADRUPLE_TANK.process.plant.sample_period_s
BUDGET_S = 40.0  # of training
BEFORE, BEHIND = 20, 30  # cycles
CONTROL = """[control]
horizon_s = 300
closed_loop_allowed = true
setpoints = {level_1 = {value = 13.5}, level_2 = {value = 12.0}}
move_suppression = {pump_1 = 0.01, pump_2 = 0.01}
mvs = {pump_1 = {mode_tag = "pump_1.mode"}, pump_2 = {mode_tag = "pump_2.mode"}}
watchdog = {tag = "heartbeat"}
permissives = {"controller.permitted" = 1}
release = {"pump_1.mode" = 0, "pump_2.mode" = 0}
"""


def older(commit: str) -> Path:
    """The tree of a commit."""
    folder = CACHE / f"tree-{commit}"
    if not folder.exists():
        folder.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        with tempfile.TemporaryFile() as file:
            file.write(archive)
            file.seek(0)
            with tarfile.open(fileobj=file) as tar:
                tar.extractall(folder, filter="data")
    return folder


def twin(code: Path, data: Path, *words: str) -> None:
    """A command of the command line of that version, for that data folder."""
    command = [sys.executable, "-m", "api.cli.main", *words]
    told = {"TWIN_DATA_DIR": str(data), "PYTHONPATH": str(code), "PATH": "/usr/bin:/bin"}
    subprocess.run(command, cwd=code, env=told, check=True, stdout=subprocess.DEVNULL)


async def meanwhile(r: Rig, job: Any) -> tuple[int, float]:
    """Cycles while a job runs in a thread, one a period of the clock: how many, and how long it took, s."""
    begun, task, cycles = time.monotonic(), asyncio.create_task(asyncio.to_thread(job)), 0
    while not task.done():
        due = begun + (cycles + 1) * PERIOD_S
        await r.cycle()
        cycles += 1
        await asyncio.wait({task}, timeout=max(due - time.monotonic(), 0.0))
    await task
    return cycles, time.monotonic() - begun


async def part(r: Rig, job: Any) -> dict[str, Any]:
    """What the controller did while the service was exchanged, and behind it."""
    onset, writes = len(r.records), len(r.writes)
    cycles, took_s = await meanwhile(r, job)
    during = r.records[onset:]
    kept = r.controller.mode == "closed"
    if not kept:
        await r.close_loop()
    behind = len(r.records)
    for _ in range(BEHIND):
        await r.cycle()
    faults = sorted({record["fault"]["code"] for record in during if record["fault"]})
    return {
        "exchange_s": took_s,
        "cycles": cycles,
        "written": sum(bool(record["written"]) for record in during),
        "faults": faults,
        "stayed_closed": kept,
        "cycles_to_closed_again": 0 if kept else behind - onset - cycles,
        "written_behind": sum(bool(record["written"]) for record in r.records[behind:]),
        "writes": len(r.writes) - writes,
    }


async def story(service: Killable, new: Path, old: Path, seed: int, folder: Path) -> dict[str, Any]:
    """One upgrade and one rollback."""
    simulator = Simulator(QUADRUPLE_TANK.process, seed)
    resting = simulator.run(np.tile(simulator.moves, (150, 1)))
    data, archive = service.folder, folder / "backup.tar"

    def upgrade() -> None:
        twin(old, data, "backup", str(archive))
        service.stop()
        service.code = new
        service.start()
        service.ready()

    def roll_back() -> None:
        service.stop()
        shutil.rmtree(data)
        twin(old, data, "restore", str(archive), "--data-dir", str(data))
        service.code = old
        service.start()
        service.ready()

    async with rig(folder, SLUG, service.url, service.key, simulator, resting, CONTROL) as r:
        await r.cycle()
        await r.close_loop()
        for _ in range(BEFORE):
            await r.cycle()
        champion = service.client.get(f"/v1/plants/{SLUG}").json()["aliases"]["champion"]
        told: dict[str, Any] = {"upgrade": await part(r, upgrade)}
        told["same_twin"] = champion == service.client.get(f"/v1/plants/{SLUG}").json()["aliases"]["champion"]
        told["audit_sound"] = service.client.get("/v1/audit/verify").json()["ok"]
        told["rollback"] = await part(r, roll_back)
        told["audit_sound_after_rollback"] = service.client.get("/v1/audit/verify").json()["ok"]
        return told | {"mv_violations": r.violations(), "cycles": len(r.records)}


def main() -> None:
    """Train by the older version once, tell the story with every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", default="28f88e6", help="a commit whose database is of an older revision")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    old = older(asked.old)
    known = Killable(CACHE / f"control_upgrade-{asked.old}")
    known.code = old
    try:
        known.trained(QUADRUPLE_TANK, BUDGET_S)
    finally:
        known.stop()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for seed in range(30, 30 + asked.seeds):
        key = f"{asked.old}, seed {seed}"
        if key not in results:
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(known.folder, Path(folder) / "data")
                service = Killable(Path(folder) / "data")
                service.code = old
                try:
                    service.start()
                    service.ready()
                    results[key] = asyncio.run(story(service, ROOT, old, seed, Path(folder)))
                finally:
                    service.kill()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(f"{key}: {json.dumps(results[key])}", flush=True)


if __name__ == "__main__":
    main()
