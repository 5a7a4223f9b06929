"""Rows not to learn from: spans marked by an engineer, and what a condition on a tag tells (a start-up, a trip).

What is excluded is cut out, and no window crosses the cut: neither history nor forecast ever holds such a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twin.errors import Location, QuestionError
from twin.telemetry import Telemetry
from twin.windows import hold

CONDITION = re.compile(r"(?P<tag>.+?)\s*(?P<side>[<>])\s*(?P<value>[-+0-9.eE]+)(?:\s*\+\s*(?P<after>[0-9.]+)\s*s)?")


@dataclass(frozen=True)
class Exclusion:
    """A span of time, or the rows in which a tag is below or above a value.

    Attributes:
        start, end: of a span, both included; one may be open.
        tag, below, above: of a condition: it holds where the tag's last value is below, or above, that value.
        after_s: seconds for which a condition is taken to hold after it has ended.
        note: why.
    """

    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    tag: str | None = None
    below: float | None = None
    above: float | None = None
    after_s: float = 0.0
    note: str = ""

    @classmethod
    def from_json(cls, body: Mapping[str, Any], loc: Location = ()) -> Exclusion:
        """An exclusion as the REST contract writes it.

        Raises:
            QuestionError: it is neither a span nor a condition, or a span that ends before it starts.
        """
        start, end = (None if body.get(name) is None else pd.Timestamp(body[name]) for name in ("start", "end"))
        if any(time is not None and time.tz is None for time in (start, end)):
            raise QuestionError.at(loc, "a time has no offset; add Z for UTC, or one such as +01:00")
        names = ("tag", "below", "above", "after_s", "note")
        given = {name: body[name] for name in names if body.get(name) is not None}
        made = cls(start, end, **given)
        span, condition = start is not None or end is not None, made.below is not None or made.above is not None
        if span == (made.tag is not None) or condition != (made.tag is not None):
            raise QuestionError.at(loc, "give start, end or both, or a tag with below, above or both")
        if start is not None and end is not None and end < start:
            raise QuestionError.at((*loc, "end"), "must not be before start")
        return made

    @classmethod
    def parse(cls, text: str) -> Exclusion:
        """As the command line writes it: "feed<2", "speed<100+600s", or "2026-01-01T00:00Z/2026-01-02T00:00Z".

        Raises:
            QuestionError: it is none of these.
        """
        found = CONDITION.fullmatch(text.strip())
        try:
            if found:
                side = "below" if found["side"] == "<" else "above"
                after = float(found["after"] or 0)
                return cls.from_json({"tag": found["tag"], side: float(found["value"]), "after_s": after})
            start, _, end = text.partition("/")
            return cls.from_json({"start": start.strip() or None, "end": end.strip() or None})
        except ValueError:
            msg = f"'{text}' is no exclusion: write TAG<VALUE, TAG>VALUE, TAG<VALUE+SECONDSs or START/END"
            raise QuestionError(msg) from None

    def to_json(self) -> dict[str, Any]:
        spans = {name: time.isoformat() for name in ("start", "end") if (time := getattr(self, name)) is not None}
        bounds = {name: getattr(self, name) for name in ("tag", "below", "above") if getattr(self, name) is not None}
        more = {"after_s": self.after_s} if self.after_s else {}
        return {**spans, **bounds, **more, **({"note": self.note} if self.note else {})}

    def rows(self, telemetry: Telemetry) -> np.ndarray:
        """(N,) bool: which rows it excludes."""
        if self.tag is None:
            times, inside = pd.DatetimeIndex(telemetry.times, tz="UTC"), np.ones(len(telemetry), bool)
            if self.start is not None:
                inside &= times >= self.start
            if self.end is not None:
                inside &= times <= self.end
            return inside
        column = telemetry.plant.column(self.tag)
        value = hold(telemetry.values[:, [column]], telemetry.run)[:, 0]
        holds = np.zeros(len(value), bool)
        if self.below is not None:
            holds |= value < self.below
        if self.above is not None:
            holds |= value > self.above
        return self._after(holds, telemetry)

    def _after(self, holds: np.ndarray, telemetry: Telemetry) -> np.ndarray:
        rows = int(np.ceil(self.after_s / telemetry.plant.sample_period_s - 1e-9))
        if not rows or not holds.any():
            return holds
        index = np.arange(len(holds))
        last = np.maximum.accumulate(np.where(holds, index, -1))
        since: np.ndarray = (last >= 0) & (index - last <= rows) & (telemetry.run == telemetry.run[np.maximum(last, 0)])
        return since


def learnt_from(telemetry: Telemetry, bodies: Sequence[Mapping[str, Any]]) -> tuple[Telemetry, list[dict[str, Any]]]:
    """`without` of exclusions as JSON; the rows that were counted on another occasion are ignored."""
    rules = [{name: value for name, value in body.items() if name != "rows"} for body in bodies]
    return without(telemetry, [Exclusion.from_json(rule) for rule in rules])


def without(telemetry: Telemetry, exclusions: Sequence[Exclusion]) -> tuple[Telemetry, list[dict[str, Any]]]:
    """The rows that no exclusion names, cut into runs, and how many rows each of them names: [{…exclusion, rows}].

    Raises:
        QuestionError: an unknown tag.
    """
    gone = np.zeros(len(telemetry), bool)
    told = []
    for exclusion in exclusions:
        rows = exclusion.rows(telemetry)
        told.append({**exclusion.to_json(), "rows": int(rows.sum())})
        gone |= rows
    if not gone.any():
        return telemetry, told
    kept = np.flatnonzero(~gone)
    breaks = (np.diff(kept, prepend=-2) != 1) | (np.diff(telemetry.run[kept], prepend=-1) != 0)
    part = telemetry.rows(kept)
    return Telemetry(part.plant, part.times, part.values, np.cumsum(breaks) - 1), told
