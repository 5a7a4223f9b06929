"""Files of telemetry that arrive in parts, each kept on disk until it is whole and stored.

What a file holds is what has been received: its size is the offset to go on from, also after the server was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from twin.errors import ConflictError, NotFoundError

ID = re.compile(r"[0-9a-f]{32}")
KEPT_S = 7 * 86_400.0  # a file that nobody goes on with


@dataclass(frozen=True)
class Incoming:
    """One file.

    Attributes:
        length: bytes it will have.
        told: what its sender said of it: content_type, content_encoding, timezone, idempotency_key.
        receipt: where it is stored.
    """

    id: str
    plant: str
    length: int
    told: Mapping[str, str]
    receipt: Mapping[str, Any] | None
    path: Path

    @property
    def offset(self) -> int:
        """Bytes received."""
        return self.length if self.receipt is not None else self.path.stat().st_size

    @property
    def idempotency_key(self) -> str:
        """The sender's, or one of the file's own: it is stored once, however often its last part is sent."""
        return self.told.get("idempotency_key") or f"file-{self.id}"

    @property
    def expires(self) -> float:
        """Unix time from which it is forgotten."""
        return (self.path.parent / f"{self.id}.json").stat().st_mtime + KEPT_S


class Inbox:
    """The files of all plants, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def create(self, plant: str, length: int, told: Mapping[str, str]) -> Incoming:
        """Make room for a file."""
        file_id = secrets.token_hex(16)
        (self._folder / file_id).touch(mode=0o600)
        made = Incoming(file_id, plant, length, dict(told), None, self._folder / file_id)
        self._note(made, None)
        return made

    def find(self, plant: str, file_id: str) -> Incoming:
        """A file of a plant.

        Raises:
            NotFoundError: there is none, or it was given up.
        """
        note = self._folder / f"{file_id}.json"
        if ID.fullmatch(file_id) and note.exists():
            body = json.loads(note.read_text())
            if body["plant"] == plant:
                return Incoming(file_id, plant, body["length"], body["told"], body["receipt"], self._folder / file_id)
        raise NotFoundError(f"no file '{file_id}' is on its way to plant '{plant}'; it may have been given up")

    @contextlib.contextmanager
    def writing(self, file: Incoming) -> Iterator[BinaryIO]:
        """The end of a file, to write to; what was written is on the disk afterwards.

        Raises:
            ConflictError: another request is writing to it.
        """
        with file.path.open("ab") as target:
            try:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(f"another request is sending a part of file '{file.id}'") from None
            try:
                yield target
            finally:
                target.flush()
                os.fsync(target.fileno())

    def stored(self, file: Incoming, receipt: Mapping[str, Any]) -> None:
        """Note what became of a file; its bytes are needed no more."""
        self._note(file, receipt)
        file.path.unlink(missing_ok=True)

    def forget(self, file: Incoming) -> None:
        """Give a file up."""
        file.path.unlink(missing_ok=True)
        (self._folder / f"{file.id}.json").unlink(missing_ok=True)

    def tidy(self, now: float | None = None) -> int:
        """Give up files that nobody has gone on with for a week; how many."""
        now = time.time() if now is None else now
        given_up = 0
        for note in self._folder.glob("*.json"):
            part = note.with_suffix("")
            touched = max(path.stat().st_mtime for path in (note, part) if path.exists())
            if now - touched > KEPT_S:
                part.unlink(missing_ok=True)
                note.unlink()
                given_up += 1
        return given_up

    def _note(self, file: Incoming, receipt: Mapping[str, Any] | None) -> None:
        note = self._folder / f"{file.id}.json"
        partial = note.with_suffix(".tmp")
        body = {"plant": file.plant, "length": file.length, "told": dict(file.told), "receipt": receipt}
        partial.write_text(json.dumps(body))
        partial.replace(note)
