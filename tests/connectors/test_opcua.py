"""OPC UA against node-opcua, which shares no code with ours, and against asyncua's own server."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from asyncua import Server, ua

from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.opcua import SinkOptions, SourceOptions, sink, source
from connectors.protocol import NS
from tests.connectors.certificates import certificate
from tests.connectors.servers import Node, started
from tests.connectors.support import Network, Taken, free_port, of_tag
from twin.storage.batch import BAD, GOOD, UNCERTAIN

USER, PASSWORD = "operator", "a long password"


@pytest.fixture(scope="module")
def node(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with started(tmp_path_factory.mktemp("pki"), 3000) as node:
        yield node


def options(url: str, **given: object) -> SourceOptions:
    tags = {"level": "ns=1;s=Level", "valve": "ns=1;s=Valve"}
    return SourceOptions.model_validate(
        {"kind": "opcua", "url": url, "tags": tags, "sampling_ms": 20.0, "publishing_ms": 50.0} | given
    )


async def test_values_come_with_the_servers_quality_and_time(node: Node) -> None:
    async with source(options(node.url), Context()) as plant, Taken(plant.batches()) as taken:
        await taken.until(lambda got: {"level", "valve"} <= set(got.tags))
        stamps = []
        for value, status in ((2.5, "Good"), (3.5, "UncertainSensorNotAccurate"), (4.5, "BadSensorFailure")):
            stamps.append(node.set("Level", value, status=status))
            await asyncio.sleep(0.15)
        got = await taken.until(lambda got: {2.5, 3.5} <= set(got.values) and BAD in got.quality)
        rows = {
            t: (v, q) for t, g, v, q in zip(got.times, got.tags, got.values, got.quality, strict=True) if g == "level"
        }
        assert rows[stamps[0] * 1_000_000] == (2.5, GOOD)
        assert rows[stamps[1] * 1_000_000] == (3.5, UNCERTAIN)
        assert rows[stamps[2] * 1_000_000][1] == BAD
        assert plant.health.connected
        assert plant.health.received == len(got)
        assert abs(plant.health.skew_s) < 5.0


async def test_what_the_server_offers_can_be_pasted_into_the_file(node: Node) -> None:
    async with source(options(node.url), Context()) as plant:
        told = await plant.offers()
    assert 'Level = "ns=1;s=Level"  # Double, Level' in told
    assert 'Mode = "ns=1;s=Mode"  # Int16, Mode' in told
    assert not any("Text" in line for line in told)
    tags = tomllib.loads("\n".join(told))
    assert {f"T{i}": f"ns=1;s=T{i}" for i in range(3000)}.items() <= tags.items()


async def test_what_is_wrong_with_the_mapping_is_told_by_tag(node: Node) -> None:
    tags = {"level": "ns=1;s=Level", "gone": "ns=1;s=Gone", "words": "ns=1;s=Text", "object": "i=85"}
    async with source(options(node.url, tags=tags), Context()) as plant:
        assert await plant.faults() == {
            "gone": "the server has no node ns=1;s=Gone",
            "words": "ns=1;s=Text holds String, no number",
            "object": "i=85 has no value to read",
        }


async def test_writes_keep_the_nodes_type_and_name_what_was_refused(node: Node) -> None:
    tags = {"valve": "ns=1;s=Valve", "mode": "ns=1;s=Mode", "text": "ns=1;s=Text", "gone": "ns=1;s=Gone"}
    target = SinkOptions(kind="opcua", url=node.url, tags=tags)
    async with sink(target, Context()) as out, source(options(node.url, tags=tags), Context()) as plant:
        await out.write({"valve": 55.25, "mode": 3.0})
        back = (await plant.read(["valve", "mode"])).latest()
        assert {tag: back[tag][1:] for tag in back} == {"valve": (55.25, GOOD), "mode": (3.0, GOOD)}
        with pytest.raises(ConnectorError, match=r"'mode': 2\.5 cannot be written: the node holds whole numbers"):
            await out.write({"mode": 2.5})
        with pytest.raises(ConnectorError, match="'text': cannot be written: it holds no number"):
            await out.write({"text": 1.0})
        with pytest.raises(ConnectorError, match="'gone': cannot be written: BadNodeIdUnknown"):
            await out.write({"gone": 1.0})
        with pytest.raises(ConnectorError, match="'valve': nan is no number"):
            await out.write({"valve": math.nan})


async def test_nothing_is_lost_while_the_network_is_cut(node: Node) -> None:
    async with Network(node.port) as network:
        url = f"opc.tcp://127.0.0.1:{network.port}"
        async with source(options(url), Context()) as plant, Taken(plant.batches()) as taken:
            await taken.until(lambda got: "level" in got.tags)
            sent = []
            for i in range(30):
                if i == 10:
                    await network.cut()
                if i == 20:
                    await network.mend()
                node.set("Level", 100.0 + i)
                sent.append(100.0 + i)
                await asyncio.sleep(0.05)
            got = await taken.until(lambda got: set(sent) <= set(got.values))
            assert of_tag(got.where(got.values >= 100.0), "level") == sent
            while not plant.health.connected:
                await asyncio.sleep(0.05)
            assert plant.health.reconnects == 1


async def test_a_link_that_is_lost_again_while_the_gap_is_read_loses_nothing(node: Node) -> None:
    async with Network(node.port) as network:
        url = f"opc.tcp://127.0.0.1:{network.port}"
        # A queue of one: what changed meanwhile is in the server's history alone.
        async with source(options(url, queue=1), Context()) as plant, Taken(plant.batches()) as taken:
            await taken.until(lambda got: "level" in got.tags)
            await network.cut()
            sent = [300.0 + i for i in range(10)]
            for value in sent:
                node.set("Level", value)
                await asyncio.sleep(0.02)
            asked, read = [], plant._link.client.uaclient.history_read

            async def lost_once(params: object) -> object:
                asked.append(params)
                if len(asked) == 1:
                    raise ConnectionError("Connection is closed")
                return await read(params)

            plant._link.client.uaclient.history_read = lost_once
            await network.mend()
            got = await taken.until(lambda got: set(sent) <= set(got.values))
            assert of_tag(got.where(got.values >= 300.0), "level") == sent
            assert len(asked) >= 2


async def test_history_fills_the_time_before_the_start_and_behind_a_position(node: Node) -> None:
    first = time.time_ns()
    for value in (201.0, 202.0, 203.0):
        node.set("Level", value)
        await asyncio.sleep(0.02)
    async with source(options(node.url, history_s=300.0), Context()) as plant, Taken(plant.batches()) as taken:
        got = await taken.until(lambda got: {201.0, 202.0, 203.0} <= set(got.values) and got.position is not None)
    assert int(got.position) >= first
    node.set("Level", 204.0)
    await asyncio.sleep(0.02)
    node.set("Level", 205.0)
    later = options(node.url, overlap_s=0.0)
    async with source(later, Context()) as plant, Taken(plant.batches(got.position)) as taken:
        after = await taken.until(lambda got: 204.0 in got.values)
        assert 201.0 not in after.values


async def test_a_server_that_was_killed_comes_back(node_modules: Path, tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, 0, port=port) as first:
        plant = source(options(first.url), Context())
        await plant.__aenter__()
        taken = Taken(plant.batches())
        first.set("Level", 7.0)
        await taken.until(lambda got: 7.0 in got.values)
    async with taken:
        while plant.health.connected:
            await asyncio.sleep(0.05)
        with pytest.raises(ConnectorError, match="no connection"):
            await plant.read(["level"])
        with started(tmp_path, 0, port=port) as second:
            while not plant.health.connected:
                await asyncio.sleep(0.05)
            second.set("Level", 8.0)
            await taken.until(lambda got: 8.0 in got.values)
            assert plant.health.reconnects == 1
            await plant.__aexit__(None, None, None)


async def test_a_user_and_a_certificate_are_checked(node_modules: Path, tmp_path: Path) -> None:
    files = certificate(tmp_path / "client", uri="urn:plant-twin:test")
    secure = {"security": "Basic256Sha256,SignAndEncrypt", **files}
    with started(tmp_path / "pki", 0, USER, PASSWORD) as node:
        login = {"username": USER, "password_env": "PLANT_PASSWORD"}
        right = Context(secrets={"PLANT_PASSWORD": PASSWORD})
        async with source(options(node.url, **secure, **login), right) as plant:
            assert (await plant.read(["valve"])).values.tolist() == [40.0]
        for given, context in ((login, Context(secrets={"PLANT_PASSWORD": "wrong"})), ({}, right)):
            with pytest.raises(ConnectorError, match="no connection"):
                await source(options(node.url, **secure, **given), context).__aenter__()


def test_an_expired_certificate_is_told_before_anything_is_connected(tmp_path: Path) -> None:
    files = certificate(tmp_path, days=-1)
    with pytest.raises(ValueError, match=r"client\.pem expired on"):
        options("opc.tcp://127.0.0.1:1", security="Basic256Sha256,Sign", **files)


async def test_three_thousand_tags(node: Node) -> None:
    tags = {f"tag{i}": f"ns=1;s=T{i}" for i in range(3000)}
    stamp = 1_777_000_000_000
    async with source(options(node.url, tags=tags), Context()) as plant, Taken(plant.batches()) as taken:
        await taken.until(lambda got: len(set(got.tags)) == 3000)
        node.set_all({f"T{i}": i + 0.5 for i in range(3000)}, stamp)
        got = await taken.until(lambda got: (got.values % 1 == 0.5).sum() == 3000)
        assert await plant.faults() == {}
    new = got.where(got.values % 1 == 0.5)
    assert dict(zip(new.tags, new.values, strict=True)) == {f"tag{i}": i + 0.5 for i in range(3000)}
    assert set(new.times) == {stamp * 1_000_000}


async def test_a_value_at_rest_is_read_again(node: Node) -> None:
    quiet = options(node.url, tags={"level": "ns=1;s=T7"}, refresh_s=1.0)
    async with source(quiet, Context()) as plant, Taken(plant.batches()) as taken:
        got = await taken.until(lambda got: len(got) >= 3)
        assert len(set(got.values)) == 1


async def test_the_server_of_asyncua() -> None:
    server = Server()
    await server.init()
    url = f"opc.tcp://127.0.0.1:{free_port()}"
    server.set_endpoint(url)
    space = await server.register_namespace("urn:test")
    level = await server.nodes.objects.add_variable(ua.NodeId("Level", space), "Level", 1.0)
    await level.set_writable()
    tags = {"level": level.nodeid.to_string()}
    async with server, source(options(url, tags=tags), Context()) as plant, Taken(plant.batches()) as taken:
        stamp = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
        value = ua.DataValue(ua.Variant(2.5, ua.VariantType.Double), SourceTimestamp=stamp)
        await server.write_attribute_value(level.nodeid, value)
        got = await taken.until(lambda got: 2.5 in got.values)
        assert got.times[got.values == 2.5].tolist() == [int(stamp.timestamp()) * NS]
        async with sink(SinkOptions(kind="opcua", url=url, tags=tags), Context()) as out:
            await out.write({"level": 3.5})
        assert await level.read_value() == 3.5
