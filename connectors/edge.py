"""The edge: raw numbers become engineering units on the way in and raw numbers again on the way out, nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from connectors.clock import Clock
from connectors.errors import ConnectorError
from connectors.options import Mapped, Options
from connectors.protocol import NS, Health, Samples, Sink, Source
from twin import units
from twin.plant import Plant
from twin.storage.batch import BAD


class Scale:
    """The unit of a mapping against the plant's: engineering = unit conversion of (scale · raw + offset).

    Args:
        unit: of the plant; None for a tag that is none of the plant's (a mode, a heartbeat): it keeps its own.
    """

    def __init__(self, mapped: Mapped, unit: str | None) -> None:
        source = target = "1"
        if unit is not None:
            source, target = mapped.unit or unit, unit
        zero, one, two = (float(units.convert(x, source, target)) for x in (0.0, 1.0, 2.0))
        slope = one - zero
        if not np.isclose(two, zero + 2 * slope, rtol=1e-9, atol=1e-12):
            raise ConnectorError(f"'{source}' to '{target}' is no linear conversion")
        self.same = source == target and mapped.scale == 1.0 and mapped.offset == 0.0
        self.slope, self.shift = slope * mapped.scale, zero + slope * mapped.offset

    def inward(self, raw: np.ndarray) -> np.ndarray:
        """Engineering units of raw numbers."""
        return raw if self.same else self.slope * raw + self.shift

    def outward(self, value: float) -> float:
        """The raw number of a value in engineering units."""
        return value if self.same else float((value - self.shift) / self.slope)


class SourceEdge:
    """A source whose batches are in the plant's units, without what comes from the future or is infinite.

    Args:
        plant: whose units count.
    """

    def __init__(self, source: Source, options: Options, plant: Plant, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._future = round(options.future_s * NS)
        self._scales = _scales(options, plant)

    @property
    def health(self) -> Health:
        return self._source.health

    async def __aenter__(self) -> Self:
        await self._source.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._source.__aexit__(kind, error, trace)

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        inner = self._source.batches(position)
        try:
            async for batch in inner:
                yield self._converted(self._sound(batch))
        finally:
            await inner.aclose()  # type: ignore[attr-defined]

    async def read(self, tags: Sequence[str]) -> Samples:
        return self._converted(await self._source.read(tags))

    async def faults(self) -> Mapping[str, str]:
        return await self._source.faults()

    async def units(self) -> Mapping[str, str]:
        return await self._source.units()

    async def unseen(self) -> Mapping[str, str]:
        return await self._source.unseen()

    def _sound(self, batch: Samples) -> Samples:
        """Without rows from the future and of tags that are not mapped; they are counted and named."""
        early = batch.times > self._clock.latest() + self._future
        known = np.fromiter((tag in self._scales for tag in batch.tags), bool, len(batch))
        keep = known & ~early
        if not keep.all():
            self.health.refused += int((~keep).sum())
            if early.any():
                ahead = (int(batch.times[early].max()) - self._clock.now()) / NS
                self.health.last_error = f"'{batch.tags[early][0]}': stamped {ahead:.0f} s ahead of our clock; refused"
        return batch if keep.all() else batch.where(keep)

    def _converted(self, batch: Samples) -> Samples:
        values = np.array(batch.values, np.float64)
        names, which = np.unique(batch.tags.astype(str), return_inverse=True)
        for i, name in enumerate(names):
            scale = self._scales.get(str(name))
            if scale is not None and not scale.same:
                values[which == i] = scale.inward(values[which == i])
        quality = np.where(np.isfinite(values), batch.quality, BAD).astype(np.int16)
        return Samples(batch.times, batch.tags, np.where(np.isfinite(values), values, np.nan), quality, batch.position)


class SinkEdge:
    """A sink that is written to in the plant's units."""

    def __init__(self, sink: Sink, options: Options, plant: Plant) -> None:
        self._sink = sink
        self._scales = _scales(options, plant)

    async def __aenter__(self) -> Self:
        await self._sink.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sink.__aexit__(kind, error, trace)

    async def write(self, values: Mapping[str, float]) -> None:
        for tag in values:
            if tag not in self._scales:
                raise ConnectorError.of_tag(tag, "is not mapped")
        await self._sink.write({tag: self._scales[tag].outward(value) for tag, value in values.items()})

    async def faults(self) -> Mapping[str, str]:
        return await self._sink.faults()


def _scales(options: Options, plant: Plant) -> dict[str, Scale]:
    own = {tag.name: tag.unit for tag in plant.tags}
    return {tag: Scale(mapped, own.get(tag)) for tag, mapped in options.tags.items()}
