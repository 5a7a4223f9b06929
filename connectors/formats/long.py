"""What the rows of long files show of their tags, before any is collected: whether they have numbers, and units."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc

from connectors.formats.base import Chunk, Reader
from connectors.formats.cells import as_text, numbers, refusal
from connectors.stated import is_unit
from twin.errors import TelemetryError
from twin.plant import near


@dataclass
class LongSurvey:
    """The tags of long files, as far as they were looked at.

    Attributes:
        wanted: the tags that count.
        units: the first unit that stands beside each.
    """

    wanted: frozenset[str]
    units: dict[str, str] = field(default_factory=dict)
    _numbers: set[str] = field(default_factory=set)  # tags that have one
    _refused: dict[str, str] = field(default_factory=dict)  # the first value of each that is none
    _mixed: dict[str, str] = field(default_factory=dict)
    _others: set[str] = field(default_factory=set)
    _rows: int = 0
    _whole: bool = True

    def look(self, reader: Reader, name: str, rows: int) -> None:
        """Look at a file, as far as no more than so many rows of all files are looked at.

        Raises:
            TelemetryError: the file is damaged.
        """
        unit = next((column for column in reader.names if is_unit(column)), None)
        for chunk in reader.chunks(("tag", "value", *([unit] if unit else []))):
            if self._rows >= rows:
                self._whole = False
                return
            self._chunk(chunk, reader.decimal, name, unit)
            self._rows += len(chunk.numbers)

    def fault(self, tag: str) -> str | None:
        """What is wrong with a tag: no row has it, no value of it is a number, or its rows state two units."""
        if tag in self._mixed:
            return self._mixed[tag]
        if tag in self._numbers:
            return None
        if tag in self._refused:
            return self._refused[tag]
        return f"no row of the newest files has the tag '{tag}'{near(tag, self._others)}" if self._whole else None

    def unknown(self, tag: str) -> bool:
        """Whether nothing was seen of a tag, but more rows were there than are looked at."""
        return tag not in self._numbers and self.fault(tag) is None

    def _chunk(self, chunk: Chunk, decimal: str, name: str, unit: str | None) -> None:
        tags = as_text(chunk.columns["tag"]).fill_null("")
        coded = pc.dictionary_encode(tags)
        names, which = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False)
        self._others |= {tag for tag in names if tag not in self.wanted}
        column = chunk.columns["value"]
        try:
            values, refused = numbers(column, decimal)
        except TelemetryError as error:
            self._refused |= {tag: f"{name}: {error.detail}" for tag in names if tag in self.wanted}
            return
        self._numbers |= {names[i] for i in np.unique(which[~np.isnan(values)]) if names[i] in self.wanted}
        for i in np.flatnonzero(refused)[_first(which[refused])].tolist():
            why = f"row {int(chunk.numbers[i])} of {name}: {refusal(column, i, decimal)}"
            self._refused.setdefault(names[which[i]], why)
        if unit:
            stated = as_text(chunk.columns[unit]).fill_null("").to_pylist()
            self._note_units({(names[i], text.strip()) for i, text in zip(which.tolist(), stated, strict=True)})

    def _note_units(self, pairs: set[tuple[str, str]]) -> None:
        for tag, unit in sorted(pairs):
            if tag not in self.wanted or not unit:
                continue
            known = self.units.setdefault(tag, unit)
            if known != unit:
                self._mixed[tag] = f"the rows of '{tag}' state the units '{known}' and '{unit}'"


def _first(codes: np.ndarray) -> np.ndarray:
    """Where each code is for the first time."""
    return np.unique(codes, return_index=True)[1]
