"""The peers of the real-data benchmark: persistence, ARX and subspace models.

Each kind is selected alone, by its free run over the last quarter of the training rows, and refitted on all of them.
"""

from __future__ import annotations

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


def persistence(cvs: int, inputs: int, history: int) -> Lti:
    """The last value held."""
    return arx(np.eye(cvs)[None], np.zeros((1, cvs, inputs)), np.zeros(cvs), history)


def best_arx(grid: Grid, history: int, horizon: int) -> tuple[str, Lti]:
    """ARX in levels with as many rows of inputs as of CVs, of the best order and ridge."""
    return _select(grid, history, horizon, [Arx(n, n, penalty=p) for n in ORDERS if n < history for p in RIDGES])


def best_subspace(grid: Grid, history: int, horizon: int) -> tuple[str, Lti]:
    """The best subspace model by order and ridge."""
    return _select(grid, history, horizon, [Subspace(n, penalty=p) for n in STATES for p in RIDGES])


def _select(grid: Grid, history: int, horizon: int, candidates: list[Candidate]) -> tuple[str, Lti]:
    rows = len(grid.run)
    folds = Folds(grid.run, (np.arange(rows) >= (1 - LAST) * rows).astype(np.int64), history, horizon)
    held = spread(folds.held_out(1), WINDOWS)
    data = Data(grid, folds, folds.label == 0)
    room = [c for c in candidates if getattr(c, "order", 0) < data.past or isinstance(c, Subspace)]
    scored = [(_error(grid, folds, c.fit(data), held), i) for i, c in enumerate(room)]
    best = room[min(scored)[1]]
    return best.name, best.fit(Data(grid, folds, np.ones(rows, bool)))


def _error(grid: Grid, folds: Folds, fit: Lti, held: np.ndarray) -> float:
    """Mean NRMSE over CVs and horizon of the free run; infinite for a model that grows without bound."""
    case = cases(grid, folds, fit, held)
    error = np.sqrt(np.mean((np.asarray(case.y_lin, np.float64) - case.future.y) ** 2, axis=0)).mean()
    return float(error) if np.isfinite(error) and fit.spectral_radius() <= STABLE else np.inf
