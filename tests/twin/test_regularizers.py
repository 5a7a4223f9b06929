"""SIGReg against a numerical integral, and against the values theory gives."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from twin.regularizers import COLLAPSED, GAUSSIAN, effective_rank, sigreg


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
