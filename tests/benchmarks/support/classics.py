"""Five plants of the control literature that nothing of the twin was developed on, each from its published equations.

Limits of rates, the disturbances' wander and the noise are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from twin.plant import Plant, Role, Tag
from twin.plants.base import Disturbance, inputs_at_rest, rk4, steady


@dataclass(frozen=True)
class Evaporator:
    """Forced-circulation evaporator (Newell and Lee, Applied Process Control, 1989; Wang and Cameron 1994).

    State: level, m; product composition, %; pressure, kPa. A proportional controller of the level moves the product
    flow, whose bias is an MV. Inputs: product flow, steam pressure, cooling water, feed, its composition.
    """

    moves: tuple[float, ...] = (2.0, 194.7, 208.0)
    plant: ClassVar[Plant] = Plant(
        "Evaporator",
        60.0,
        (
            Tag("product_flow", Role.MV, "kg/min", 1.5, 2.6, rate_limit_per_s=0.005),
            Tag("steam_pressure", Role.MV, "kPa", 160.0, 230.0, rate_limit_per_s=0.5),
            Tag("cooling_water", Role.MV, "kg/min", 150.0, 300.0, rate_limit_per_s=0.5),
            Tag("feed", Role.DV, "kg/min", 7.0, 13.0),
            Tag("level", Role.CV, "m", 0.0, 2.0),
            Tag("composition", Role.CV, "%", 5.0, 60.0),
            Tag("pressure", Role.CV, "kPa", 20.0, 100.0),
        ),
    )
    noise: ClassVar[tuple[float, ...]] = (0.005, 0.1, 0.2)
    settling_s: ClassVar[float] = 3600.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("feed", 10.0, 0.3, 1800.0, low=8.5, high=11.5),
        Disturbance("feed_composition", 5.0, 0.1, 3600.0, low=4.0, high=6.0),
    )

    def rest(self) -> jax.Array:
        return steady(self.derivative, jnp.array([1.0, 25.0, 50.5]), inputs_at_rest(self))

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, 1.0, 4)

    def read(self, state: jax.Array) -> jax.Array:
        return state

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """Per minute."""
        level, composition, pressure = state
        product, steam, water, feed, feed_composition = w
        product = jnp.maximum(product + 4.0 * (level - 1.0), 0.2)
        boiling = 0.5616 * pressure + 0.3126 * composition + 48.43
        heat = 0.16 * (feed + 50.0) * (0.1538 * steam + 90.0 - boiling)
        vapour = (heat - feed * 0.07 * (boiling - 40.0)) / 38.5
        cooled = 6.84 * (0.507 * pressure + 55.0 - 25.0) / (1.0 + 6.84 / (2 * 0.07 * water))
        return jnp.array(
            [
                (feed - vapour - product) / 20.0,
                (feed * feed_composition - product * composition) / 20.0,
                (vapour - cooled / 38.5) / 4.0,
            ]
        )


@dataclass(frozen=True)
class WoodBerry:
    """Methanol–water column (Wood and Berry, Chem. Eng. Sci. 28 (1973) 1707): first-order lags with dead times.

    Inputs are deviations: reflux and steam, lb/min; feed, lb/min; and an unmeasured load on the top. State: a lag of
    each pair, minutes, and the inputs of the last 9 rows.
    """

    moves: tuple[float, ...] = (0.0, 0.0)
    gain: ClassVar[np.ndarray] = np.array([[12.8, -18.9, 3.8, 1.0], [6.6, -19.4, 4.9, 0.0]])
    lag: ClassVar[np.ndarray] = np.array([[16.7, 21.0, 14.9, 15.0], [10.9, 14.4, 13.2, 15.0]])
    dead: ClassVar[np.ndarray] = np.array([[1, 3, 8, 1], [7, 3, 3, 1]])
    plant: ClassVar[Plant] = Plant(
        "Wood-Berry column",
        60.0,
        (
            Tag("reflux", Role.MV, "lb/min", -0.5, 0.5, rate_limit_per_s=0.005),
            Tag("steam", Role.MV, "lb/min", -0.4, 0.4, rate_limit_per_s=0.005),
            Tag("feed", Role.DV, "lb/min", -1.0, 1.0),
            Tag("top", Role.CV, "%", -10.0, 10.0),
            Tag("bottom", Role.CV, "%", -10.0, 10.0),
        ),
    )
    noise: ClassVar[tuple[float, ...]] = (0.05, 0.05)
    settling_s: ClassVar[float] = 4800.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("feed", 0.0, 0.1, 1800.0, low=-0.5, high=0.5),
        Disturbance("load", 0.0, 0.3, 3600.0),
    )

    def rest(self) -> jax.Array:
        return jnp.zeros(8 + 9 * 4)

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        line = jnp.concatenate([w[None], state[8:].reshape(9, 4)])
        keep = np.exp(-1.0 / self.lag)
        reached = line[self.dead - 1, np.arange(4)]
        lags = keep * state[:8].reshape(2, 4) + (1 - keep) * self.gain * reached
        return jnp.concatenate([lags.reshape(-1), line[:9].reshape(-1)])

    def read(self, state: jax.Array) -> jax.Array:
        return state[:8].reshape(2, 4).sum(axis=1)


@dataclass(frozen=True)
class Neutralisation:
    """Acid, buffer and base in a tank (Henson and Seborg, IEEE Trans. CST 2 (1994) 169).

    State: reaction invariants Wa, Wb, mol/L; level, cm. Inputs: acid and base, mL/s; buffer, mL/s, unmeasured.
    """

    moves: tuple[float, ...] = (16.6, 15.6)
    plant: ClassVar[Plant] = Plant(
        "pH neutralisation",
        15.0,
        (
            Tag("acid", Role.MV, "mL/s", 12.0, 21.0, rate_limit_per_s=0.1),
            Tag("base", Role.MV, "mL/s", 11.0, 20.0, rate_limit_per_s=0.1),
            Tag("pH", Role.CV, "", 2.0, 12.0),
            Tag("level", Role.CV, "cm", 5.0, 30.0),
        ),
    )
    noise: ClassVar[tuple[float, ...]] = (0.03, 0.03)
    settling_s: ClassVar[float] = 700.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (Disturbance("buffer", 0.55, 0.03, 1500.0, low=0.3, high=0.8),)

    def rest(self) -> jax.Array:
        return steady(self.derivative, jnp.array([-4.32e-4, 5.28e-4, 14.0]), inputs_at_rest(self))

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, 15.0, 4)

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """Per second."""
        a, b, level = state
        acid, base, buffer = w
        hold = 207.0 * level / 1000.0  # L
        flows = jnp.stack([acid, buffer, base]) / 1000.0
        return jnp.array(
            [
                jnp.dot(flows, jnp.array([3.00e-3, -3e-2, -3.05e-3]) - a) / hold,
                jnp.dot(flows, jnp.array([0.0, 3e-2, 5e-5]) - b) / hold,
                (acid + buffer + base - 8.75 * jnp.sqrt(jnp.maximum(level, 1e-3))) / 207.0,
            ]
        )

    def read(self, state: jax.Array) -> jax.Array:
        def charge(ph: jax.Array) -> jax.Array:
            ten = 10.0 ** (ph - 14.0) - 10.0**-ph
            carbonate = (1 + 2 * 10.0 ** (ph - 10.25)) / (1 + 10.0 ** (6.35 - ph) + 10.0 ** (ph - 10.25))
            return state[0] + ten + state[1] * carbonate

        def halve(_: int, bounds: jax.Array) -> jax.Array:
            middle = bounds.mean()
            return jnp.where(charge(middle) < 0, jnp.stack([middle, bounds[1]]), jnp.stack([bounds[0], middle]))

        ph = jax.lax.stop_gradient(jax.lax.fori_loop(0, 40, halve, jnp.array([1.0, 13.0], state.dtype)).mean())
        return jnp.stack([ph - charge(ph) / jax.lax.stop_gradient(jax.grad(charge)(ph)), state[2]])


@dataclass(frozen=True)
class Fermenter:
    """Continuous culture whose growth its substrate and product inhibit (Henson and Seborg, Chem. Eng. Sci. 47 (1992)).

    State: biomass, substrate, product, g/L. Inputs: dilution, 1/h; substrate of the feed, g/L; unmeasured share of the
    greatest growth.
    """

    moves: tuple[float, ...] = (0.15, 20.0)
    plant: ClassVar[Plant] = Plant(
        "Continuous fermenter",
        1800.0,
        (
            Tag("dilution", Role.MV, "1/h", 0.08, 0.22, rate_limit_per_s=1e-5),
            Tag("feed_substrate", Role.MV, "g/L", 14.0, 26.0, rate_limit_per_s=5e-4),
            Tag("biomass", Role.CV, "g/L", 0.0, 12.0),
            Tag("substrate", Role.CV, "g/L", 0.0, 30.0),
            Tag("product", Role.CV, "g/L", 0.0, 40.0),
        ),
    )
    noise: ClassVar[tuple[float, ...]] = (0.03, 0.05, 0.1)
    settling_s: ClassVar[float] = 108000.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (Disturbance("vigour", 1.0, 0.01, 72000.0, low=0.9, high=1.1),)

    def rest(self) -> jax.Array:
        return steady(self.derivative, jnp.array([7.0, 2.4, 24.0]), inputs_at_rest(self))

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, 0.5, 4)

    def read(self, state: jax.Array) -> jax.Array:
        return state

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """Per hour."""
        biomass, substrate, product = state
        dilution, fed, vigour = w
        growth = vigour * 0.48 * (1 - product / 50.0) * substrate / (1.2 + substrate + substrate**2 / 22.0)
        return jnp.array(
            [
                (growth - dilution) * biomass,
                dilution * (fed - substrate) - growth * biomass / 0.4,
                -dilution * product + (2.2 * growth + 0.2) * biomass,
            ]
        )


@dataclass(frozen=True)
class Column:
    """Binary distillation in 41 stages, constant molar flows and holdups (column A; Skogestad, Trans. IChemE 75, 1997).

    State: light component on each stage, from the reboiler up. Inputs: reflux and boilup, kmol/min; feed, kmol/min;
    unmeasured composition of the feed. CVs are in per mille of impurity, the top one turned round.
    """

    moves: tuple[float, ...] = (2.706, 3.206)
    plant: ClassVar[Plant] = Plant(
        "Binary column",
        120.0,
        (
            Tag("reflux", Role.MV, "kmol/min", 2.6, 2.8, rate_limit_per_s=2e-4),
            Tag("boilup", Role.MV, "kmol/min", 3.1, 3.3, rate_limit_per_s=2e-4),
            Tag("feed", Role.DV, "kmol/min", 0.9, 1.1),
            Tag("top", Role.CV, "%", 80.0, 100.0),
            Tag("bottom", Role.CV, "%", 0.0, 20.0),
        ),
    )
    noise: ClassVar[tuple[float, ...]] = (0.02, 0.02)
    settling_s: ClassVar[float] = 12000.0
    disturbances: ClassVar[tuple[Disturbance, ...]] = (
        Disturbance("feed", 1.0, 0.01, 3600.0, low=0.95, high=1.05),
        Disturbance("feed_composition", 0.5, 0.005, 7200.0, low=0.45, high=0.55),
    )

    def rest(self) -> jax.Array:
        return steady(self.derivative, jnp.linspace(0.01, 0.99, 41), inputs_at_rest(self), 40)

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        return rk4(self.derivative, state, w, 2.0, 40)

    def read(self, state: jax.Array) -> jax.Array:
        return 100.0 * jnp.stack([state[40], state[0]])

    def derivative(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """Per minute; the feed, a liquid, enters stage 21 (index 20)."""
        x, (reflux, boilup, feed, fed) = state, w
        vapour = boilup * 1.5 * x[:40] / (1 + 0.5 * x[:40])  # that leaves stages 1 to 40
        down = jnp.where(np.arange(41) <= 20, reflux + feed, reflux) * x  # liquid that leaves a stage
        inner = jnp.zeros(41).at[1:].add(vapour).at[:40].add(-vapour)
        inner = inner.at[:40].add(down[1:]).at[1:40].add(-down[1:40])
        inner = inner.at[0].add(-(reflux + feed - boilup) * x[0]).at[40].add(-boilup * x[40])
        return inner.at[20].add(feed * fed) / 0.5


CLASSICS = {
    "evaporator": Evaporator(),
    "wood-berry": WoodBerry(),
    "neutralisation": Neutralisation(),
    "fermenter": Fermenter(),
    "column": Column(),
}
