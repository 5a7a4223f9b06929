"""Where files in parts were going, kept between commands: the same command goes on after an interruption."""

from __future__ import annotations

import json
import time
from pathlib import Path

import typer

KEPT_S = 6 * 86_400.0  # the service forgets after a week


class Notes:
    """Where each file was going, in a small file of the user's own."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(typer.get_app_dir("plant-twin")) / "uploads.json"

    def find(self, key: str) -> str | None:
        """Where a file was going; None where it was not, or long ago."""
        found = self._read().get(key)
        return None if found is None else str(found["at"])

    def keep(self, key: str, at: str) -> None:
        """Note where a file goes."""
        self._write(self._read() | {key: {"at": at, "since": time.time()}})

    def drop(self, key: str) -> None:
        """A file has arrived, or was refused."""
        self._write({name: note for name, note in self._read().items() if name != key})

    def _read(self) -> dict[str, dict[str, str | float]]:
        try:
            notes = json.loads(self._path.read_text())
            return {key: note for key, note in notes.items() if time.time() - note["since"] < KEPT_S}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # none yet, or another program's: then the file is sent from its start

    def _write(self, notes: dict[str, dict[str, str | float]]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".tmp")
            partial.write_text(json.dumps(notes))
            partial.replace(self._path)
        except OSError:
            return  # without a place to note it, an interrupted file is sent from its start


def key_of(url: str, plant: str, path: Path, timezone: str | None) -> str:
    """What tells a file on its way from others: a file that was changed is another one."""
    about = path.stat()
    return json.dumps([url, plant, str(path.resolve()), about.st_size, about.st_mtime_ns, timezone])
