"""What runs beside a plant: `twin control`, its report, and `twin collect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.options import REFUSED, ApiKey, AsJson, End, PlantName, Start, Url, service, told


def control(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The plant's file, TOML.")],
    speed: Annotated[float, typer.Option(min=0.001, help="Of a simulated plant, seconds a second.")] = 1.0,
    epoch: Annotated[str | None, typer.Option(help="When it began to run so fast.", show_default=False)] = None,
) -> None:
    """Run the controller of a plant; it starts in shadow and writes nothing until somebody closes the loop."""
    import asyncio

    import pandas as pd

    from api import logs, settings
    from api.control import start
    from api.control.journal import JournalError
    from api.control.link import LinkError
    from connectors.config import load
    from connectors.errors import ConnectorError

    logs.configure("info")
    try:
        began = 0 if epoch is None else pd.Timestamp(epoch).value
        asyncio.run(start.control(load(file, settings.environment()), speed, began))
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
) -> None:
    """Collect telemetry from a plant's systems into the service, through a buffer on disk."""
    from api.cli import collect

    raise typer.Exit(collect.run(file, check))
