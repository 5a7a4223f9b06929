"""Where each key of a TOML text stands; tomllib tells values only."""

from __future__ import annotations

import re
import tomllib
from collections import Counter

Path = tuple[str | int, ...]

HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$")
KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


class Lines:
    """The lines of the keys of a text.

    Args:
        text: TOML that tomllib accepts.
    """

    def __init__(self, text: str) -> None:
        self._found: dict[Path, int] = {}
        table: Path = ()
        lists: Counter[Path] = Counter()
        for number, line in enumerate(text.splitlines(), 1):
            if header := HEADER.match(line):
                table = _resolved(_parts(header[2]), lists)
                if header[1] == "[[":
                    lists[table] += 1
                    table = (*table, lists[table] - 1)
                self._found.setdefault(table, number)
            elif key := KEY.match(line):
                self._found.setdefault((*table, *_parts(key[1])), number)

    def of(self, path: Path) -> int:
        """The line of a key, or of the nearest table around it; 1 where there is none."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._found:
                return self._found[path[:length]]
        return 1


def line_of_error(error: tomllib.TOMLDecodeError) -> int:
    """The line that tomllib names in its sentence; 1 where it names none."""
    found = re.search(r"at line (\d+)", str(error))
    return int(found[1]) if found else 1


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in PART.findall(dotted))


def _resolved(path: Path, lists: Counter[Path]) -> Path:
    """A table's path, with the index of the list that it lies in."""
    resolved: Path = ()
    for i, part in enumerate(path):
        resolved = (*resolved, part)
        if i < len(path) - 1 and lists[resolved]:
            resolved = (*resolved, lists[resolved] - 1)
    return resolved
