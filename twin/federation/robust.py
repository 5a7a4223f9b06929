"""How the changes of several sites become one, some of them perhaps poisoned.

Each function takes changes (n, P) and weights (n,) that sum to 1, and gives one change (P,). None of them helps
against more than half of the sites; with sites whose plants differ, all but the mean are biased towards the majority.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from twin.errors import FederationError

Aggregate = Callable[[np.ndarray, np.ndarray], np.ndarray]
TRIMMED = 0.2  # share of the sites cut at each end of each coordinate, one at least


def mean(changes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean: best among honest sites, and one poisoned site moves it anywhere."""
    return weights @ changes


def clipped_mean(changes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of changes that are shortened to their median length.

    A poisoned site then pulls no further than an ordinary one. Source: Z. Sun, P. Kairouz, A. T. Suresh, H. B.
    McMahan, "Can You Really Backdoor Federated Learning?", 2019, with the bound taken from the changes themselves.
    """
    norms = np.linalg.norm(changes, axis=1)
    bound = np.median(norms)
    return weights @ (changes * np.minimum(1.0, bound / np.maximum(norms, 1e-300))[:, None])


def median(changes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The median of each coordinate, every site alike.

    Source: D. Yin, Y. Chen, K. Ramchandran, P. Bartlett, "Byzantine-Robust Distributed Learning", ICML 2018.
    """
    return np.median(changes, axis=0)


def trimmed_mean(changes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of each coordinate without its `TRIMMED` largest and smallest values, one of each at least; with two
    sites the mean. Source: as of `median`."""
    n = len(changes)
    cut = min(max(round(TRIMMED * n), 1), (n - 1) // 2)
    return np.sort(changes, axis=0)[cut : n - cut].mean(axis=0)


def krum(changes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multi-Krum: the mean of the changes that lie nearest to others, with f = (n − 3) / 2 poisoned sites allowed for.

    The score of a change is the sum of its squared distances to its n − f − 2 nearest; the n − f best are averaged.
    Source: P. Blanchard, E. M. El Mhamdi, R. Guerraoui, J. Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017.

    Raises:
        FederationError: fewer than five sites; it protects from none then.
    """
    n = len(changes)
    if n < 5:
        raise FederationError(f"krum needs five sites at least, and {n} answered; median works with three")
    f = (n - 3) // 2
    distance = np.stack([((changes - one) ** 2).sum(axis=1) for one in changes])
    nearest = np.sort(distance, axis=1)[:, 1 : n - f - 1]  # the first is the change itself
    best = np.argsort(nearest.sum(axis=1), kind="stable")[: n - f]
    return changes[best].mean(axis=0)


AGGREGATES: dict[str, Aggregate] = {
    "mean": mean,
    "clipped_mean": clipped_mean,
    "median": median,
    "trimmed_mean": trimmed_mean,
    "krum": krum,
}
