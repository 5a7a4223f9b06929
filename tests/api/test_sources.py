"""From a source to the store: through the collector's disk and the real upload, and how the sources show."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api.cli.main import app as command
from api.http.examples import SOURCES
from connectors.buffer import Buffer
from connectors.collect import Collector
from connectors.errors import ConnectorError
from connectors.forward import SegmentRefused, ServiceSender
from connectors.memory import MemoryPlant
from connectors.protocol import NS
from tests.api.conftest import KEY

NS0 = 1_777_593_600 * NS  # 2026-05-01T00:00:00Z
PLANT = {
    "name": "Tank",
    "sample_period_s": 1.0,
    "tags": [{"name": "level", "role": "cv", "unit": "m"}, {"name": "valve", "role": "mv", "unit": "%"}],
}


@pytest.fixture
def plant(client: httpx.Client, request: pytest.FixtureRequest) -> str:
    slug = request.node.name.partition("[")[0].replace("test_", "")[:60]
    assert client.put(f"/v1/plants/{slug}", json=PLANT).status_code == 201
    return str(slug)


class Forgetful(ServiceSender):
    """Every other answer of the service is lost on the way."""

    count = 0

    async def send(self, body: bytes, key: str) -> Mapping[str, Any]:
        receipt = await super().send(body, key)
        self.count += 1
        if self.count % 2:
            raise ConnectorError("the answer was lost")
        return receipt


def test_what_is_collected_is_stored_once(client: httpx.Client, address: str, plant: str, tmp_path: Path) -> None:
    async def collect() -> Collector:
        source = MemoryPlant({"level": 0.0, "valve": 50.0})
        for i in range(40):
            source.set({"level": float(i)}, time=NS0 + i * NS)
        buffer = Buffer(tmp_path, 1 << 30)
        async with Forgetful(address, KEY, plant) as sender:
            assert (await sender.plant()).names == ("level", "valve")
            collector = Collector({"memory": source}, buffer, sender, 0.05)
            running = asyncio.create_task(collector.run())
            for i in range(40, 60):
                source.set({"level": float(i)}, time=NS0 + i * NS)
                await asyncio.sleep(0.02)
            while collector.forwarding.sent < 62:
                await asyncio.sleep(0.05)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        assert buffer.rows == 0
        buffer.close()
        return collector

    collector = asyncio.run(collect())
    assert collector.forwarding.rejected == 0
    query = {"start": "2026-05-01T00:00:00Z", "end": "2026-05-01T00:00:59Z", "tags": "level"}
    found = client.get(f"/v1/plants/{plant}/telemetry", params=query).json()
    assert found["values"]["level"] == [float(i) for i in range(60)]
    (source,) = client.get(f"/v1/plants/{plant}/sources").json()["sources"]
    assert (source["name"], source["connected"], source["silent"]) == ("memory", True, False)


def test_what_the_service_never_takes_is_told_apart_from_what_it_cannot_take_now(address: str, plant: str) -> None:
    async def send(key: str | None, body: bytes) -> None:
        async with ServiceSender(address, key, plant) as sender:
            await sender.send(body, "k")

    with pytest.raises(SegmentRefused, match="answers 4"):
        asyncio.run(send(KEY, b"no stream"))
    with pytest.raises(ConnectorError, match="answers 401") as caught:
        asyncio.run(send("wrong", b"no stream"))
    assert not isinstance(caught.value, SegmentRefused)
    with pytest.raises(ConnectorError, match="no answer from http://127"):
        asyncio.run(_nobody())


async def _nobody() -> None:
    async with ServiceSender("http://127.0.0.1:1", None, "tank") as sender:
        await sender.send(b"", "k")


def test_sources_show_in_the_metrics(client: httpx.Client, plant: str) -> None:
    assert client.put(f"/v1/plants/{plant}/sources", json=SOURCES).status_code == 200
    lines = client.get("/metrics").text.splitlines()
    labels = f'{{plant="{plant}",source="plc"}}'
    assert f"twin_source_connected{labels} 1.0" in lines
    assert f"twin_source_lag_seconds{labels} 0.4" in lines
    assert f"twin_source_received_total{labels} 120000.0" in lines
    assert client.put("/v1/plants/none/sources", json=SOURCES).status_code == 404


FILE = """
plant = "{plant}"
[service]
url = "{url}"
key_env = "TWIN_KEY"
[collect]
flush_s = 0.1
[[sources]]
kind = "files"
path = "{folder}"
settle_s = 0.0
[sources.tags]
{tag} = {{address = "LI", unit = "cm"}}
"""


def test_the_command_tells_what_is_wrong_with_its_line(
    address: str, plant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plant.toml"
    monkeypatch.setenv("TWIN_KEY", KEY)
    file.write_text(FILE.format(plant=plant, url=address, folder=tmp_path, tag="levle"))
    done = CliRunner().invoke(command, ["collect", str(file), "--check"])
    assert done.exit_code == 2
    assert f"{file}:13: sources.0.tags.levle: the plant '{plant}' has no such tag; did you mean level" in done.output
    file.write_text(FILE.format(plant=plant, url=address, folder=tmp_path / "gone", tag="level"))
    done = CliRunner().invoke(command, ["collect", str(file), "--check"])
    assert done.exit_code == 1
    assert f"{file}:9: sources.0.kind: there is no folder" in done.output
    file.write_text(FILE.format(plant=plant, url=address, folder=tmp_path, tag="level"))
    done = CliRunner().invoke(command, ["collect", str(file), "--check"])
    assert (done.exit_code, "1 sources, 0 findings" in done.output) == (0, True)


def test_a_replay_ends_in_the_store(client: httpx.Client, address: str, plant: str, tmp_path: Path) -> None:
    file = tmp_path / "h.csv"
    file.write_text("time,level\n2026-05-01T00:00:00Z,1.5\n2026-05-01T00:00:10Z,2.5\n")
    given = ["replay", plant, str(file), "--speed", "1000", "--own-times", "--url", address, "--key", KEY]
    done = CliRunner().invoke(command, given)
    assert done.exit_code == 0, done.output
    assert "2 samples sent" in done.output
    found = client.get(f"/v1/plants/{plant}/telemetry", params={"tags": "level"}).json()
    assert found["values"]["level"] == [1.5, 2.5]
