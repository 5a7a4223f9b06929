"""A plant in memory: Source and Sink for real, without a network. The double of all the others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from connectors.clock import Clock, SystemClock
from connectors.errors import ConnectorError
from connectors.protocol import Health, Samples
from twin.storage.batch import BAD, GOOD


class MemoryPlant:
    """Tags with present values; a Source of their changes and a Sink for them.

    What changed while it was cut off is kept and comes when it is back. Positions count the changes.

    Args:
        values: the present values by tag; these are all its tags.
        clock: of the time stamps.
        writable: the tags that accept a write; all by default.
    """

    def __init__(
        self,
        values: Mapping[str, float],
        clock: Clock | None = None,
        *,
        writable: Iterable[str] | None = None,
        name: str = "memory",
    ) -> None:
        self.clock = clock or SystemClock()
        self.health = Health(name, "memory")
        self.writable = frozenset(values if writable is None else writable)
        self.units_told: dict[str, str] = {}  # what it says of its units, by tag
        self.refuse: dict[str, str] = {}  # a write of this tag fails, for this reason
        self.written: list[tuple[int, dict[str, float]]] = []  # every write that was accepted: when (ns), what
        self._log: list[Samples] = []
        self._now: dict[str, tuple[int, float, int]] = {}
        self._changed = asyncio.Event()
        self._link = asyncio.Event()
        self._link.set()
        self.set(values)

    async def __aenter__(self) -> Self:
        self._reach()
        self.health.connected = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.health.connected = False

    def set(self, values: Mapping[str, float], quality: int = GOOD, time: int | None = None) -> None:
        """New values, as the plant would measure them; `time` (ns) is the clock's by default."""
        stamp = self.clock.now() if time is None else time
        self._now |= {tag: (stamp, float(value), quality) for tag, value in values.items()}
        batch = Samples.at(stamp, {tag: float(value) for tag, value in values.items()}, quality)
        self._log.append(Samples(batch.times, batch.tags, batch.values, batch.quality, str(len(self._log) + 1)))
        self._changed.set()

    def cut(self) -> None:
        """Cut the link: reads and writes fail, batches wait."""
        self._link.clear()
        self.health.failed("the link is cut")

    def mend(self) -> None:
        """Bring the link back."""
        self._link.set()
        self.health.back()

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        place = int(position or 0)
        while True:
            await self._link.wait()
            if place == len(self._log):
                self._changed.clear()
                await self._changed.wait()
                continue
            batch = self._log[place]
            place += 1
            self.health.count(batch, self.clock.now())
            yield batch

    async def read(self, tags: Sequence[str]) -> Samples:
        self._reach()
        for tag in tags:
            if tag not in self._now:
                raise ConnectorError.of_tag(tag, "there is no such tag")
        rows = {tag: self._now[tag] for tag in tags}
        return Samples.of((time, tag, value, quality) for tag, (time, value, quality) in rows.items())

    async def faults(self) -> Mapping[str, str]:
        odd = [tag for tag, (_, value, quality) in self._now.items() if math.isnan(value) and quality == BAD]
        return dict.fromkeys(odd, "has no value")

    async def units(self) -> Mapping[str, str]:
        return self.units_told

    async def unseen(self) -> Mapping[str, str]:
        return {}

    async def write(self, values: Mapping[str, float]) -> None:
        self._reach()
        for tag, value in values.items():
            if tag not in self.writable:
                raise ConnectorError.of_tag(tag, "cannot be written")
            if tag in self.refuse:
                raise ConnectorError.of_tag(tag, self.refuse[tag])
            if not math.isfinite(value):
                raise ConnectorError.of_tag(tag, f"{value} is no number to write")
        self.written.append((self.clock.now(), dict(values)))
        self.set(values)

    def _reach(self) -> None:
        if not self._link.is_set():
            raise ConnectorError("no connection: the link is cut")
