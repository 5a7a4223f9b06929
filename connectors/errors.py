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
from typing import Literal

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


Grave = Literal["wrong", "missing", "doubt", "away", "later"]


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a configuration file: where (a path of keys), its line, and what.

    Attributes:
        grave: "wrong" would bring wrong numbers, "missing" is what the file names and the other side lacks, "doubt" is
            for a person to judge, "away" may mend itself: nobody answers yet; "later" is sound as far as it goes, and
            told with the first message or file, as nothing shows it before.
    """

    loc: tuple[str | int, ...]
    line: int
    msg: str
    grave: Grave = "wrong"

    def sentence(self, path: Path) -> str:
        """File, line, place and what is wrong."""
        return f"{path}:{self.line}: {'.'.join(map(str, self.loc))}: {self.msg}"


class ConfigError(ConnectorError):
    """The configuration file is wrong.

    Attributes:
        path: of the file.
        faults: one by one, in the order of the file.
    """

    def __init__(self, path: Path, faults: Iterable[Fault]) -> None:
        self.path = path
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        told = "\n".join(fault.sentence(path) for fault in self.faults)
        super().__init__(told, [Problem(fault.loc, fault.msg) for fault in self.faults])
