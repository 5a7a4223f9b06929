"""The peers of the real-data benchmark: persistence, ARX and subspace models.

Each kind is selected alone, by its free run over the last quarter of the training rows, and refitted on all of them.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from twin.dynamics.lti import Lti, arx
from twin.training.backbone import ORDERS, STATES, Arx, Candidate, Data, Subspace
from twin.training.folds import Folds, spread
from twin.training.residual import cases
from twin.windows import Grid

RIDGES = (1e-6, 1e-4, 1e-2)
LAST = 0.25
WINDOWS = 300
STABLE = 1.001

C = TypeVar("C", bound=Candidate)


def persistence(cvs: int, inputs: int, history: int) -> Lti:
    """The last value held."""
    return arx(np.eye(cvs)[None], np.zeros((1, cvs, inputs)), np.zeros(cvs), history)


def best_arx(grid: Grid, history: int, horizon: int) -> tuple[str, Lti]:
    """ARX in levels with as many rows of inputs as of CVs, of the best order and ridge."""
    folds = last_part(grid, history, horizon)
    best = _select(grid, folds, [Arx(n, n, penalty=p) for n in ORDERS if n < history for p in RIDGES])
    return best.name, fitted(best, grid, folds, np.ones(len(grid.run), bool))


def best_subspace(grid: Grid, history: int, horizon: int) -> tuple[str, Lti]:
    """The best subspace model by order and ridge."""
    folds = last_part(grid, history, horizon)
    best = chosen_subspace(grid, folds)
    return best.name, fitted(best, grid, folds, np.ones(len(grid.run), bool))


def chosen_subspace(grid: Grid, folds: Folds) -> Subspace:
    """Its order and ridge alone."""
    return _select(grid, folds, [Subspace(n, penalty=p) for n in STATES for p in RIDGES])


def last_part(grid: Grid, history: int, horizon: int) -> Folds:
    """The last part of the rows, fold 1, is held out."""
    rows = len(grid.run)
    return Folds(grid.run, (np.arange(rows) >= (1 - LAST) * rows).astype(np.int64), history, horizon)


def fitted(candidate: Candidate, grid: Grid, folds: Folds, rows: np.ndarray) -> Lti:
    """The candidate fitted to those rows (N,) that are true."""
    return candidate.fit(Data(grid, folds, rows))


def _select(grid: Grid, folds: Folds, candidates: list[C]) -> C:
    held = spread(folds.held_out(1), WINDOWS)
    data = Data(grid, folds, folds.label == 0)
    room = [c for c in candidates if getattr(c, "order", 0) < data.past or isinstance(c, Subspace)]
    scored = [(_error(grid, folds, c.fit(data), held), i) for i, c in enumerate(room)]
    return room[min(scored)[1]]


def _error(grid: Grid, folds: Folds, fit: Lti, held: np.ndarray) -> float:
    """Mean NRMSE over CVs and horizon of the free run; infinite for a model that grows without bound."""
    case = cases(grid, folds, fit, held)
    error = np.sqrt(np.mean((np.asarray(case.y_lin, np.float64) - case.future.y) ** 2, axis=0)).mean()
    return float(error) if np.isfinite(error) and fit.spectral_radius() <= STABLE else np.inf
