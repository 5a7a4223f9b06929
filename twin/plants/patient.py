"""A person with type 1 diabetes on an insulin pump: meals raise glucose, insulin lowers it late and cannot be undone.

Source: R. Hovorka et al., "Nonlinear model predictive control of glucose concentration in subjects with type 1
diabetes", Physiological Measurement 25, 2004, pp. 905-920, with the parameters printed there; the sensor lags as in
D. B. Keenan et al., Journal of Diabetes Science and Technology 3(5), 2009. Sensitivity's wander and the noise are ours.

A simulation for software; nothing here is fit to treat anyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady

PERIOD_S = 300.0
MMOL_PER_G = 1000.0 / 180.156
K12, KA1, KA2, KA3 = 0.066, 0.006, 0.06, 0.03  # 1/min
S_T, S_D, S_E = 51.2e-4, 8.2e-4, 520e-4  # L/mU/min, L/mU/min, L/mU
V_I, K_E, T_I = 0.12, 0.138, 55.0  # L/kg, 1/min, min
EGP_0, F_01, V_G = 0.0161, 0.0097, 0.16  # mmol/kg/min, mmol/kg/min, L/kg
A_G, T_G = 0.8, 40.0  # share, min
SENSOR_MIN = 8.0

PLANT = Plant(
    "Insulin and glucose",
    PERIOD_S,
    (
        Tag("insulin", Role.MV, "mU/min", 0.0, 150.0, description="Rate of the pump"),
        Tag("meal", Role.DV, "g/min", 0.0, 30.0, description="Carbohydrates eaten, as announced"),
        Tag("glucose", Role.CV, "mmol/L", 1.0, 25.0, 3.9, 10.0, description="Under the skin, by the sensor"),
    ),
)


@dataclass(frozen=True)
class Patient:
    """Parameters of one person.

    State: glucose in blood and tissue, mmol/kg; insulin under the skin in two stages, mU; in plasma, mU/L; its three
    actions; carbohydrates in stomach and gut, mmol; the sensor, mmol/L. Inputs: insulin, mU/min; meal, g/min; what
    insulin does beside the usual, unmeasured.

    Args:
        weight: kg.
        sensitive: what insulin does to this person, beside the published one.
        moves: insulin at rest, the basal rate.
    """

    weight: float = 70.0
    sensitive: float = 1.0
    moves: tuple[float, ...] = (6.6,)

    plant: ClassVar[Plant] = PLANT
    noise: ClassVar[tuple[float, ...]] = (0.15,)
    settling_s: ClassVar[float] = 21600.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("meal", 0.0, 0.0, 600.0, low=0.0, high=30.0),
        Disturbance("sensitivity", 1.0, 0.08, 21600.0, low=0.6, high=1.4),
    )

    def rest(self) -> jax.Array:
        insulin = self.moves[0]
        plasma = insulin / (V_I * self.weight * K_E)
        acting = [plasma * s * self.sensitive for s in (S_T, S_D, S_E)]
        begun = [0.9, 0.5, insulin * T_I, insulin * T_I, plasma, *acting, 0.0, 0.0, 6.0]
        return steady(self.derivative, jnp.array(begun), inputs_at_rest(self), 40)

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, PERIOD_S / 60.0, 5)

    def read(self, state: jax.Array) -> jax.Array:
        return state[-1:]

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """d state / dt (11,), per minute."""
        q1, q2, s1, s2, plasma, x1, x2, x3, stomach, gut, sensed = state
        insulin, meal, sensitivity = w
        glucose = q1 / V_G
        used = F_01 * jnp.minimum(glucose / 4.5, 1.0)
        filtered = 0.003 * V_G * jnp.maximum(glucose - 9.0, 0.0)
        made = EGP_0 * jnp.maximum(1.0 - x3, 0.0)
        acts = self.sensitive * sensitivity * plasma
        return jnp.array(
            [
                -used - x1 * q1 + K12 * q2 - filtered + gut / (T_G * self.weight) + made,
                x1 * q1 - (K12 + x2) * q2,
                insulin - s1 / T_I,
                (s1 - s2) / T_I,
                s2 / (T_I * V_I * self.weight) - K_E * plasma,
                KA1 * (S_T * acts - x1),
                KA2 * (S_D * acts - x2),
                KA3 * (S_E * acts - x3),
                A_G * MMOL_PER_G * meal - stomach / T_G,
                (stomach - gut) / T_G,
                (glucose - sensed) / SENSOR_MIN,
            ]
        )
