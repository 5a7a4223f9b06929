"""The controller's own rows: what a question starts from, on the grid of its cycles."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from api.control.clock import NS

ROWS = 400  # kept; a twin looks back less far


class Rows:
    """The last rows of a plant, oldest first.

    Args:
        names: the plant's tags.
        period_s: between two rows.
    """

    def __init__(self, names: Sequence[str], period_s: float) -> None:
        self._names, self._period = tuple(names), round(period_s * NS)
        self._rows: deque[tuple[int, dict[str, float]]] = deque(maxlen=ROWS)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, time: int, values: Mapping[str, float]) -> None:
        """A row at `time` (ns); missing is NaN. One that is not behind the last is left out."""
        if not self._rows or time > self._rows[-1][0]:
            self._rows.append((time, {name: values.get(name, math.nan) for name in self._names}))

    def fill(self, series: Mapping[str, Any]) -> None:
        """Put collected telemetry (`times`, `values` by tag) before the first row."""
        times = [round(datetime.fromisoformat(text).timestamp() * 1e6) * 1000 for text in series["times"]]
        columns = {name: series["values"].get(name) for name in self._names}
        for i, time in enumerate(times):
            row = {name: column[i] for name, column in columns.items() if column and column[i] is not None}
            self.add(time, row)

    def history(self) -> dict[str, Any]:
        """As REST takes it: times, and the values of each tag, missing as null."""
        values = {name: [_null(row[name]) for _, row in self._rows] for name in self._names}
        return {"times": [iso(time) for time, _ in self._rows], "values": values}


def iso(time: int) -> str:
    """Ns since 1970 as an RFC 3339 time, to the microsecond."""
    return datetime.fromtimestamp(time // NS, UTC).replace(microsecond=time % NS // 1000).isoformat()


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None
