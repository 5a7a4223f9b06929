"""A controller in closed loop over OPC UA: a server around the simulated tank, a plant's file, the real service."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from api.cli.demo.serve_plant import at_rest
from api.cli.demo.served_plant import ServedPlant
from api.control.link import ServiceLink
from api.control.modes import Mode
from api.control.start import assembled, configured, sound
from connectors.config import load
from connectors.errors import ConfigError
from tests.api.conftest import KEY
from tests.control.support import Pace
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator

PERIOD_S = QuadrupleTank.plant.sample_period_s
START = pd.Timestamp("2026-04-01T00:00:00Z")
FILE = """plant = "tank"
[service]
url = "{service}"
key_env = "TWIN_KEY"
[[sources]]
kind = "opcua"
url = "{plant}"
[sources.tags]
{sources}
[[sinks]]
kind = "opcua"
url = "{plant}"
[sinks.tags]
{sinks}
[control]
horizon_s = 300
closed_loop_allowed = true
patience = 2
[control.setpoints]
level_1 = {{value = 13.5}}
level_2 = {{value = 12.0}}
[control.mvs.pump_1]
mode_tag = "pump_1.mode"
[control.mvs.pump_2]
mode_tag = "pump_2.mode"
[control.watchdog]
tag = "heartbeat"
[control.permissives]
"controller.permitted" = 1
[control.release]
"pump_1.mode" = 0
"pump_2.mode" = 0
"""
READ = [*QuadrupleTank.plant.names, "pump_1.mode", "pump_2.mode", "controller.permitted"]
WRITTEN = ["pump_1", "pump_2", "heartbeat", "pump_1.mode", "pump_2.mode"]


def nodes(names: list[str]) -> str:
    return "\n".join(f'"{name}" = "ns=2;s={name}"' for name in names)


def test_closed_loop_over_opc_ua(address: str, client: httpx.Client, trained: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("asyncua")
    # What an operator asked of an earlier controller holds for the next one too: ask for what this one is to do.
    asked = {"setpoints": {"level_1": 13.5, "level_2": 12.0}, "reason": "as in the file"}
    client.put("/v1/plants/tank/controller", json=asked).raise_for_status()
    asyncio.run(_story(address, tmp_path))


async def _story(address: str, folder: Path) -> None:
    simulator = Simulator(QuadrupleTank(), 8, START)
    resting = at_rest(simulator, 150)
    async with ServedPlant(simulator) as served:
        path = folder / "plant.toml"
        path.write_text(FILE.format(service=address, plant=served.url, sources=nodes(READ), sinks=nodes(WRITTEN)))
        config = load(path, {"TWIN_KEY": KEY})
        pace = Pace(simulator.time.value)
        link = ServiceLink(address, KEY, "tank")
        configuration = configured(config, QuadrupleTank.plant)
        assert await sound(config, configuration, pace, asyncio.Event())
        path.write_text(
            path.read_text().replace('"heartbeat" = "ns=2;s=heartbeat"', '"heartbeat" = "ns=2;s=haertbeat"')
        )
        with pytest.raises(ConfigError, match="the server has no node ns=2;s=haertbeat") as refused:
            await sound(load(path, {"TWIN_KEY": KEY}), configuration, pace, asyncio.Event())
        (line,) = [fault.line for fault in refused.value.faults]
        assert "haertbeat" in path.read_text().splitlines()[line - 1]
        async with aclosing(link), assembled(config, configuration, pace, link) as (controller, runner):
            for time, row in zip(resting.frame().index, resting.values, strict=True):
                controller.rows.add(time.value, dict(zip(resting.plant.names, row.tolist(), strict=True)))

            async def cycles(count: int) -> dict[str, Any]:
                record: dict[str, Any] = {}
                for _ in range(count):
                    record = await controller.cycle(pace.steady())
                    await runner.exchange()
                    await served.advance()
                    pace.go(PERIOD_S)
                return record

            record = await cycles(2)
            assert record["ok"], record["fault"]
            assert await served.value("heartbeat") == 0
            await controller.request(Mode.CLOSED, "operator", "", scope=True, confirmed=True)
            record = await cycles(45)
            assert record["mode"] == "closed"
            assert record["ok"], record["fault"]
            assert np.abs(simulator.state[:2] - [13.5, 12.0]).max() < 0.5
            assert await served.value("heartbeat") == 45
            assert await served.value("heartbeat.lost") == 0

            # A hand at the base layer takes pump 1; the loop goes on with pump 2 and takes pump 1 back from there.
            await served.set("pump_1.mode", 0.0)
            record = await cycles(1)
            assert record["held"] == {"pump_1": "manual"}
            assert set(record["written"]) == {"pump_2"}
            await served.set("pump_1.mode", 1.0)
            record = await cycles(3)
            assert set(record["written"]) == {"pump_1", "pump_2"}

            # A setpoint CV turns bad. One sample: nothing is written, and the loop stays closed. The next one ends
            # closed loop; the loops are handed back and the heart stands still.
            await served.set("level_1", float("nan"), good=False)
            record = await cycles(1)
            assert record["fault"]["code"] == "missing"
            assert controller.mode is Mode.CLOSED
            assert not record["written"]
            await served.set("level_1", float("nan"), good=False)
            record = await controller.cycle(pace.steady())
            assert record["fault"]["code"] == "missing"
            assert controller.mode is Mode.SHADOW
            assert await served.value("pump_1.mode") == 0
            pace.go(PERIOD_S)
            pumps = simulator.moves.copy()
            for _ in range(4):
                await served.advance()
            assert (simulator.moves == pumps).all()
            assert await served.value("heartbeat.lost") == 1


def test_a_value_that_is_written_while_the_plant_makes_a_row_counts_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("asyncua")

    async def story() -> None:
        simulator = Simulator(QuadrupleTank(), 8, START)
        at_rest(simulator, 2)
        async with ServedPlant(simulator) as served:
            before = await served.value("pump_1")
            read = served.value

            async def then_written(name: str) -> float:
                found = await read(name)
                if name == "pump_2":  # pump_1 has been read already
                    monkeypatch.setattr(served, "value", read)
                    await served.set("pump_1", before + 0.1)
                return found

            monkeypatch.setattr(served, "value", then_written)
            row = await served.advance()
            assert row["pump_1"] == before
            assert await served.value("pump_1") == before + 0.1
            row = await served.advance()
            assert row["pump_1"] == before + 0.1

    asyncio.run(story())


async def test_two_writes_within_a_row_of_the_served_plant_are_no_hand() -> None:
    pytest.importorskip("asyncua")
    async with ServedPlant(Simulator(QuadrupleTank(), 8, START)) as served:
        await served.set("pump_1.mode", 1.0)
        now = await served.value("pump_1")
        await served.set("pump_1", now - 0.2)
        await served.set("pump_1", now - 0.4)  # 0.25 V a row is all that the pump can do
        await served.advance()
        assert await served.value("pump_1") == now - 0.4  # what was asked stands, as in a control system
        assert served.simulator.moves[0] == pytest.approx(now - 0.25, abs=1e-9)
        await served.advance()
        assert served.simulator.moves[0] == now - 0.4
        await served.set("pump_1", 99.0)
        await served.advance()
        assert await served.value("pump_1") == 4.0  # beyond its limit it is cut
