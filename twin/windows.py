"""Windows of telemetry in model units: what the encoder reads and what a forecast is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from twin.scaling import Scaler
from twin.telemetry import Telemetry


class Window(NamedTuple):
    """History up to and including the row `at`, oldest first (a leading batch axis is allowed).

    Attributes:
        y: (L, CVs) float32; missing values hold the one before.
        w: (L, inputs) float32; row k's inputs act on row k's CVs.
        mask: (L, CVs) float32; 1 where y was measured, 0 where it is held or padded.
    """

    y: np.ndarray
    w: np.ndarray
    mask: np.ndarray


class Future(NamedTuple):
    """The K rows after `at`: inputs (K, inputs), CVs (K, CVs) and where they were measured."""

    w: np.ndarray
    y: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Grid:
    """All rows in model units: y (N, CVs), w (N, inputs), mask (N, CVs) float32 and run (N,) int."""

    y: np.ndarray
    w: np.ndarray
    mask: np.ndarray
    run: np.ndarray

    @classmethod
    def of(cls, telemetry: Telemetry, scaler: Scaler) -> Grid:
        """Scale the rows; hold missing values within their run."""
        mask = np.isfinite(telemetry.y).astype(np.float32)
        y = scaler.y_in(hold(telemetry.y, telemetry.run))
        w = scaler.w_in(hold(telemetry.w, telemetry.run))
        return cls(_known(y), _known(w), mask, telemetry.run)

    def ends(self, history: int, horizon: int) -> np.ndarray:
        """(n,) rows t with `history` rows up to t and `horizon` rows after it in one run."""
        t = np.arange(history - 1, len(self.run) - horizon)
        return t[self.run[t - history + 1] == self.run[t + horizon]]

    def window(self, ends: np.ndarray, history: int) -> Window:
        """Windows of `history` rows up to and including each of `ends`: a leading axis (n,)."""
        rows = np.asarray(ends)[:, None] + np.arange(1 - history, 1)
        return Window(self.y[rows], self.w[rows], self.mask[rows])

    def future(self, ends: np.ndarray, horizon: int) -> Future:
        """The `horizon` rows after each of `ends`: a leading axis (n,)."""
        rows = np.asarray(ends)[:, None] + np.arange(1, horizon + 1)
        return Future(self.w[rows], self.y[rows], self.mask[rows])


def _known(values: np.ndarray) -> np.ndarray:
    """Zero, the mean of training, for what is missing throughout its run."""
    known = np.isfinite(values)
    return values if known.all() else np.where(known, values, np.float32(0.0))


def hold(values: np.ndarray, run: np.ndarray) -> np.ndarray:
    """(N, n) with each missing value replaced by the one before it in its run, else by the next one."""
    if not np.isnan(values).any():
        return values
    by_run = pd.DataFrame(values).groupby(run)
    return by_run.ffill().fillna(by_run.bfill()).to_numpy()


def latest(history: Telemetry, scaler: Scaler, rows: int, count: int = 1) -> Window:
    """The `count` last windows of `rows` rows, oldest first: arrays (count, rows, ·).

    A history shorter than rows + count - 1 is padded at its start with its first row, masked as not measured.
    """
    grid = Grid.of(history, scaler)
    need = rows + count - 1
    pad = max(need - len(history), 0)
    if pad:
        y = np.pad(grid.y, ((pad, 0), (0, 0)), mode="edge")
        w = np.pad(grid.w, ((pad, 0), (0, 0)), mode="edge")
        grid = Grid(y, w, np.pad(grid.mask, ((pad, 0), (0, 0))), np.zeros(need, np.int64))
    return grid.window(np.arange(len(grid.run) - count, len(grid.run)), rows)
