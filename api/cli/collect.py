"""`twin collect`: sources of a plant into the service, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import prometheus_client
import typer

from api.settings import environment
from connectors.buffer import Buffer
from connectors.collect import Collector
from connectors.config import Collect, Config, load
from connectors.errors import ConfigError, ConnectorError, Fault
from connectors.exposition import Exposition
from connectors.forward import ServiceSender
from connectors.kinds import Context, module_of
from connectors.protocol import Source
from connectors.startup import findings, watching
from twin.plant import Plant

WRONG, UNREACHABLE = 2, 3


def run(path: Path, check: bool, browse: bool = False) -> int:
    """Collect until interrupted; the exit code: 0, 2 for a file that is wrong, 3 where there is no service.

    Args:
        check: only tell what is wrong; 1 where anything is.
        browse: only list what the servers offer.
    """
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # what it tells of a lost link, health tells too
    try:
        config = load(path, environment())
    except ConfigError as error:
        typer.secho(error.detail, fg="red", err=True)
        return WRONG
    try:
        return asyncio.run(_browse(config) if browse else _run(config, check))
    except ConfigError as error:
        typer.secho(error.detail, fg="red", err=True)
        return WRONG
    except ConnectorError as error:
        typer.secho(error.detail, fg="red", err=True)
        return UNREACHABLE


async def _browse(config: Config) -> int:
    """Print what each OPC UA server has, as lines for the file."""
    for options in config.sources:
        if options.kind == "opcua":
            source = module_of("opcua").source(options, Context(secrets=config.secrets))
            async with source:
                typer.echo(f"[sources.tags]  # {options.title}")
                for line in await source.offers():
                    typer.echo(line)
    return 0


async def _run(config: Config, check: bool) -> int:
    async with ServiceSender(config.service.url, config.key, config.plant) as sender:
        plant = await _plant(sender, patient=not check)
        wrong = list(config.against(plant))
        if wrong:
            raise ConfigError(config.path, wrong)
        config = config.only(plant)
        told = await findings(config, plant)
        if grave := [fault for fault in told if fault.grave == "wrong"]:
            raise ConfigError(config.path, grave)
        for fault in told:
            typer.secho(fault.sentence(config.path), fg="yellow", err=True)
        if check:
            later = sum(fault.grave == "later" for fault in told)
            unseen = f", {later} tags not seen yet" if later else ""
            typer.echo(f"{config.path}: {len(config.sources)} sources, {len(told) - later} findings{unseen}")
            return int(len(told) > later)
        await _collect(config, plant, sender)
    return 0


async def _collect(config: Config, plant: Plant, sender: ServiceSender) -> None:
    def tell(fault: Fault) -> None:
        typer.secho(fault.sentence(config.path), fg="yellow", err=True)

    context = Context(secrets=config.secrets)
    sources: dict[str, Source] = {
        options.title: config.source(i, plant, watching(config, i, plant, context, tell))
        for i, options in enumerate(config.sources)
    }
    folder = Path(config.collect.buffer or config.path.with_suffix(".buffer"))
    mapped = {tag for options in config.sources for tag in options.tags}
    typer.echo(f"collecting {len(mapped)} tags of {config.plant} from {', '.join(sources)}", err=True)
    await collecting(config.plant, sources, folder, config.collect, sender)


async def collecting(
    slug: str, sources: Mapping[str, Source], folder: Path, options: Collect, sender: ServiceSender
) -> None:
    """Collect until a signal, or until all sources have ended; what waits is sent as far as the service takes it."""
    buffer = Buffer(folder, options.max_bytes)
    collector = Collector(sources, buffer, sender, options.flush_s, lambda told: typer.echo(told, err=True))
    if options.port is not None:
        registry = prometheus_client.CollectorRegistry()
        registry.register(Exposition(lambda: ((slug, source) for source in collector.health())))
        prometheus_client.start_http_server(options.port, "127.0.0.1", registry)
    running = asyncio.create_task(collector.run())
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, running.cancel)
    try:
        with suppress(asyncio.CancelledError):
            await running
        with suppress(TimeoutError):
            await asyncio.wait_for(collector.flush(), 10.0)
    finally:
        buffer.close()
    typer.echo(f"{collector.forwarding.sent} samples sent, {buffer.rows} wait in {folder}", err=True)


async def _plant(sender: ServiceSender, patient: bool) -> Plant:
    """The plant's description; where the service is down, it is waited for."""
    while True:
        try:
            return await sender.plant()
        except ConnectorError as error:
            if not patient or "answers" in error.detail:
                raise
            typer.secho(f"{error.detail}; trying again", fg="yellow", err=True)
            await asyncio.sleep(5.0)
