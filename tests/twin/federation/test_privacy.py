"""Differential privacy of updates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest, norm

from twin.federation.privacy import clipped, epsilon, noised, promised, rho


def test_a_long_change_is_shortened_and_a_short_one_is_not():
    np.testing.assert_allclose(clipped(np.array([3.0, 4.0]), 1.0), [0.6, 0.8])
    np.testing.assert_array_equal(clipped(np.array([0.3, 0.4]), 1.0), [0.3, 0.4])
    np.testing.assert_array_equal(clipped(np.zeros(2), 1.0), [0.0, 0.0])


def test_noise_is_gaussian_of_the_deviation_asked():
    change = np.zeros(20_000)
    found = noised(change, largest=2.0, multiplier=1.5, rng=np.random.default_rng(0))
    assert kstest(found, norm(0.0, 3.0).cdf).pvalue > 0.01


def test_epsilon_holds_against_the_exact_loss_of_the_gaussian_mechanism():
    # exact (Balle & Wang 2018): δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ) with μ = √rounds · 2 / multiplier
    multiplier, rounds, delta = 8.0, 20, 1e-5
    promised = epsilon(multiplier, rounds, delta)
    mu = math.sqrt(rounds) * 2.0 / multiplier
    exact = norm.cdf(mu / 2 - promised / mu) - math.exp(promised) * norm.cdf(-mu / 2 - promised / mu)
    assert exact <= delta  # what is promised is kept,
    closer = 0.75 * promised
    assert norm.cdf(mu / 2 - closer / mu) - math.exp(closer) * norm.cdf(-mu / 2 - closer / mu) > delta  # and not loose


def test_no_noise_promises_nothing():
    assert epsilon(0.0, 1, 1e-5) == math.inf
    assert epsilon(1.0, 4, 1e-5) == pytest.approx(8.0 + 2 * math.sqrt(8.0 * math.log(1e5)))


def test_changes_of_different_noise_add_by_what_each_gave_away():
    """The exact loss depends on the sum of (2 / multiplier)² alone: one change at 1 and one at 2 are five at 2."""
    assert rho(1.0) + rho(2.0) == pytest.approx(5 * rho(2.0))
    assert promised(rho(1.0) + rho(2.0), 1e-5) == pytest.approx(epsilon(2.0, 5, 1e-5))
    assert promised(0.0, 1e-5) == epsilon(1.0, 0, 1e-5) == 0.0
