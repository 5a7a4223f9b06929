"""The latent world model of what the linear backbone misses: encode, predict, read (flax nnx).

    s  = f(window),  c = 0               the latent is z = [s, c]: features, and what each CV lacks so far
    a  = tanh(g1(z) + drive(y_lin, w))   predictor, rolled over the horizon
    u  = σ(renew(a))                     the share of each component that a row renews
    s' = (1 − u) s + u g2(a)
    c' = (1 − u) c + g2(a)               zero at first, so that training starts at the backbone
    y  = y_lin + c                       readout (of a share of c, where signs of gains are asked)
    e  = t(CVs of the last rows)         target encoder: what the latent is to predict (joint embedding)
    ê  = p(s, y_lin)                     linear head that predicts it

The correction is a state: what a row adds lasts, as what happens to a plant in a row does, and the predictor knows
from y_lin and c how far the CVs have come. The gate u lets time constants follow the operating point (a tank that
empties faster when it is full). Hidden layers are tanh, so that u stays above zero and z bounded however far a rollout
goes. Written for one window in model units; batch outside with `vmap`.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from twin.windows import Window

TARGET_ROWS = 8  # rows of CVs that a target embeds, the row itself last
LASTS = 10.0  # rows that a correction lasts, at first


@dataclass(frozen=True)
class Sizes:
    """Widths of the network.

    Attributes:
        target: columns that the target encoder reads: "cvs", "window" (inputs too) or "both", by an encoder each.
        inverse: whether there is a head that recovers the inputs between two latents.
    """

    cvs: int
    inputs: int
    history: int
    latent: int = 32
    hidden: int = 64
    encoder: int = 96
    embedding: int = 16
    target: str = "cvs"
    inverse: bool = False


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
        self.g1 = Dense(sizes.latent + sizes.cvs, sizes.hidden, rng)
        self.g2 = Dense(sizes.hidden, sizes.latent + sizes.cvs, rng)
        self.g2.kernel[...] = self.g2.kernel[...].at[:, sizes.latent :].set(0.0)
        self.renew = Dense(sizes.hidden, sizes.latent + sizes.cvs, None)
        rows = np.concatenate([np.geomspace(2.0, 100.0, sizes.latent), np.full(sizes.cvs, LASTS)])
        self.renew.bias[...] = jnp.asarray(np.log(np.expm1(1.0 / rows)), jnp.float32)
        self.share = nnx.Param(jnp.ones(sizes.cvs))  # of each CV's correction that is read
        columns = sizes.cvs + sizes.inputs if sizes.target == "window" else sizes.cvs
        self.t1 = Dense(TARGET_ROWS * columns, sizes.hidden, rng)
        self.t2 = Dense(sizes.hidden, sizes.embedding, rng)
        self.p = Dense(sizes.latent + sizes.cvs, sizes.embedding, rng)
        if sizes.target == "both":
            self.u1 = Dense(TARGET_ROWS * (sizes.cvs + sizes.inputs), sizes.hidden, rng)
            self.u2 = Dense(sizes.hidden, sizes.embedding, rng)
            self.q = Dense(sizes.latent + sizes.cvs, sizes.embedding, rng)
        if sizes.inverse:
            self.i = Dense(2 * sizes.latent, sizes.inputs, rng)

    def encode(self, window: Window) -> jax.Array:
        """f: the latent (latent + CVs,) at the last row of a window (L, ·)."""
        parts = [jnp.asarray(part).reshape(-1) for part in window]
        s = self.f2(jnp.tanh(self.f1(jnp.concatenate(parts))))
        return jnp.concatenate([s, jnp.zeros_like(self.share[...])])

    def drive(self, y_lin: jax.Array, w: jax.Array) -> jax.Array:
        """What a row's backbone CVs (CVs,) and inputs (inputs,) push the predictor's hidden layer with: (hidden,)."""
        return self.drive1(jnp.concatenate([y_lin, w], axis=-1))

    def step(self, z: jax.Array, drive: jax.Array, pure: bool = False) -> jax.Array:
        """g: the latent (latent + CVs,) one row later.

        Args:
            pure: corrections learn from features, and features do not learn from corrections (a stop-gradient).
        """
        feature = np.arange(z.shape[-1]) < z.shape[-1] - self.share.shape[-1]
        a = jnp.tanh(self.g1(jnp.where(feature, z, jax.lax.stop_gradient(z)) if pure else z) + drive)
        new, u = self._new(a)
        if pure:
            behind = self._new(jax.lax.stop_gradient(a))
            new, u = jnp.where(feature, new, behind[0]), jnp.where(feature, u, behind[1])
        return (1.0 - u) * z + jnp.where(feature, u, 1.0) * new

    def _new(self, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        """g2 and u of a hidden layer a (..., hidden), by one product: (..., latent + CVs) each."""
        kernel = jnp.concatenate([self.g2.kernel[...], self.renew.kernel[...]], axis=-1)
        joined = a @ kernel + jnp.concatenate([self.g2.bias[...], self.renew.bias[...]], axis=-1)
        new, u = jnp.split(joined, 2, axis=-1)
        return new, jax.nn.sigmoid(u)

    def parts(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Features (..., latent) and corrections (..., CVs) of latents (..., latent + CVs)."""
        cvs = self.share.shape[-1]
        return z[..., :-cvs], z[..., -cvs:]

    def correction(self, z: jax.Array) -> jax.Array:
        """What to add to the backbone's CVs, (..., CVs)."""
        c = self.parts(z)[1]
        return jnp.broadcast_to(self.share[...], c.shape) * c

    def target(self, rows: jax.Array) -> jax.Array:
        """t: the embedding (..., embedding) of the last `TARGET_ROWS` rows (..., rows, CVs and inputs)."""
        flat = rows[..., : self.t1.kernel.shape[0] // TARGET_ROWS]
        e = self.t2(jnp.tanh(self.t1(flat.reshape(*flat.shape[:-2], -1))))
        if not hasattr(self, "u1"):
            return e
        whole = self.u2(jnp.tanh(self.u1(rows.reshape(*rows.shape[:-2], -1))))
        return jnp.concatenate([e, whole], axis=-1)

    def predicted(self, z: jax.Array, y_lin: jax.Array) -> jax.Array:
        """p: the embedding (..., embedding) the latent expects there."""
        seen = jnp.concatenate([self.parts(z)[0], y_lin], axis=-1)
        return jnp.concatenate([self.p(seen), self.q(seen)], axis=-1) if hasattr(self, "q") else self.p(seen)

    def moved(self, before: jax.Array, after: jax.Array) -> jax.Array:
        """i: the mean inputs (..., inputs) between two latents (..., latent + CVs)."""
        return self.i(jnp.concatenate([self.parts(before)[0], self.parts(after)[0]], axis=-1))
