"""Rows as they were uploaded, and the rows a read answers: of each (time, tag) the latest value given.

A missing value erases nothing, so a late tag never loses another; a value of bad quality is a statement
like any other: it wins over an earlier one, and is read as missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from twin.storage.batch import GOOD, QUALITY, TIME, UNCERTAIN, arrays

SEQUENCE = "_sequence"


@dataclass(frozen=True)
class Rows:
    """Uploaded rows.

    Attributes:
        tags: names of the columns.
        times: (N,) int64, microseconds UTC.
        sequence: (N,) int64, the order of ingest.
        values: (N, tags) float64; NaN is missing.
        quality: (N, tags) float64, OPC DA codes, NaN where the value is missing; None where all are good.
    """

    tags: tuple[str, ...]
    times: np.ndarray
    sequence: np.ndarray
    values: np.ndarray
    quality: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.times)

    def at(self, index: np.ndarray | slice) -> Rows:
        """Some of the rows."""
        quality = None if self.quality is None else self.quality[index]
        return Rows(self.tags, self.times[index], self.sequence[index], self.values[index], quality)

    def readable(self) -> np.ndarray:
        """(N, tags) the values, NaN where the quality is bad."""
        return self.values if self.quality is None else np.where(self.quality < UNCERTAIN, np.nan, self.values)

    @classmethod
    def none(cls, tags: Sequence[str]) -> Rows:
        """No rows."""
        return cls(tuple(tags), np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, len(tags))))

    @classmethod
    def of(cls, table: pa.Table, tags: Sequence[str], first_sequence: int | None = None) -> Rows:
        """Rows of a table, sorted by time and order of ingest; absent tags are missing.

        Args:
            first_sequence: numbers the rows from here; None takes the table's own numbers.
        """
        times = table[TIME].cast(pa.int64()).to_numpy()
        n = len(times)
        sequence = table[SEQUENCE].to_numpy() if first_sequence is None else first_sequence + np.arange(n)
        there = set(table.column_names)  # a list made anew at each look: with thousands of tags that counts
        values = np.full((n, len(tags)), np.nan)
        here = np.array([tag in there for tag in tags], bool)
        row = 0
        for batch in table.select([tag for tag in tags if tag in there]).to_batches() if here.any() else ():
            values[row : row + len(batch), here] = batch.to_tensor(null_to_nan=True).to_numpy()
            row += len(batch)
        quality = None
        for column, name in [(i, tag + QUALITY) for i, tag in enumerate(tags) if tag + QUALITY in there]:
            if table[name].null_count < n:
                quality = np.full(values.shape, np.nan) if quality is None else quality
                quality[:, column] = table[name].fill_null(GOOD).to_numpy()
        if quality is not None:
            quality = np.where(np.isnan(values), np.nan, np.where(np.isnan(quality), GOOD, quality))
        return cls(tuple(tags), times, sequence, values, quality).ordered()

    @classmethod
    def joined(cls, parts: Sequence[Rows], tags: Sequence[str]) -> Rows:
        """The rows of several parts with these tags, sorted by time and order of ingest."""
        chosen = [part.of_tags(tags) for part in parts]
        times = np.concatenate([part.times for part in chosen])
        sequence = np.concatenate([part.sequence for part in chosen])
        values = np.concatenate([part.values for part in chosen])
        quality = None
        if any(part.quality is not None for part in chosen):
            quality = np.concatenate([codes(part) for part in chosen])
        return cls(tuple(tags), times, sequence, values, quality).ordered()

    def of_tags(self, tags: Sequence[str]) -> Rows:
        """These columns; absent ones are missing."""
        tags = tuple(tags)
        if tags == self.tags:
            return self
        place = {tag: i for i, tag in enumerate(self.tags)}
        source = np.array([place.get(tag, -1) for tag in tags], np.int64)

        def chosen(values: np.ndarray) -> np.ndarray:
            return np.where(source < 0, np.nan, values[:, source]) if place else np.full((len(self), len(tags)), np.nan)

        quality = None if self.quality is None else chosen(self.quality)
        return Rows(tags, self.times, self.sequence, chosen(self.values), quality)

    def ordered(self) -> Rows:
        """The rows sorted by time and order of ingest."""
        step = np.diff(self.times)
        if (step > 0).all() or ((step >= 0).all() and (np.diff(self.sequence) > 0).all()):
            return self
        return self.at(np.lexsort((self.sequence, self.times)))

    def table(self) -> pa.Table:
        """The rows as they are stored; columns without a value, and qualities that are all good, are left out."""
        columns: dict[str, pa.Array] = {
            TIME: pa.array(self.times).cast(pa.timestamp("us", "UTC")),
            SEQUENCE: pa.array(self.sequence),
        }
        missing = np.isnan(self.values)
        stored = dict(zip(self.tags, arrays(self.values, missing), strict=True))
        silent, qualities = missing, dict[str, pa.Array]()
        if self.quality is not None:
            silent = missing | (self.quality == GOOD)
            numbers = np.where(silent, 0, self.quality).astype(np.int16)
            qualities = dict(zip(self.tags, arrays(numbers, silent), strict=True))
        for tag, empty, good in zip(self.tags, missing.all(axis=0), silent.all(axis=0), strict=True):
            if not empty:
                columns[tag] = stored[tag]
            if not good and qualities:
                columns[tag + QUALITY] = qualities[tag]
        return pa.table(columns)


def answer(rows: Rows) -> Rows:
    """One row a time: of each tag the latest value given. `rows` are sorted by time and order of ingest."""
    same = np.diff(rows.times) == 0
    if not same.any():
        return rows
    ends = np.r_[~same, True]
    shared = np.r_[False, same] | np.r_[same, False]
    times = rows.times[shared]
    values, quality = rows.values.copy(), rows.quality
    values[shared & ends] = pd.DataFrame(rows.values[shared]).groupby(times).last().to_numpy()
    if quality is not None:
        quality = quality.copy()
        quality[shared & ends] = pd.DataFrame(quality[shared]).groupby(times).last().to_numpy()
    return Rows(rows.tags, rows.times, rows.sequence, values, quality).at(ends)


@dataclass(frozen=True)
class Verdict:
    """What new rows say against what was known before each of them.

    Attributes:
        seen: (N,) bool; a read answered a row at that time already.
        same: (N, tags) bool; the value given is the one known.
        changed: (N, tags) bool; the value given replaces another.
    """

    seen: np.ndarray
    same: np.ndarray
    changed: np.ndarray


def judge(new: Rows, known: Rows) -> Verdict:
    """Hold new rows, sorted by time and order of ingest, against the answer so far (of the same tags)."""
    place = np.searchsorted(known.times, new.times)
    here = np.zeros(len(new), bool)
    inside = place < len(known)
    here[inside] = known.times[place[inside]] == new.times[inside]
    follows = np.r_[False, np.diff(new.times) == 0] if len(new) else np.zeros(0, bool)
    shared = follows | np.r_[follows[1:], False] if len(new) else follows

    def before(old: np.ndarray, given: np.ndarray) -> np.ndarray:
        """What was known just before each new row: an earlier one of the same time, else what is stored."""
        prior = np.full(given.shape, np.nan)
        prior[here] = old[place[here]]
        if shared.any():
            times = new.times[shared]
            earlier = pd.DataFrame(given[shared]).groupby(times).ffill().groupby(times).shift(1).to_numpy()
            prior[shared] = np.where(np.isnan(earlier), prior[shared], earlier)
        return prior

    prior = before(known.values, new.values)
    same = new.values == prior
    if new.quality is not None or known.quality is not None:
        same &= codes(new) == before(codes(known), codes(new))
    return Verdict(here | follows, same, ~np.isnan(new.values) & ~np.isnan(prior) & ~same)


def codes(rows: Rows) -> np.ndarray:
    """(N, tags) float64, the quality; NaN where the value is missing."""
    return np.where(np.isnan(rows.values), np.nan, GOOD) if rows.quality is None else rows.quality
