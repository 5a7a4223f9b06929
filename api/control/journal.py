"""The controller's log: append-only JSON lines, a file a day (UTC), on disk before anything is written to the plant."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class JournalError(Exception):
    """The log cannot be written, so nothing else may be."""


class Journal:
    """Appends records to a folder.

    Args:
        folder: is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"the log folder {folder} cannot be made: {error}") from None

    def add(self, record: Mapping[str, Any], safe: bool = False) -> None:
        """Append a record.

        Args:
            safe: wait until it is on the disk.

        Raises:
            JournalError: the disk is full or gone; what was half written is cut off by the next line's newline.
        """
        path = self._folder / f"{datetime.now(UTC):%Y-%m-%d}.jsonl"
        line = json.dumps(finite(record), separators=(",", ":")).encode() + b"\n"
        try:
            with path.open("ab", buffering=0) as file:
                if file.tell() and not _ends_line(path):
                    line = b"\n" + line
                written = file.write(line)
                if written != len(line):
                    raise OSError(f"{written} of {len(line)} bytes were written")
                if safe:
                    os.fsync(file.fileno())
        except OSError as error:
            raise JournalError(f"the log {path} cannot be written: {error}") from None

    def records(self) -> Iterator[dict[str, Any]]:
        """Everything that was logged, oldest first; a line that a crash or a full disk cut off is left out."""
        for path in sorted(self._folder.glob("*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record


def finite(value: Any) -> Any:
    """The value with null for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
