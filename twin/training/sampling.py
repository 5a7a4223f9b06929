"""Whether a longer sample period would forecast better: linear models on averaged rows, over the same physical time.

A period that is short against the dynamics makes small differences between rows of mostly noise, a history that ends
before the slow part of an answer, and a free run of many steps. Which period suits is told by the data: for each
multiple of the present one, ARX models on block averages are fitted on three quarters of the rows and forecast the
same span of the fourth, judged on the same averages (Ljung, System Identification, 2nd ed., 1999, 13.7 and 14.4).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from twin.training.folds import COUNT, Folds, split
from twin.windows import Grid, hold

FACTORS = (1, 2, 3, 4, 6, 12)  # multiples of the period
BLOCK = 12  # rows: what is forecast are averages over so many, a multiple of every factor
BLOCKS, HISTORY = 10, 8  # such averages ahead, and as many at most of the past
ORDERS = (1, 2, 4, 8, 16, 31)
COLUMNS = 400  # of a regression at most
ROWS = 5000  # of a regression at most
WINDOWS = 100  # a fold
RIDGE = 1e-4
PAYS = 0.95  # a period is recommended where it brings the error to this share of that of the present one


class _Rows(NamedTuple):
    """Averaged rows of all runs: y (n, CVs), w (n, inputs), run (n,), fold (n,), -1 where blocks meet."""

    y: np.ndarray
    w: np.ndarray
    run: np.ndarray
    fold: np.ndarray


def sampling(grid: Grid, period_s: float) -> dict[str, Any]:
    """What other periods would bring.

    Args:
        grid: all rows, in model units.
        period_s: between them.

    Returns:
        JSON: period_s, best_s, ahead_s (the span that was forecast), errors [{period_s, error}] (mean NRMSE of linear
        free runs out of fold; empty where there are too few rows to tell) and why.
    """
    out: dict[str, Any] = {"period_s": period_s, "best_s": period_s, "ahead_s": BLOCK * BLOCKS * period_s, "errors": []}
    errors: list[tuple[int, float]] = []
    if len(grid.run) >= COUNT * BLOCK * (HISTORY + BLOCKS):
        folds = split(grid.run, BLOCK * HISTORY, BLOCK * BLOCKS)
        errors = [(factor, _error(grid, folds, factor)) for factor in FACTORS]
    known = [(factor, error) for factor, error in errors if np.isfinite(error)]
    if not known or known[0][0] != 1:
        return out | {"why": "Too few rows to tell whether another sample period would do better."}
    out["errors"] = [{"period_s": factor * period_s, "error": error} for factor, error in known]
    factor, least = min(known, key=lambda pair: pair[1])
    present, span = known[0][1], f"{BLOCK * BLOCKS * period_s:g} s ahead"
    if least > PAYS * present:
        return out | {"why": f"No longer sample period forecasts clearly better, {span}, than {period_s:g} s."}
    better = (
        f"A sample period of {factor * period_s:g} s would forecast better than {period_s:g} s: linear models err "
        f"{least:.3g} instead of {present:.3g}, {span}. Telemetry may stay as fast: it is averaged over the period."
    )
    return out | {"best_s": factor * period_s, "why": better}


def _error(grid: Grid, folds: Folds, factor: int) -> float:
    """The mean NRMSE of the best ARX model on averages over `factor` rows; infinite where none can be judged."""
    rows = _averaged(grid, folds, factor)
    truth = _averaged(grid, folds, BLOCK)
    steps, found = BLOCK // factor, [np.inf]
    for order in ORDERS:
        if order * factor > BLOCK * HISTORY or order * (rows.y.shape[1] + rows.w.shape[1]) > COLUMNS:
            continue
        squares = []
        for fold in range(COUNT):
            ends = _ends(truth, fold)
            if not len(ends):
                return np.inf
            fitted = _fit(rows, order, fold)
            first = steps * ends[:, None] + steps  # the row of `rows` that follows block `ends`
            w = rows.w[first + np.arange(1 - order, steps * BLOCKS)]
            y = _free_run(fitted, rows.y[first + np.arange(-order, 0)], w, order)
            means = y.reshape(len(ends), BLOCKS, steps, -1).mean(axis=2)
            squares.append(((means - truth.y[ends[:, None] + np.arange(1, BLOCKS + 1)]) ** 2).mean(axis=0))
        found.append(float(np.sqrt(np.mean(squares, axis=0)).mean()))
    return min(error for error in found if not np.isnan(error))


def _averaged(grid: Grid, folds: Folds, size: int) -> _Rows:
    """Averages over `size` rows; every run is cut to a multiple of `BLOCK`, so that blocks of all sizes are aligned."""
    bounds = np.r_[np.flatnonzero(np.diff(grid.run, prepend=grid.run[0] - 1)), len(grid.run)]
    parts = [np.arange(a, a + (b - a) // BLOCK * BLOCK) for a, b in pairwise(bounds.tolist())]
    index = np.concatenate(parts).reshape(-1, size)
    weight = grid.mask[index] + 1e-9
    y = (weight * grid.y[index]).sum(axis=1, dtype=np.float64) / weight.sum(axis=1)
    label = folds.label[index]
    fold = np.where((label == label[:, :1]).all(axis=1), label[:, 0], -1)
    run = grid.run[index[:, 0]]
    return _Rows(hold(y, run), grid.w[index].mean(axis=1, dtype=np.float64), run, fold)


def _ends(truth: _Rows, fold: int) -> np.ndarray:
    """(n,) blocks with `HISTORY` up to them and `BLOCKS` after them, all held out by the fold."""
    length = HISTORY + BLOCKS
    if len(truth.run) < length:
        return np.empty(0, np.int64)
    held = np.cumsum(np.r_[0, truth.fold == fold])
    first = np.arange(len(truth.run) - length + 1)
    whole = (held[first + length] - held[first] == length) & (truth.run[first] == truth.run[first + length - 1])
    ends = first[whole] + HISTORY - 1
    return ends[:: max(1, -(-len(ends) // WINDOWS))]


def _fit(rows: _Rows, order: int, fold: int) -> np.ndarray:
    """((order (CVs + inputs) + 1), CVs): the ARX coefficients without the rows that a fold holds out."""
    t = np.arange(order, len(rows.run))
    out = np.cumsum(np.r_[0, rows.fold == fold])
    t = t[(rows.run[t - order] == rows.run[t]) & (out[t + 1] == out[t - order])]
    t = t[:: max(1, -(-len(t) // ROWS))]
    x = _regressors(rows.y[t[:, None] + np.arange(-order, 0)], rows.w[t[:, None] + np.arange(1 - order, 1)])
    normal = x.T @ x + RIDGE * len(t) * np.diag(np.r_[np.ones(x.shape[1] - 1), 0.0])
    coefficients: np.ndarray = np.linalg.lstsq(normal, x.T @ rows.y[t], rcond=None)[0]
    return coefficients


def _regressors(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(n, ·) of lags y (n, order, CVs), inputs w (n, order, inputs) and the constant."""
    return np.concatenate([y.reshape(len(y), -1), w.reshape(len(w), -1), np.ones((len(y), 1))], axis=1)


def _free_run(fitted: np.ndarray, past: np.ndarray, w: np.ndarray, order: int) -> np.ndarray:
    """(n, K, CVs) from lags (n, order, CVs) under inputs (n, order - 1 + K, inputs)."""
    out = np.empty((len(past), w.shape[1] - order + 1, past.shape[2]))
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(out.shape[1]):
            out[:, k] = _regressors(past, w[:, k : k + order]) @ fitted
            past = np.concatenate([past[:, 1:], out[:, k : k + 1]], axis=1)
    return out
