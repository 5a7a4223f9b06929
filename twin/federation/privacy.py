"""Differential privacy of what a site sends: a bounded change, Gaussian noise, and what that promises.

The promise is about a whole site: whoever sees every change that it ever sent (the server, and all who see the
consensus) can hardly tell one data set of the site from another, whatever they are; ε says how hardly. It
holds for the changes alone, not for rows and losses, which a site then keeps to itself.
"""

from __future__ import annotations

import math

import numpy as np


def clipped(change: np.ndarray, largest: float) -> np.ndarray:
    """The change (P,), shortened to the Euclidean length `largest`."""
    return change * min(1.0, largest / max(float(np.linalg.norm(change)), 1e-300))


def noised(change: np.ndarray, largest: float, multiplier: float, rng: np.random.Generator) -> np.ndarray:
    """The clipped change (P,) plus noise of standard deviation multiplier · largest in each coordinate.

    Source: the Gaussian mechanism; C. Dwork, A. Roth, "The Algorithmic Foundations of Differential Privacy", 2014,
    appendix A, applied to updates as in H. B. McMahan et al., "Learning Differentially Private Recurrent Language
    Models", ICLR 2018, but by the site itself: no server need be trusted.
    """
    return clipped(change, largest) + rng.normal(0.0, multiplier * largest, change.shape)


def rho(multiplier: float) -> float:
    """ρ of one change, between any two data sets of the site; the ρ of several add, whatever the noise of each was.

    Any two clipped changes lie at most 2 · largest apart, so a change is ρ-zCDP with ρ = (2 / multiplier)² / 2. Source:
    M. Bun, T. Steinke, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower Bounds", TCC 2016,
    propositions 1.3, 1.6 and lemma 1.7.
    """
    return 2.0 / multiplier**2 if multiplier > 0.0 else math.inf


def promised(spent: float, delta: float) -> float:
    """ε at δ of changes whose ρ add up to `spent`: (ρ + 2 √(ρ ln 1/δ), δ)-differentially private. Source: as `rho`."""
    return spent + 2.0 * math.sqrt(spent * math.log(1.0 / delta))


def epsilon(multiplier: float, rounds: int, delta: float) -> float:
    """ε at δ of one site after that many rounds of the same noise."""
    return promised(rounds * rho(multiplier), delta) if rounds else 0.0
