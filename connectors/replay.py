"""Stored telemetry as if it were live, at any speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from pydantic import Field, field_validator

from connectors.base import LastValues
from connectors.errors import ConnectorError
from connectors.folder import TYPES, Column, FolderSource
from connectors.folder import SourceOptions as FolderOptions
from connectors.kinds import Context
from connectors.options import Options
from connectors.protocol import NS, Samples

LONGEST_S = 1.0  # that one batch covers, by our clock


class SourceOptions(Options):
    """A file to replay; the addresses of tags are its columns.

    Args:
        file: CSV, Parquet or an Arrow stream, sorted by time, .gz too.
        speed: plant seconds a second.
        restamp: whether samples carry the time at which they are replayed, rather than their own.
        repeat: whether it begins again at the end.
        timezone: of times without an offset.
    """

    kind: Literal["replay"] = "replay"
    file: str
    speed: float = Field(default=1.0, gt=0)
    restamp: bool = True
    repeat: bool = False
    timezone: str | None = None
    tags: Mapping[str, Column] = Field(default_factory=dict)

    @field_validator("file")
    @classmethod
    def _there(cls, file: str) -> str:
        if not Path(file).is_file():
            raise ValueError(f"there is no file {file}")
        if Path(file.removesuffix(".gz")).suffix[1:] not in TYPES:
            raise ValueError(f"{file} is of no known kind; there are {', '.join(TYPES)}")
        return file


def source(options: SourceOptions, context: Context) -> ReplaySource:
    """The source of a configuration."""
    return ReplaySource(options, context)


class ReplaySource(LastValues[SourceOptions]):
    """A file, row by row in its own rhythm."""

    def __init__(self, options: SourceOptions, context: Context) -> None:
        super().__init__(options, context)
        path = Path(options.file)
        folder = FolderOptions(
            path=str(path.parent), pattern=path.name, settle_s=0.0, timezone=options.timezone, tags=options.tags
        )
        self._folder = FolderSource(folder, context)

    async def __aenter__(self) -> Self:
        await self._folder.__aenter__()
        self.health.connected = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.health.connected = False

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        behind = int(position) if position else None  # the file's own time, ns
        while True:
            start: int | None = None
            began = self._clock.now()
            for step in await self._steps(behind):
                start = int(step.times[0]) if start is None else start
                due = began + round((int(step.times[-1]) - start) / self._options.speed)
                await self._clock.sleep(max(due - self._clock.now(), 0) / NS)
                yield self._arrived(self._restamped(step, began, start))
            behind = None
            if not self._options.repeat or start is None:
                return

    async def faults(self) -> Mapping[str, str]:
        names = {str(tag) for step in await self._steps() for tag in step.tags}
        return {
            tag: f"{self._options.file} has no values of '{mapped.address}'"
            for tag, mapped in self._options.tags.items()
            if tag not in names
        }

    async def _steps(self, behind: int | None = None) -> Iterator[Samples]:
        """What is replayed together, in order; of rows behind a time (ns of the file) where one is given.

        Raises:
            ConnectorError: the file cannot be read.
        """
        parts = await self._folder.whole()
        if not parts:
            raise ConnectorError(f"{self._options.file}: {self._folder.health.last_error or 'has no values'}")
        whole = await asyncio.to_thread(_sorted, Samples.joined(parts))
        if behind is not None:
            whole = whole.where(whole.times > behind)
        return _split(whole, round(LONGEST_S * self._options.speed * NS))

    def _restamped(self, step: Samples, began: int, start: int) -> Samples:
        times = step.times
        if self._options.restamp:
            times = began + np.round((step.times - start) / self._options.speed).astype(np.int64)
        return Samples(times, step.tags, step.values, step.quality, str(int(step.times[-1])))


def _sorted(samples: Samples) -> Samples:
    order = np.argsort(samples.times, kind="stable")
    return samples.where(order)


def _split(samples: Samples, span: int) -> Iterator[Samples]:
    """The rows of each span (ns) that has any; rows of one moment stay together."""
    if not len(samples):
        return
    spans = (samples.times - samples.times[0]) // max(span, 1)
    borders = np.flatnonzero(np.diff(spans)) + 1
    for rows in np.split(np.arange(len(samples)), borders):
        yield samples.where(rows)
