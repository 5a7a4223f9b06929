"""A spool on disk: what was acknowledged and is not in the database yet survives the process, killed or not.

Each process appends to a file of its own, which it holds locked; a file that nobody holds belonged to a process that is
gone, and whoever starts next takes over what is in it. A line is a checksum and JSON, written whole before `add`
returns: a kill takes none of them. Lines are not synced one by one (a sync takes milliseconds): the loss of power may
take those of the last instants.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger()

FULL = 4 << 20  # bytes of a file from which on the next line begins another
SUFFIX = ".spool"


@dataclass
class Part:
    """A file of the spool, and how many of its lines are not in the database yet."""

    path: Path
    file: int
    size: int = 0
    waiting: int = 0


class Spool:
    """Lines that wait for the database.

    Args:
        folder: made where it is missing; several processes may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._parts: list[Part] = []

    def left(self) -> Iterator[tuple[Part, list[dict[str, Any]]]]:
        """What processes that are gone left behind, file by file; `done` is told of each line when it is stored."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            with suppress(FileNotFoundError):  # another process was faster
                file = os.open(path, os.O_RDWR)
                if not _locked(file) or not path.exists():
                    os.close(file)
                    continue
                entries = _entries(path)
                part = Part(path, file, path.stat().st_size, len(entries))
                with self._lock:
                    self._parts.insert(0, part)
                yield part, entries

    def add(self, entry: dict[str, Any]) -> Part:
        """Append a line; it is written when this returns.

        Raises:
            OSError: the disk does not take it; nothing of it is kept.
        """
        text = json.dumps(entry, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        with self._lock:
            part = self._open()
            try:
                left = memoryview(line)
                while left:  # a disk that runs full takes a part first, and says why it takes no more when asked again
                    left = left[os.write(part.file, left) :]
            except OSError:
                os.ftruncate(part.file, part.size)
                raise
            part.size += len(line)
            part.waiting += 1
            return part

    def done(self, part: Part) -> None:
        """One line of a file is in the database."""
        with self._lock:
            part.waiting -= 1
            if part.waiting == 0 and (part.size >= FULL or part is not self._parts[-1]):
                self._drop(part)

    def sync(self) -> None:
        """Have the disk keep what was added, for a database that is away."""
        with self._lock:
            for part in self._parts:
                os.fdatasync(part.file)

    def close(self) -> None:
        """Leave only what waits."""
        with self._lock:
            for part in list(self._parts):
                if part.waiting == 0:
                    self._drop(part)
                else:
                    os.close(part.file)
            self._parts.clear()

    def _open(self) -> Part:
        """The file to append to: the last one, while it has room and is this process's own."""
        if self._parts and self._parts[-1].size < FULL:
            return self._parts[-1]
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{os.getpid()}-{os.urandom(6).hex()}{SUFFIX}"
        part = Part(path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600))
        _locked(part.file)
        self._parts.append(part)
        return part

    def _drop(self, part: Part) -> None:
        self._parts.remove(part)
        part.path.unlink(missing_ok=True)
        os.close(part.file)


def _locked(file: int) -> bool:
    """Whether the file is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _entries(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; its last one may be torn, and was then not acknowledged."""
    found, lines = [], path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        digest, _, text = line.partition(b" ")
        if digest == b"%08x" % zlib.crc32(text):
            found.append(json.loads(text))
        else:
            log.error("a line of the spool is damaged", path=str(path), line=number)
    return found
