"""Server-sent events (WHATWG HTML, section 9.2), line by line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event of a job: `state`, `progress` (stage, losses, eta_s) or `alarm`."""

    id: str
    kind: str
    data: dict[str, Any]


@dataclass
class Parser:
    """Lines in, events out."""

    last_id: str = ""
    _kind: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, line: str) -> Event | None:
        """Take one line; the event that it ends."""
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id":
            self.last_id = value
        return None  # a comment, which begins with a colon, has no name

    def _dispatch(self) -> Event | None:
        data, kind = "\n".join(self._data), self._kind
        self._data, self._kind = [], ""
        return Event(self.last_id, kind, json.loads(data)) if data else None
