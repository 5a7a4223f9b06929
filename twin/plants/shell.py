"""Shell's heavy-oil fractionator: three draws and duties on seven outputs, with long dead times.

Source: D. M. Prett, M. Morari (eds.), "The Shell Process Control Workshop", Butterworths, 1987, appendix "The Shell
standard control problem": 7 x 5 first-order lags with dead time, gains with their uncertainty, inputs within 0.5
and 0.05 a minute. All signals are scaled deviations. The wander of the disturbances and the noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance

PERIOD_S = 240.0
MINUTES = 4  # a sample period; dead times are whole minutes

# Rows: the CVs in the order of the plant. Columns: top draw, side draw, bottoms reflux duty, intermediate
# reflux duty, upper reflux duty.
GAINS = (
    (4.05, 1.77, 5.88, 1.20, 1.44),
    (5.39, 5.72, 6.90, 1.52, 1.83),
    (3.66, 1.65, 5.53, 1.16, 1.27),
    (5.92, 2.54, 8.10, 1.73, 1.79),
    (4.13, 2.38, 6.23, 1.31, 1.26),
    (4.06, 4.18, 6.53, 1.19, 1.17),
    (4.38, 4.42, 7.20, 1.14, 1.26),
)
GAIN_UNCERTAINTY = (
    (2.11, 0.39, 0.59, 0.12, 0.16),
    (3.29, 0.57, 0.89, 0.13, 0.13),
    (2.29, 0.35, 0.67, 0.08, 0.08),
    (2.34, 0.24, 0.32, 0.02, 0.04),
    (1.71, 0.93, 0.30, 0.03, 0.02),
    (2.39, 0.35, 0.72, 0.08, 0.01),
    (3.11, 0.73, 1.33, 0.18, 0.18),
)
TIME_CONSTANTS_MIN = (
    (50.0, 60.0, 50.0, 45.0, 40.0),
    (50.0, 60.0, 40.0, 25.0, 20.0),
    (9.0, 30.0, 40.0, 11.0, 6.0),
    (12.0, 27.0, 20.0, 5.0, 19.0),
    (8.0, 19.0, 10.0, 2.0, 22.0),
    (13.0, 33.0, 9.0, 19.0, 24.0),
    (33.0, 44.0, 19.0, 27.0, 32.0),
)
DEAD_TIMES_MIN = (
    (27, 28, 27, 27, 27),
    (18, 14, 15, 15, 15),
    (2, 20, 2, 0, 0),
    (11, 12, 2, 0, 0),
    (5, 7, 2, 0, 0),
    (8, 4, 1, 0, 0),
    (20, 22, 0, 0, 0),
)
LAGS = np.shape(GAINS)
PAST = (np.max(DEAD_TIMES_MIN) + 1, LAGS[1])  # inputs of the last minutes, newest first

PLANT = Plant(
    "Shell heavy-oil fractionator",
    PERIOD_S,
    (
        Tag("top_draw", Role.MV, "1", -0.5, 0.5, rate_limit_per_s=0.05 / 60),
        Tag("side_draw", Role.MV, "1", -0.5, 0.5, rate_limit_per_s=0.05 / 60),
        Tag("bottoms_reflux_duty", Role.MV, "1", -0.5, 0.5, rate_limit_per_s=0.05 / 60),
        Tag("intermediate_reflux_duty", Role.DV, "1", -0.5, 0.5),
        Tag("upper_reflux_duty", Role.DV, "1", -0.5, 0.5),
        Tag("top_end_point", Role.CV, "1", -6.0, 6.0, -0.5, 0.5),
        Tag("side_end_point", Role.CV, "1", -10.0, 10.0, -0.5, 0.5),
        Tag("top_temperature", Role.CV, "1", -6.0, 6.0),
        Tag("upper_reflux_temperature", Role.CV, "1", -10.0, 10.0),
        Tag("side_draw_temperature", Role.CV, "1", -10.0, 10.0),
        Tag("intermediate_reflux_temperature", Role.CV, "1", -10.0, 10.0),
        Tag("bottoms_reflux_temperature", Role.CV, "1", -10.0, 10.0, -0.5),
    ),
)


@dataclass(frozen=True)
class ShellFractionator:
    """The nominal plant, or one of the published uncertainty set.

    State: the 35 lags, then the inputs of the last 29 minutes. Inputs: draws and duties as in `GAINS`; then an
    unmeasured heat that acts as the intermediate reflux duty does. Constant inputs of a minute are followed exactly.

    Args:
        gain_error: of each input, between -1 and 1: gains are `GAINS` + gain_error * `GAIN_UNCERTAINTY`.
    """

    gain_error: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    plant: ClassVar[Plant] = PLANT
    moves: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0)
    noise: ClassVar[tuple[float, ...]] = (0.01,) * 7
    settling_s: ClassVar[float] = 15000.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("intermediate_reflux_duty", 0.0, 0.15, 14400.0, low=-0.5, high=0.5),
        Disturbance("upper_reflux_duty", 0.0, 0.15, 14400.0, low=-0.5, high=0.5),
        Disturbance("unmeasured_duty", 0.0, 0.05, 14400.0),
    )

    def rest(self) -> jax.Array:
        return jnp.zeros(np.prod(LAGS) + np.prod(PAST))

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        inputs = w[:5] + jnp.zeros(5).at[3].set(w[5])
        gains = jnp.array(GAINS) + jnp.array(self.gain_error)[None, :] * jnp.array(GAIN_UNCERTAINTY)
        keep = jnp.exp(-1.0 / jnp.array(TIME_CONSTANTS_MIN))
        dead, column = np.array(DEAD_TIMES_MIN), np.arange(LAGS[1])[None, :]

        def minute(_: int, parts: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            lags, past = parts
            past = jnp.concatenate([inputs[None, :], past[:-1]])
            return keep * lags + (1.0 - keep) * gains * past[dead, column], past

        lags, past = state[: np.prod(LAGS)].reshape(LAGS), state[np.prod(LAGS) :].reshape(PAST)
        lags, past = jax.lax.fori_loop(0, MINUTES, minute, (lags, past))
        return jnp.concatenate([lags.ravel(), past.ravel()])

    def read(self, state: jax.Array) -> jax.Array:
        return state[: np.prod(LAGS)].reshape(LAGS).sum(axis=1)
