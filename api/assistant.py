"""Tools for language-model assistants, by the Model Context Protocol: `twin mcp`.

Each tool asks a running service with the caller's key, so that keys, scopes, limits of requests and the log of
recommendations are those of everybody. Nothing here can write to a plant: there is no tool for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from api.client.clients import AsyncClient
from api.client.errors import ClientError

POINTS = 25  # of a forecast that is told; every n-th and the last
ROWS = 200  # of telemetry, where not asked otherwise
ADVICE = "Advice only: nothing was written to the plant. A person decides, and moves the MVs."
INSTRUCTIONS = f"""Digital twins of industrial plants. MVs are what is moved, DVs measured disturbances, CVs what is
controlled. Start with list_plants and list_tags; names and units are exact. Values are in each tag's unit, times
RFC 3339 in UTC, durations seconds. A forecast comes with a band and with `trust`: say so where it is not
in_distribution, and never quote the band as a promise there. A plan comes with a `status`; `abstained` means that the
twin should not be asked here. {ADVICE}"""
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
LOGS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)

Plant = Annotated[str, Field(description="the slug of a plant, from list_plants")]
Twin = Annotated[str, Field(description="the id of a twin, or an alias")]
Horizon = Annotated[float, Field(description="how far to look, seconds", gt=0)]
When = Annotated[str | None, Field(description="RFC 3339 with an offset, such as 2026-01-31T08:00:00Z")]
Step = Annotated[tuple[float, float], Field(description="[after_s, value]")]
Steps = dict[str, float | list[Step]]
Moves = Annotated[Steps | None, Field(description="by MV a value at once, or steps [[after_s, value], …]")]
Expected = Annotated[Steps | None, Field(description="by DV what is expected: a value at once, or steps")]


@dataclass(frozen=True)
class Service:
    """Where the service is, and the key of this process; a caller over HTTP brings its own."""

    url: str
    key: str | None

    @asynccontextmanager
    async def asked_by(self, ctx: Context) -> AsyncIterator[AsyncClient]:
        """The service with the caller's key; a refusal becomes an error that the assistant can read."""
        headers = ctx.headers
        key = self.key if headers is None else headers.get("authorization", "").removeprefix("Bearer ")
        try:
            async with AsyncClient(self.url, key or None) as client:
                yield client
        except (ClientError, ValueError) as error:
            raise ToolError(str(error)) from error


def server(url: str, key: str | None) -> MCPServer:
    """The server of the tools, for the service at `url`."""
    tools = Tools(Service(url, key))
    found: MCPServer = MCPServer(
        "plant-twin", title="Plant Twin", instructions=INSTRUCTIONS, version=version("plant-twin")
    )
    readers: list[Any] = [
        tools.list_plants,
        tools.list_tags,
        tools.list_twins,
        tools.read_telemetry,
        tools.telemetry_quality,
    ]
    for tool in [*readers, tools.twin_report, tools.step_responses, tools.predict]:
        found.add_tool(tool, annotations=READS)
    found.add_tool(tools.optimize, annotations=LOGS)
    return found


class Tools:
    """What an assistant may do; each docstring is what it is told about the tool."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list_plants(self, ctx: Context) -> dict[str, Any]:
        """The plants, with their tags counted by role and their champion twin."""
        async with self._service.asked_by(ctx) as client:
            return {"plants": [_plant(plant) async for plant in client.plants()]}

    async def list_tags(self, ctx: Context, plant: Plant) -> dict[str, Any]:
        """The tags of a plant: role (mv, dv, cv), unit, hard limits of MVs, operating limits of CVs."""
        async with self._service.asked_by(ctx) as client:
            found = await client.plant(plant)
            return {"plant": plant, "sample_period_s": found["sample_period_s"], "tags": found["tags"]}

    async def list_twins(self, ctx: Context, plant: Plant) -> dict[str, Any]:
        """The trained twins of a plant, newest first, with their aliases."""
        async with self._service.asked_by(ctx) as client:
            return {"twins": [dict(twin) async for twin in client.twins(plant)]}

    async def read_telemetry(
        self,
        ctx: Context,
        plant: Plant,
        tags: Annotated[list[str] | None, Field(description="by default all")] = None,
        start: When = None,
        end: When = None,
        max_points: Annotated[int, Field(ge=4, le=2000, description="thinned out, keeping extremes")] = ROWS,
    ) -> dict[str, Any]:
        """Measured rows of a span, thinned out; missing is null."""
        async with self._service.asked_by(ctx) as client:
            return dict(await client.telemetry(plant, start=start, end=end, tags=tags, max_points=max_points))

    async def telemetry_quality(
        self, ctx: Context, plant: Plant, start: When = None, end: When = None
    ) -> dict[str, Any]:
        """What the telemetry is worth: gaps, frozen or impossible values, whether each MV moved enough to learn."""
        async with self._service.asked_by(ctx) as client:
            return await client.quality(plant, start=start, end=end)

    async def twin_report(self, ctx: Context, plant: Plant, twin: Twin = "champion") -> dict[str, Any]:
        """How good a twin is: errors against persistence and ARX by horizon, coverage, gains, effects not known."""
        async with self._service.asked_by(ctx) as client:
            card = await client.report(plant, twin)
            return {name: part for name, part in card.items() if name != "step_responses"} | {
                "gains": card["step_responses"]["gains"]
            }

    async def step_responses(self, ctx: Context, plant: Plant, twin: Twin = "champion") -> dict[str, Any]:
        """What a step of each MV does to each CV: curves (thinned out), gains, dead times and settling times."""
        async with self._service.asked_by(ctx) as client:
            found = await client.step_responses(plant, twin)
            keep = _kept(len(found["times_s"]))
            curves = {mv: {cv: _thin(band, keep) for cv, band in of.items()} for mv, of in found["responses"].items()}
            return {**found, "times_s": [found["times_s"][i] for i in keep], "responses": curves}

    async def predict(
        self,
        ctx: Context,
        plant: Plant,
        horizon_s: Horizon,
        moves: Moves = None,
        disturbances: Expected = None,
        twin: Twin = "champion",
        at: When = None,
    ) -> dict[str, Any]:
        """What the CVs will do if nothing moves, and under the moves given; with bands and a verdict on trust."""
        async with self._service.asked_by(ctx) as client:
            answer = await client.predict(
                plant, horizon_s=horizon_s, moves=moves, disturbances=disturbances, twin=twin, at=at
            )
            keep = _kept(len(answer["times"]))
            scenarios = [{**s, "cvs": _bands(s["cvs"], keep), **_series(s, keep)} for s in answer["scenarios"]]
            return {
                **answer,
                "times": [answer["times"][i] for i in keep],
                "disturbances": {tag: [values[i] for i in keep] for tag, values in answer["disturbances"].items()},
                "baseline": _bands(answer["baseline"], keep),
                "scenarios": scenarios,
            }

    async def optimize(
        self,
        ctx: Context,
        plant: Plant,
        horizon_s: Horizon,
        setpoints: Annotated[dict[str, float] | None, Field(description="by CV its target")] = None,
        prices: Annotated[dict[str, float] | None, Field(description="by tag per unit and hour; a cost is > 0")] = None,
        limits: Annotated[
            dict[str, list[float | None]] | None, Field(description="by tag [low, high], either null; only tightens")
        ] = None,
        disturbances: Expected = None,
        twin: Twin = "champion",
        at: When = None,
    ) -> dict[str, Any]:
        """The best moves under the limits, with a status and a certificate. Advice only: it writes to no plant.

        The answer is logged among the plant's recommendations.
        """
        async with self._service.asked_by(ctx) as client:
            bounds = {tag: (pair[0], pair[1]) for tag, pair in (limits or {}).items()}
            answer = await client.optimize(
                plant,
                horizon_s=horizon_s,
                setpoints=setpoints,
                prices=prices,
                limits=bounds,
                disturbances=disturbances,
                twin=twin,
                at=at,
            )
            keep = _kept(len(answer["times"]))
            short = {"times": [answer["times"][i] for i in keep], "cvs": _bands(answer["cvs"], keep)}
            moves = {mv: [values[i] for i in keep] for mv, values in answer["moves"].items()}
            kept = {name: value for name, value in answer.items() if name != "state"}
            return {"advice": ADVICE, **kept, **short, "moves": moves}


def _plant(plant: Any) -> dict[str, Any]:
    roles = [tag["role"] for tag in plant["tags"]]
    counts = {f"{role}s": roles.count(role) for role in ("mv", "dv", "cv")}
    return {"plant": plant["plant"], "name": plant["name"], **counts, "champion": plant["aliases"].get("champion")}


def _kept(count: int) -> list[int]:
    """Which of `count` points are told: the first, the last, and some between."""
    if count <= POINTS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (POINTS - 1)) for i in range(POINTS)})


def _thin(band: Any, keep: list[int]) -> dict[str, list[float]]:
    return {side: [band[side][i] for i in keep] for side in ("mean", "low", "high")}


def _bands(cvs: Any, keep: list[int]) -> dict[str, Any]:
    return {cv: _thin(band, keep) for cv, band in cvs.items()}


def _series(scenario: Any, keep: list[int]) -> dict[str, Any]:
    return {
        name: {tag: [values[i] for i in keep] for tag, values in scenario[name].items()}
        for name in ("moves", "disturbances", "change")
    }
