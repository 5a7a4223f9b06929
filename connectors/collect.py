"""The collector: sources → disk → service (store and forward).

Each source runs by itself and is tried again when it fails; a slow or missing service fills the disk, and a full disk
makes the sources wait. Nothing is confirmed to a source before it is on the disk, and nothing leaves the disk before
the service has confirmed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from connectors.buffer import Buffer, Segment
from connectors.errors import ConnectorError
from connectors.forward import SegmentRefused, Sender
from connectors.protocol import Samples, Source

SEGMENT = 200_000  # rows of a segment, about
PATIENCE_S = 30.0  # between two tries, at most
FIRST_TRY_S = 0.5


@dataclass
class Forwarding:
    """How the way to the service fares.

    Attributes:
        sent: rows that the service has; stored, duplicate and rejected of them by its receipts.
        aside: segments that it refused and that are kept on disk.
        last_error: the last thing that went wrong, "" when it went well since.
    """

    sent: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    aside: int = 0
    last_error: str = ""
    unknown_tags: list[str] = field(default_factory=list)


class Collector:
    """Runs sources into a buffer and the buffer into a service.

    Args:
        sources: by name, each with its tags in the plant's units.
        flush_s: at least so often what was collected is sent.
        tell: is told of what happens, in a sentence.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        buffer: Buffer,
        sender: Sender,
        flush_s: float,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._sources = dict(sources)
        self._buffer = buffer
        self._sender = sender
        self._flush_s = flush_s
        self._tell = tell
        self._news = asyncio.Event()
        self.forwarding = Forwarding()

    async def run(self) -> None:
        """Collect until cancelled, or until every source has ended and all is sent."""
        pumps = [asyncio.create_task(self._pump(name, source)) for name, source in self._sources.items()]
        background = [asyncio.create_task(self._forward_on()), asyncio.create_task(self._report_on())]
        try:
            await asyncio.gather(*pumps)
        except asyncio.CancelledError:
            await self._stopped([*pumps, *background])
            raise
        await self._stopped(background)
        await self.flush()

    async def flush(self) -> bool:
        """Send all that is on the disk; whether the service took it."""
        try:
            while (segment := await self._buffer.next(SEGMENT)) is not None:
                await self._send(segment)
        except Exception as error:
            detail = _sentence(error)
            if detail != self.forwarding.last_error:
                self._tell(f"not sent, {self._buffer.rows} samples wait on disk: {detail}")
            self.forwarding.last_error = detail
            return False
        if self.forwarding.last_error and not self.forwarding.aside:
            self._tell("the service has all samples again")
            self.forwarding.last_error = ""
        return True

    async def _send(self, segment: Segment) -> None:
        """Hand over one segment and take it off the disk.

        Raises:
            ConnectorError: it did not arrive, or the disk does not let go of it.
        """
        try:
            receipt = await self._sender.send(segment.body, segment.key)
        except SegmentRefused as error:
            await self._buffer.refused(segment, error.detail)
            self.forwarding.aside += 1
            self.forwarding.last_error = error.detail
            self._tell(f"kept aside {segment.rows} samples: {error.detail}")
            return
        await self._buffer.sent(segment)
        self._count(segment.rows, receipt)

    def health(self) -> list[dict[str, Any]]:
        """How each source fares, as the service is told."""
        waiting = {"buffered": self._buffer.rows, "buffered_bytes": self._buffer.bytes, "full": self._buffer.full}
        return [
            {k: v for k, v in asdict(source.health).items() if not k.startswith("_")} | {"name": name} | waiting
            for name, source in self._sources.items()
        ]

    async def _pump(self, name: str, source: Source) -> None:
        delay = FIRST_TRY_S
        while True:
            try:
                async with source:
                    batches = source.batches(self._buffer.position(name))
                    try:
                        async for batch in batches:
                            await self._kept(name, batch)
                            self._news.set()
                            delay = FIRST_TRY_S
                    finally:
                        await batches.aclose()  # type: ignore[attr-defined]
                return
            except Exception as error:  # whatever it is, it ends neither the other sources nor this one
                source.health.failed(_sentence(error))
                self._tell(f"{name}: {_sentence(error)}; trying again in {delay:.0f} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, PATIENCE_S)

    async def _kept(self, name: str, batch: Samples) -> None:
        """Put a batch on the disk; while that takes nothing, the source waits with it."""
        told, delay = "", FIRST_TRY_S
        while True:
            try:
                await self._buffer.append(name, batch)
            except ConnectorError as error:
                self._sources[name].health.last_error = error.detail
                if error.detail != told:
                    self._tell(f"{name}: {error.detail}; it waits")
                told = error.detail
                await asyncio.sleep(delay)
                delay = min(2 * delay, PATIENCE_S)
            else:
                if told:
                    self._tell(f"{name}: the disk takes samples again")
                return

    async def _forward_on(self) -> None:
        delay = FIRST_TRY_S
        while True:
            if await self.flush():
                delay = FIRST_TRY_S
                await self._news.wait()
                self._news.clear()
                await asyncio.sleep(self._flush_s)
            else:
                await asyncio.sleep(min(delay, self._flush_s))
                delay = min(2 * delay, PATIENCE_S)

    async def _report_on(self) -> None:
        while True:
            try:
                await self._sender.report(self.health())
            except ConnectorError as error:
                self.forwarding.last_error = self.forwarding.last_error or error.detail
            await asyncio.sleep(min(self._flush_s, PATIENCE_S))

    def _count(self, rows: int, receipt: Mapping[str, Any]) -> None:
        self.forwarding.sent += rows
        self.forwarding.stored += int(receipt.get("rows_stored", 0))
        self.forwarding.duplicate += int(receipt.get("rows_duplicate", 0))
        self.forwarding.rejected += int(receipt.get("rows_rejected", 0))
        if rejected := receipt.get("rejected"):
            first = rejected[0]
            self._tell(
                f"the service rejected {receipt.get('rows_rejected')} rows, first {first['tag']}: {first['reason']}"
            )

    @staticmethod
    async def _stopped(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _sentence(error: Exception) -> str:
    """What went wrong; with its type where nobody foresaw it."""
    return error.detail if isinstance(error, ConnectorError) else f"{type(error).__name__}: {error}"
