"""Rows for a plot: thinned out so that each tag's extremes and the gaps stay; where their quality is bad."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from twin.storage.batch import UNCERTAIN
from twin.storage.merge import Rows


def thin(parts: Iterable[Rows], tags: Sequence[str], start: int, end: int, max_points: int) -> Rows:
    """Minimum and maximum of each tag in equal buckets of start <= time <= end (int64 microseconds).

    A bucket becomes two rows, at its first and its last time, with each tag's minimum and maximum in the order in which
    they came. Buckets without a row become one row of missing values, so that a plot breaks there.

    Args:
        parts: the rows in order of time.
        max_points: rows answered at most; at least 2.
    """
    count = max(max_points, 2) // 2
    width = -(-(end - start + 1) // count)
    buckets = _Buckets(count, len(tags))
    for rows in parts:
        values = rows.readable()
        number = (rows.times - start) // width
        bounds = np.flatnonzero(np.r_[True, np.diff(number) != 0, True]) if len(rows) else np.empty(0, np.int64)
        for a, b in itertools.pairwise(bounds):
            buckets.add(int(number[a]), rows.times[a:b], values[a:b])
    return buckets.rows(tuple(tags), start, width)


def bad_spans(parts: Iterable[Rows], tags: Sequence[str], apart: int) -> dict[str, list[tuple[int, int]]]:
    """The spans in which each tag's values are of bad quality, as first and last time (microseconds); none left out.

    Args:
        parts: the rows in order of time.
        apart: bad values at most so many microseconds apart are one span, as are those without a better row between.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    going = set[str]()  # tags that were bad in the last row
    for rows in parts:
        for column, tag in enumerate(tags):
            bad = np.flatnonzero(rows.quality[:, column] < UNCERTAIN) if rows.quality is not None else np.empty(0, int)
            times = rows.times[bad]
            cuts = np.flatnonzero((np.diff(bad) > 1) & (np.diff(times) > apart)) + 1
            found = [(int(piece[0]), int(piece[-1])) for piece in np.split(times, cuts) if len(piece)]
            known = spans.get(tag, [])
            if found and known and (found[0][0] - known[-1][1] <= apart or (tag in going and bad[0] == 0)):
                found[0] = (known.pop()[0], found[0][1])
            if found:
                spans[tag] = known + found
            (going.add if len(bad) and bad[-1] == len(rows) - 1 else going.discard)(tag)
    return spans


class _Buckets:
    """What is kept of each bucket: first and last time, and of each tag the extremes and when they were."""

    def __init__(self, count: int, tags: int) -> None:
        self.first, self.last = np.full(count, -1), np.full(count, -1)
        self.low, self.high = np.full((count, tags), np.nan), np.full((count, tags), np.nan)
        self.low_at, self.high_at = np.zeros((count, tags), np.int64), np.zeros((count, tags), np.int64)
        self.used = np.zeros(count, bool)

    def add(self, bucket: int, times: np.ndarray, values: np.ndarray) -> None:
        """Take in rows of one bucket, later than those before."""
        if not self.used[bucket]:
            self.first[bucket], self.used[bucket] = times[0], True
        self.last[bucket] = times[-1]
        known = ~np.isnan(values)
        for extreme, at, worst, of in (
            (self.low, self.low_at, np.inf, np.argmin),
            (self.high, self.high_at, -np.inf, np.argmax),
        ):
            where = of(np.where(known, values, worst), axis=0)
            found = np.take_along_axis(values, where[None], axis=0)[0]
            sign = 1 if worst > 0 else -1
            better = ~np.isnan(found) & ~(sign * extreme[bucket] <= sign * found)
            extreme[bucket][better], at[bucket][better] = found[better], times[where][better]

    def rows(self, tags: tuple[str, ...], start: int, width: int) -> Rows:
        """One or two rows a bucket, and one for each stretch of empty buckets between."""
        falling = self.high_at < self.low_at
        early, late = np.where(falling, self.high, self.low), np.where(falling, self.low, self.high)
        used = np.flatnonzero(self.used)
        two = used[self.last[used] > self.first[used]]
        gaps = used[:-1][np.diff(used) > 1] + 1
        times = np.r_[self.first[used], self.last[two], start + gaps * width]
        values = np.r_[early[used], late[two], np.full((len(gaps), len(tags)), np.nan)]
        order = np.argsort(times, kind="stable")
        return Rows(tags, times[order], np.zeros(len(order), np.int64), values[order])
