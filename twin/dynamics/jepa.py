"""The latent world model of what the linear backbone misses: encode, predict, read (flax nnx).

    z  = f(window)                    encoder, once
    z' = r z + g(z, y_lin, w)         predictor, rolled over the horizon; r decays, a time constant per component
    y  = y_lin + h(z, y_lin)          readout; zero at first, so that training starts at the backbone
    e  = t(CVs of the last rows)      target encoder: what the latent is to predict (joint embedding)
    ê  = p(z, y_lin)                  linear head that predicts it

Hidden layers are tanh, so that z and the correction stay bounded however far a rollout goes. Written for one
window in model units; batch outside with `vmap`.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from twin.windows import Window

TARGET_ROWS = 8  # rows of CVs that a target embeds, the row itself last


@dataclass(frozen=True)
class Sizes:
    """Widths of the network."""

    cvs: int
    inputs: int
    history: int
    latent: int = 32
    hidden: int = 64
    encoder: int = 96
    embedding: int = 16


class Dense(nnx.Module):
    """A linear layer with weights drawn by numpy: nothing to compile, the same on every version of JAX."""

    def __init__(self, fan_in: int, fan_out: int, rng: np.random.Generator | None) -> None:
        """Without a generator the layer starts at zero."""
        drawn = np.zeros((fan_in, fan_out)) if rng is None else rng.standard_normal((fan_in, fan_out))
        self.kernel = nnx.Param(jnp.asarray(drawn / np.sqrt(fan_in), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(fan_out))

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., fan_in) to (..., fan_out)."""
        y = x @ self.kernel[...]
        return y + jnp.expand_dims(self.bias[...], range(y.ndim - 1))


class Jepa(nnx.Module):
    """A joint-embedding predictive world model of the residual."""

    def __init__(self, sizes: Sizes, rng: np.random.Generator) -> None:
        window = sizes.history * (2 * sizes.cvs + sizes.inputs)
        self.f1 = Dense(window, sizes.encoder, rng)
        self.f2 = Dense(sizes.encoder, sizes.latent, rng)
        self.drive1 = Dense(sizes.cvs + sizes.inputs, sizes.hidden, rng)
        self.g1 = Dense(sizes.latent, sizes.hidden, rng)
        self.g2 = Dense(sizes.hidden, sizes.latent, rng)
        self.time_constant = nnx.Param(jnp.asarray(np.geomspace(2.0, 100.0, sizes.latent), jnp.float32))  # rows
        self.h1 = Dense(sizes.latent + sizes.cvs, sizes.hidden, rng)
        self.h2 = Dense(sizes.hidden, sizes.cvs, None)
        self.t1 = Dense(TARGET_ROWS * sizes.cvs, sizes.hidden, rng)
        self.t2 = Dense(sizes.hidden, sizes.embedding, rng)
        self.p = Dense(sizes.latent + sizes.cvs, sizes.embedding, rng)

    def encode(self, window: Window) -> jax.Array:
        """f: the latent (latent,) at the last row of a window (L, ·)."""
        parts = [jnp.asarray(part).reshape(-1) for part in window]
        return self.f2(jnp.tanh(self.f1(jnp.concatenate(parts))))

    def drive(self, y_lin: jax.Array, w: jax.Array) -> jax.Array:
        """What a row's backbone CVs (CVs,) and inputs (inputs,) push the predictor's hidden layer with: (hidden,)."""
        return self.drive1(jnp.concatenate([y_lin, w], axis=-1))

    def step(self, z: jax.Array, drive: jax.Array) -> jax.Array:
        """g: the latent (latent,) one row later."""
        keep = jnp.exp(-1.0 / jnp.maximum(self.time_constant[...], 1.0))
        return keep * z + (1.0 - keep) * self.g2(jnp.tanh(self.g1(z) + drive))

    def correction(self, z: jax.Array, y_lin: jax.Array) -> jax.Array:
        """h: what to add to the backbone's CVs, (..., CVs)."""
        return self.h2(jnp.tanh(self.h1(jnp.concatenate([z, y_lin], axis=-1))))

    def target(self, y: jax.Array) -> jax.Array:
        """t: the embedding (..., embedding) of `TARGET_ROWS` rows of measured CVs (..., rows, CVs)."""
        flat = y.reshape(*y.shape[:-2], -1)
        return self.t2(jnp.tanh(self.t1(flat)))

    def predicted(self, z: jax.Array, y_lin: jax.Array) -> jax.Array:
        """p: the embedding (..., embedding) the latent expects there."""
        return self.p(jnp.concatenate([z, y_lin], axis=-1))
