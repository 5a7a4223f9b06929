"""Kafka against the mock cluster of librdkafka, which speaks the protocol; its own client produces and consumes."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.errors import ConnectorError
from connectors.kafka import SinkOptions, SourceOptions, sink, source
from connectors.kinds import Context
from tests.connectors.support import Taken, at_start, watched
from twin.plant import Plant, Role, Tag
from twin.storage.batch import BAD, GOOD

MS = 1_777_000_000_000


@pytest.fixture(scope="module")
def cluster() -> Producer:
    return Producer({"test.mock.num.brokers": 1, "bootstrap.servers": ""})


@pytest.fixture(scope="module")
def brokers(cluster: Producer) -> str:
    found = cluster.list_topics(timeout=20).brokers.values()
    return ",".join(f"{broker.host}:{broker.port}" for broker in found)


def send(cluster: Producer, topic: str, body: object, ms: int = MS) -> None:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    cluster.produce(topic, payload, timestamp=ms)
    assert cluster.flush(20) == 0


def options(brokers: str, tags: dict, **given: object) -> SourceOptions:
    return SourceOptions.model_validate({"kind": "kafka", "brokers": brokers, "tags": tags} | given)


def stream(table: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def committed(brokers: str, group: str) -> int:
    """How far the cluster believes the group to be, as librdkafka's client reads it; all partitions together."""
    reader = Consumer({"bootstrap.servers": brokers, "group.id": group})
    partitions = [TopicPartition("tank", p) for p in reader.list_topics("tank", timeout=20).topics["tank"].partitions]
    found = reader.committed(partitions, timeout=20)
    reader.close()
    return sum(max(partition.offset, 0) for partition in found)


async def test_json_messages_and_committed_offsets(cluster: Producer, brokers: str) -> None:
    tags = {"level": {"address": "tank", "field": "level", "time": "at"}, "flow": {"address": "tank", "field": "f.v"}}
    mine = options(brokers, tags, group="json")
    send(cluster, "tank", {"level": 1.5, "at": MS + 5, "f": {"v": 2.5}})
    send(cluster, "tank", "no object")
    async with source(mine, Context()) as plant:
        assert await plant.faults() == {}
        batches = plant.batches()
        batch = await anext(batches)
        assert batch.latest() == {"level": ((MS + 5) * 1_000_000, 1.5, GOOD), "flow": (MS * 1_000_000, 2.5, GOOD)}
        assert await asyncio.to_thread(committed, brokers, "json") == 0  # it is not yet safe
        following = asyncio.ensure_future(anext(batches))  # asking for it says that the first is safe
        async with asyncio.timeout(20):
            while await asyncio.to_thread(committed, brokers, "json") != 2:  # and the bad one with it
                await asyncio.sleep(0.05)
        send(cluster, "tank", {"level": 3.5, "at": MS + 6, "f": {"v": 4.5}})
        batch = await following
        assert sorted(batch.values) == [3.5, 4.5]
        assert await asyncio.to_thread(committed, brokers, "json") == 2
        assert plant.health.refused == 1
        await batches.aclose()
    async with source(mine, Context()) as plant, Taken(plant.batches()) as taken:
        assert sorted((await taken.until(len)).values) == [3.5, 4.5]  # the last was not confirmed


async def test_arrow_messages_wide_and_long_and_long_json(cluster: Producer, brokers: str) -> None:
    times = pa.array([MS, MS + 1000], pa.timestamp("ms", "UTC"))
    send(cluster, "wide", stream(pa.table({"time": times, "LI": [1.0, None]})))
    tags = pa.array(["LI", "XX"])
    send(cluster, "long", stream(pa.table({"time": times, "tag": tags, "value": [2.0, 3.0], "quality": [0, 192]})))
    mine = options(
        brokers,
        {"a": {"address": "wide", "field": "LI"}, "b": {"address": "long", "field": "LI"}},
        format="arrow",
        group="arrow",
    )
    async with source(mine, Context()) as plant, Taken(plant.batches()) as taken:
        got = await taken.until(lambda got: len(got) == 2)
        assert got.latest() == {"a": (MS * 1_000_000, 1.0, GOOD), "b": (MS * 1_000_000, 2.0, BAD)}
    rows = [{"tag": "LI", "value": 7.0, "time": "2026-05-01T00:00:00Z"}, {"tag": "XX", "value": 1.0}]
    send(cluster, "rows", rows)
    mine = options(brokers, {"c": {"address": "rows", "field": "LI"}}, format="long", group="rows")
    async with source(mine, Context()) as plant, Taken(plant.batches()) as taken:
        assert (await taken.until(len)).latest() == {"c": (1_777_593_600_000_000_000, 7.0, GOOD)}


async def test_writes_arrive(cluster: Producer, brokers: str) -> None:
    target = SinkOptions(brokers=brokers, tags={"valve": {"address": "moves", "field": "to"}})
    async with sink(target, Context()) as out:
        await out.write({"valve": 41.5})
        with pytest.raises(ConnectorError, match="'pump': is not mapped"):
            await out.write({"pump": 1.0})
    reader = Consumer({"bootstrap.servers": brokers, "group.id": "check", "auto.offset.reset": "earliest"})
    reader.subscribe(["moves"])
    for _ in range(40):
        message = await asyncio.to_thread(reader.poll, 0.5)
        if message is not None and not message.error():
            break
    assert (message.key(), json.loads(message.value())) == (b"valve", {"to": 41.5})
    reader.close()


async def test_a_controller_reads_beside_the_collector_of_the_same_file(cluster: Producer, brokers: str) -> None:
    mine = options(brokers, {"level": {"address": "beside", "field": "level"}}, group="both")
    send(cluster, "beside", {"level": 1.0})
    collecting, controlling = source(mine, Context()), source(mine, Context(reader="control"))
    async with collecting, controlling, Taken(collecting.batches()) as one, Taken(controlling.batches()) as other:
        await one.until(len)
        await asyncio.sleep(3.0)  # until the controller's group has its partitions
        for value in (2.0, 3.0):
            send(cluster, "beside", {"level": value})
        assert sorted((await one.until(lambda got: len(got) == 3)).values) == [1.0, 2.0, 3.0]
        assert sorted((await other.until(lambda got: len(got) == 2)).values) == [2.0, 3.0]  # the past is not its own


async def test_no_cluster_is_told() -> None:
    with pytest.raises(ConnectorError, match=r"no connection to 127\.0\.0\.1:1"):
        await source(options("127.0.0.1:1", {"a": "t"}), Context()).__aenter__()


PLANT = Plant("Tank", 10.0, (Tag("level", Role.CV, "m"), Tag("flow", Role.MV, "m3/h", 0.0, 10.0)))
FILE = """plant = "tank"
[[sources]]
kind = "kafka"
brokers = "{brokers}"
format = "{form}"
[sources.tags]
level = {{address = "{topic}", field = "level"}}
flow = {{address = "{topic}", field = "flow"}}
"""


async def test_what_the_last_messages_show_is_told_at_start(cluster: Producer, brokers: str, tmp_path: Path) -> None:
    ms = time.time_ns() // 1_000_000

    async def told(topic: str, form: str) -> list[tuple[int, str, str]]:
        return await at_start(tmp_path, PLANT, FILE.format(brokers=brokers, form=form, topic=topic))

    send(cluster, "told", {"level": 1.0, "flow": 2.0}, ms)
    assert await told("told", "json") == []
    send(cluster, "told-2", {"level": "full", "flw": 2.0}, ms)
    assert await told("told-2", "json") == [
        (7, "missing", "the last messages of told-2: could not convert string to float: 'full'"),
        (8, "missing", "the last messages of told-2: there is no field 'flow'"),
    ]
    send(cluster, "told-3", {"level": 1.0, "flow": 2.0}, ms + 3_600_000)
    ((line, grave, msg),) = await told("told-3", "json")
    assert (line, grave) == (3, "doubt")
    assert "s ahead of ours" in msg
    stated = pa.field("level", pa.float64(), metadata={"unit": "cm"})
    schema = pa.schema([pa.field("time", pa.int64()), stated, pa.field("flow", pa.float64())])
    send(cluster, "told-4", stream(pa.table([[ms], [150.0], [1.0]], schema=schema)), ms)
    wrong = "the source states the unit 'cm', the plant has 'm': write unit = \"cm\" beside it"
    assert await told("told-4", "arrow") == [(7, "wrong", wrong)]


async def test_what_was_not_seen_at_start_is_told_with_the_first_message(
    cluster: Producer, brokers: str, tmp_path: Path
) -> None:
    ms = time.time_ns() // 1_000_000
    told: list[tuple[int, str, str]] = []
    text = FILE.format(brokers=brokers, form="json", topic="late")
    send(cluster, "late", {"level": 1.5, "flw": 2.0}, ms)
    send(cluster, "late", {"level": 2.5, "flw": 2.0}, ms + 1)
    async with watched(tmp_path, PLANT, text, told) as plant, Taken(plant.batches()) as taken:
        assert (await taken.until(lambda got: len(got) == 2)).values.tolist() == [1.5, 2.5]
    assert told == [(8, "missing", "the first message of late: there is no field 'flow'")]
    stated = pa.field("level", pa.float64(), metadata={"unit": "cm"})
    schema = pa.schema([pa.field("time", pa.int64()), stated, pa.field("flow", pa.float64())])
    send(cluster, "late-arrow", stream(pa.table([[ms], [150.0], [1.0]], schema=schema)), ms)
    text = FILE.format(brokers=brokers, form="arrow", topic="late-arrow")
    async with watched(tmp_path, PLANT, text, told) as plant:
        with pytest.raises(ConnectorError, match=r"plant.toml:7: .*write unit = \"cm\" beside it"):
            await anext(plant.batches())
