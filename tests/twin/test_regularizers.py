"""SIGReg against a numerical integral, and against the values theory gives."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from twin.regularizers import (
    COLLAPSED,
    GAUSSIAN,
    LEAST,
    anisotropic,
    effective_rank,
    infonce,
    sigreg,
    sparse,
    subspace,
    vicreg,
)


def _directions(rng: np.random.Generator, width: int, count: int = 64) -> np.ndarray:
    return rng.standard_normal((width, count)).astype(np.float32)


def test_sigreg_is_the_epps_pulley_integral() -> None:
    x = np.array([-1.3, 0.2, 0.5, 2.0])
    t = np.linspace(-3, 3, 20_001)
    characteristic = np.exp(1j * t[:, None] * x).mean(axis=1)
    integrand = np.abs(characteristic - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
    expected = len(x) * np.trapezoid(integrand, t)
    got = sigreg(jnp.asarray(x[:, None], jnp.float32), jnp.ones((1, 3)))
    assert float(got) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("batch", [32, 256])
def test_gaussian_samples_score_the_same_whatever_the_batch(batch: int) -> None:
    rng = np.random.default_rng(4)
    scores = [
        float(sigreg(jnp.asarray(rng.standard_normal((batch, 8)), jnp.float32), _directions(rng, 8))) for _ in range(40)
    ]
    assert np.mean(scores) == pytest.approx(GAUSSIAN, rel=0.1)


def test_a_collapse_to_the_origin_is_known_by_its_score() -> None:
    rng = np.random.default_rng(5)
    assert float(sigreg(jnp.zeros((50, 4)), _directions(rng, 4))) == pytest.approx(50 * COLLAPSED, rel=1e-2)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_samples_of_another_scale_score_worse(scale: float) -> None:
    rng = np.random.default_rng(6)
    samples = scale * rng.standard_normal((200, 6)).astype(np.float32)
    assert float(sigreg(jnp.asarray(samples), _directions(rng, 6))) > 5 * GAUSSIAN


def test_the_effective_rank_counts_equal_directions() -> None:
    corners = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32)
    assert float(effective_rank(jnp.asarray(corners))) == pytest.approx(2.0, rel=1e-4)
    assert float(effective_rank(jnp.asarray(corners[:2]))) == pytest.approx(1.0, rel=1e-4)


def test_the_anisotropic_target_is_met_by_samples_of_its_deviations() -> None:
    rng = np.random.default_rng(7)
    fitting = rng.standard_normal((400, 5)) * np.geomspace(1.0, LEAST, 5)
    directions = _directions(rng, 5)
    met, missed = (float(anisotropic(jnp.asarray(s, jnp.float32), directions)) for s in (fitting, fitting[:, ::-1]))
    assert met < 2 * GAUSSIAN
    assert missed > 5 * met


def test_the_subspace_form_sees_the_first_half_only() -> None:
    rng = np.random.default_rng(8)
    samples = rng.standard_normal((60, 6)).astype(np.float32)
    other = np.concatenate([samples[:, :3], 50 + samples[:, 3:]], axis=1)
    directions = _directions(rng, 6)
    assert float(subspace(jnp.asarray(samples), directions)) == float(subspace(jnp.asarray(other), directions))
    assert float(subspace(jnp.asarray(samples), directions)) == pytest.approx(
        float(sigreg(jnp.asarray(samples[:, :3]), directions[:3])), rel=1e-5
    )


def test_the_sparse_distance_is_wasserstein_s_of_sorted_samples() -> None:
    samples = jnp.array([[-1.0], [3.0], [1.0]])
    normal = jnp.array([[2.0], [-4.0], [0.5]])
    # rectified and sorted: 0, 1, 3 against 0, 0.5, 2; three times the mean of 0, 0.25, 1
    assert float(sparse(samples, jnp.full((1, 2), 7.0), normal)) == pytest.approx(1.25, rel=1e-5)


def test_vicreg_is_its_hinge_and_the_squared_covariances() -> None:
    samples = jnp.array([[1.0, 0.5], [-1.0, -0.5]])
    # deviations 1 and 0.5, covariance 1 twice: a hinge of (0 + 0.5) / 2 and (1 + 1) / 2
    assert float(vicreg(samples)) == pytest.approx(0.25 + 1.0, abs=1e-3)


def test_infonce_is_log_two_where_both_targets_are_alike_and_nothing_where_they_are_opposite() -> None:
    one = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    assert float(infonce(one, one)) == pytest.approx(np.log(2), rel=1e-5)
    apart = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    assert float(infonce(apart, apart)) == pytest.approx(np.log1p(np.exp(-2 / 0.1)), abs=1e-6)
