"""Fleets by name: a folder for each, every version that was learnt in one of its own, and which of them is current.

A version is written before it becomes current, which one rename does; earlier ones stay, as twins name them.
"""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from twin.errors import NotFoundError
from twin.fleet import fleet as artifact
from twin.fleet.fleet import Fleet
from twin.plant import near

CURRENT = "current.json"


class Fleets:
    """The fleets under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, fleet: Fleet) -> None:
        """Keep a version, which is not the current one yet.

        Raises:
            ArtifactError: it is there already.
        """
        artifact.save(fleet, self._folder / name / fleet.id)

    def promote(self, name: str, fleet: Fleet) -> None:
        """Make a version that is kept the current one."""
        folder = self._folder / name
        new = folder / f".{CURRENT}.{secrets.token_hex(4)}"
        new.write_text(json.dumps({"version": fleet.id, "units": fleet.card["units"]}))
        new.replace(folder / CURRENT)

    def discard(self, name: str, fleet: Fleet) -> None:
        """Forget a version that never became current."""
        shutil.rmtree(self._folder / name / fleet.id, ignore_errors=True)

    def current(self, name: str) -> dict[str, Any]:
        """The `version` and the `units` of a fleet.

        Raises:
            NotFoundError: there is none of that name.
        """
        try:
            found: dict[str, Any] = json.loads((self._folder / name / CURRENT).read_text())
        except OSError:
            hint = near(name, self.names()) or "; `twin fleet learn` makes one"
            raise NotFoundError(f"no fleet '{name}'{hint}") from None
        return found

    def get(self, name: str, version: str) -> Fleet:
        """A version of a fleet.

        Raises:
            ArtifactError: it cannot be read.
        """
        return artifact.load(self._folder / name / version)

    def delete(self, name: str) -> None:
        """Forget a fleet with all its versions; twins that started from it stay.

        Raises:
            NotFoundError: there is none of that name.
        """
        self.current(name)
        (self._folder / name / CURRENT).unlink(missing_ok=True)
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def names(self) -> list[str]:
        """All fleets, in order."""
        return sorted(path.parent.name for path in self._folder.glob(f"*/{CURRENT}"))
