"""Whether forecasts over the whole horizon have lately been off to one side, all CVs together.

The mean error of a free run over the horizon, whitened by its covariance over healthy out-of-fold windows (Hotelling's
T², of forecast errors rather than of measurements: Chiang, Russell and Braatz, Fault Detection and Diagnosis in
Industrial Systems, 2001, chapters 2 and 7). It sees small lasting changes, a leak, a fouled exchanger, a biased sensor,
that a few rows do not show; `trust.Surprise` sees sudden ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHRINK = 0.05  # of the covariance toward its diagonal: CVs that always erred together are not known to a hair
FALSE_ALARM = 0.002  # share of healthy windows beyond 1
MARGIN = 1.2  # above that quantile: the tail of an autocorrelated sample is known only as far as its largest value
FLOOR = 1e-6


@dataclass(frozen=True)
class Shift:
    """What mean errors over the horizon are usual.

    Attributes:
        whiten: (CVs, CVs) float64; the ratio is the mean square of whiten @ (mean error in model units).
        size: (CVs,) the usual mean error of each CV, root mean square.
    """

    whiten: np.ndarray
    size: np.ndarray

    @classmethod
    def fit(cls, residuals: np.ndarray, mask: np.ndarray) -> Shift:
        """From residuals (n, K, CVs) of healthy windows that were not trained on, without corrections."""
        means = mean_errors(residuals, mask)
        told = (mask > 0).any(axis=1).sum(axis=0)  # windows in which each CV was measured
        size = np.where(told > 0, np.sqrt((means**2).sum(axis=0) / np.maximum(told, 1)) + FLOOR, 1.0)
        standard = means / size
        covariance = standard.T @ standard / len(standard)
        np.fill_diagonal(covariance, 1.0)  # where measured
        covariance = (1 - SHRINK) * covariance + SHRINK * np.diag(np.diag(covariance)) + FLOOR * np.eye(len(size))
        whiten = np.linalg.inv(np.linalg.cholesky(covariance)) / size
        healthy = ((means @ whiten.T) ** 2).mean(axis=1)
        return cls(whiten / np.sqrt(MARGIN * np.quantile(healthy, 1 - FALSE_ALARM) + FLOOR), size)

    def ratio(self, means: np.ndarray) -> np.ndarray:
        """(n,) of mean errors (n, CVs): above 1 the process, or a sensor, is no longer what it was."""
        ratio: np.ndarray = ((means @ self.whiten.T) ** 2).mean(axis=1)
        return ratio


def mean_errors(residuals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n, CVs) the mean over the measured rows of residuals (n, K, CVs)."""
    total: np.ndarray = (mask * residuals).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    return total
