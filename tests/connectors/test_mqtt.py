"""MQTT against mosquitto; Sparkplug payloads are made by the JavaScript codec of Eclipse Tahu."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiomqtt
import paho.mqtt.client as paho
import pytest

from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.mqtt import SinkOptions, SourceOptions, sink, source
from connectors.protocol import NS
from connectors.sparkplug_schema import Payload
from tests.connectors.certificates import certificate
from tests.connectors.support import Network, Taken, at_start, free_port, needed, of_tag, process, watched
from twin.plant import Plant, Role, Tag
from twin.storage.batch import BAD, GOOD, UNCERTAIN

MS = 1_777_000_000_000


@contextlib.contextmanager
def broker(folder: Path, port: int | None = None, *lines: str) -> Iterator[int]:
    """mosquitto, until the end of the block; what it holds for absent clients outlives it."""
    port = port or free_port()
    folder.mkdir(exist_ok=True)
    file = folder / "mosquitto.conf"
    options = (
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder}/",
    )
    file.write_text(
        "\n".join([*options, "user root", "autosave_on_changes true", "autosave_interval 1", *lines]) + "\n"
    )
    with process(needed("mosquitto"), "-c", file, port=port):
        yield port


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with broker(tmp_path_factory.mktemp("mosquitto")) as port:
        yield port


@contextlib.asynccontextmanager
async def edge(port: int, **options: object) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", port, **options) as client:
        yield client


def options(port: int, tags: dict, **given: object) -> SourceOptions:
    body = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "tags": tags, "client_id": "t" + str(free_port())}
    return SourceOptions.model_validate(body | given)


async def test_plain_topics_of_numbers_and_json(port: int) -> None:
    tags = {
        "flow": "plant/flow",
        "level": {"address": "plant/tank", "field": "level.value", "time": "at", "quality": "q"},
        "temperature": {"address": "plant/tank", "field": "temperature", "time": "at"},
    }
    async with source(options(port, tags), Context()) as plant, Taken(plant.batches()) as taken, edge(port) as client:
        body = {
            "at": "2026-05-01T12:00:00.250+02:00",
            "level": {"value": 1.5},
            "temperature": "70.25",
            "q": "uncertain",
        }
        await client.publish("plant/tank", json.dumps(body), qos=1)
        await client.publish("plant/tank", "no json", qos=1)
        await client.publish("plant/flow", "12.5", qos=1)
        got = (await taken.until(lambda got: len(got) == 3)).latest()
        at = 1_777_629_600 * NS + 250_000_000
        assert got["level"] == (at, 1.5, UNCERTAIN)
        assert got["temperature"] == (at, 70.25, GOOD)
        assert got["flow"][1:] == (12.5, GOOD)
        assert plant.health.refused == 1
        assert "plant/tank" in plant.health.last_error
        assert (await plant.read(["flow"])).values.tolist() == [12.5]


async def test_a_value_is_acknowledged_only_when_it_is_safe(port: int) -> None:
    mine = options(port, {"flow": "safe/flow"})
    async with source(mine, Context()) as plant, edge(port) as client:
        await client.publish("safe/flow", "1.0", qos=1)
        async for batch in plant.batches():
            assert batch.values.tolist() == [1.0]
            break  # as if the power went before it was written
    async with source(mine, Context()) as plant, Taken(plant.batches()) as taken:
        assert (await taken.until(len)).values.tolist() == [1.0]
        await asyncio.sleep(0.2)  # asked for the next: it is safe
    async with source(mine, Context()) as plant, Taken(plant.batches()) as taken, edge(port) as client:
        await client.publish("safe/flow", "2.0", qos=1)
        assert (await taken.until(len)).values.tolist() == [2.0]


async def test_a_message_that_comes_while_this_machine_stands_still_is_taken(port: int) -> None:
    sender = paho.Client(paho.CallbackAPIVersion.VERSION2)
    sender.connect("127.0.0.1", port)
    sender.loop_start()
    async with source(options(port, {"flow": "still/flow"}), Context()) as plant, Taken(plant.batches()) as taken:
        for i in range(3):
            await asyncio.sleep(0.3)  # the source waits for a message, a second at most
            timer = threading.Timer(0.3, sender.publish, ("still/flow", str(float(i)), 1))
            timer.start()
            time.sleep(1.3)
            timer.join()
        got = await taken.until(lambda got: len(set(got.values)) == 3, 10.0)
    sender.disconnect()
    sender.loop_stop()
    assert sorted(set(got.values)) == [0.0, 1.0, 2.0]


async def test_nothing_is_lost_while_the_network_is_cut_or_the_broker_restarts(tmp_path: Path) -> None:
    # With times of their own, what the broker repeats because a confirmation was lost is the same sample again.
    mine = {"flow": {"address": "far/flow", "time": "at"}}
    sent = [float(i) for i in range(60)]
    target = free_port()
    with contextlib.ExitStack() as first:
        first.enter_context(broker(tmp_path, target))
        async with Network(target) as network:
            plant = await source(options(network.port, mine), Context()).__aenter__()
            taken = Taken(plant.batches())
            for value in sent[:40]:
                if value == 10.0:
                    await network.cut()
                if value == 30.0:
                    await network.mend()
                async with edge(target) as client:
                    await client.publish("far/flow", json.dumps({"value": value, "at": MS + int(value)}), qos=1)
            await taken.until(lambda got: set(sent[:40]) <= set(got.values))
            first.close()
            with broker(tmp_path, target):
                async with taken, edge(target) as client:
                    for value in sent[40:]:
                        await client.publish("far/flow", json.dumps({"value": value, "at": MS + int(value)}), qos=1)
                    got = await taken.until(lambda got: set(sent) <= set(got.values))
                assert of_tag(got, "flow") == sent
                assert plant.health.reconnects == 2
                await plant.__aexit__(None, None, None)


# paho leaves the socket of a handshake that failed to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_tls_with_a_user(tmp_path: Path) -> None:
    files = certificate(tmp_path, name="server")
    (tmp_path / "users").write_text("operator:secret\n")
    subprocess.run([needed("mosquitto_passwd"), "-U", tmp_path / "users"], check=True)
    lines = (f"cafile {files['certificate']}", f"certfile {files['certificate']}", f"keyfile {files['private_key']}")
    login = {"username": "operator", "password_env": "BROKER", "tls": True, "ca": files["certificate"]}
    with broker(tmp_path, None, *lines, "allow_anonymous false", f"password_file {tmp_path / 'users'}") as port:
        tags = {"valve": {"address": "s/valve", "field": "to"}}
        target = SinkOptions.model_validate({"host": "localhost", "port": port, "tags": tags, "kind": "mqtt"} | login)
        right = Context(secrets={"BROKER": "secret"})
        listening = options(port, tags, host="localhost", **login)
        async with source(listening, right) as plant, Taken(plant.batches()) as taken, sink(target, right) as out:
            await out.write({"valve": 41.5})
            assert (await taken.until(len)).values.tolist() == [41.5]
            with pytest.raises(ConnectorError, match="'valve': inf is no number"):
                await out.write({"valve": math.inf})
        for wrong in (Context(secrets={"BROKER": "wrong"}),):
            with pytest.raises(ConnectorError, match="no connection"):
                await source(listening, wrong).__aenter__()
        untrusted = listening.model_copy(update={"ca": None})
        with pytest.raises(ConnectorError, match="certificate verify failed"):
            await source(untrusted, right).__aenter__()


class Encoder:
    """The JavaScript codec, in a process of its own."""

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self._running = running

    def __call__(self, seq: int | None, *metrics: dict) -> bytes:
        body = {"timestamp": MS, "metrics": list(metrics)} | ({} if seq is None else {"seq": seq})
        self._running.stdin.write(json.dumps(body) + "\n")
        self._running.stdin.flush()
        return base64.b64decode(self._running.stdout.readline())


@pytest.fixture(scope="module")
def encode(node_modules: Path) -> Iterator[Encoder]:
    with process(needed("node"), node_modules / "sparkplug.mjs") as running:
        yield Encoder(running)


TAGS = {"level": "Site/Edge/Tank:Level/PV", "mode": "Site/Edge:Mode", "flow": "Site/Edge/Tank:Flow"}


def births(encode: Encoder, life: int = 1) -> list[tuple[str, bytes]]:
    node = encode(
        0, {"name": "bdSeq", "type": "Int64", "value": life}, {"name": "Mode", "alias": 1, "type": "Int16", "value": -2}
    )
    tank = encode(
        1,
        {"name": "Level/PV", "alias": 2, "type": "Double", "value": 1.5, "timestamp": MS + 7},
        {"name": "Flow", "alias": 3, "type": "Float", "value": 0.25},
        {"name": "Serial", "type": "String", "value": "X-1"},
    )
    return [("spBv1.0/Site/NBIRTH/Edge", node), ("spBv1.0/Site/DBIRTH/Edge/Tank", tank)]


def death(encode: Encoder, life: int) -> bytes:
    return encode(None, {"name": "bdSeq", "type": "Int64", "value": life})


async def test_sparkplug_births_aliases_gaps_and_deaths(port: int, encode: Encoder) -> None:
    mine = options(port, TAGS, format="sparkplug")
    async with edge(port) as client:
        await client.subscribe("spBv1.0/Site/NCMD/Edge")
        async with source(mine, Context()) as plant, Taken(plant.batches()) as taken:

            async def asked() -> None:
                message = await asyncio.wait_for(anext(client.messages), 20)
                payload = Payload.FromString(message.payload)
                assert [(m.name, m.boolean_value) for m in payload.metrics] == [("Node Control/Rebirth", True)]

            await asked()  # at the start, for all edge nodes
            for topic, body in births(encode):
                await client.publish(topic, body, qos=1)
            got = (await taken.until(lambda got: len(got) == 3)).latest()
            assert got == {
                "mode": (MS * 1_000_000, -2.0, GOOD),
                "level": ((MS + 7) * 1_000_000, 1.5, GOOD),
                "flow": (MS * 1_000_000, 0.25, GOOD),
            }
            stale = {"Quality": {"type": "Int32", "value": 500}}
            data = encode(2, {"alias": 2, "type": "Double", "value": 2.5, "timestamp": MS + 9, "properties": stale})
            await client.publish("spBv1.0/Site/DDATA/Edge/Tank", data, qos=1)
            got = (await taken.until(lambda got: len(got) == 4)).latest()
            assert got["level"] == ((MS + 9) * 1_000_000, 2.5, UNCERTAIN)
            assert plant.health.gaps == 0
            data = encode(4, {"alias": 3, "type": "Float", "value": 0.5, "timestamp": MS + 11})  # 3 went missing
            await client.publish("spBv1.0/Site/DDATA/Edge/Tank", data, qos=1)
            got = await taken.until(lambda got: len(got) == 5)
            assert plant.health.gaps == 1
            assert "message 3 is missing, 4 came" in plant.health.last_error
            await client.publish(
                "spBv1.0/Site/NDEATH/Edge", encode(None, {"name": "bdSeq", "type": "Int64", "value": 0}), qos=1
            )
            await client.publish("spBv1.0/Site/DDEATH/Edge/Tank", encode(5), qos=1)
            got = (await taken.until(lambda got: len(got) == 7)).latest()
            assert (got["level"][2], got["flow"][2], got["mode"][2]) == (BAD, BAD, GOOD)  # an old life's death is none
            await client.publish(
                "spBv1.0/Site/NDEATH/Edge", encode(None, {"name": "bdSeq", "type": "Int64", "value": 1}), qos=1
            )
            got = (await taken.until(lambda got: len(got) == 10)).latest()
            assert got["mode"][2] == BAD
            await asked()  # after the gap
            await client.publish(
                "spBv1.0/Site/DDATA/Edge/Tank", encode(6, {"alias": 2, "type": "Double", "value": 9.0}), qos=1
            )
            await asyncio.sleep(0.3)
            assert 9.0 not in (await taken.until(len)).values  # unborn: nothing is believed


async def test_an_alias_of_two_metrics_is_worth_nothing(port: int, encode: Encoder) -> None:
    mine = options(port, {"a": "Two/Edge:A", "b": "Two/Edge:B"}, format="sparkplug")
    async with source(mine, Context()) as plant, Taken(plant.batches()) as taken, edge(port) as client:
        both = [{"name": name, "alias": 7, "type": "Double", "value": 1.0} for name in "AB"]
        await client.publish("spBv1.0/Two/NBIRTH/Edge", encode(0, *both), qos=1)
        await client.publish("spBv1.0/Two/NDATA/Edge", encode(1, {"alias": 7, "type": "Double", "value": 2.0}), qos=1)
        await client.publish("spBv1.0/Two/NDATA/Edge", encode(2, {"name": "B", "type": "Double", "value": 3.0}), qos=1)
        got = await taken.until(lambda got: 3.0 in got.values)
        assert got.values.tolist() == [1.0, 1.0, 3.0]
        assert "the alias 7 is of 'A' and of 'B'" in plant.health.last_error


PLANT = Plant("Tank", 10.0, (Tag("level", Role.CV, "m"), Tag("flow", Role.MV, "m3/h", 0.0, 10.0)))
FILE = """plant = "tank"
[[sources]]
kind = "mqtt"
host = "127.0.0.1"
port = {port}
client_id = "told"
format = "{form}"
[sources.tags]
level = {level}
flow = {flow}
"""


@contextlib.asynccontextmanager
async def living(port: int, node: bytes, device: bytes) -> AsyncIterator[None]:
    """An edge node that is born whenever it is asked to be."""

    async def serve(client: aiomqtt.Client) -> None:
        async for _ in client.messages:
            await client.publish("spBv1.0/Plant/NBIRTH/Edge", node)
            await client.publish("spBv1.0/Plant/DBIRTH/Edge/Tank", device)

    async with edge(port) as client:
        await client.subscribe("spBv1.0/Plant/NCMD/Edge")
        serving = asyncio.create_task(serve(client))
        yield
        serving.cancel()


async def test_a_controller_reads_beside_the_collector_of_the_same_file(port: int) -> None:
    mine = options(port, {"flow": "beside/flow"})
    collecting, controlling = source(mine, Context()), source(mine, Context(reader="control"))
    async with collecting, controlling, Taken(collecting.batches()) as one, Taken(controlling.batches()) as other:
        async with edge(port) as client:
            for value in (1.0, 2.0):
                await client.publish("beside/flow", str(value), qos=1)
                await asyncio.sleep(0.5)
        assert (await one.until(lambda got: len(got) == 2)).values.tolist() == [1.0, 2.0]
        assert (await other.until(lambda got: len(got) == 2)).values.tolist() == [1.0, 2.0]
        assert (collecting.health.reconnects, controlling.health.reconnects) == (0, 0)


async def test_what_births_show_is_told_at_start(port: int, encode: Encoder, tmp_path: Path) -> None:
    ms = time.time_ns() // 1_000_000
    unit = {"engUnit": {"type": "String", "value": "cm"}}
    metrics: list[dict] = [
        {"name": "Level", "alias": 2, "type": "Double", "value": 150.0, "timestamp": ms, "properties": unit},
        {"name": "Flow", "alias": 3, "type": "Float", "value": 0.25, "timestamp": ms},
        {"name": "Serial", "alias": 4, "type": "String", "value": "X-1", "timestamp": ms},
        {"name": "One", "alias": 5, "type": "Double", "value": 1.0, "timestamp": ms},
        {"name": "Other", "alias": 5, "type": "Double", "value": 2.0, "timestamp": ms},
    ]

    async def told(level: str, flow: str = "Plant/Edge/Tank:Flow") -> list[tuple[int, str, str]]:
        quoted = level if level.startswith("{") else f'"{level}"'
        text = FILE.format(port=port, form="sparkplug", level=quoted, flow=f'"{flow}"')
        return await at_start(tmp_path, PLANT, text)

    node = encode(0, {"name": "bdSeq", "type": "Int64", "value": 1})
    async with living(port, node, encode(1, *metrics)):
        wrong = "the source states the unit 'cm', the plant has 'm': write unit = \"cm\" beside it"
        assert await told("Plant/Edge/Tank:Level") == [(9, "wrong", wrong)]
        assert await told('{address = "Plant/Edge/Tank:Level", unit = "cm"}') == []
        assert await told("Plant/Edge/Tank:Levl", "Plant/Edge/Tank:Serial") == [
            (9, "missing", "the birth of Plant/Edge/Tank has no metric 'Levl'; did you mean Level?"),
            (10, "missing", "Plant/Edge/Tank:Serial is of Sparkplug's type 12, no number"),
        ]
        assert await told("Plant/Edge/Tank:One", "Plant/Edge/Tank:Other") == [
            (9, "missing", "the alias 5 is of 'One' and of 'Other'"),
            (10, "missing", "the alias 5 is of 'Other' and of 'One'"),
        ]
        away = "no birth of Plant/Egde/Tank came within 5 s"
        assert await told('{address = "Plant/Edge/Tank:Level", unit = "cm"}', "Plant/Egde/Tank:Flow") == [
            (3, "away", away)
        ]


async def test_what_the_broker_retains_is_told_at_start(port: int, tmp_path: Path) -> None:
    text = FILE.format(
        port=port, form="json", level='{address = "told/tank", field = "level", time = "at"}', flow='"told/flow"'
    )
    later = "no message of told/{} is retained: whether it is right is told with the first"
    assert await at_start(tmp_path, PLANT, text) == [
        (9, "later", later.format("tank")),
        (10, "later", later.format("flow")),
    ]
    async with edge(port) as client:
        ahead = {"at": time.time() + 3600, "levle": 1.5}
        await client.publish("told/tank", json.dumps(ahead), qos=1, retain=True)
        await client.publish("told/flow", "open", qos=1, retain=True)
        faults = await at_start(tmp_path, PLANT, text)
        assert [fault[:2] for fault in faults] == [(9, "missing"), (10, "missing")]
        assert faults[0][2] == "the message of told/tank: there is no field 'level'"
        await client.publish("told/tank", json.dumps({"at": time.time() + 3600, "level": 1.5}), qos=1, retain=True)
        await client.publish("told/flow", "0.5", qos=1, retain=True)
        ((line, grave, msg),) = await at_start(tmp_path, PLANT, text)
        assert (line, grave) == (3, "doubt")
        assert "s ahead of ours ('level')" in msg
        for topic in ("told/tank", "told/flow"):
            await client.publish(topic, None, qos=1, retain=True)


async def test_what_is_not_retained_is_told_with_the_first_message(port: int, tmp_path: Path) -> None:
    text = FILE.format(
        port=port,
        form="json",
        level='{address = "late/tank", field = "level"}',
        flow='{address = "late/tank", field = "f"}',
    )
    told: list[tuple[int, str, str]] = []
    async with watched(tmp_path, PLANT, text, told) as plant, Taken(plant.batches()) as taken, edge(port) as client:
        # The one tag that is missing takes no other with it.
        for level in (1.5, 2.5):
            await client.publish("late/tank", json.dumps({"level": level, "flow": 2.0}), qos=1)
        got = await taken.until(lambda got: len(got) == 2)
        assert of_tag(got, "level") == [1.5, 2.5]
        assert plant.health.refused == 2
        # Told once, with its line; later ones are counted.
        assert told == [(10, "missing", "the message of late/tank: there is no field 'f'")]


async def test_messages_of_nonsense_end_no_source(port: int) -> None:
    tags = {"flow": {"address": "odd/flow", "field": "v", "time": "t"}}
    odd = ['{"v": 1' + 400 * "0" + ', "t": 1}', '{"v": 1, "t": 1e300}', '{"v": 1, "t": "9999-01-01T00:00:00Z"}']
    odd += [100_000 * "[", "", '{"v": {"v": 1}, "t": 1}']
    async with source(options(port, tags), Context()) as plant, Taken(plant.batches()) as taken, edge(port) as client:
        for body in odd:
            await client.publish("odd/flow", body, qos=1)
        await client.publish("odd/flow", '{"v": 2.5, "t": 1777629600}', qos=1)
        got = await taken.until(len)
        assert (got.times.tolist(), got.values.tolist()) == ([1_777_629_600 * NS], [2.5])
        assert plant.health.refused == len(odd)


async def test_a_sparkplug_command_is_what_the_other_side_expects(port: int, node_modules: Path) -> None:
    target = SinkOptions(host="127.0.0.1", port=port, format="sparkplug", tags={"valve": "Site/Edge/Tank:Valve/SP"})
    async with edge(port) as client, sink(target, Context()) as out:
        await client.subscribe("spBv1.0/Site/DCMD/Edge/Tank")
        await out.write({"valve": 41.5})
        message = await asyncio.wait_for(anext(client.messages), 20)
        script = (
            'const s=require("sparkplug-payload").get("spBv1.0");'
            'const p=s.decodePayload(Buffer.from(process.argv[1],"base64"));'
            "console.log(JSON.stringify(p.metrics.map(m=>[m.name,m.type,m.value])))"
        )
        command = [needed("node"), "-e", script, base64.b64encode(message.payload).decode()]
        told = subprocess.run(command, cwd=node_modules, capture_output=True, text=True, check=True).stdout
        assert json.loads(told) == [["Valve/SP", "Double", 41.5]]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"tags": {"a": "plant/#"}}, "'a': 'plant/#' has a wildcard"),
        ({"tags": {"a": "Site/Edge"}, "format": "sparkplug"}, "'a': 'Site/Edge' is no metric"),
    ],
)
def test_addresses_that_cannot_be(given: dict, why: str) -> None:
    ((tag, told),) = options(1, **given).contradictions()
    assert f"'{tag}': {told}".startswith(why)
