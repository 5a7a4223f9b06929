"""A historian over HTTP: a server with the answers of the PI Web API, as its documentation shows them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.protocol import NS
from connectors.rest import SinkOptions, SourceOptions, sink, source
from tests.connectors.support import Taken, free_port, of_tag
from twin.storage.batch import BAD, GOOD, UNCERTAIN

T0 = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
NS0 = int(T0.timestamp()) * NS
LOGIN = "Basic " + base64.b64encode(b"reader:secret").decode()


def item(seconds: int, value: Any, **flags: bool) -> dict[str, Any]:
    stamp = (T0 + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
    flags = {"Good": True, "Questionable": False, "Substituted": False, "Annotated": False} | flags
    return {"Timestamp": stamp, "Value": value, "UnitsAbbreviation": "m"} | flags


class Historian(ThreadingHTTPServer):
    """Streams of recorded values, at most two an answer."""

    daemon_threads = True

    def __init__(self, port: int, streams: dict[str, list[dict[str, Any]]]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.streams = streams
        self.posted: list[tuple[str, Any]] = []
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Historian

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.headers["Authorization"] != LOGIN:
            return self._answer(401, {"Message": "Authorization has been denied for this request."})
        url = urlsplit(self.path)
        _, _, _, web_id, what = url.path.split("/")
        if web_id not in self.server.streams:
            return self._answer(404, {"Errors": [f"Unknown WebId '{web_id}'."]})
        items = self.server.streams[web_id]
        if what == "value":
            return self._answer(200, items[-1])
        query = parse_qs(url.query)
        start = dt.datetime.fromisoformat(query["startTime"][0])
        behind = [i for i in items if dt.datetime.fromisoformat(i["Timestamp"].replace(".0000000", "")) >= start]
        count = min(int(query["maxCount"][0]), 2)
        page, links = behind[:count], {}
        if len(behind) > count:
            base = f"http://127.0.0.1:{self.server.server_port}{url.path}"
            links = {"Next": f"{base}?startTime={behind[count]['Timestamp']}&endTime=*&maxCount={count}"}
        return self._answer(200, {"Links": links, "Items": page, "UnitsAbbreviation": "m"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        web_id = self.path.split("/")[3]
        self.server.posted.append((web_id, body))
        self._answer(204 if web_id in self.server.streams else 404, None)

    def _answer(self, status: int, body: Any) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def historian(streams: dict[str, list[dict[str, Any]]], port: int | None = None) -> Iterator[Historian]:
    server = Historian(port or free_port(), streams)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


CONTEXT = Context(secrets={"PI": "secret"})
LOGGED_IN = {"username": "reader", "password_env": "PI"}


def options(port: int, tags: dict[str, str], **given: object) -> SourceOptions:
    url = f"http://127.0.0.1:{port}/piwebapi"
    body = {"kind": "rest", "url": url, "tags": tags, "period_s": 0.1, "history_s": 1e9, "page": 2}
    return SourceOptions.model_validate(body | LOGGED_IN | given)


async def test_the_past_comes_in_pages_and_the_present_behind_it() -> None:
    flags: dict[str, Any] = {"Name": "I/O Timeout", "Value": 246, "IsSystem": True}
    streams = {
        "F1Level": [item(i, float(i)) for i in range(5)] + [item(5, 5.0, Questionable=True)],
        "F1Pump": [item(0, {"Name": "On", "Value": 1, "IsSystem": False}), item(1, flags, Good=False)],
    }
    with historian(streams) as server:
        mine = options(server.server_port, {"level": "F1Level", "pump": "F1Pump"})
        async with source(mine, CONTEXT) as plant, Taken(plant.batches()) as taken:
            got = await taken.until(lambda got: len(got) == 8)
            assert of_tag(got, "level") == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
            assert got.latest()["level"] == (NS0 + 5 * NS, 5.0, UNCERTAIN)
            pump = got.where(got.tags == "pump")
            assert (pump.values[0], pump.quality.tolist()) == (1.0, [GOOD, BAD])
            streams["F1Level"].append(item(6, 6.0))
            got = await taken.until(lambda got: 6.0 in got.values)
            assert len(got) == 9  # nothing twice
        server.asked.clear()
        later = [item(7, 7.0)]
        streams["F1Level"] += later
        async with source(mine, CONTEXT) as plant, Taken(plant.batches(got.position)) as taken:
            assert (await taken.until(len)).values.tolist() == [7.0]


async def test_a_historian_that_was_away_is_asked_for_what_it_kept() -> None:
    streams = {"L": [item(0, 1.0)]}
    port = free_port()
    with historian(streams, port):
        plant = await source(options(port, {"level": "L"}), CONTEXT).__aenter__()
        taken = Taken(plant.batches())
        await taken.until(len)
    async with taken:
        while plant.health.connected:
            await asyncio.sleep(0.02)
        streams["L"] += [item(1, 2.0), item(2, 3.0)]
        with historian(streams, port):
            got = await taken.until(lambda got: len(got) == 3)
    assert of_tag(got, "level") == [1.0, 2.0, 3.0]
    assert plant.health.reconnects == 1
    await plant.__aexit__(None, None, None)


async def test_what_is_wrong_is_told_and_writes_arrive() -> None:
    with historian({"L": [item(0, 1.0)], "T": [item(0, "words")]}) as server:
        port = server.server_port
        async with source(options(port, {"a": "L", "b": "T", "c": "gone"}), CONTEXT) as plant:
            found = await plant.faults()
            assert found["b"] == "'words' is no number"
            assert "answers 404" in found["c"]
            assert set(found) == {"b", "c"}
            assert (await plant.read(["a"])).latest() == {"a": (NS0, 1.0, GOOD)}
        with pytest.raises(ConnectorError, match="answers 401"):
            await source(options(port, {"a": "L"}), Context(secrets={"PI": "wrong"})).__aenter__()
        target = SinkOptions.model_validate(
            {"url": f"http://127.0.0.1:{port}/piwebapi", "tags": {"valve": "L", "gone": "X"}} | LOGGED_IN
        )
        async with sink(target, CONTEXT) as out:
            await out.write({"valve": 41.5})
            assert [(web_id, body["Value"]) for web_id, body in server.posted] == [("L", 41.5)]
            with pytest.raises(ConnectorError, match=r"'gone': .* answers 404"):
                await out.write({"gone": 1.0})
