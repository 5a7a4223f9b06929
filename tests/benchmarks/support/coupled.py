"""A random stable linear plant with coupling, 8 MVs × 12 CVs: each CV a sum of lags of several MVs, from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance

MVS, CVS, STATES, SEED = 8, 12, 32, 3
RNG = np.random.default_rng(SEED)
POLES = RNG.uniform(0.75, 0.97, STATES)
MIX = np.eye(STATES) + 0.15 * RNG.normal(size=(STATES, STATES)) / np.sqrt(STATES)  # of the modes: coupling
A = MIX @ np.diag(POLES) @ np.linalg.inv(MIX)
B = RNG.normal(size=(STATES, MVS)) * (1 - POLES)[:, None]
C = RNG.normal(size=(CVS, STATES)) / np.sqrt(STATES)

PLANT = Plant(
    "Coupled linear plant",
    10.0,
    (
        *(Tag(f"u{i}", Role.MV, low=-1.0, high=1.0, rate_limit_per_s=0.01) for i in range(MVS)),
        *(
            Tag(f"y{i}", Role.CV, low=-3.0, high=3.0, limit_low=-0.8 if i >= MVS else None,
                limit_high=0.8 if i >= MVS else None)
            for i in range(CVS)
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Coupled:
    """x' = A x + B u, y = C x; eight CVs have setpoints, four only limits."""

    plant: ClassVar[Plant] = PLANT
    moves: ClassVar[tuple[float, ...]] = (0.0,) * MVS
    noise: ClassVar[tuple[float, ...]] = (0.0,) * CVS
    settling_s: ClassVar[float] = 1000.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = ()

    def rest(self) -> jax.Array:
        return jnp.zeros(STATES)

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.asarray(A, state.dtype) @ state + jnp.asarray(B, state.dtype) @ w

    def read(self, state: jax.Array) -> jax.Array:
        return jnp.asarray(C, state.dtype) @ state
