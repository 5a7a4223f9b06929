"""The trained region: how far a window and the planned inputs lie from what training has shown.

The distance is Mahalanobis's, of the means of a window's CVs and inputs and of the planned inputs; its unit is
the distance that 99 % of the training windows keep. The gate shrinks what is learned beyond the linear backbone
outside, where it is a guess, and leaves that backbone (whose extrapolation an engineer can foresee) as it is. A
polynomial that was found to extrapolate better than it does keeps its share as far as it was found to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from twin.windows import Window

SHARE = 0.99  # of the training windows lie at distance 1 or nearer
FLOOR = 1e-3  # least variance of a direction: one that never moved in training does not decide alone


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Region:
    """An ellipsoid in d = CVs + 2 inputs dimensions (a pytree of float32 arrays).

    Attributes:
        centre: (d,).
        whiten: (d, d); the distance is the length of whiten @ (features - centre).
        reach: () at least 1: the distance up to which the gate is open.
    """

    centre: jax.Array
    whiten: jax.Array
    reach: jax.Array = field(default_factory=lambda: jnp.ones(()))

    @classmethod
    def fit(cls, window: Window, w: np.ndarray) -> Region:
        """From windows (n, L, ·) and the inputs (n, K, inputs) that followed them."""
        features = np.concatenate([window.y.mean(axis=1), window.w.mean(axis=1), w.mean(axis=1)], axis=1)
        features = features.astype(np.float64)
        centre = features.mean(axis=0)
        variances, directions = np.linalg.eigh(np.cov(features.T, bias=True))
        whiten = directions.T / np.sqrt(np.maximum(variances, FLOOR))[:, None]
        reach = np.quantile(np.linalg.norm((features - centre) @ whiten.T, axis=1), SHARE)
        return cls(centre.astype(np.float32), (whiten / max(reach, FLOOR)).astype(np.float32))

    def widened(self, factor: float) -> Region:
        """The same around what lies `factor` times as far."""
        return replace(self, whiten=self.whiten / np.float32(factor))

    def distance(self, window: Window, w: jax.typing.ArrayLike) -> jax.Array:
        """The distance (a scalar) of a window (L, ·) and planned inputs w (K, inputs): above 1 is outside."""
        y, past = jnp.asarray(window.y), jnp.asarray(window.w)
        features = jnp.concatenate([y.mean(axis=0), past.mean(axis=0), jnp.asarray(w).mean(axis=0)])
        return jnp.linalg.norm(self.whiten @ (features - self.centre))

    def gate(self, window: Window, w: jax.typing.ArrayLike) -> jax.Array:
        """The share (a scalar in (0, 1]) to trust of what is learned beyond the linear backbone: 1 within reach, and
        outside the distance over the reach to the power -4."""
        return jnp.maximum(self.distance(window, w) / self.reach, 1.0) ** -4
