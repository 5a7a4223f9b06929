"""Blocked cross-fit: which rows each fold holds out, and which windows it may learn from or is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from twin.errors import TrainingError

COUNT = 4  # folds; as many members in the ensemble
ROWS = 60  # of the default horizon
HISTORY = 32  # rows the encoder reads, where there are enough
SHORTEST = 8  # rows: neither history nor horizon is cut below this
DISJOINT = 8  # windows of history and horizon that must fit side by side: two a fold


@dataclass(frozen=True)
class Folds:
    """Every row belongs to one fold, in blocks.

    Attributes:
        run: (N,) int; the run of each row.
        label: (N,) int in 0 .. COUNT - 1; the fold that holds the row out.
        history, horizon: rows L up to `at`, rows K after it.
        apart: whether histories keep clear of other folds' rows too, not only what is to be forecast.
    """

    run: np.ndarray
    label: np.ndarray
    history: int
    horizon: int
    apart: bool = True

    def held_out(self, fold: int) -> np.ndarray:
        """Ends t of the windows t - L + 1 .. t + K that lie wholly in blocks this fold holds out."""
        return self.ends(self.label == fold, self.history, self.horizon)

    def training(self, fold: int) -> np.ndarray:
        """Ends t of the windows that touch no row this fold holds out."""
        return self.ends(self.label != fold, self.history, self.horizon)

    def ends(self, allowed: np.ndarray, history: int, horizon: int) -> np.ndarray:
        """(n,) rows t such that t - history + 1 .. t + horizon lie in one run and are all `allowed` (N,), or only
        t + 1 .. t + horizon are where histories are not kept apart."""
        length = history + horizon
        free = 0 if self.apart else history  # rows of a window that any fold may read
        if len(self.run) < length:
            return np.empty(0, np.int64)
        count = np.cumsum(np.r_[0, allowed])
        first = np.arange(len(self.run) - length + 1)
        allowed_all = count[first + length] - count[first + free] == length - free
        whole = allowed_all & (self.run[first] == self.run[first + length - 1])
        return first[whole] + history - 1


def sizes(run: np.ndarray, horizon: int) -> tuple[int, int]:
    """History L and horizon K (rows): as wished, or both shrunk until `DISJOINT` windows fit in the runs.

    Raises:
        TrainingError: there are too few rows even for the shortest windows.
    """
    lengths = np.unique(run, return_counts=True)[1]
    for share in np.linspace(1.0, 0.0, 101):
        history = round(SHORTEST + share * (HISTORY - SHORTEST))
        rows = round(min(SHORTEST, horizon) + share * (horizon - min(SHORTEST, horizon)))
        if (lengths // (history + rows)).sum() >= DISJOINT:
            return history, rows
    need = DISJOINT * (SHORTEST + min(SHORTEST, horizon))
    raise TrainingError(
        f"too few rows to train: {lengths.sum()} in {len(lengths)} run(s), the longest of {lengths.max(initial=0)}; "
        f"at least {need} rows without gaps are needed, and {DISJOINT * (HISTORY + horizon)} for full windows"
    )


def split(run: np.ndarray, history: int, horizon: int, known: np.ndarray | None = None) -> Folds:
    """Deal blocks of rows to the folds.

    Four runs or more are held out whole (no longer than a quarter of the rows), as the next run will be new too;
    fewer are cut into blocks of about 3 (L + K) rows. Each block goes to the fold with the fewest rows so far.

    Args:
        known: (N,) the fold of rows that have one already, -1 for the others.
    """
    known = np.full(len(run), -1) if known is None else known
    label, rows = known.astype(np.int64), np.bincount(known[known >= 0], minlength=COUNT)
    changes = (np.diff(run, prepend=run[0] - 1) != 0) | (np.diff(known < 0, prepend=False) != 0)
    bounds = np.r_[np.flatnonzero(changes), len(run)]
    dealt = [(a, b - a) for a, b in pairwise(bounds.tolist()) if known[a] < 0]
    usable = sum(length >= history + horizon for _, length in dealt)
    longest = len(run) // COUNT if usable >= COUNT else 3 * (history + horizon)
    for start, length in dealt:
        pieces = max(1, round(length / longest)) if usable >= COUNT else _pieces(length, longest)
        pieces = max(1, min(pieces, length // (history + horizon)))
        for block in np.array_split(np.arange(start, start + length), pieces):
            fold = int(np.argmin(rows))
            label[block] = fold
            rows[fold] += len(block)
    return Folds(run, label, history, horizon)


def narrow(run: np.ndarray, history: int, horizon: int) -> Folds:
    """Folds of few rows, for a history that is fixed: only what is forecast is held out, the rows before it may be read
    by all, as in any forecast. The horizon shrinks until each block holds one and a half of it.

    Raises:
        TrainingError: too few rows even so.
    """
    first = np.searchsorted(run, run, side="left")
    target = np.arange(len(run)) - first >= history
    block = int(target.sum()) // COUNT
    rows = min(horizon, 2 * block // 3)
    if rows < min(SHORTEST, horizon):
        need = history + COUNT * -(-3 * min(SHORTEST, horizon) // 2)
        raise TrainingError(f"too few rows: {len(run)} in {len(np.unique(run))} runs; {need} without a gap are needed")
    rounds = max(1, block // (3 * rows))  # blocks a fold
    order = np.cumsum(target) - 1
    label = np.clip(order * COUNT * rounds // int(target.sum()), 0, None) % COUNT
    return Folds(run, label, history, rows, apart=False)


def _pieces(length: int, longest: int) -> int:
    """As many blocks as the folds share evenly."""
    return COUNT * max(1, round(length / (COUNT * longest)))


def spread(ends: np.ndarray, count: int) -> np.ndarray:
    """(count,) of the ends, evenly spread; repeated where there are fewer, so that shapes stay fixed."""
    return ends[np.linspace(0, len(ends) - 1, count).round().astype(np.int64)]
