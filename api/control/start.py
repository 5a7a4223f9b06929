"""`twin control plant.toml`: from a file to a running controller."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from api.control.actuator import Actuator
from api.control.clock import Clock, SteadyClock
from api.control.configuration import Configuration, problems
from api.control.controller import Controller
from api.control.inputs import Inputs
from api.control.journal import Journal
from api.control.link import LinkError, ServiceLink
from api.control.modes import Mode
from api.control.ports import Inlets, Outlets, guarded
from api.control.runner import Runner
from api.control.settings import Settings
from connectors.config import Config
from connectors.errors import ConfigError, Fault
from connectors.kinds import Context
from connectors.protocol import Sink, Source
from connectors.startup import findings, watching
from twin.plant import Plant

log = structlog.get_logger()

WAIT_S = 2.0  # between two looks for a service that does not answer yet


async def control(config: Config, speed: float = 1.0, epoch: int = 0, since: int = 0) -> None:
    """Run the controller of a file until SIGINT or SIGTERM; closed loop then ends in order.

    Args:
        config: with a table `control`.
        speed: of a simulated plant, in plant seconds a second.
        epoch, since: its time, ns, and that of the wall clock when it began to run so fast.

    Raises:
        ConfigError: with the line of everything that is wrong.
        LinkError: the service refuses to describe the plant.
        JournalError: the log cannot be made.
    """
    stated(config)  # what the file alone shows to be wrong is told before anybody is waited for
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    link = ServiceLink(config.service.url, config.key, config.plant)
    clock = SteadyClock(speed, epoch, since)
    try:
        plant = await _described(link, stop)
        if plant is not None:
            configuration = configured(config, plant)
            if not await sound(config, configuration, clock, stop):
                return
            async with assembled(config, configuration, clock, link) as (controller, runner):
                await _backfill(controller, link, configuration, clock)
                await runner.start()
                log.info("controlling", plant=configuration.slug, mode=controller.mode, run=controller.run)
                await runner.run(stop)
    finally:
        await link.aclose()


@asynccontextmanager
async def assembled(
    config: Config, configuration: Configuration, clock: Clock, link: ServiceLink
) -> AsyncIterator[tuple[Controller, Runner]]:
    """A controller with all that it stands on, connected; it has not begun."""
    sources, sinks = _connected(config, configuration, clock)
    settings, journal = configuration.settings, Journal(config.path.parent / configuration.settings.journal)
    inlets = Inlets(sources)
    sink = guarded(Outlets(sinks), configuration, clock)
    actuator = Actuator(configuration, sink, inlets, journal, clock)
    inputs, mode = Inputs(configuration, inlets), Mode(settings.start_mode)
    controller = Controller(configuration, inputs, link, actuator, journal, clock, mode)
    runner = Runner(controller, link, clock, configuration.period_s, settings.poll_s)
    controller.tell = runner.tell
    async with inlets, sink:
        yield controller, runner


def stated(config: Config) -> Settings:
    """The table `control` of a file.

    Raises:
        ConfigError: with the line of everything that is wrong.
    """
    if not config.control:
        raise config.error(("control",), "is missing: what is to be controlled?")
    return config.validated(Settings, config.control, "control")


def configured(config: Config, plant: Plant) -> Configuration:
    """The controller's configuration.

    Raises:
        ConfigError: with the line of everything that is wrong.
    """
    settings = stated(config)
    faults = list(config.against(plant))
    faults += [config.fault(("control", *problem.loc), problem.msg) for problem in problems(plant, settings)]
    if faults:
        raise ConfigError(config.path, faults)
    configuration = Configuration.of(config.plant, plant, settings)
    read = {tag for options in config.sources for tag in options.tags}
    faults = [
        config.fault(("control",), f"no source has '{tag}', which the controller must read")
        for tag in (*plant.measured, *configuration.extra_tags)
        if tag not in read
    ]
    written = {tag for options in config.sinks for tag in options.tags}
    faults += [
        config.fault(("control",), f"no sink has '{tag}', which the controller writes when closed")
        for tag in configuration.written_tags
        if tag not in written and settings.closed_loop_allowed
    ]
    if faults:
        raise ConfigError(config.path, faults)
    return configuration


def _connected(config: Config, configuration: Configuration, clock: Clock) -> tuple[dict[str, Source], dict[str, Sink]]:
    """By tag, the sources of what is read and the sinks of what is written."""
    context, plant = Context(clock, config.secrets, "control"), configuration.plant

    def tell(fault: Fault) -> None:
        log.warning(fault.msg, file=str(config.path), line=fault.line)

    sources: dict[str, Source] = {}
    for i, options in enumerate(config.sources):
        source = config.source(i, plant, watching(config, i, plant, context, tell))
        sources |= dict.fromkeys(options.tags, source)
    sinks: dict[str, Sink] = {}
    for i, options in enumerate(config.sinks):
        if any(tag in configuration.written_tags for tag in options.tags):
            sink = config.sink(i, plant, context)
            sinks |= dict.fromkeys(options.tags, sink)
    return sources, sinks


async def _described(link: ServiceLink, stop: asyncio.Event) -> Plant | None:
    """The plant, as soon as the service tells it; None where it was told to stop before."""
    while not stop.is_set():
        try:
            return await link.plant()
        except LinkError as error:
            if error.code == "refused":
                raise
            log.warning("waiting for the service", error=error.detail)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WAIT_S)
    return None


async def sound(config: Config, configuration: Configuration, clock: Clock, stop: asyncio.Event) -> bool:
    """Wait until sources and sinks answer and ask them about their mappings; False where it was told to stop before.

    Raises:
        ConfigError: units or addresses are wrong, each with its line: nothing is controlled by such a file.
    """
    context = Context(clock, config.secrets, "control")
    written = configuration.written_tags if configuration.settings.closed_loop_allowed else ()
    told: set[Fault] = set()
    while not stop.is_set():
        found = await findings(config, configuration.plant, context, written)
        if grave := [fault for fault in found if fault.grave in ("wrong", "missing")]:
            raise ConfigError(config.path, grave)
        for fault in set(found) - told:
            log.warning(fault.msg, file=str(config.path), line=fault.line)
        told |= set(found)
        if not any(fault.grave == "away" for fault in found):
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WAIT_S)
    return False


async def _backfill(controller: Controller, link: ServiceLink, configuration: Configuration, clock: Clock) -> None:
    """Begin with the rows that were collected, so that the first plan need not wait for new ones."""
    try:
        found = await link.rows_before(clock.now(), configuration.period_s)
    except LinkError as error:
        log.warning("no earlier rows", error=error.detail)
        return
    controller.rows.fill(found)
