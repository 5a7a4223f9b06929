"""What measured disturbances (DVs) do when nobody says: each returns toward its mean as it did in training, or holds.

A DV is forecast by an autoregression about its mean (Box and Jenkins, Time Series Analysis, 1970, chapter 5); holding
is the one whose only coefficient is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class DisturbanceModel:
    """An autoregression for each DV, engineering units, float64.

    Attributes:
        mean: (DVs,) where it returns to.
        coefficients: (DVs, P) of its deviations from it in the last P rows, oldest first; 0, …, 0, 1 holds.
        low, high: (DVs,) what was seen of it: no forecast leaves that, but toward it.
    """

    mean: np.ndarray
    coefficients: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def held(cls, count: int) -> DisturbanceModel:
        """Every one of so many DVs holds."""
        none = np.zeros(count)
        return cls(none, np.ones((count, 1)), none - np.inf, none + np.inf)

    def scaled(self, mean: np.ndarray, scale: np.ndarray) -> DisturbanceModel:
        """The same in other units: (value - mean) / scale, each (DVs,)."""
        moved = [(values - mean) / scale for values in (self.mean, self.low, self.high)]
        return DisturbanceModel(moved[0], self.coefficients, *moved[1:])

    @property
    def rows(self) -> int:
        """P."""
        return self.coefficients.shape[1]

    def forecast(self, past: np.ndarray, rows: int) -> np.ndarray:
        """What follows rows that end at the present.

        Args:
            past: (…, n, DVs) engineering units, without holes; n of P or more, or the first row is repeated.

        Returns:
            (…, rows, DVs) float64.
        """
        edge = [(0, 0)] * past.ndim
        edge[-2] = (max(self.rows - past.shape[-2], 0), 0)
        lags = np.pad(past, edge, mode="edge")[..., -self.rows :, :] - self.mean
        present = past[..., -1, :]
        low, high = np.minimum(self.low, present), np.maximum(self.high, present)
        deviations = np.einsum(
            "...pd,kpd->...kd", lags, _ahead(np.asarray(self.coefficients, np.float64).tobytes(), self.rows, rows)
        )
        out = np.clip(self.mean + deviations, low[..., None, :], high[..., None, :])
        holds = self.holds
        out[..., holds] = present[..., None, holds]  # to the last bit
        return out

    @property
    def holds(self) -> np.ndarray:
        """(DVs,) which of them hold."""
        held: np.ndarray = (self.coefficients[:, -1] == 1) & (self.coefficients[:, :-1] == 0).all(axis=1)
        return held


@lru_cache(64)
def _ahead(coefficients: bytes, lags: int, rows: int) -> np.ndarray:
    """(rows, P, DVs) what each of the last P deviations comes to in each of the next rows."""
    of_lags = np.frombuffer(coefficients, np.float64).reshape(-1, lags)
    found = np.empty((lags + rows, lags, len(of_lags)))
    found[:lags] = np.eye(lags)[:, :, None]
    for k in range(lags, lags + rows):
        found[k] = np.einsum("pbd,dp->bd", found[k - lags : k], of_lags)
    return found[lags:]
