"""The tools for assistants, driven by the SDK's own client against a running service, over stdio and HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

mcp = pytest.importorskip(
    "mcp", reason="NO MCP SDK: the assistant's tools are not tested; pip install 'plant-twin[mcp]'"
)

import httpx2  # noqa: E402
from mcp.client.client import Client  # noqa: E402
from mcp.client.stdio import StdioServerParameters  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

ROOT = str(Path(__file__).parents[2])
KEY = "the-key-of-these-tests"
COMMAND = ["-c", "from api.cli.main import main; main()", "mcp"]


@asynccontextmanager
async def over_stdio(address: str, key: str) -> AsyncIterator[Client]:
    env = {"TWIN_URL": address, "TWIN_KEY": key, "PYTHONPATH": ROOT}
    async with Client(StdioServerParameters(command=sys.executable, args=COMMAND, env=env)) as client:
        yield client


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    answer: dict[str, Any] = result.structured_content
    return answer


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)


def test_an_assistant_reads_predicts_and_is_advised(
    address: str, client: httpx.Client, trained: dict[str, Any]
) -> None:
    before = len(client.get("/v1/plants/tank/recommendations").json()["items"])
    rows = client.get("/v1/plants/tank/telemetry").json()["times"]

    async def talk() -> None:
        async with over_stdio(address, KEY) as assistant:
            assert "Advice only" in assistant.instructions
            tools = {tool.name: tool for tool in (await assistant.list_tools()).tools}
            assert set(tools) == {
                "list_plants",
                "list_tags",
                "list_twins",
                "read_telemetry",
                "telemetry_quality",
                "twin_report",
                "step_responses",
                "predict",
                "optimize",
            }
            assert all(tool.annotations.read_only_hint for name, tool in tools.items() if name != "optimize")
            assert "writes to no plant" in tools["optimize"].description
            plants = (await ask(assistant, "list_plants"))["plants"]
            [tank] = [plant for plant in plants if plant["plant"] == "tank"]
            assert (tank["mvs"], tank["dvs"], tank["cvs"], tank["champion"]) == (2, 1, 4, trained["result"]["twin"])
            tags = (await ask(assistant, "list_tags", plant="tank"))["tags"]
            assert [tag["name"] for tag in tags if tag["role"] == "mv"] == ["pump_1", "pump_2"]
            twins = (await ask(assistant, "list_twins", plant="tank"))["twins"]
            assert trained["result"]["twin"] in [twin["twin"] for twin in twins]
            series = await ask(assistant, "read_telemetry", plant="tank", tags=["level_1"], max_points=50)
            assert set(series["values"]) == {"level_1"}
            assert 4 <= len(series["times"]) <= 50
            assert (await ask(assistant, "telemetry_quality", plant="tank"))["rows"] == len(rows)
            assert "backtest" in await ask(assistant, "twin_report", plant="tank")
            curves = await ask(assistant, "step_responses", plant="tank")
            assert curves["responses"]["pump_1"]["level_1"]["mean"][-1] > 0
            assert len(curves["times_s"]) == len(curves["responses"]["pump_1"]["level_1"]["mean"]) <= 25
            forecast = await ask(assistant, "predict", plant="tank", horizon_s=300, moves={"pump_1": [[60, 3.0]]})
            whole = client.post(
                "/v1/plants/tank/predict",
                json={"horizon_s": 300, "moves": {"pump_1": [{"after_s": 60, "value": 3.0}]}},
            ).json()
            assert forecast["times"][-1] == whole["times"][-1]
            last = [answer["scenarios"][0]["cvs"]["level_1"]["mean"][-1] for answer in (forecast, whole)]
            assert last[0] == last[1]
            plan = await ask(
                assistant,
                "optimize",
                plant="tank",
                horizon_s=300,
                setpoints={"level_1": 12.0},
                limits={"level_3": [None, 7.0]},
            )
            assert plan["status"] in ("optimal", "feasible", "relaxed")
            assert plan["advice"].startswith("Advice only")
            assert plan["next"]["pump_1"] == plan["moves"]["pump_1"][0]
            assert "did you mean tank" in await refusal(assistant, "list_tags", plant="tanc")
            assert "level_1 is a CV" in await refusal(
                assistant, "predict", plant="tank", horizon_s=300, moves={"level_1": 3.0}
            )

    asyncio.run(talk())
    assert len(client.get("/v1/plants/tank/recommendations").json()["items"]) == before + 1
    assert client.get("/v1/plants/tank/telemetry").json()["times"] == rows


def test_scopes_are_those_of_the_key(address: str, client: httpx.Client, trained: dict[str, Any]) -> None:
    made = client.post("/v1/keys", json={"name": "assistant", "scopes": ["read"]}).json()

    async def talk() -> None:
        async with over_stdio(address, made["key"]) as assistant:
            assert (await ask(assistant, "list_plants"))["plants"]
            assert "lacks the scope 'predict'" in await refusal(assistant, "predict", plant="tank", horizon_s=300)
            wanted = {"setpoints": {"level_1": 12.0}}
            assert "lacks the scope 'optimize'" in await refusal(
                assistant, "optimize", plant="tank", horizon_s=300, **wanted
            )

    asyncio.run(talk())


def test_over_http_each_caller_brings_its_own_key(
    address: str, client: httpx.Client, until: Callable[[Callable[[], bool], float], None]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "TWIN_URL": address, "TWIN_KEY": KEY, "PYTHONPATH": ROOT}
    process = subprocess.Popen([sys.executable, *COMMAND, "--http", str(port)], env=env, stderr=subprocess.DEVNULL)

    async def talk(headers: dict[str, str]) -> Any:
        http = httpx2.AsyncClient(headers=headers, timeout=60)
        async with http, Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)) as assistant:
            return await assistant.call_tool("list_plants", {})

    try:
        until(lambda: _listens(port), 120)
        assert not asyncio.run(talk({"Authorization": f"Bearer {KEY}"})).is_error
        nobody = asyncio.run(talk({}))
        assert (nobody.is_error, "send a key" in nobody.content[0].text) == (True, True)
    finally:
        process.terminate()
        process.wait(60)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
