"""Modbus against pymodbus' server, with mbpoll (libmodbus) as the other master that reads and writes it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.modbus import Block, Register, SinkOptions, SourceOptions, blocks, sink, source
from connectors.protocol import NS
from tests.connectors.support import Network, Taken, free_port, needed, process
from twin.storage.batch import BAD, GOOD

SERVER = """
import asyncio, sys
from pymodbus.server import StartAsyncTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
words = SimData(0, count=200, values=0, datatype=DataType.REGISTERS)
bits = SimData(0, count=64, values=False, datatype=DataType.BITS)
device = SimDevice(1, simdata=([bits], [bits], [words], [words]))
asyncio.run(StartAsyncTcpServer(device, address=("127.0.0.1", int(sys.argv[1]))))
"""


@contextlib.contextmanager
def device(port: int | None = None) -> Iterator[int]:
    port = port or free_port()
    with process(sys.executable, "-W", "ignore", "-c", SERVER, str(port), port=port):
        yield port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with device() as port:
        yield port


def mbpoll(port: int, *given: str) -> str:
    """libmodbus reads (or writes, with values) from 0 on, once."""
    command = [needed("mbpoll"), "-m", "tcp", "-p", str(port), "-0", "-1", "-q", *given]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def options(port: int, tags: dict, **given: object) -> SourceOptions:
    body = {"kind": "modbus", "host": "127.0.0.1", "port": port, "tags": tags, "period_s": 0.1}
    return SourceOptions.model_validate(body | given)


async def test_what_libmodbus_wrote_is_read_with_its_type_and_order(port: int) -> None:
    (high, low) = struct.unpack(">HH", struct.pack(">f", 21.5))
    tags = {
        "integer": {"address": "holding:10", "type": "int16"},
        "big": {"address": "holding:11", "type": "float32"},
        "swapped": {"address": "holding:13", "type": "float32", "order": "CDAB"},
        "little": {"address": "holding:15", "type": "uint32", "order": "DCBA"},
        "double": {"address": "holding:17", "type": "float64"},
        "pump": {"address": "coil:3"},
    }
    await asyncio.to_thread(mbpoll, port, "-r", "10", "127.0.0.1", "65529", str(high), str(low), str(low), str(high))
    four = struct.unpack(">4H", struct.pack(">d", -1234.5))
    await asyncio.to_thread(mbpoll, port, "-r", "15", "127.0.0.1", str(0x7856), str(0x3412), *map(str, four))
    await asyncio.to_thread(mbpoll, port, "-r", "3", "-t", "0", "127.0.0.1", "1")
    async with source(options(port, tags), Context()) as plant, Taken(plant.batches()) as taken:
        got = (await taken.until(lambda got: len(got) >= 6)).latest()
        assert {tag: (value, code) for tag, (_, value, code) in got.items()} == {
            "integer": (-7.0, GOOD),
            "big": (21.5, GOOD),
            "swapped": (21.5, GOOD),
            "little": (float(0x12345678), GOOD),
            "double": (-1234.5, GOOD),
            "pump": (1.0, GOOD),
        }


async def test_what_we_write_is_what_libmodbus_reads(port: int) -> None:
    tags = {
        "valve": {"address": "holding:40", "type": "float32"},
        "swapped": {"address": "holding:42", "type": "int32", "order": "CDAB"},
        "mode": {"address": "holding:44", "type": "uint16"},
        "pump": {"address": "coil:9"},
        "sensor": {"address": "input:1"},
        "gone": {"address": "holding:5000"},
    }
    target = SinkOptions.model_validate({"host": "127.0.0.1", "port": port, "tags": tags})
    async with sink(target, Context()) as out:
        await out.write({"valve": 55.25, "swapped": -100000.0, "mode": 3.0, "pump": 1.0})
        told = await asyncio.to_thread(mbpoll, port, "-r", "40", "-c", "1", "-t", "4:float", "-B", "127.0.0.1")
        assert "55.25" in told
        told = await asyncio.to_thread(mbpoll, port, "-r", "42", "-c", "1", "-t", "4:int", "127.0.0.1")
        assert "-100000" in told
        told = await asyncio.to_thread(mbpoll, port, "-r", "9", "-c", "1", "-t", "0", "127.0.0.1")
        assert "[9]: \t1" in told
        for wrong, why in (
            ({"mode": 2.5}, r"'mode': 2\.5 is no whole number"),
            ({"mode": -1.0}, "'mode': -1 does not fit into uint16"),
            ({"sensor": 1.0}, "'sensor': input:1 can only be read"),
            ({"gone": 1.0}, "'gone': the device refused 1: it has no such address"),
        ):
            with pytest.raises(ConnectorError, match=why):
                await out.write(wrong)


async def test_polls_come_at_their_rate_and_a_missing_register_is_told(port: int) -> None:
    tags = {"level": "holding:10", "gone": "holding:5000"}
    async with source(options(port, tags), Context()) as plant:
        assert await plant.faults() == {"gone": "the device does not answer for holding:5000: it has no such address"}
        async with Taken(plant.batches()) as taken:
            got = await taken.until(lambda got: len(got) >= 20)
        assert set(got.quality[got.tags == "gone"]) == {BAD}
        times = np.unique(got.times[got.tags == "level"])
        whole = times // (NS // 10)
        assert len(set(whole)) == len(whole)  # each in a tenth of a second of its own
        assert plant.health.gaps == whole[-1] - whole[0] + 1 - len(whole)


async def test_a_device_that_went_away_is_polled_again_when_it_is_back(port: int) -> None:
    async with Network(port) as network:
        mine = options(network.port, {"level": "holding:10"})
        async with source(mine, Context()) as plant, Taken(plant.batches()) as taken:
            await taken.until(len)
            await network.cut()
            while plant.health.connected:
                await asyncio.sleep(0.02)
            with pytest.raises(ConnectorError, match="no connection"):
                await plant.read(["level"])
            before = len(taken.all)
            await network.mend()
            await taken.until(lambda got: len(got) > before)
            assert plant.health.reconnects == 1


def test_registers_near_each_other_are_read_together() -> None:
    registers = {
        "a": Register(address="holding:0", type="float32"),
        "b": Register(address="holding:10"),
        "c": Register(address="holding:100"),
        "d": Register(address="input:11"),
        "e": Register(address="holding:12", device=2),
    }
    assert blocks(registers) == [
        Block(1, "holding", 0, 11, ("a", "b")),
        Block(1, "holding", 100, 1, ("c",)),
        Block(1, "input", 11, 1, ("d",)),
        Block(2, "holding", 12, 1, ("e",)),
    ]


def test_maps_that_overlap_or_name_no_register() -> None:
    tags = {"a": {"address": "holding:0", "type": "float32"}, "b": "holding:1", "c": "input:1", "d": "holding:2"}
    assert list(options(1, tags).contradictions()) == [
        ("b", "holding 1 belongs to 'a' already: the register map overlaps")
    ]
    with pytest.raises(ValueError, match="'40001' is no register"):
        options(1, {"a": "40001"})
    with pytest.raises(ValueError, match="coil:3 is one bit: it has no type"):
        options(1, {"a": {"address": "coil:3", "type": "float32"}})
