"""A controller in closed loop with a plant in memory, planned by the real service over HTTP."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from api.control.actuator import Actuator
from api.control.controller import Controller
from api.control.inputs import Inputs
from api.control.journal import Journal
from api.control.link import ServiceLink
from api.control.modes import Mode
from api.control.ports import Inlets, Outlets, guarded
from api.control.runner import Runner
from tests.api.conftest import KEY
from tests.control.tank import EXTRAS, PERIOD_S, Tank, configuration
from twin.plants.quadruple_tank import QuadrupleTank

URL = "/v1/plants/tank/controller"
PUMPS = ("pump_1", "pump_2")


class Loop:
    """The parts, put together as `api.control.start` does."""

    def __init__(self, address: str, folder: Path, **settings: object) -> None:
        self.tank = Tank()
        pace, memory = self.tank.pace, self.tank.memory
        made = configuration("tank", **settings)
        inlets = Inlets(dict.fromkeys([*QuadrupleTank.plant.names, *EXTRAS], memory))
        sink = guarded(Outlets(dict.fromkeys([*PUMPS, *EXTRAS], memory)), made, pace)
        self.journal = Journal(folder)
        actuator = Actuator(made, sink, inlets, self.journal, pace)
        self.link = ServiceLink(address, KEY, "tank")
        self.controller = Controller(made, Inputs(made, inlets), self.link, actuator, self.journal, pace, Mode.SHADOW)
        self.runner = Runner(self.controller, self.link, pace, PERIOD_S, 2 * PERIOD_S)
        self.controller.tell = self.runner.tell
        for time, row in zip(self.tank.resting.frame().index, self.tank.resting.values, strict=True):
            self.controller.rows.add(time.value, dict(zip(QuadrupleTank.plant.names, row.tolist(), strict=True)))

    async def cycles(self, count: int) -> None:
        await self.runner.run(asyncio.Event(), self.runner.cycles + count)

    def written(self) -> list[dict[str, float]]:
        return [values for _, values in self.tank.memory.written]


def test_shadow_closed_setpoints_report_and_the_end(
    address: str, client: httpx.Client, trained: dict[str, Any], tmp_path: Path
) -> None:
    asyncio.run(_story(address, client, tmp_path))


async def _story(address: str, client: httpx.Client, folder: Path) -> None:
    loop = Loop(address, folder)
    await loop.runner.start()
    await loop.cycles(3)
    assert loop.controller.last["ok"], loop.controller.last["fault"]
    assert loop.written() == []
    before = np.abs(loop.tank.levels[-1][0] - 13.5)

    def put(**body: object) -> None:
        assert client.put(URL, json=body).status_code == 202

    put(mode="closed", confirm="tank", reason="commissioned")
    await _until(loop, 70)
    assert loop.controller.mode is Mode.CLOSED
    levels = np.array(loop.tank.levels)
    # Noise is 0.05 cm and leaks wander; without control level 1 would stay 1.2 cm below its setpoint.
    assert before > 1.0
    assert np.abs(levels[-20:, 0].mean() - 13.5) < 0.3
    assert np.abs(levels[-20:, 1].mean() - 12.0) < 0.3
    _inside(loop)
    beats = [values["heartbeat"] for values in loop.written()]
    assert beats == list(range(1, len(beats) + 1))

    put(setpoints={"level_1": 12.0})
    await _until(loop, 40)
    assert np.abs(np.array(loop.tank.levels)[-10:, 0].mean() - 12.0) < 0.5

    await loop.cycles(1)
    assert loop.controller.mode is Mode.SHADOW
    writes = len(loop.written())
    report = client.get(f"{URL}/report", params={"start": "2026-03-01T00:00:00Z"}).json()
    closed = report["by_mode"]["closed"]
    assert report["cycles"] == loop.runner.cycles
    assert report["service_factor"] == writes / loop.runner.cycles
    assert closed == writes
    assert report["overrides"][-1]["reason"] == "it was stopped"
    assert report["prediction"]["level_1"]["rows"] >= writes - 2
    assert report["prediction"]["level_1"]["rmse"] < 0.3
    logged = [record for record in loop.journal.records() if record["kind"] == "cycle"]
    assert len(logged) == loop.runner.cycles
    found = client.get(URL).json()
    assert found["state"]["mode"] == "shadow"
    assert found["state"]["request"]["accepted"] is True
    await loop.link.aclose()


async def _until(loop: Loop, cycles: int) -> None:
    """Cycle by cycle, without the end of closed loop that the end of a run is."""
    for _ in range(cycles):
        due = loop.tank.pace.steady()
        await loop.controller.cycle(due)
        loop.runner.cycles += 1
        await loop.runner.exchange()
        loop.tank.pace.go(PERIOD_S)


def _inside(loop: Loop) -> None:
    """Every value written is inside limits and rates."""
    written = [values for values in loop.written() if "pump_1" in values]
    for mv in PUMPS:
        values = [values[mv] for values in written]
        assert all(0.5 <= value <= 4.0 for value in values)
        assert all(abs(b - a) <= 0.05 * PERIOD_S for a, b in pairwise(values))
