"""What connectors raise.

TwinError
└── ConnectorError     a source or sink that failed: which tag, what happened, what to do
    ├── ConfigError    the configuration file is wrong: each problem names file and line
    ├── RefusedError   a write that the guard did not let through; nothing was written
    └── MissingExtra   the library that a kind of connector needs is not installed
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from twin.errors import Problem, TwinError


class ConnectorError(TwinError):
    """A source or sink failed."""

    @classmethod
    def of_tag(cls, tag: str, cause: str) -> ConnectorError:
        """A failure of one tag."""
        return cls(f"'{tag}': {cause}", [Problem((tag,), cause)])


class RefusedError(ConnectorError):
    """A write that the guard did not let through."""


class MissingExtra(ConnectorError):
    """The library that a kind of connector needs is not installed."""

    def __init__(self, kind: str, extra: str) -> None:
        super().__init__(f"'{kind}' needs an extra: pip install 'plant-twin[{extra}]'")


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a configuration file: where (a path of keys), its line, and what."""

    loc: tuple[str | int, ...]
    line: int
    msg: str


class ConfigError(ConnectorError):
    """The configuration file is wrong.

    Attributes:
        path: of the file.
        faults: one by one, in the order of the file.
    """

    def __init__(self, path: Path, faults: Iterable[Fault]) -> None:
        self.path = path
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        lines = [f"{path}:{fault.line}: {'.'.join(map(str, fault.loc))}: {fault.msg}" for fault in self.faults]
        super().__init__("\n".join(lines), [Problem(fault.loc, fault.msg) for fault in self.faults])
