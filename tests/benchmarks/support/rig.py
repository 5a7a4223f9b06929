"""A controller over OPC UA in step with a simulated plant: as fast as the machine, and no cycle waits for a clock."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from support.scenarios import Scenario
from support.service import PATIENCE_S, Service

from api.cli.demo.served_plant import ServedPlant
from api.control.clock import NS, SteadyClock
from api.control.controller import Controller
from api.control.link import ServiceLink
from api.control.modes import Mode
from api.control.runner import Runner
from api.control.start import assembled, configured
from connectors.config import load
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

CLOSES = 60  # cycles in which a good one must come: behind a fault, trust returns when the forecasts fit again


class Hands:
    """The hands of the clocks: they go when they are told to."""

    def __init__(self, now: int) -> None:
        self.wall, self.monotonic = now, 0.0


class StepClock(SteadyClock):
    """The controller's own clock, whose hands are moved by the benchmark."""

    def __init__(self, now: int) -> None:
        self.hands = Hands(now)
        super().__init__(wall=lambda: self.hands.wall, monotonic=lambda: self.hands.monotonic)

    def go(self, seconds: float) -> None:
        self.hands.wall += round(seconds * NS)
        self.hands.monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        self.go(seconds)


class Killable:
    """The service in a process that can be killed and started again on the same port and folder."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        """In that folder, listening at that address; `code` is the tree that runs, this one by default."""
        self.code = Path(__file__).parents[3]
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.key, self.url = secrets.token_urlsafe(24), f"http://127.0.0.1:{self.port}"  # the bootstrap key of this run
        self._settings = {"TWIN_DATA_DIR": str(folder), "TWIN_PORT": str(self.port), "TWIN_ADMIN_KEY": self.key}
        self._settings |= {"TWIN_HOST": host}
        headers = {"Authorization": f"Bearer {self.key}"}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        """Start it; when it answers."""
        command = [sys.executable, "-m", "api.cli.main", "serve"]
        environment = {**os.environ, **self._settings, "TWIN_LOG_LEVEL": "error", "PYTHONPATH": str(self.code)}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, cwd=self.code)
        while True:
            try:
                self.client.get("/healthz").raise_for_status()
                return Service(self.client, self.process.pid)
            except httpx.TransportError:
                time.sleep(0.2)

    def trained(self, scenario: Scenario, budget_s: float) -> str:
        """Start it and see that the scenario's plant has a champion; its id."""
        service, path = self.start(), f"/v1/plants/{scenario.slug}"
        found = self.client.get(path)
        if found.status_code != 200 or "champion" not in found.json()["aliases"]:
            _, training = scenario.tested()
            service.put_plant(scenario.slug, scenario.process.plant)
            service.upload(scenario.slug, training)
            service.train(scenario.slug, budget_s=budget_s)
        self.ready()
        return str(self.client.get(path).json()["aliases"]["champion"])

    def second(self, slug: str, budget_s: float) -> None:
        """Train another twin, which does not become champion by itself."""
        job = self.client.post(f"/v1/plants/{slug}/twins", json={"budget_s": budget_s, "seed": 1}).json()["job"]
        while self.client.get(f"/v1/jobs/{job}").json()["state"] in ("queued", "running"):
            time.sleep(0.5)

    def ready(self) -> None:
        """Wait until its programs are compiled."""
        while self.client.get("/readyz").status_code != 200:
            time.sleep(0.2)

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(300)
            self.process = None

    def kill(self) -> None:
        """kill -9, its workers with it."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@dataclass
class Rig:
    """What a benchmark holds in its hands.

    Attributes:
        writes: (cycle, MV → value, MV → what the plant measured before) of every write.
        records: of every cycle.
    """

    served: ServedPlant
    controller: Controller
    runner: Runner
    clock: StepClock
    log: Path
    writes: list[tuple[int, dict[str, float], dict[str, float]]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    moves: list[np.ndarray] = field(default_factory=list)

    async def cycle(self, advance: bool = True) -> dict[str, Any]:
        """One cycle, and one period of the plant."""
        plant = self.served.simulator.plant
        present = {tag.name: await self.served.value(tag.name) for tag in plant.mvs} if advance else {}
        began = time.perf_counter()
        record = await self.controller.cycle(self.clock.steady())
        await self.runner.exchange()
        record["wall_s"] = time.perf_counter() - began
        if record["written"]:
            self.writes.append((len(self.records), record["written"], present))
        self.records.append(record)
        if advance:
            await self.served.advance()
        self.states.append(self.served.simulator.state.copy())
        self.moves.append(self.served.simulator.moves.copy())
        self.clock.go(plant.sample_period_s)
        return record

    async def close_loop(self) -> None:
        """Hand the loops to the controller and confirm closed loop."""
        for tag in self.served.simulator.plant.mvs:
            await self.served.set(f"{tag.name}.mode", 1.0)
        for _ in range(CLOSES):
            record = await self.cycle()
            if self.controller.state()["ready"] and not record["held"]:
                await self.controller.request(Mode.CLOSED, "the benchmark", "", scope=True, confirmed=True)
                return
        raise RuntimeError(f"no good cycle: {record['fault']}, held {record['held']}")

    def violations(self) -> int:
        """Values written beyond a limit or a rate limit, in float64 without tolerance."""
        plant, count = self.served.simulator.plant, 0
        for _, written, present in self.writes:
            for name, value in written.items():
                tag = plant.tag(name)
                most = math.inf if tag.rate_limit_per_s is None else tag.rate_limit_per_s * plant.sample_period_s
                count += not (tag.low <= value <= tag.high and abs(value - present[name]) <= most)
        return count


def plant_file(slug: str, url: str, served: ServedPlant, control: str) -> str:
    """The file of `twin control` for a served plant, with such a table `control`."""
    plant = served.simulator.plant
    modes = [f"{tag.name}.mode" for tag in plant.mvs]
    read = "\n".join(f'"{n}" = "ns=2;s={n}"' for n in (*plant.names, *modes, "controller.permitted"))
    written = "\n".join(f'"{n}" = "ns=2;s={n}"' for n in (*(tag.name for tag in plant.mvs), *modes, "heartbeat"))
    endpoint = f'kind = "opcua"\nurl = "{served.url}"\ntimeout_s = 2.0\n'
    return (
        f'plant = "{slug}"\n[service]\nurl = "{url}"\nkey_env = "TWIN_KEY"\n'
        f"[[sources]]\n{endpoint}[sources.tags]\n{read}\n[[sinks]]\n{endpoint}[sinks.tags]\n{written}\n{control}"
    )


@asynccontextmanager
async def rig(
    folder: Path, slug: str, url: str, key: str, simulator: Simulator, resting: Telemetry, control: str
) -> AsyncIterator[Rig]:
    """A served plant and a controller with such a table `control`, in shadow, with the resting rows as its history."""
    plant = simulator.plant
    async with ServedPlant(simulator) as served:
        path = folder / "plant.toml"
        path.write_text(plant_file(slug, url, served, control))
        config, clock = load(path, {"TWIN_KEY": key}), StepClock(simulator.time.value)
        link = ServiceLink(url, key, slug)
        configuration = configured(config, plant)
        async with aclosing(link), assembled(config, configuration, clock, link) as (controller, runner):
            for stamp, row in zip(resting.frame().index, resting.values, strict=True):
                controller.rows.add(stamp.value, dict(zip(plant.names, row.tolist(), strict=True)))
            await runner.start()
            await asyncio.sleep(0)
            yield Rig(served, controller, runner, clock, folder / configuration.settings.journal)
