"""A plant's sources and sinks as one to read and one to write, by tag."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVar

from api.control.checks import Reading
from api.control.configuration import Configuration
from connectors.clock import Clock
from connectors.errors import ConnectorError
from connectors.guard import Bounds, Guarded
from connectors.protocol import Sink, Source

T = TypeVar("T")


class Inlets:
    """Reads each tag from the source that has it.

    Args:
        sources: tag → source; one source may have many.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = dict(sources)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for source in _unique(self._sources):
            await self._open.enter_async_context(source)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def read(self, tags: Sequence[str], timeout_s: float) -> tuple[dict[str, Reading], list[str]]:
        """The present readings, and what went wrong; a tag of a source that failed has none."""
        parts = [(s, [tag for tag in tags if self._sources.get(tag) is s]) for s in _unique(self._sources)]
        asked = [(source, mine) for source, mine in parts if mine]
        jobs = [asyncio.wait_for(source.read(mine), timeout_s) for source, mine in asked]
        found: dict[str, Reading] = {}
        errors = [f"no source has '{tag}'" for tag in tags if tag not in self._sources]
        for (source, _), outcome in zip(asked, await asyncio.gather(*jobs, return_exceptions=True), strict=True):
            if isinstance(outcome, TimeoutError):
                errors.append(f"{source.health.name}: no answer within {timeout_s:.2f} s")
            elif isinstance(outcome, ConnectorError | OSError):
                errors.append(f"{source.health.name}: {outcome}")
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                found |= {tag: Reading(*row) for tag, row in outcome.latest().items()}
        return found, errors


class Outlets:
    """Writes each tag to the sink that has it.

    Args:
        sinks: tag → sink.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = dict(sinks)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for sink in _unique(self._sinks):
            await self._open.enter_async_context(sink)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def faults(self) -> dict[str, str]:
        """What the sinks say of their mappings, by tag."""
        return {tag: why for sink in _unique(self._sinks) for tag, why in (await sink.faults()).items()}

    async def write(self, values: Mapping[str, float]) -> None:
        """Write all values, a call for each sink.

        Raises:
            ConnectorError: no sink has a tag, or one failed; those of other sinks may have been written.
        """
        for tag in values:
            if tag not in self._sinks:
                raise ConnectorError.of_tag(tag, "no sink has it")
        for sink in _unique(self._sinks):
            mine = {tag: value for tag, value in values.items() if self._sinks[tag] is sink}
            if mine:
                await sink.write(mine)


def guarded(sink: Sink, configuration: Configuration, clock: Clock) -> Guarded:
    """The sink behind an allow-list of what this controller may ever write: MVs, heartbeat, release."""
    settings, bounds = configuration.settings, {}
    for mv in configuration.mvs:
        if mv.moved:
            bounds[mv.name] = Bounds(mv.low, mv.high, mv.rate_per_s if mv.rate_per_s < float("inf") else None)
    if settings.watchdog is not None:
        bounds[settings.watchdog.tag] = Bounds(0.0, float(settings.watchdog.wraps))
    for tag, value in settings.release.items():
        bounds[tag] = Bounds(value - 1e-9 - 1e-9 * abs(value), value + 1e-9 + 1e-9 * abs(value))
    return Guarded(sink, bounds, configuration.period_s, clock)


def _unique(by_tag: Mapping[str, T]) -> list[T]:
    """Each source or sink once, in the order of their first tags."""
    seen: dict[int, T] = {}
    for item in by_tag.values():
        seen.setdefault(id(item), item)
    return list(seen.values())
