"""What a running controller does when things break: a fault table over OPC UA, each fault with several seeds.

    python tests/benchmarks/control_faults.py [--seeds 3] [--only spike] [--again] [--since 2026-11-28]

The quadruple tank is served over OPC UA and controlled in step by the parts of `twin control`, planned by the real
service. Every story: 30 cycles in closed loop at changing setpoints, the fault for 20 cycles, then it is mended, the
operator hands back and confirms closed loop again, 20 cycles. Prints a table and writes `results/control_faults.json`,
and goes on where it stopped; `--again` begins anew, `--since` replaces what is older, one by one. *To safe* is the
plant's time from the start of the fault until the loops were handed back; with safe values that is when these are
reached.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from support.rig import Killable, Rig, rig
from support.scenarios import QUADRUPLE_TANK

from twin.plants.simulator import Simulator

RESULTS = Path(__file__).parent / "results"
CACHE = Path(__file__).parent / "cache"
SLUG = QUADRUPLE_TANK.slug
BUDGET_S = 40.0  # of training
SAFE = 2.5  # of each pump, where a story has safe values
PERIOD_S = QUADRUPLE_TANK.process.plant.sample_period_s
BEFORE, DURING, BEHIND = 30, 20, 20  # cycles
CONTROL = """[control]
horizon_s = 300
closed_loop_allowed = true
setpoints = {level_1 = {value = 13.5}, level_2 = {value = 12.0}}
limits = {level_3 = {high = 6.0}}
move_suppression = {pump_1 = 0.01, pump_2 = 0.01}
mvs = {pump_1 = {mode_tag = "pump_1.mode"}, pump_2 = {mode_tag = "pump_2.mode"}}
inputs = {level_1 = {max_step = 1.0, frozen_after_s = 20}, level_2 = {max_step = 1.0}, level_3 = {max_step = 1.0}}
watchdog = {tag = "heartbeat"}
permissives = {"controller.permitted" = 1}
release = {"pump_1.mode" = 0, "pump_2.mode" = 0}
"""
Act = Callable[[Rig, Killable, int], Awaitable[None]]


async def nothing(r: Rig, service: Killable, k: int) -> None:
    """No fault: what the story itself does."""


@dataclass(frozen=True)
class Fault:
    """A fault: what happens before its cycle k (0 is the first), and how it is mended."""

    name: str
    act: Act
    mend: Act = nothing
    safe: bool = False  # whether the MVs have safe values


async def kill_service(r: Rig, service: Killable, k: int) -> None:
    if k == 0:
        service.kill()


async def start_service(r: Rig, service: Killable, k: int) -> None:
    await asyncio.to_thread(service.start)
    await asyncio.to_thread(service.ready)


async def cut_link(r: Rig, service: Killable, k: int) -> None:
    if k == 0:
        await r.served.stop()


async def mend_link(r: Rig, service: Killable, k: int) -> None:
    await r.served.start()
    for _ in range(100):  # asyncua takes its connections up again by itself
        await asyncio.sleep(0.2)
        if (await r.cycle())["fault"] is None:
            return


def bad(tag: str) -> Act:
    async def act(r: Rig, service: Killable, k: int) -> None:
        await r.served.set(tag, await r.served.value(tag), good=False)

    return act


def frozen(tag: str) -> Act:
    held: list[float] = []

    async def act(r: Rig, service: Killable, k: int) -> None:
        if k == 0:
            held[:] = [await r.served.value(tag)]
        await r.served.set(tag, held[0])

    return act


def spikes(tag: str) -> Act:
    async def act(r: Rig, service: Killable, k: int) -> None:
        if k % 5 == 0:
            await r.served.set(tag, await r.served.value(tag) + 4.0)

    return act


async def by_hand(r: Rig, service: Killable, k: int) -> None:
    if k in (0, 5):
        await r.served.set("pump_1", min(await r.served.value("pump_1") + 0.2, 4.0))


async def manual(r: Rig, service: Killable, k: int) -> None:
    if k == 0:
        await r.served.set("pump_1.mode", 0.0)


async def remote(r: Rig, service: Killable, k: int) -> None:
    await r.served.set("pump_1.mode", 1.0)


async def switch_off(r: Rig, service: Killable, k: int) -> None:
    if k == 0:
        await r.served.set("controller.permitted", 0.0)


async def switch_on(r: Rig, service: Killable, k: int) -> None:
    await r.served.set("controller.permitted", 1.0)


async def other_twin(r: Rig, service: Killable, k: int) -> None:
    if k == 0:
        path = f"/v1/plants/{SLUG}"
        twins = [item["twin"] for item in service.client.get(f"{path}/twins").json()["items"]]
        champion = service.client.get(path).json()["aliases"]["champion"]
        other = next(twin for twin in twins if twin != champion)
        service.client.put(f"{path}/aliases/champion", json={"twin": other}).raise_for_status()
        await asyncio.to_thread(service.ready)


async def step_clock(r: Rig, service: Killable, k: int) -> None:
    if k == 0:
        r.clock.hands.wall += 3_600 * 10**9


async def step_back(r: Rig, service: Killable, k: int) -> None:
    r.clock.hands.wall -= 3_600 * 10**9


async def fill_disk(r: Rig, service: Killable, k: int) -> None:
    if k == 0:
        path = r.log / f"{datetime.now(UTC):%Y-%m-%d}.jsonl"
        path.rename(path.with_suffix(".kept"))
        path.symlink_to("/dev/full")


async def empty_disk(r: Rig, service: Killable, k: int) -> None:
    for path in r.log.glob("*.jsonl"):
        if path.is_symlink():
            path.unlink()


FAULTS = (
    Fault("none", nothing),
    Fault("service killed (kill -9)", kill_service, start_service),
    Fault("link to the plant cut", cut_link, mend_link),
    Fault("critical CV: bad quality", bad("level_1")),
    Fault("critical CV: bad quality; safe values", bad("level_1"), safe=True),
    Fault("service killed; safe values", kill_service, start_service, safe=True),
    Fault("critical CV: frozen", frozen("level_1")),
    Fault("critical CV: a spike in 5 cycles", spikes("level_1")),
    Fault("other CV: bad quality", bad("level_3")),
    Fault("other CV: a spike in 5 cycles", spikes("level_3")),
    Fault("DV: bad quality", bad("inflow_3")),
    Fault("MV moved by hand, twice", by_hand),
    Fault("MV in manual", manual, remote),
    Fault("operator's switch off", switch_off, switch_on),
    Fault("twin replaced", other_twin),
    Fault("wall clock steps by 1 h", step_clock, step_back),
    Fault("disk of the log full", fill_disk, empty_disk),
)


async def tell(fault: Fault, service: Killable, seed: int, folder: Path) -> dict[str, Any]:
    """One story with one seed."""
    simulator = Simulator(QUADRUPLE_TANK.process, seed)
    resting = simulator.run(np.tile(simulator.moves, (150, 1)))
    control = CONTROL.replace('.mode"}', f'.mode", safe = {SAFE}}}') if fault.safe else CONTROL
    async with rig(folder, SLUG, service.url, service.key, simulator, resting, control) as r:
        await r.cycle()
        await r.close_loop()
        for _ in range(BEFORE):
            await r.cycle()
        assert r.controller.mode == "closed", r.records[-1]["fault"]
        onset, changes = len(r.records), []
        for k in range(DURING):
            await fault.act(r, service, k)
            mode = r.controller.mode
            await r.cycle(advance=True)
            if r.controller.mode != mode:
                changes.append((k + 1, str(r.controller.mode)))
        during = r.records[onset:]
        errors = np.abs(np.array(r.states[onset:])[:, :2] - [13.5, 12.0]).max(axis=1)
        lost = await r.served.value("heartbeat.lost")
        await fault.mend(r, service, 0)
        if r.controller.mode != "closed":
            await r.close_loop()
        writes = len(r.writes)
        for _ in range(BEHIND):
            await r.cycle()
        return {
            "modes": changes,
            "to_safe_s": next((k * PERIOD_S for k, mode in changes if mode not in ("closed", "shedding")), None),
            "faults": _count(record["fault"]["code"] for record in during if record["fault"]),
            "findings": _count(f["code"] for record in during for f in record["findings"]),
            "writes": sum(bool(record["written"]) for record in during if record["mode"] == "closed"),
            "ramped": sum(bool(record["written"]) for record in during if record["mode"] == "shedding"),
            "first_not_written": next((k + 1 for k, record in enumerate(during) if not record["written"]), None),
            "held": _count(f"{mv}: {why}" for record in during for mv, why in record["held"].items()),
            "dropped": _count(tag for record in during for tag in record["dropped"]),
            "heartbeat_lost": bool(lost),
            "worst_error_cm": float(errors.max()),
            "return_step_share": _bump(r, writes),
            "closed_again": r.controller.mode == "closed",
            "mv_violations": r.violations(),
        }


def _bump(r: Rig, writes: int) -> float:
    """The first moves behind the fault, as a share of the largest move that is allowed."""
    if len(r.writes) <= writes:
        return math.nan
    _, written, present = r.writes[writes]
    return max(abs(written[mv] - present[mv]) / (0.05 * PERIOD_S) for mv in written)


def _count(codes: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for code in codes:
        counts[code] = counts.get(code, 0) + 1
    return counts


def main() -> None:
    """Tell every story with every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--since", default="", help="a time, ISO 8601, UTC")
    asked = parser.parse_args()
    path = RESULTS / "control_faults.json"
    results: dict[str, dict[str, Any]] = {} if asked.again or not path.exists() else json.loads(path.read_text())
    service = Killable(CACHE / "control_faults")
    try:
        service.trained(QUADRUPLE_TANK, BUDGET_S)
        if len(service.client.get(f"/v1/plants/{SLUG}/twins").json()["items"]) < 2:
            service.second(SLUG, BUDGET_S)
        head = ("seed", "written", "ramped", "to safe s", "lost", "cm", "bump", "viol")
        print(f"{'fault':38}" + "".join(f"{name:>10}" for name in head))
        for fault in FAULTS:
            for seed in range(30, 30 + asked.seeds) if asked.only in fault.name else ():
                told = results.get(fault.name, {}).get(str(seed))
                if told is None or told.get("at", "") < asked.since:
                    with tempfile.TemporaryDirectory() as folder:
                        told = asyncio.run(tell(fault, service, seed, Path(folder)))
                    told["at"] = datetime.now(UTC).isoformat(timespec="minutes")
                    results.setdefault(fault.name, {})[str(seed)] = told
                    RESULTS.mkdir(exist_ok=True)
                    path.write_text(json.dumps(results, indent=1) + "\n")
                _print(fault, seed, told)
    finally:
        service.kill()


def _print(fault: Fault, seed: int, told: dict[str, Any]) -> None:
    safe = "stays" if told["to_safe_s"] is None else f"{told['to_safe_s']:g}"
    cells = (seed, told["writes"], told["ramped"], safe, "yes" if told["heartbeat_lost"] else "")
    bump = "" if math.isnan(told["return_step_share"]) else f"{told['return_step_share']:.2f}"
    cells += (f"{told['worst_error_cm']:.2f}", bump, told["mv_violations"])
    line = f"{fault.name:38}" + "".join(f"{cell:>10}" for cell in cells)
    print(f"{line}  {told['faults']} {told['held']} {told['dropped']}", flush=True)


if __name__ == "__main__":
    main()
