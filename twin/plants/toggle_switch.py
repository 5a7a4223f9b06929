"""A genetic toggle switch in E. coli: two repressors hold each other down, two inducers in the medium free them.

Source: J.-B. Lugagne et al., "Balancing a genetic toggle switch by real-time feedback control and periodic forcing",
Nature Communications 8, 1671 (2017), its deterministic model; parameters as printed by A. Guarino, D. Fiore,
D. Salzano, M. di Bernardo, "Balancing cell populations endowed with a synthetic toggle switch via adaptive pulsatile
feedback control", ACS Synthetic Biology 9(4), 2020, pp. 793-803. Growth's wander and the noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady

PERIOD_S = 300.0

PLANT = Plant(
    "Genetic toggle switch",
    PERIOD_S,
    (
        Tag("atc", Role.MV, "ng/mL", 0.0, 60.0, description="Frees what TetR holds down: more LacI"),
        Tag("iptg", Role.MV, "mmol/L", 0.0, 0.6, description="Frees what LacI holds down: more TetR"),
        Tag("laci", Role.CV, "1", 0.0, 4000.0, description="LacI by its red reporter"),
        Tag("tetr", Role.CV, "1", 0.0, 1200.0, description="TetR by its green reporter"),
    ),
)


@dataclass(frozen=True)
class ToggleSwitch:
    """Parameters; LacI comes first in each pair. Times are minutes.

    State: two messengers, two proteins, the two inducers in the cell. Inputs: aTc and IPTG in the medium; the
    growth of the culture beside the usual, which thins everything out, unmeasured.

    Args:
        leak, made: messenger made when held down, and more when free, 1/min.
        translated: protein by messenger, 1/min.
        decay, growth: of messengers, and of proteins by division, 1/min.
        half, inducer_half: of a repressor, and of the inducer that disarms it (TetR with aTc, LacI with IPTG).
        in_rate, out_rate: of aTc and IPTG through the membrane, 1/min.
        moves: at rest.
    """

    leak: tuple[float, float] = (3.20e-2, 1.19e-1)
    made: tuple[float, float] = (8.30, 2.06)
    translated: float = 9.726e-1
    decay: float = 1.386e-1
    growth: float = 1.65e-2
    half: tuple[float, float] = (31.94, 30.00)
    inducer_half: tuple[float, float] = (11.65, 9.06e-2)
    in_rate: tuple[float, float] = (1.62e-1, 2.75e-2)
    out_rate: tuple[float, float] = (2.00e-2, 1.11e-1)
    moves: tuple[float, float] = (25.0, 0.30)

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (15.0, 5.0)
    settling_s: ClassVar[float] = 18000.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (Disturbance("vigour", 1.0, 0.02, 14400.0, low=0.8, high=1.2),)

    def rest(self) -> jax.Array:
        begun = jnp.array([0.5, 0.5, 200.0, 200.0, *self.moves])
        w = inputs_at_rest(self)
        near = rk4(self.derivative, begun, w, 6000.0, 6000)
        return steady(self.derivative, near, w)

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S / 60.0, 5)

    def read(self, state: jax.Array) -> jax.Array:
        return state[2:4]

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d state / dt (6,), per minute."""
        messengers, proteins, inducers = state[:2], jnp.maximum(state[2:4], 0.0), jnp.maximum(state[4:], 0.0)
        armed = proteins[::-1] / (1 + (inducers / jnp.array(self.inducer_half)) ** 2)  # TetR by aTc, LacI by IPTG
        free = 1 / (1 + (armed / jnp.array(self.half[::-1])) ** 2)
        into = w[:2] - inducers
        rates = jnp.where(into > 0, jnp.array(self.in_rate), jnp.array(self.out_rate))
        return jnp.concatenate(
            [
                jnp.array(self.leak) + jnp.array(self.made) * free - self.decay * messengers,
                self.translated * messengers - self.growth * w[2] * state[2:4],
                rates * into,
            ]
        )
