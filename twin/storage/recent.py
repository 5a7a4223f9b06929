"""The rows of small files that this process wrote last, in memory too.

A file is never changed, so what was written is what would be read; and to read a row of thousands of columns from its
file takes a quarter of a second, however few rows it has.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from twin.storage.merge import Rows

FEW = 128  # rows of a small file


class Recent:
    """Rows by the path of their file; what was kept first is given up first.

    Args:
        cells: values kept at most.
    """

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._rows: dict[str, Rows] = {}
        self._held = 0
        self._guard = threading.Lock()

    def keep(self, path: str, rows: Rows) -> None:
        """Keep the rows of a file if they are few; nobody may change them any more."""
        if len(rows) >= FEW or _size(rows) > self._cells:
            return
        with self._guard:
            self._rows[path] = rows
            self._held += _size(rows)
            while self._held > self._cells:
                self._held -= _size(self._rows.pop(next(iter(self._rows))))

    def drop(self, paths: Iterable[str]) -> None:
        """Give up the rows of files that reads need no more."""
        with self._guard:
            for path in paths:
                if path in self._rows:
                    self._held -= _size(self._rows.pop(path))

    def get(self, path: str) -> Rows | None:
        """The rows of a file, if they are kept."""
        return self._rows.get(path)


def _size(rows: Rows) -> int:
    return rows.values.size + (0 if rows.quality is None else rows.quality.size)
