"""One Gram matrix of a sliding window of telemetry: every linear model is least squares on a part of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.windows import Grid

WORK = 3e10  # multiply-adds at most: of more rows only every s-th window is taken
CHUNK = 2_000_000  # numbers held at once


@dataclass(frozen=True)
class Moments:
    """Second moments of v = [rows t - past + 1 .. t + future, 1], each row its CVs and then its inputs.

    Attributes:
        gram: (d, d) float64, the sum of v v' over the windows.
        past, future, cvs, inputs: sizes; d = (past + future) (cvs + inputs) + 1.
    """

    gram: np.ndarray
    past: int
    future: int
    cvs: int
    inputs: int

    @classmethod
    def of(cls, grid: Grid, ends: np.ndarray, past: int, future: int) -> Moments:
        """Of the windows around each end t; those with unmeasured CVs count by the share that was measured."""
        cvs, inputs = grid.y.shape[1], grid.w.shape[1]
        rows = np.concatenate([grid.y, grid.w], axis=1).astype(np.float64)
        size = (past + future) * (cvs + inputs) + 1
        ends = ends[:: max(1, int(len(ends) * size**2 / WORK))]
        gram = np.zeros((size, size))
        chunk = max(1, CHUNK // size)
        for start in range(0, len(ends), chunk):
            index = ends[start : start + chunk, None] + np.arange(1 - past, future + 1)
            known = np.sqrt(grid.mask[index].mean(axis=(1, 2), dtype=np.float64))[:, None]
            v = known * np.concatenate([rows[index].reshape(len(index), -1), np.ones((len(index), 1))], axis=1)
            gram += v.T @ v
        return cls(gram, past, future, cvs, inputs)

    @property
    def one(self) -> int:
        """Where the constant stands; its moment with itself is the number of windows."""
        return len(self.gram) - 1

    @property
    def count(self) -> float:
        """The number of windows, by weight."""
        return float(self.gram[-1, -1])

    def y_at(self, row: int) -> np.ndarray:
        """(cvs,): where the CVs of row t + `row` stand in v."""
        return (self.past - 1 + row) * (self.cvs + self.inputs) + np.arange(self.cvs)

    def w_at(self, row: int) -> np.ndarray:
        """(inputs,): where the inputs of row t + `row` stand in v."""
        return (self.past - 1 + row) * (self.cvs + self.inputs) + self.cvs + np.arange(self.inputs)

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Where the rows t + first .. t + stop - 1 stand in v, each its CVs and then its inputs."""
        return np.concatenate([np.r_[self.y_at(row), self.w_at(row)] for row in range(first, stop)])

    def part(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(n, m) moments between the entries `left` (n,) and `right` (m,) of v."""
        return self.gram[np.ix_(left, right)]

    def differenced(self) -> Moments:
        """The same of each row less the one before it; the constant is taken as unrelated to them (no drift)."""
        gram, block = self.gram[:-1, :-1], self.cvs + self.inputs
        across = gram[block:] - gram[:-block]
        out = np.zeros((len(gram) - block + 1,) * 2)
        out[:-1, :-1] = across[:, block:] - across[:, :-block]
        out[-1, -1] = self.count
        return Moments(out, self.past - 1, self.future, self.cvs, self.inputs)


def ridge(moments: Moments, regressors: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """(n + 1, m) least-squares coefficients of v[targets] on v[regressors], then the constant (not penalised).

    Args:
        penalty: added to the mean square of each regressor (model units); where one never moves,
            it makes its coefficient 0.
    """
    coefficients: np.ndarray = np.linalg.solve(*normal_equations(moments, regressors, targets, penalty))
    return coefficients


def normal_equations(
    moments: Moments, regressors: np.ndarray, targets: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """(n + 1, n + 1) and (n + 1, m) whose solution `ridge` is."""
    index = np.append(regressors, moments.one)
    weight = np.append(np.full(len(regressors), penalty * moments.count), 0.0)
    return moments.part(index, index) + np.diag(weight), moments.part(index, targets)
