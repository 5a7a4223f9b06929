"""Thin rows out for a plot: each tag's extremes and the gaps stay."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

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
