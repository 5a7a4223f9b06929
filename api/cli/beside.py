"""Beside the service: `twin collect`, `replay`, `control`, its report, `mcp`; and `serve-plant`, which is a plant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.address import address
from api.cli.options import REFUSED, ApiKey, AsJson, End, PlantName, Start, Url, service, told


def control(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The plant's file, TOML.")],
    speed: Annotated[float, typer.Option(min=0.001, help="Of a simulated plant, seconds a second.")] = 1.0,
    epoch: Annotated[str | None, typer.Option(help="Its time when it began.", show_default=False)] = None,
    since: Annotated[str | None, typer.Option(help="When it began to run so fast.", show_default=False)] = None,
) -> None:
    """Run the controller of a plant; it starts in shadow and writes nothing until somebody closes the loop.

    The page /docs/control of the service tells what the file holds; `twin demo --control` writes one to begin from.
    """
    import asyncio
    import logging

    import pandas as pd

    from api import logs, settings
    from api.control import start
    from api.control.journal import JournalError
    from api.control.link import LinkError
    from connectors.config import load
    from connectors.errors import ConnectorError

    logs.configure("info")
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # each record tells of a lost link
    try:
        times = (0 if time is None else pd.Timestamp(time).value for time in (epoch, since))
        asyncio.run(start.control(load(file, settings.environment()), speed, *times))
    except (ConnectorError, LinkError, JournalError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(REFUSED) from None


def control_report(
    plant: PlantName,
    start: Start = None,
    end: End = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """How a controller did: service factor, limits, overrides, forecasts against values, benefit."""
    with service(url, key) as client:
        params = {"start": start, "end": end}
        found = client.request("GET", f"/v1/plants/{plant}/controller/report", params=params)
        if not told(found, as_json):
            from api.cli import control as shown

            shown.show_report(found)


def collect(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What is connected: plant.toml.")],
    check: Annotated[bool, typer.Option("--check", help="Only tell what is wrong, with its line.")] = False,
    browse: Annotated[bool, typer.Option("--browse", help="Only list what OPC UA servers offer, as TOML.")] = False,
) -> None:
    """Collect telemetry from a plant's systems into the service, through a buffer on disk.

    The page /docs/collecting of the service tells what the file holds; `twin demo --control` writes one to begin from.
    """
    from api.cli import collect

    raise typer.Exit(collect.run(file, check, browse))


def serve_plant(
    port: Annotated[int, typer.Option(help="Of the OPC UA server on this machine; 0 takes a free one.")] = 4840,
    speed: Annotated[float, typer.Option(min=0.001, help="Plant seconds a second.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of noise and disturbances.")] = 7,
    epoch: Annotated[str | None, typer.Option(help="The plant's time at the start; now.", show_default=False)] = None,
    since: Annotated[str | None, typer.Option(help="When that was; now.", show_default=False)] = None,
) -> None:
    """Serve a simulated quadruple tank over OPC UA, as a plant to collect from and to control."""
    from api.cli.demo import serve_plant

    raise typer.Exit(serve_plant.main(port, speed, seed, epoch, since))


def replay(
    plant: PlantName,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Telemetry: CSV, Parquet or Arrow.")],
    speed: Annotated[float, typer.Option(min=1e-3, help="Plant seconds a second.")] = 1.0,
    own_times: Annotated[bool, typer.Option("--own-times", help="Keep the times of the file; else it is now.")] = False,
    repeat: Annotated[bool, typer.Option("--repeat", help="Begin again at the end.")] = False,
    timezone: Annotated[str | None, typer.Option(help="Of times without an offset.", show_default=False)] = None,
    url: Url = None,
    key: ApiKey = None,
) -> None:
    """Replay stored telemetry into a plant as if it were live, at any speed."""
    from api.cli import replay

    raise typer.Exit(replay.run(plant, file, speed, own_times, repeat, timezone, url, key))


def mcp(
    http: Annotated[
        int | None,
        typer.Option(help="Streamable HTTP at this port of this machine, instead of stdio.", show_default=False),
    ] = None,
    url: Url = None,
    key: ApiKey = None,
) -> None:
    """Tools for language-model assistants over MCP: read, predict, and optimize as advice. Nothing is written.

    Over stdio the tools use TWIN_KEY; over HTTP each caller sends its own key as `Authorization: Bearer …`.
    """
    try:
        from api import assistant
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        typer.secho("MCP is an extra: pip install 'plant-twin[mcp]'", fg="red", err=True)
        raise typer.Exit(REFUSED) from None
    server = assistant.server(*address(url, key))
    if http is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=http, json_response=True, stateless_http=True)
