"""What a fleet knows of a unit's linear part before it has seen it: a mean and how units differ from it.

The coefficients of a CV are random effects, θ of a unit ~ N(μ, Λ), estimated by expectation-maximisation from the
normal equations of all units (Laird and Ware, Biometrics 38 (1982) 963). A new unit takes the θ that its own rows and
that prior agree on: directions in which units do not differ, or that nobody's rows have shown, cost it no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STRENGTHS = (1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf)  # how often a prior may count
ROUNDS = 40  # of expectation-maximisation
WIDE = 0.1  # variance of a coefficient at first
LEAST = 1e-9  # variance of a coefficient at least


@dataclass(frozen=True)
class Equations:
    """Normal equations of one unit's ARX model.

    Attributes:
        normal: (d, d) sums over rows of products of regressors, the constant last.
        across: (d, CVs) and of regressors with the CVs.
        squares: (CVs,) sums of squares of the CVs.
    """

    normal: np.ndarray
    across: np.ndarray
    squares: np.ndarray

    @property
    def rows(self) -> float:
        """How many, by weight."""
        return float(self.normal[-1, -1])


@dataclass(frozen=True)
class Prior:
    """The linear part of a unit before it is seen.

    Attributes:
        mean: (d, CVs) float64.
        precision: (CVs, d, d) of a unit's coefficients about it.
        noise: (CVs,) variance of what one row ahead leaves.
    """

    mean: np.ndarray
    precision: np.ndarray
    noise: np.ndarray

    @classmethod
    def fit(cls, units: Sequence[Equations]) -> Prior:
        """From two units or more."""
        found = [_em(units, cv) for cv in range(units[0].across.shape[1])]
        mean, precision, noise = (np.stack(part) for part in zip(*found, strict=True))
        return cls(mean.T, precision, noise)

    def posterior(self, unit: Equations, strength: float) -> np.ndarray:
        """(d, CVs) a unit's coefficients; the prior counts `strength` times, infinitely often leaves its mean alone."""
        if np.isinf(strength):
            return self.mean
        out = np.empty_like(self.mean)
        for cv, (precision, noise) in enumerate(zip(self.precision, self.noise, strict=True)):
            weight = strength * noise * precision
            out[:, cv] = np.linalg.solve(unit.normal + weight, unit.across[:, cv] + weight @ self.mean[:, cv])
        return out


def _em(units: Sequence[Equations], cv: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean (d,), precision (d, d) and noise of one CV."""
    total, across = (np.sum(part, axis=0) for part in ([u.normal for u in units], [u.across[:, cv] for u in units]))
    rows, squares = sum(u.rows for u in units), sum(float(u.squares[cv]) for u in units)
    d = len(total)
    mean = np.linalg.solve(total + 1e-6 * rows * np.eye(d), across)
    noise = max((squares - float(mean @ across)) / rows, LEAST)
    spread = WIDE * np.eye(d)
    for _ in range(ROUNDS):
        precision = np.linalg.inv(spread)
        covariances = [np.linalg.inv(u.normal / noise + precision) for u in units]
        found = [v @ (u.across[:, cv] / noise + precision @ mean) for u, v in zip(units, covariances, strict=True)]
        mean = np.mean(found, axis=0)
        away = [np.outer(m - mean, m - mean) + v for m, v in zip(found, covariances, strict=True)]
        spread = np.mean(away, axis=0) + LEAST * np.eye(d)
        left = [
            float(u.squares[cv] - 2 * m @ u.across[:, cv] + m @ u.normal @ m + np.sum(u.normal * v))
            for u, m, v in zip(units, found, covariances, strict=True)
        ]
        noise = max(sum(left) / rows, LEAST)
    return mean, np.linalg.inv(spread), noise
