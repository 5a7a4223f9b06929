"""Regularisers that keep embeddings from collapsing, and the statistics that show when they do."""

from __future__ import annotations

import jax
import jax.numpy as jnp

NODES = 17  # of the integral over t in [0, 3]
REACH = 3.0
GAUSSIAN = 1.053  # what `sigreg` is, whatever the batch, on samples of a standard normal
COLLAPSED = 0.402  # times the batch: what it is where all samples are the origin


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


def effective_rank(samples: jax.Array) -> jax.Array:
    """exp of the entropy of the normalised singular values of the centred samples (B, d); between 1 and d.

    Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    values = jnp.linalg.svd(samples - samples.mean(axis=0, keepdims=True), compute_uv=False)
    share = values / jnp.maximum(values.sum(), 1e-12)
    return jnp.exp(-(share * jnp.log(jnp.maximum(share, 1e-12))).sum())
