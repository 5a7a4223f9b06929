"""Scaling between engineering units (float64) and the model's units (float32, about one standard deviation)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.telemetry import Telemetry

FLAT = 1e-9  # a standard deviation below this share of the magnitude is a constant
FARTHEST = 1e9  # model units: what lies beyond is told as so far, whose square float32 still holds


@dataclass(frozen=True)
class Scaler:
    """Mean and scale of CVs (y) and inputs (w: MVs, then DVs), each (n,) float64, taken from training rows."""

    y_mean: np.ndarray
    y_scale: np.ndarray
    w_mean: np.ndarray
    w_scale: np.ndarray

    @classmethod
    def fit(cls, telemetry: Telemetry) -> Scaler:
        """Means and standard deviations of the rows; a tag that never moved gets the scale 1."""
        return cls(*_moments(telemetry.y), *_moments(telemetry.w))

    def y_in(self, y: np.ndarray) -> np.ndarray:
        """(..., CVs) engineering units to model units, float32."""
        return _single((y - self.y_mean) / self.y_scale)

    def y_out(self, y: np.ndarray) -> np.ndarray:
        """(..., CVs) model units to engineering units, float64."""
        return np.asarray(y, np.float64) * self.y_scale + self.y_mean

    def w_in(self, w: np.ndarray) -> np.ndarray:
        """(..., inputs) engineering units to model units, float32."""
        return _single((w - self.w_mean) / self.w_scale)

    def w_out(self, w: np.ndarray) -> np.ndarray:
        """(..., inputs) model units to engineering units, float64."""
        return np.asarray(w, np.float64) * self.w_scale + self.w_mean


def _single(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -FARTHEST, FARTHEST).astype(np.float32)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    deviation = np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean, np.where(deviation > FLAT * np.abs(mean), deviation, 1.0)
