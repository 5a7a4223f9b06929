"""A simulated plant behind an OPC UA server, with a base layer that watches the controller's heartbeat.

Nodes of namespace 2, by their names: each tag of the plant (MVs can be written), `<mv>.mode` (1: the loop takes what is
written; 0: it holds its own value), `heartbeat` (for the controller), `heartbeat.lost` (1 while the heartbeat stood
still after it had begun) and `controller.permitted` (the operator's switch). Values carry the plant's time, and nodes
their units.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from types import TracebackType
from typing import Self

import numpy as np
from asyncua import Server, ua
from asyncua.common.node import Node

from twin.plants.simulator import Simulator

URI = "urn:plant-twin:simulated"
SILENT_PERIODS = 3  # of a heartbeat, after which the base layer takes over


class ServedPlant:
    """A simulated plant that others read and write over OPC UA.

    Args:
        simulator: its next row is the first that is served.
        port: on this machine; 0 takes a free one.
        host: the address it listens at.
    """

    def __init__(self, simulator: Simulator, port: int = 0, host: str = "127.0.0.1") -> None:
        self.simulator, self._port, self._host = simulator, port, host
        self._server = Server()
        self._nodes: dict[str, Node] = {}
        self._beat, self._silent = 0.0, 0
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._server.init()
        self._server.set_endpoint(f"opc.tcp://{self._host}:{self._port}")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await self._server.register_namespace(URI)
        plant = self.simulator.plant
        extras = {f"{tag.name}.mode": 1.0 for tag in plant.mvs}
        extras |= {"heartbeat": 0.0, "heartbeat.lost": 0.0, "controller.permitted": 1.0}
        moves = dict(zip([tag.name for tag in plant.mvs], self.simulator.moves.tolist(), strict=True))
        written = {*moves, *extras} - {"heartbeat.lost"}
        for name in (*plant.names, *extras):
            value = extras.get(name, moves.get(name, 0.0))
            identifier = ua.NodeId(name, 2)
            node = await self._server.nodes.objects.add_variable(identifier, f"2:{name}", value, ua.VariantType.Double)
            if name in written:
                await node.set_writable()
            self._nodes[name] = node
            if name in plant.names and (unit := plant.tag(name).unit) != "1":
                told = ua.EUInformation(UnitId=-1, DisplayName=ua.LocalizedText(unit))
                await node.add_property(ua.NodeId(f"{name}.unit", 2), "0:EngineeringUnits", told)
        await self._server.start()
        host, port = self._server.bserver._server.sockets[0].getsockname()[:2]
        self.url = f"opc.tcp://{host}:{port}"
        await self.advance()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop()

    async def stop(self) -> None:
        """Cut every connection; the plant goes on."""
        await self._server.bserver.stop()

    async def start(self) -> None:
        """Listen again, at the same address."""
        await self._server.bserver.start()

    async def value(self, name: str) -> float:
        """What a node holds."""
        return float(await self._nodes[name].read_value())

    async def set(self, name: str, value: float, good: bool = True) -> None:
        """Give a node another value, or a bad quality, as the plant's own systems would."""
        code = ua.StatusCodes.Good if good else ua.StatusCodes.BadSensorFailure
        stamp = self.simulator.time.to_pydatetime()
        told = ua.DataValue(ua.Variant(value, ua.VariantType.Double), ua.StatusCode(code), stamp, stamp)
        await self._nodes[name].write_value(told)

    async def advance(self) -> dict[str, float]:
        """One sample period under what was written to the MVs in remote; the row that is served now."""
        await self._watch()
        moves = {}
        for tag in self.simulator.plant.mvs:
            if await self.value(f"{tag.name}.mode") == 1.0:
                moves[tag.name] = await self.value(tag.name)
        row = self.simulator.advance(moves)
        bounds = {tag.name: (tag.low, tag.high) for tag in self.simulator.plant.mvs}
        for name, value in row.items():
            if name in moves:  # the demand stands: its actuator may still be on its way, and it may be written anew
                value = float(np.clip(await self.value(name), *bounds[name]))
            await self.set(name, value)
        for name in self._nodes.keys() - row.keys() - {"heartbeat"}:
            await self.set(name, await self.value(name))
        return row

    async def run(self, speed: float, since: dt.datetime) -> None:
        """Row after row, so many times as fast as real time; the present row is that of the wall-clock time `since`."""
        period_s = self.simulator.plant.sample_period_s / speed
        rows = 0
        while True:
            rows += 1
            due = since + dt.timedelta(seconds=rows * period_s)
            await asyncio.sleep(max((due - dt.datetime.now(dt.UTC)).total_seconds(), 0.0))
            await self.advance()

    async def _watch(self) -> None:
        """The base layer: while a heartbeat that had begun stands still, its loops hold what they have."""
        beat = await self.value("heartbeat")
        self._silent = 0 if beat != self._beat else self._silent + 1
        self._beat = beat
        lost = beat > 0 and self._silent >= SILENT_PERIODS
        await self.set("heartbeat.lost", float(lost))
