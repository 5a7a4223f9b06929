"""Vector tags (spectra, profiles, small images): how a branch of the encoder reads a frame of one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

WHOLE = 0.8  # of a frame's elements must be there; what is missing is taken for the mean


@dataclass(frozen=True, eq=False)
class Branch:
    """The components of one vector tag, found in training (`twin.branches`); told apart by identity.

    Attributes:
        vector: the vector tag.
        mean: (elements,) float64, engineering units.
        weights: (elements, components) float64: a component is the frame less the mean along its column.
        told: CVs that are measured rarely and that a frame tells: between two values they are inferred from it.
        inference: (components + 1, told) float64: their regression on the components, the constant last.
        modelled: whether the components are CVs of the twin; where not, frames speak by the CVs they tell alone.
    """

    vector: str
    mean: np.ndarray
    weights: np.ndarray
    told: tuple[str, ...] = ()
    inference: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    modelled: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Of the components that are CVs, counted from 1."""
        return tuple(f"{self.vector}#{i + 1}" for i in range(self.weights.shape[1] if self.modelled else 0))

    def read(self, frames: np.ndarray) -> np.ndarray:
        """(n, elements) to (n, components); a frame of which too much is missing has none (NaN)."""
        known = np.isfinite(frames)
        scores: np.ndarray = np.where(known, frames - self.mean, 0.0) @ self.weights
        return np.where((known.mean(axis=1) >= WHOLE)[:, None], scores, np.nan)

    def infer(self, components: np.ndarray) -> np.ndarray:
        """(n, components) to (n, told): what the CVs are by the frames."""
        inferred: np.ndarray = components @ self.inference[:-1] + self.inference[-1]
        return inferred


def fill(values: np.ndarray, inferred: np.ndarray) -> np.ndarray:
    """(n,) measured where there is a measurement, else inferred."""
    return np.where(np.isfinite(values), values, inferred)
