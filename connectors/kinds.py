"""The kinds of source and sink: which module has each, and which extra it needs.

A module has `SourceOptions` with `source(options, context)`, `SinkOptions` with `sink(options, context)`, or both.
It imports its library at its top; it is itself imported only where the configuration names its kind.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

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


@dataclass(frozen=True)
class Context:
    """What a connector is given beside its options: the clock, and the secrets by environment variable."""

    clock: Clock = field(default_factory=SystemClock)
    secrets: Mapping[str, str] = field(default_factory=dict)

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
