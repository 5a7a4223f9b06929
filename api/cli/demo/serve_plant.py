"""`twin serve-plant`: the quadruple tank behind an OPC UA server until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import numpy as np
import pandas as pd

from api.cli import show
from connectors.errors import MissingExtra
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

WARM_UP_ROWS = 300  # simulated before the epoch; whoever knows seed and epoch can compute them too


def simulator(seed: int, epoch: pd.Timestamp) -> Simulator:
    """The tank as it stands `WARM_UP_ROWS` before its epoch."""
    period = pd.Timedelta(seconds=QuadrupleTank.plant.sample_period_s)
    return Simulator(QuadrupleTank(), seed, epoch - WARM_UP_ROWS * period)


def at_rest(plant: Simulator, rows: int) -> Telemetry:
    """The next rows with every MV where it stands."""
    return plant.run(np.tile(plant.moves, (rows, 1)))


def main(port: int, speed: float, seed: int, epoch: str | None, since: str | None) -> int:
    """Serve until SIGINT or SIGTERM; the exit code."""
    now = pd.Timestamp.now("UTC")
    begin = now if since is None else pd.Timestamp(since)
    plant = simulator(seed, now if epoch is None else pd.Timestamp(epoch))
    try:
        from api.cli.demo.served_plant import ServedPlant
    except ModuleNotFoundError:
        show.errors.print(str(MissingExtra("opcua", "opcua")), style="red")
        return 1
    at_rest(plant, WARM_UP_ROWS)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with ServedPlant(plant, port) as served:
            show.errors.print(f"The quadruple tank at {served.url}, {speed:g} times as fast as real time")
            running = asyncio.create_task(served.run(speed, begin.to_pydatetime()))
            await stop.wait()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    asyncio.run(serve())
    return 0
