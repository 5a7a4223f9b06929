"""What can be known to be wrong before anything is collected or written, each with its line of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from connectors.config import Config
from connectors.errors import ConnectorError, Fault
from connectors.kinds import Context, Look
from connectors.protocol import NS, Source
from twin import units
from twin.errors import PlantError
from twin.plant import Plant

STALE_S = 86_400.0  # a present value that is older is said to be old


async def findings(
    config: Config, plant: Plant, context: Context | None = None, written: Iterable[str] = ()
) -> list[Fault]:
    """Ask every source about its mapping, its units and its clock, and the sinks about what is to be written.

    One that does not answer is a finding too: it is tried again and again.

    Args:
        written: the tags whose sinks are asked.
    """
    found = list(config.against(plant))
    context = context or Context(secrets=config.secrets)
    for i in range(len(config.sources)):
        found += await _source(config, i, plant, context)
    for i, options in enumerate(config.sinks):
        if mine := [tag for tag in written if tag in options.tags]:
            found += await _sink(config, i, plant, context, mine)
    return sorted(found, key=lambda fault: fault.line)


async def _source(config: Config, i: int, plant: Plant, context: Context) -> list[Fault]:
    source = config.source(i, plant, context)
    try:
        async with source:
            told = await source.faults()
            found = _shown(config, i, plant, told, await source.units())
            for tag, why in (await source.unseen()).items():
                later = f"{why}: whether it is right is told with the first"
                found.append(config.fault(("sources", i, "tags", tag, "address"), later, "later"))
            sound = [tag for tag in config.sources[i].tags if tag not in told and tag in plant.names]
            return found + await _clock(config, i, source, sound, context)
    except ConnectorError as error:
        return [config.fault(("sources", i, "kind"), error.detail, "away")]


def _shown(config: Config, i: int, plant: Plant, told: Mapping[str, str], stated: Mapping[str, str]) -> list[Fault]:
    """What messages, files or nodes show to be wrong with the mapping of a source and its units."""
    found = [config.fault(("sources", i, "tags", tag, "address"), why, "missing") for tag, why in told.items()]
    return found + list(_units(config, i, plant, stated))


def watching(config: Config, i: int, plant: Plant, context: Context, tell: Callable[[Fault], None]) -> Context:
    """The context of a source that runs: what could not be seen at start is told as soon as it shows.

    Units that contradict the plant's end the source, as they do at start; it begins again when the collector tries it
    again, and ends in the same way until the file names the unit.

    Args:
        tell: is told each finding, once.
    """
    known: set[Fault] = set()

    def look(told: Mapping[str, str], stated: Mapping[str, str]) -> None:
        found = _shown(config, i, plant, told, stated)
        for fault in found:
            if fault not in known and fault.grave != "wrong":
                tell(fault)
        known.update(found)
        if wrong := [fault for fault in found if fault.grave == "wrong"]:
            raise ConnectorError("\n".join(fault.sentence(config.path) for fault in wrong))

    looking: Look = look
    return replace(context, look=looking)


async def _sink(config: Config, i: int, plant: Plant, context: Context, written: Iterable[str]) -> list[Fault]:
    sink = config.sink(i, plant, context)
    try:
        async with sink:
            told = await sink.faults()
    except ConnectorError as error:
        return [config.fault(("sinks", i, "kind"), error.detail, "away")]
    return [config.fault(("sinks", i, "tags", tag, "address"), told[tag], "missing") for tag in written if tag in told]


def _units(config: Config, i: int, plant: Plant, told: Mapping[str, str]) -> Iterator[Fault]:
    """Where the source states another unit than its numbers are read in.

    A mapping that scales has its own numbers, and a tag without a unit says nothing. Where the file names the unit
    itself, its word counts, and the contradiction is told.
    """
    for tag, unit in told.items():
        mapped = config.sources[i].tags[tag]
        read_in = mapped.unit or (plant.tag(tag).unit if tag in plant.names else "1")
        if read_in == "1" or (mapped.scale, mapped.offset) != (1.0, 0.0) or _same(unit, read_in):
            continue
        loc = ("sources", i, "tags", tag)
        if mapped.unit:
            yield config.fault((*loc, "unit"), f"the file reads it as '{read_in}', the source states '{unit}'", "doubt")
        else:
            hint = f"the source states the unit '{unit}', the plant has '{read_in}': write unit = \"{unit}\" beside it"
            yield config.fault((*loc, "address"), hint)


def _same(one: str, other: str) -> bool:
    """Whether two units mean the same number; one that cannot be read is not judged."""
    try:
        units.check(one)
    except PlantError:
        return True
    try:
        return bool(np.allclose([units.convert(x, one, other) for x in (0.0, 1.0)], [0.0, 1.0], rtol=1e-9, atol=1e-12))
    except PlantError:
        return False


async def _clock(config: Config, i: int, source: Source, tags: Iterable[str], context: Context) -> list[Fault]:
    """What the time stamps of the present values say of the source's clock."""
    values = await source.read(list(tags))
    known = values.where(~np.isnan(values.values))
    if not len(known):
        return []
    options, now = config.sources[i], context.clock.now()
    newest = int(np.argmax(known.times))
    ahead = (int(known.times[newest]) - now) / NS
    if ahead > options.future_s:
        what = f"its clock runs {ahead:.0f} s ahead of ours ('{known.tags[newest]}')"
    elif -ahead > STALE_S:
        what = f"its newest value is {-ahead / 3600:.1f} h old ('{known.tags[newest]}')"
    else:
        return []
    return [config.fault(("sources", i, "kind"), what, "doubt")]
