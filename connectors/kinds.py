"""The kinds of source and sink: which module has each, and which extra it needs.

A module has `SourceOptions` with `source(options, context)`, `SinkOptions` with `sink(options, context)`, or both.
It imports its library at its top; it is itself imported only where the configuration names its kind.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TypeAlias

from connectors.clock import Clock, SystemClock
from connectors.errors import ConnectorError, MissingExtra
from twin.plant import near

KINDS = {  # kind: (module, extra; "" for none)
    "opcua": ("connectors.opcua", "opcua"),
    "mqtt": ("connectors.mqtt", "mqtt"),
    "modbus": ("connectors.modbus", "modbus"),
    "sql": ("connectors.sql", "sql"),
    "kafka": ("connectors.kafka", "kafka"),
    "files": ("connectors.folder", ""),
    "rest": ("connectors.rest", ""),
    "replay": ("connectors.replay", ""),
}

Look: TypeAlias = Callable[[Mapping[str, str], Mapping[str, str]], None]


def nobody(faults: Mapping[str, str], units: Mapping[str, str]) -> None:
    """Whom a source tells that runs for nobody."""


@dataclass(frozen=True)
class Context:
    """What a connector is given beside its options.

    Attributes:
        clock: to read and to wait by.
        secrets: by environment variable.
        reader: who reads beside the collector from the same file, such as "control"; brokers must know the two apart,
            and such a reader wants the present alone. Empty for the collector.
        look: is told what the first messages or files show, where nothing could be seen at start: what is wrong, and
            the units they state, each by tag. It raises `ConnectorError` where they must not be collected.
    """

    clock: Clock = field(default_factory=SystemClock)
    secrets: Mapping[str, str] = field(default_factory=dict)
    reader: str = ""
    look: Look = nobody

    def known_as(self, name: str) -> str:
        """The name by which a broker knows this reader."""
        return f"{name}-{self.reader}" if self.reader else name

    def secret(self, variable: str | None) -> str | None:
        """The text of an environment variable that the options name; None for none."""
        return None if variable is None else self.secrets[variable]


def module_of(kind: str) -> ModuleType:
    """The module of a kind.

    Raises:
        ConnectorError: there is no such kind.
        MissingExtra: its library is not installed.
    """
    if kind not in KINDS:
        raise ConnectorError(f"unknown kind '{kind}'{near(kind, KINDS)}; there are {', '.join(KINDS)}")
    name, extra = KINDS[kind]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith(("connectors", "twin")):
            raise
        raise MissingExtra(kind, extra) from error
