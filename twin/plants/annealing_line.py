"""A continuous annealing line: steel strip runs through three heated zones and is measured after a stretch of air.

Source: N. Yoshitani, A. Hasegawa, "Model-based control of strip temperature for the heating furnace in continuous
annealing", IEEE Transactions on Control Systems Technology 6(2), 1998, pp. 146-156: heat to a moving strip and zones
that store heat. Each zone is cut into cells (the strip moves by plug flow, upwind differences). Sizes, disturbances
and the noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady

PERIOD_S = 10.0
ZONES, CELLS, AIR_CELLS = 3, 6, 12
AMBIENT = 30.0

PLANT = Plant(
    "Annealing line",
    PERIOD_S,
    (
        *(
            Tag(f"burner_{i}", Role.MV, "%", 0.0, 100.0, rate_limit_per_s=1.0, description=f"Gas to zone {i}")
            for i in (1, 2, 3)
        ),
        Tag("speed", Role.MV, "m/min", 40.0, 140.0, rate_limit_per_s=0.5, description="Of the strip"),
        Tag("thickness", Role.DV, "mm", 0.4, 2.0, description="Of the strip that enters, from the coil's papers"),
        *(
            Tag(f"zone_{i}", Role.CV, "degC", 0.0, 1300.0, limit_high=1100.0, description=f"Zone {i}")
            for i in (1, 2, 3)
        ),
        Tag("strip", Role.CV, "degC", 0.0, 1000.0, 650.0, 800.0, description="Of the strip, 40 m behind the furnace"),
        Tag("output", Role.CV, "t/h", 0.0, 120.0, description="Strip annealed"),
    ),
)


@dataclass(frozen=True)
class AnnealingLine:
    """Parameters.

    State: three zones, degC; the strip along furnace and air, degC; its thickness along them, mm; speed, m/min.
    Inputs: burners, %; speed, m/min; thickness, mm; heat in the gas beside the usual, unmeasured.

    Args:
        zone_m, air_m: lengths.
        width_m: of the strip.
        transfer: from zone to strip, both faces, kW/(m2 K); radiation makes it grow with the zone.
        fired: of a burner at full, kW.
        stored: heat a zone keeps, kJ/K.
        lost: through its wall, kW/K.
        substeps: of the integrator in a period; 6 are stable.
        moves: at rest.
    """

    zone_m: float = 40.0
    air_m: float = 40.0
    width_m: float = 1.2
    transfer: float = 0.16
    fired: float = 7000.0
    stored: float = 4000.0
    lost: float = 1.0
    substeps: int = 20
    moves: tuple[float, float, float, float] = (52.0, 46.0, 37.0, 90.0)

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (2.0, 2.0, 2.0, 1.5, 0.2)
    settling_s: ClassVar[float] = 1500.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("thickness", 1.0, 0.08, 1200.0, low=0.6, high=1.5),
        Disturbance("gas_heat", 1.0, 0.02, 1800.0, low=0.85, high=1.15),
    )

    def rest(self) -> jax.Array:
        cells = ZONES * CELLS + AIR_CELLS
        w = inputs_at_rest(self)
        heated = jnp.linspace(100.0, 700.0, ZONES * CELLS)
        strip = jnp.concatenate([heated, jnp.full(AIR_CELLS, 700.0)])
        zones = jnp.array([700.0, 800.0, 850.0])
        return steady(self.derivative, jnp.concatenate([zones, strip, jnp.full(cells, w[4]), w[3:4]]), w)

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S, self.substeps)

    def read(self, state: jax.Array) -> jax.Array:
        cells = ZONES * CELLS + AIR_CELLS
        strip, thickness, speed = state[ZONES : ZONES + cells], state[ZONES + cells : -1], state[-1]
        tonnes_per_h = 7.85 * self.width_m * thickness[-1] / 1000 * speed * 60
        return jnp.concatenate([state[:ZONES], strip[-1:], tonnes_per_h[None]])

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d state / dt, per second."""
        cells = ZONES * CELLS + AIR_CELLS
        zones, strip, thickness = state[:ZONES], state[ZONES : ZONES + cells], state[ZONES + cells : -1]
        speed = state[-1]
        heated = jnp.arange(cells) < ZONES * CELLS
        passing = speed / 60 / jnp.where(heated, self.zone_m / CELLS, self.air_m / AIR_CELLS)  # cells a second
        around = jnp.concatenate([jnp.repeat(zones, CELLS), jnp.full(AIR_CELLS, AMBIENT)])
        grown = ((jnp.maximum(around, 0.0) + 273.15) / 1123.15) ** 3
        transfer = jnp.where(heated, self.transfer * grown, 0.02)
        flux = transfer * (around - strip)  # kW/m2
        capacity = 7850.0 * 0.62 * thickness / 1000  # kJ/(m2 K)
        before = jnp.concatenate([jnp.full(1, AMBIENT), strip[:-1]])
        entering = jnp.concatenate([w[4:5], thickness[:-1]])
        taken = flux[: ZONES * CELLS].reshape(ZONES, CELLS).sum(axis=1) * self.width_m * self.zone_m / CELLS
        heating = self.fired * w[:ZONES] / 100 * w[5] - taken - self.lost * (zones - AMBIENT)
        return jnp.concatenate(
            [
                heating / self.stored,
                passing * (before - strip) + flux / capacity,
                passing * (entering - thickness),
                (w[3:4] - speed) / 5.0,
            ]
        )
