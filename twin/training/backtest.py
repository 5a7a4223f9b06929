"""The backtest of a twin: errors by CV and horizon beside simple baselines, and the coverage of its bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twin.plant import Plant
from twin.scaling import Scaler
from twin.trust import COVERAGE, exceedance, stretch

HORIZONS = (1, 10, 30, 60)  # rows, for the tables


def backtest(
    plant: Plant, scaler: Scaler, residuals: Mapping[str, np.ndarray], mask: np.ndarray, fold: np.ndarray
) -> dict[str, Any]:
    """The `backtest` part of a model card.

    Args:
        residuals: of each forecaster, "twin" among them, on the same windows: (n, K, CVs) in model units, each
            window forecast by a model that was not fitted to it.
        mask: (n, K, CVs), 1 where the CV was measured.
        fold: (n,) the block a window was held out in; the coverage of its bands is that of bands from the others.

    Returns:
        JSON: windows, how, times_s (K), horizons (rows), and for each CV its unit, its scale (the training standard
        deviation), rmse {forecaster: [K]} in engineering units, and coverage {asked, measured: [K]}.
    """
    rows = mask.shape[1]
    rmse = {who: _rmse(r, mask) * scaler.y_scale for who, r in residuals.items()}
    inside = _coverage(residuals["twin"], mask, fold)
    return {
        "windows": len(mask),
        "how": "each forecast by a member that was trained without that part of the telemetry",
        "times_s": (plant.sample_period_s * np.arange(1, rows + 1)).tolist(),
        "horizons": sorted({min(k, rows) for k in HORIZONS}),
        "cvs": {
            tag.name: {
                "unit": tag.unit,
                "scale": float(scaler.y_scale[i]),
                "rmse": {who: values[:, i].tolist() for who, values in rmse.items()},
                "coverage": {"asked": COVERAGE, "measured": inside[:, i].tolist()},
            }
            for i, tag in enumerate(plant.cvs)
        },
    }


def _rmse(residuals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(K, CVs)."""
    squares = (mask * residuals.astype(np.float64) ** 2).sum(axis=0)
    rmse: np.ndarray = np.sqrt(squares / np.maximum(mask.sum(axis=0), 1))
    return rmse


def _coverage(residuals: np.ndarray, mask: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(K, CVs): the share of values inside bands that were fitted, and stretched, on the other folds."""
    reached = exceedance(residuals, mask, fold)
    inside = np.zeros(residuals.shape[1:])
    for held in np.unique(fold):
        mine = fold == held
        inside += (mask[mine] * (reached[mine] <= stretch(reached[~mine], mask[~mine]))).sum(axis=0)
    share: np.ndarray = inside / np.maximum(mask.sum(axis=0), 1)
    return share
