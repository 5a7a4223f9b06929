"""A spool on disk: what was acknowledged and is not in the database yet survives the process, killed or not.

Each process appends to a file of its own, which it holds locked; a file that nobody holds belonged to a process that is
gone, and whoever starts next takes over what is in it. A line is a checksum and JSON, written whole before `add`
returns: a kill takes none of them. Lines are not synced one by one (a sync takes milliseconds): the loss of power may
take those of the last instants. What waits takes memory for its place only, and is read back when its turn comes.
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

FULL = 16 << 20  # bytes of a file from which on the next line begins another
SUFFIX = ".spool"


class SpoolFullError(Exception):
    """As many bytes wait as may."""


@dataclass
class Part:
    """A file of the spool, and how many of its lines are not in the database yet."""

    path: Path
    file: int
    size: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line is: `size` bytes of a file from `start` on, without its line feed."""

    part: Part
    start: int
    size: int


class Spool:
    """Lines that wait for the database.

    Args:
        folder: made where it is missing; several processes may share it.
        room: bytes of lines that may wait.
    """

    def __init__(self, folder: Path, room: int) -> None:
        self._folder = folder
        self._room = room
        self._lock = threading.Lock()
        self._parts: list[Part] = []
        self._open_part: Part | None = None  # that lines are appended to: one of this process's own
        self._waiting = 0  # bytes
        self._longest = 0  # bytes of a line so far

    def left(self) -> Iterator[list[Line]]:
        """What processes that are gone left behind, file by file; `done` is told of each line when it is stored."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            with suppress(FileNotFoundError):  # another process was faster
                file = os.open(path, os.O_RDWR)
                if not _locked(file) or not path.exists():
                    os.close(file)
                    continue
                part = Part(path, file, path.stat().st_size)
                lines = _lines(part)
                part.waiting = len(lines)
                with self._lock:
                    self._parts.append(part)
                    self._waiting += sum(line.size for line in lines)
                yield lines

    def check(self) -> None:
        """Whether there is room for a line as long as the longest so far.

        Raises:
            SpoolFullError: there is none.
        """
        with self._lock:
            self._fits(self._longest)

    def add(self, entry: dict[str, Any]) -> Line:
        """Append a line; it is written when this returns.

        Raises:
            SpoolFullError, OSError: too much waits, or the disk does not take it; nothing of it is kept.
        """
        text = json.dumps(entry, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        with self._lock:
            self._longest = max(self._longest, len(line))
            self._fits(len(line))
            part = self._open()
            try:
                left = memoryview(line)
                while left:  # a disk that runs full takes a part first, and says why it takes no more when asked again
                    left = left[os.write(part.file, left) :]
            except OSError:
                os.ftruncate(part.file, part.size)
                raise
            place = Line(part, part.size, len(line) - 1)
            part.size += len(line)
            part.waiting += 1
            self._waiting += place.size
            return place

    def read(self, line: Line) -> dict[str, Any] | None:
        """What was added; None where the disk gives something else.

        Raises:
            OSError: the disk gives nothing.
        """
        text = _text(os.pread(line.part.file, line.size, line.start))
        return None if text is None else json.loads(text)

    def done(self, line: Line) -> None:
        """A line is in the database."""
        with self._lock:
            part = line.part
            part.waiting -= 1
            self._waiting -= line.size
            if part.waiting == 0 and (part.size >= FULL or part is not self._open_part):
                self._drop(part)

    def sync(self) -> None:
        """Have the disk keep what was added, for a database that is away; lines are added meanwhile.

        For the thread that also calls `done` and `close`: they close files.
        """
        with self._lock:
            parts = list(self._parts)
        for part in parts:
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
            self._open_part = None

    def _fits(self, size: int) -> None:
        if self._waiting + size > self._room:
            raise SpoolFullError

    def _open(self) -> Part:
        """The file to append to."""
        if self._open_part is not None and self._open_part.size < FULL:
            return self._open_part
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{os.getpid()}-{os.urandom(6).hex()}{SUFFIX}"
        part = Part(path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600))
        _locked(part.file)
        self._parts.append(part)
        self._open_part = part
        return part

    def _drop(self, part: Part) -> None:
        self._parts.remove(part)
        if part is self._open_part:
            self._open_part = None
        part.path.unlink(missing_ok=True)
        os.close(part.file)


def _locked(file: int) -> bool:
    """Whether the file is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lines(part: Part) -> list[Line]:
    """The whole lines of a file; its last one may be torn, and was then not acknowledged."""
    found, start = [], 0
    *whole, _ = part.path.read_bytes().split(b"\n")
    for number, text in enumerate(whole, 1):
        if _text(text) is None:
            log.error("a line of the spool is damaged", path=str(part.path), line=number)
        else:
            found.append(Line(part, start, len(text)))
        start += len(text) + 1
    return found


def _text(line: bytes) -> bytes | None:
    """A line's JSON, where it is what was written."""
    digest, _, text = line.partition(b" ")
    return text if digest == b"%08x" % zlib.crc32(text) else None
