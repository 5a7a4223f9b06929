"""Regularisers that keep embeddings from collapsing, and the statistics that show when they do."""

from __future__ import annotations

import jax
import jax.numpy as jnp

NODES = 17  # of the integral over t in [0, 3]
REACH = 3.0
GAUSSIAN = 1.053  # what `sigreg` is, whatever the batch, on samples of a standard normal
COLLAPSED = 0.402  # times the batch: what it is where all samples are the origin
LEAST = 0.1  # deviation of the last dimension under `anisotropic`
TEMPERATURE = 0.1


def sigreg(samples: jax.Array, directions: jax.Array) -> jax.Array:
    """Sketched isotropic Gaussian regularisation (Balestriero and LeCun, LeJEPA, 2025): a scalar.

    The Epps–Pulley distance between the samples (B, d), projected on random unit directions, and a standard
    normal, averaged over the directions:  B ∫ |φ_samples(t) − exp(−t²/2)|² exp(−t²/2) dt  over [−3, 3].

    Args:
        samples: (B, d); independent of each other.
        directions: (d, m) of any length, drawn anew each training step from a standard normal.
    """
    batch = samples.shape[0]
    projected = samples @ (directions / jnp.linalg.norm(directions, axis=0, keepdims=True))
    t = jnp.linspace(0.0, REACH, NODES)
    trapezoid = jnp.full(NODES, 2.0 * REACH / (NODES - 1)).at[jnp.array([0, NODES - 1])].multiply(0.5)
    normal = jnp.exp(-0.5 * t**2)
    angles = projected[:, :, None] * t[None, None, :]
    real, imaginary = jnp.cos(angles).mean(axis=0), jnp.sin(angles).mean(axis=0)
    distance = (real - normal[None, :]) ** 2 + imaginary**2
    return batch * (distance @ (trapezoid * normal)).mean()


def anisotropic(samples: jax.Array, directions: jax.Array) -> jax.Array:
    """SIGReg towards a normal whose deviations fall from 1 to `LEAST` over the dimensions of (B, d): a scalar."""
    deviations = jnp.geomspace(1.0, LEAST, samples.shape[1])
    return sigreg(samples / deviations[None, :], directions)


def subspace(samples: jax.Array, directions: jax.Array) -> jax.Array:
    """SIGReg of the first half of the dimensions of (B, d) only, the others left free: a scalar."""
    half = max(1, samples.shape[1] // 2)
    return sigreg(samples[:, :half], directions[:half])


def sparse(samples: jax.Array, directions: jax.Array, normal: jax.Array) -> jax.Array:
    """Distance of the rectified samples from a rectified standard normal, half of whose entries are 0: a scalar.

    The squared 2-Wasserstein distance of the projections on each direction (sorted samples against sorted samples),
    averaged over directions, times B as `sigreg` is (Rectified distribution matching, RDMReg).

    Args:
        samples: (B, d), rectified here.
        directions: (d, m) of any length.
        normal: (B, d) drawn anew each training step from a standard normal.
    """
    unit = directions / jnp.linalg.norm(directions, axis=0, keepdims=True)
    ours, theirs = (jnp.sort(jnp.maximum(part, 0.0) @ unit, axis=0) for part in (samples, normal))
    return samples.shape[0] * ((ours - theirs) ** 2).mean()


def vicreg(samples: jax.Array) -> jax.Array:
    """Variance and covariance of the samples (B, d): a scalar (Bardes, Ponce and LeCun, VICReg, ICLR 2022).

    A hinge that keeps each dimension's deviation at 1 or above, and the squares of the covariances between
    dimensions; the invariance term is the latent prediction.
    """
    centred = samples - samples.mean(axis=0, keepdims=True)
    deviation = jnp.sqrt((centred**2).mean(axis=0) + 1e-4)
    covariance = centred.T @ centred / (samples.shape[0] - 1)
    off = covariance - jnp.diag(jnp.diag(covariance))
    return jnp.maximum(1.0 - deviation, 0.0).mean() + (off**2).sum() / samples.shape[1]


def infonce(predicted: jax.Array, targets: jax.Array) -> jax.Array:
    """How badly each prediction (B, d) picks its own target among those of the batch (B, d): a scalar, nats.

    Cross-entropy over cosine similarities at `TEMPERATURE` (van den Oord, Li and Vinyals, 2018).
    """
    ours, theirs = (part / (jnp.linalg.norm(part, axis=1, keepdims=True) + 1e-6) for part in (predicted, targets))
    similar = ours @ theirs.T / TEMPERATURE
    return (jax.nn.logsumexp(similar, axis=1) - jnp.diag(similar)).mean()


def effective_rank(samples: jax.Array) -> jax.Array:
    """exp of the entropy of the normalised singular values of the centred samples (B, d); between 1 and d.

    Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    values = jnp.linalg.svd(samples - samples.mean(axis=0, keepdims=True), compute_uv=False)
    share = values / jnp.maximum(values.sum(), 1e-12)
    return jnp.exp(-(share * jnp.log(jnp.maximum(share, 1e-12))).sum())
