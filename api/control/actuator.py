"""Writes a verified plan: logged first, through the guard, read back, compared."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from api.control.clock import Clock
from api.control.configuration import Configuration
from api.control.journal import Journal, JournalError
from api.control.ports import Inlets
from api.control.watchdog import Heartbeat
from connectors.errors import ConnectorError, RefusedError
from connectors.guard import Guarded

READ_BACKS = 3  # how often a value is looked at before it counts as not taken


class WriteFault(Exception):
    """Nothing, or not all, is known to be written."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Actuator:
    """The only one that writes to the plant.

    Args:
        sink: guarded by this controller's own allow-list.
        inlets: to read back from.
    """

    def __init__(
        self, configuration: Configuration, sink: Guarded, inlets: Inlets, journal: Journal, clock: Clock
    ) -> None:
        self._configuration, self._sink, self._inlets = configuration, sink, inlets
        self._journal, self._clock = journal, clock
        self.heartbeat = Heartbeat(configuration.settings.watchdog)

    async def move(
        self,
        moves: Mapping[str, float],
        present: Mapping[str, float],
        at: int,
        until: float,
        intent: Mapping[str, Any],
    ) -> dict[str, float]:
        """Write MV values and the heartbeat; what was read back.

        Args:
            moves: MV → value, verified.
            present: MV → its value measured at the time `at`, ns.
            until: s on the clock's steady scale, the latest moment to write at.
            intent: what is logged before anything is written.

        Raises:
            WriteFault: the log, the guard, the sink or the plant did not take it.
        """
        try:
            self._journal.add(intent, safe=True)
        except JournalError as error:
            raise WriteFault("journal", str(error)) from None
        self._sink.seen(present, at)
        await self._in_time(moves, until)
        await self._write({**moves, **self.heartbeat.beat()})
        return await self._read_back(moves)

    async def beat(self) -> None:
        """Write the heartbeat alone; what goes wrong with it is not worth more than the cycle that failed."""
        if beat := self.heartbeat.beat():
            try:
                await self._write(beat)
            except WriteFault:
                return

    async def release(self) -> str:
        """Hand the MVs back to the base layer; what went wrong, empty where nothing did."""
        try:
            if self._configuration.settings.release:
                await self._write(self._configuration.settings.release)
        except WriteFault as fault:
            return fault.detail
        return ""

    async def _in_time(self, moves: Mapping[str, float], until: float) -> None:
        """Wait where a late write before leaves too little time between the two for moves at the full rate."""
        pause_s = self._configuration.period_s / 50
        while self._sink.check(moves) and self._clock.steady() + pause_s < until:
            await self._clock.sleep(pause_s)

    async def _write(self, values: Mapping[str, float]) -> None:
        try:
            await asyncio.wait_for(self._sink.write(values), self._clock.real(self._configuration.period_s / 4))
        except RefusedError as error:
            raise WriteFault("guard_refused", error.detail) from None
        except TimeoutError:
            raise WriteFault("write_failed", "the plant did not take the values in time") from None
        except (ConnectorError, OSError) as error:
            raise WriteFault("write_failed", str(error)) from None

    async def _read_back(self, moves: Mapping[str, float]) -> dict[str, float]:
        """What the plant says it took."""
        tolerances = {mv.name: mv.tolerance for mv in self._configuration.mvs}
        tags: Sequence[str] = list(moves)
        told: dict[str, float] = {}
        for attempt in range(READ_BACKS):
            if attempt:
                await self._clock.sleep(self._configuration.period_s / 50)
            found, _ = await self._inlets.read(tags, self._clock.real(self._configuration.period_s / 8))
            told = {tag: found[tag].value if tag in found else math.nan for tag in tags}
            if all(abs(told[tag] - moves[tag]) <= tolerances[tag] for tag in tags):
                return told
        wrong = ", ".join(f"{tag}: {moves[tag]:g} written, {told[tag]:g} read" for tag in tags)
        raise WriteFault("read_back", f"the plant did not take the values: {wrong}")
