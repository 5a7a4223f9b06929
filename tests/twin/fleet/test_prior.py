"""The prior of linear parts: what units have in common, how they differ, and what a new one makes of both."""

from __future__ import annotations

import numpy as np
import pytest

from twin.fleet.prior import Equations, Prior

MEAN, SPREAD, NOISE = np.array([0.5, -1.0, 0.2]), np.array([0.3, 0.0, 0.0]), 0.2


def _unit(seed: int, rows: int) -> tuple[Equations, np.ndarray]:
    """A unit whose first coefficient is its own, and its coefficients."""
    rng = np.random.default_rng(seed)
    own = MEAN + SPREAD * rng.standard_normal(3)
    x = np.column_stack([rng.standard_normal((rows, 2)), np.ones(rows)])
    y = x @ own + NOISE * rng.standard_normal(rows)
    return Equations(x.T @ x, (x.T @ y)[:, None], np.array([y @ y])), own


def _prior() -> Prior:
    return Prior.fit([_unit(seed, 300)[0] for seed in range(60)])


def test_mean_spread_and_noise_are_found() -> None:
    prior = _prior()
    np.testing.assert_allclose(prior.mean[:, 0], MEAN, atol=0.12)  # 0.3 / √60 is 0.04
    np.testing.assert_allclose(prior.mean[1:, 0], MEAN[1:], atol=0.01)
    assert np.sqrt(prior.noise[0]) == pytest.approx(NOISE, rel=0.05)
    deviations = np.sqrt(np.diag(np.linalg.inv(prior.precision[0])))
    assert deviations[0] == pytest.approx(0.3, rel=0.3)
    assert deviations[1:].max() < 0.03


def test_a_few_rows_tell_what_units_differ_in() -> None:
    prior = _prior()
    least = together = 0.0
    for seed in range(100, 130):
        few, own = _unit(seed, 4)
        least += np.sum((np.linalg.lstsq(few.normal, few.across, rcond=None)[0][:, 0] - own) ** 2)
        together += np.sum((prior.posterior(few, 1.0)[:, 0] - own) ** 2)
    assert together < 0.2 * least


def test_strength_goes_from_the_rows_to_the_mean() -> None:
    prior, (unit, _) = _prior(), _unit(200, 50)
    np.testing.assert_allclose(prior.posterior(unit, 1e-9), np.linalg.solve(unit.normal, unit.across), rtol=1e-4)
    np.testing.assert_allclose(prior.posterior(unit, 1e9), prior.mean, atol=1e-4)
    np.testing.assert_array_equal(prior.posterior(unit, np.inf), prior.mean)
