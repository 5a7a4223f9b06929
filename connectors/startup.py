"""What can be known to be wrong before anything is collected, each with its line of the file."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from connectors.config import Config
from connectors.errors import ConnectorError, Fault
from connectors.kinds import Context
from connectors.protocol import NS, Source
from twin.plant import Plant

STALE_S = 86_400.0  # a present value that is older is said to be old


async def findings(config: Config, plant: Plant, context: Context | None = None) -> list[Fault]:
    """Ask every source about its mapping and its clock.

    A source that does not answer is a finding too: collecting tries it again and again.
    """
    found = list(config.against(plant))
    context = context or Context(secrets=config.secrets)
    for i in range(len(config.sources)):
        source = config.source(i, plant, context)
        try:
            async with source:
                told = await source.faults()
                found += [config.fault(("sources", i, "tags", tag, "address"), why) for tag, why in told.items()]
                sound = [tag for tag in config.sources[i].tags if tag not in told and tag in plant.names]
                found += await _clock(config, i, source, sound, context)
        except ConnectorError as error:
            found.append(config.fault(("sources", i, "kind"), error.detail))
    return sorted(found, key=lambda fault: fault.line)


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
        where, what = ("sources", i, "kind"), f"its clock runs {ahead:.0f} s ahead of ours ('{known.tags[newest]}')"
    elif -ahead > STALE_S:
        where, what = ("sources", i, "kind"), f"its newest value is {-ahead / 3600:.1f} h old ('{known.tags[newest]}')"
    else:
        return []
    return [config.fault(where, what)]
