"""What the errors of a twin still tell: their autocorrelation, their bias, and how they add up over the horizon.

Errors that a linear or latent state could still foresee are correlated from row to row (Ljung, System Identification,
2nd ed., 1999, section 16.6); errors that add up along the horizon are those that a controller would act on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.artifact import Twin
from twin.hindcasts import hindcasts
from twin.inheritance import folds_of
from twin.telemetry import Telemetry
from twin.training.correction import member
from twin.windows import Grid

WINDOWS = 240  # consecutive ones a fold
LAGS = 30  # rows
WHITE = 0.1  # share of the lags that may lie outside the limits of white noise, 5 % of them would by chance


def diagnostics(twin: Twin, telemetry: Telemetry) -> dict[str, Any]:
    """Of forecasts by members that were trained without those rows.

    Args:
        twin: a trained twin.
        telemetry: what it was trained on.

    Returns:
        JSON: windows, lags_s, times_s (K) and of each CV autocorrelation (a lag each) of the errors one row ahead with
        the limit of white noise and whether it is white, bias (K), the mean error by horizon, and accumulated (K), the
        root mean square of the sum of the errors up to there, times the period: in the CV's unit times seconds.
    """
    grid, folds = Grid.of(telemetry, twin.scaler), folds_of(twin, telemetry)
    parts = []
    for number in range(min(twin.dynamics.members, int(folds.label.max()) + 1)):
        ends = folds.held_out(number)[:WINDOWS]
        if len(ends):
            parts.append((ends, *hindcasts(twin, grid, ends, member(twin.dynamics, number))))
    ends, errors, mask = (np.concatenate(several) for several in zip(*parts, strict=True))
    errors = errors * twin.scaler.y_scale
    period = twin.plant.sample_period_s
    lags = min(LAGS, len(ends) // 4)
    known = np.maximum(mask.sum(axis=0), 1)
    summed = np.cumsum(errors * mask, axis=1) * period
    correlation, limit = _autocorrelation(ends, errors[:, 0], mask[:, 0], lags)
    return {
        "windows": len(ends),
        "lags_s": (period * np.arange(1, lags + 1)).tolist(),
        "times_s": (period * np.arange(1, twin.horizon + 1)).tolist(),
        "cvs": {
            tag.name: {
                "unit": tag.unit,
                "autocorrelation": correlation[:, i].tolist(),
                "limit": float(limit[i]),
                "white": bool((np.abs(correlation[:, i]) > limit[i]).mean() <= WHITE),
                "bias": ((errors * mask).sum(axis=0) / known)[:, i].tolist(),
                "accumulated": np.sqrt((summed[:, :, i] ** 2).mean(axis=0)).tolist(),
            }
            for i, tag in enumerate(twin.plant.cvs)
        },
    }


def _autocorrelation(
    ends: np.ndarray, errors: np.ndarray, mask: np.ndarray, lags: int
) -> tuple[np.ndarray, np.ndarray]:
    """(lags, CVs) of errors (n, CVs) at rows `ends` (n,), and the limit (CVs,) that 95 % of white noise keeps."""
    count = np.maximum(mask.sum(axis=0), 1)
    away = mask * (errors - (mask * errors).sum(axis=0) / count)
    power = np.maximum((away**2).sum(axis=0), 1e-300)
    out = np.zeros((lags, errors.shape[1]))
    for lag in range(1, lags + 1):
        pairs = ends[lag:] - ends[:-lag] == lag
        out[lag - 1] = (away[lag:] * away[:-lag])[pairs].sum(axis=0) / power
    return out, 1.96 / np.sqrt(count)
