"""`twin replay`: a file into the service as if it were live."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import typer
from pydantic import ValidationError

from api.cli.collect import UNREACHABLE, WRONG, collecting
from api.settings import ClientSettings
from connectors.clock import SystemClock
from connectors.config import Collect
from connectors.edge import SourceEdge
from connectors.errors import ConnectorError
from connectors.forward import ServiceSender
from connectors.kinds import Context
from connectors.replay import SourceOptions, source

FLUSH_S = 1.0


def run(
    plant: str,
    file: Path,
    speed: float,
    own_times: bool,
    repeat: bool,
    timezone: str | None,
    url: str | None,
    key: str | None,
) -> int:
    """Replay until the end, or until interrupted; the exit code."""
    settings = ClientSettings()
    key = key or (settings.key.get_secret_value() if settings.key else None)
    given = {"file": str(file), "speed": speed, "restamp": not own_times, "repeat": repeat, "timezone": timezone}
    try:
        asyncio.run(_run(plant, given, url or settings.url, key))
    except ValidationError as error:
        typer.secho("; ".join(item["msg"] for item in error.errors()), fg="red", err=True)
        return WRONG
    except ConnectorError as error:
        typer.secho(error.detail, fg="red", err=True)
        return UNREACHABLE
    return 0


async def _run(slug: str, given: dict[str, object], url: str, key: str | None) -> None:
    async with ServiceSender(url, key, slug) as sender:
        plant = await sender.plant()
        options = SourceOptions.model_validate(
            {**given, "tags": dict(zip(plant.measured, plant.measured, strict=True))}
        )
        live = source(options, Context())
        async with live:
            missing = await live.faults()
        if len(missing) == len(plant.measured):
            raise ConnectorError(f"{options.file} has no column of the plant: {', '.join(plant.measured)}")
        edge = SourceEdge(live, options, plant, SystemClock())
        with tempfile.TemporaryDirectory() as folder:
            await collecting(slug, {"replay": edge}, Path(folder), Collect(flush_s=FLUSH_S), sender)
