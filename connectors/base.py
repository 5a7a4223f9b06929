"""What the kinds of source and sink have in common, beside their options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.options import Options
from connectors.protocol import Health, Samples
from twin.storage.batch import BAD

O = TypeVar("O", bound=Options)  # noqa: E741


class BaseSource(Generic[O]):
    """A source with its options, clock and health; it finds nothing wrong and knows no units."""

    def __init__(self, options: O, context: Context) -> None:
        self._options = options
        self._context = context
        self._clock = context.clock
        self.health = Health(options.title, options.kind)

    def _answered(self) -> None:
        """The other side has answered: a connection that was lost is back."""
        if not self.health.connected:
            self.health.back()

    async def faults(self) -> Mapping[str, str]:
        return {}

    async def units(self) -> Mapping[str, str]:
        return {}

    async def unseen(self) -> Mapping[str, str]:
        return {}


class LastValues(BaseSource[O]):
    """A source whose server holds no present values: it reads the last ones that came."""

    def __init__(self, options: O, context: Context) -> None:
        super().__init__(options, context)
        self._latest: dict[str, tuple[int, float, int]] = {}

    async def read(self, tags: Sequence[str]) -> Samples:
        """The last value that came of each tag; bad without one."""
        check_mapped(self._options, tags)
        unknown = (self._clock.now(), math.nan, BAD)
        found = {tag: self._latest.get(tag, unknown) for tag in tags}
        return Samples.of((time, tag, value, code) for tag, (time, value, code) in found.items())

    def _arrived(self, samples: Samples) -> Samples:
        """The batch, counted and remembered."""
        self.health.count(samples, self._clock.now())
        self._latest |= samples.latest()
        return samples


class BaseSink(Generic[O]):
    """A sink with its options and clock; it finds nothing wrong."""

    def __init__(self, options: O, context: Context) -> None:
        self._options = options
        self._context = context
        self._clock = context.clock

    async def faults(self) -> Mapping[str, str]:
        return {}


def check_mapped(options: Options, tags: Sequence[str]) -> None:
    """Refuse tags that are not mapped.

    Raises:
        ConnectorError: with the first of them.
    """
    for tag in tags:
        if tag not in options.tags:
            raise ConnectorError.of_tag(tag, "is not mapped")


def check_writable(options: Options, values: Mapping[str, float]) -> None:
    """Refuse values of tags that are not mapped, and those that are no finite numbers.

    Raises:
        ConnectorError: with the first of them; nothing was written.
    """
    check_mapped(options, list(values))
    for tag, value in values.items():
        if not math.isfinite(value):
            raise ConnectorError.of_tag(tag, f"{value} is no number to write")
