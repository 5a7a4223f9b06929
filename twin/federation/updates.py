"""What a site sends: how far it moved from the consensus, on how many rows, with which loss; and what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from twin.errors import FederationError

LARGEST = 1e6  # of a parameter's change; model units are about one
HEAVIEST = 4.0  # times the median of rows: no site's claim of rows weighs more
MOST_ROWS = 2**53  # that a claim is read as


@dataclass(frozen=True)
class Update:
    """One site's answer to one consensus.

    Attributes:
        site: its name in the roster.
        change: (P,) float64, its parameters minus the consensus it was sent.
        rows: telemetry rows it trained on, as it says; 0 where it does not tell.
        loss: of the consensus on its own rows, before it trained; NaN where it does not tell.
        round: of the consensus it started from.
    """

    site: str
    change: np.ndarray
    rows: int
    loss: float
    round: int


def checked(site: str, values: np.ndarray, size: int) -> np.ndarray:
    """A vector (size,) that came from elsewhere, as float64.

    Raises:
        FederationError: it has another length, a value that is no finite number, or one beyond `LARGEST`; the site
            is named.
    """
    vector = np.asarray(values)
    if vector.dtype.kind != "f" or vector.shape != (size,):
        raise FederationError(f"{site}: a vector of shape {vector.shape} and type {vector.dtype}, not {size} floats")
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise FederationError(f"{site}: {len(bad)} of {size} values are not finite, the first at {bad[0]}")
    largest = float(np.abs(vector).max(initial=0.0))
    if largest > LARGEST:
        raise FederationError(f"{site}: a value of {largest:.3g}; {LARGEST:g} is the largest that is taken")
    return vector.astype(np.float64)


def weights(rows: Iterable[int]) -> np.ndarray:
    """(n,) shares that sum to 1, by rows; no more than `HEAVIEST` times the median counts of what a site claims. A site
    that tells none counts as the median of those that do."""
    claimed = np.array([min(max(row, 0), MOST_ROWS) for row in rows], np.float64)
    told = claimed > 0
    claimed = np.where(told, claimed, np.median(claimed[told]) if told.any() else 1.0)
    capped = np.minimum(claimed, HEAVIEST * np.median(claimed))
    return capped / capped.sum()
