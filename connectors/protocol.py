"""Source and Sink: all that the collector and the controller know of a plant's systems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from twin.storage.batch import GOOD

NS = 1_000_000_000  # nanoseconds of a second


@dataclass(frozen=True)
class Samples:
    """One batch in long form: a row a value.

    Attributes:
        times: (n,) int64, ns since 1970 UTC: the source's own time stamps where it has any.
        tags: (n,) object, the plant's names.
        values: (n,) float64, NaN is missing; as the source says them, or in engineering units behind the edge.
        quality: (n,) int16, OPC DA codes (`twin.storage.batch`): 192 is good.
        position: where the source may go on behind this batch, opaque to all others; None where it cannot say.
    """

    times: np.ndarray
    tags: np.ndarray
    values: np.ndarray
    quality: np.ndarray
    position: str | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.times), len(self.tags), len(self.values), len(self.quality)}
        if len(sizes) > 1:
            raise ValueError(f"columns of different lengths: {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def of(cls, rows: Iterable[tuple[int, str, float, int]], position: str | None = None) -> Samples:
        """The batch of such rows: time in ns, tag, value, quality."""
        columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
        return cls(
            np.array(columns[0], np.int64),
            np.array(columns[1], object),
            np.array(columns[2], np.float64),
            np.array(columns[3], np.int16),
            position,
        )

    @classmethod
    def at(cls, time: int, values: Mapping[str, float], quality: int = GOOD) -> Samples:
        """The values of one moment."""
        return cls.of((time, tag, value, quality) for tag, value in values.items())

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Several batches as one, with the position of the last that has one."""
        if not parts:
            return cls.of(())
        positions = [part.position for part in parts if part.position is not None]
        return cls(
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.tags for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.quality for part in parts]),
            positions[-1] if positions else None,
        )

    def where(self, keep: np.ndarray) -> Samples:
        """The rows of a (n,) bool mask, or of indices."""
        return Samples(self.times[keep], self.tags[keep], self.values[keep], self.quality[keep], self.position)

    def latest(self) -> dict[str, tuple[int, float, int]]:
        """By tag: time, value and quality of its newest row."""
        order = np.argsort(self.times, kind="stable")
        rows = zip(self.times[order], self.tags[order], self.values[order], self.quality[order], strict=True)
        return {tag: (int(time), float(value), int(code)) for time, tag, value, code in rows}


@dataclass
class Health:
    """How a source fares; it keeps this up to date itself.

    Attributes:
        name, kind: of the source.
        connected: whether it has a connection now.
        received: samples so far.
        refused: samples that could not be read, came from the future or belong to no tag.
        reconnects: times that a lost connection came back.
        gaps: times that the source said or showed that samples are missing.
        last_time: ns, the newest time stamp; 0 before the first.
        lag_s: of the newest batch: our clock minus its newest time stamp; below zero is a stamp from the future.
        skew_s: the source's clock minus ours, as far as it can be seen: positive, it runs ahead.
        last_error: the last thing that went wrong, "" for nothing.
    """

    name: str
    kind: str
    connected: bool = False
    received: int = 0
    refused: int = 0
    reconnects: int = 0
    gaps: int = 0
    last_time: int = 0
    lag_s: float = 0.0
    skew_s: float = 0.0
    last_error: str = ""
    _recent: list[float] = field(default_factory=list, repr=False)

    def count(self, samples: Samples, now: int) -> None:
        """Count a batch that arrived at `now` (ns)."""
        self.received += len(samples)
        if not len(samples):
            return
        newest = int(samples.times.max())
        self.last_time = max(self.last_time, newest)
        self.lag_s = (now - newest) / NS
        self._recent = [*self._recent[-31:], self.lag_s]
        self.skew_s = -min(self._recent)  # the least delay of late is the best sight of the other clock

    def failed(self, why: object) -> None:
        """Note an error; the connection is gone."""
        self.connected = False
        self.last_error = str(why) or type(why).__name__

    def back(self) -> None:
        """A lost connection came back."""
        self.reconnects += 1
        self.connected = True


class Source(Protocol):
    """Where samples come from.

    Entering it connects; leaving it disconnects. Once entered it reconnects by itself, for as long as it takes.
    """

    @property
    def health(self) -> Health:
        """How it fares, always up to date."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        """Batches without end, or to the end of what there is.

        Whoever asks for the next batch says that the one before is safe on disk: only then does the source
        acknowledge it to its server.

        Args:
            position: of the last batch that is safe; the source goes on behind it as far as its server still can.
        """
        ...

    async def read(self, tags: Sequence[str]) -> Samples:
        """The present value of each tag, one row each; what cannot be read has NaN and a bad quality.

        Raises:
            ConnectorError: there is no connection, or no such tag.
        """
        ...

    async def faults(self) -> Mapping[str, str]:
        """What is wrong with the mapping, by tag: a node that is missing, a type that holds no numbers."""
        ...

    async def units(self) -> Mapping[str, str]:
        """The unit that the source itself states, by tag; tags of which it says nothing are left out."""
        ...

    async def unseen(self) -> Mapping[str, str]:
        """Tags of which `faults` and `units` could see nothing yet, and why; `Context.look` is told later."""
        ...


class Sink(Protocol):
    """Where values are written to."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def write(self, values: Mapping[str, float]) -> None:
        """Write values, by tag, in engineering units; all are accepted when it returns.

        Raises:
            ConnectorError: with the tag and the cause; others of the same call may have been written.
        """
        ...

    async def faults(self) -> Mapping[str, str]:
        """What is wrong with the mapping, by tag: a node that is missing or may not be written."""
        ...
