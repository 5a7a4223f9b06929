"""How the sources of each plant fare, as their collectors said last; kept in memory, for a collector says it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

SILENT_S = 120.0  # a source whose collector has been silent for so long counts as not connected
FORGOTTEN_S = 7 * 86_400.0


class Sources:
    """The health of sources by plant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}

    def told(self, plant: str, sources: Sequence[Mapping[str, Any]]) -> None:
        """Keep what a collector says."""
        now = time.time()
        with self._lock:
            self._known |= {(plant, source["name"]): (now, dict(source)) for source in sources}
            self._known = {key: found for key, found in self._known.items() if now - found[0] < FORGOTTEN_S}

    def of(self, plant: str) -> list[dict[str, Any]]:
        """The sources of a plant, with when they were told."""
        return [source for slug, source in self.all() if slug == plant]

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every plant with each of its sources."""
        now = time.time()
        with self._lock:
            known = sorted(self._known.items())
        for (plant, _), (told, source) in known:
            silent = now - told > SILENT_S
            at = datetime.fromtimestamp(told, UTC).isoformat()
            yield plant, {**source, "connected": source["connected"] and not silent, "told": at, "silent": silent}
