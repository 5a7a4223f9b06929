"""What is wanted of a plan: setpoints, prices and calm moves, as arrays over the horizon.

Setpoint and move terms are squares of errors and moves over the span of their tag, averaged over the horizon;
prices are integrated over the hours of the horizon. So the cost of a setpoint missed by a tenth of its span
throughout is 0.01 times its weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from twin.errors import Location, QuestionError
from twin.plant import Plant, Role, Tag

SUPPRESSION = 0.01  # the weight of an MV's moves where none is given
PRICED = 1.0  # the same of setpoints beside prices: a plan that earns rides limits, and would follow their noise
SWING = 1.0  # and of what the prices may come to: what is moved does not depend on the currency
LARGEST = 1e15  # of a weight or price


@dataclass(frozen=True)
class Setpoint:
    """A target of a CV (or the resting value of an MV): one value, or a trajectory of one value a period.

    Past the end of a trajectory its last value is held.

    Attributes:
        last: what the squared error of the last row weighs beside the mean of all rows; by default the objective's
            `terminal_weight` times the weight.
    """

    value: float | None = None
    trajectory: Sequence[float] | None = None
    weight: float = 1.0
    last: float | None = None


@dataclass(frozen=True)
class Zone:
    """Where a CV may be at no cost; outside it costs the square of how far. A side that is not given is open."""

    low: float | None = None
    high: float | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Steady:
    """What a CV is to tend to, or an MV to come to rest at, at the end of the horizon."""

    value: float
    weight: float = 1.0


@dataclass(frozen=True)
class Objective:
    """What is wanted.

    Attributes:
        setpoints: tag → target.
        prices: tag → value per unit and hour, one or one a period (the last one holds); positive is a cost, negative
            earns.
        move_suppression: MV → weight of its moves; where not given `SUPPRESSION`; with prices `SWING` times what they
            would come to over the horizon for the spans of their tags, and `PRICED` where something else is asked too.
        zones: CV → zone.
        steady_state: CV or MV → where it is to end. A CV is judged where it tends to: what changed over the last
            quarter of the horizon is carried on for as long again.
        terminal_weight: how much more the last row's setpoint errors count, beside the mean of all rows.
    """

    setpoints: Mapping[str, Setpoint] = field(default_factory=dict)
    prices: Mapping[str, float | Sequence[float]] = field(default_factory=dict)
    move_suppression: Mapping[str, float] = field(default_factory=dict)
    zones: Mapping[str, Zone] = field(default_factory=dict)
    steady_state: Mapping[str, Steady] = field(default_factory=dict)
    terminal_weight: float = 0.0


class Terms(NamedTuple):
    """An objective over K rows; columns are the plant's CVs, then its inputs, in engineering units.

    Attributes:
        target: (K, columns).
        weight: (K, columns) of the squared error over the span, per row.
        price: (K, columns) per unit, per row.
        suppression: (MVs,) of a squared move over the span.
        zone_low, zone_high, zone_weight: (K, CVs); a side that is open is infinite.
        steady_target, steady_weight: (columns,).
    """

    target: np.ndarray
    weight: np.ndarray
    price: np.ndarray
    suppression: np.ndarray
    zone_low: np.ndarray
    zone_high: np.ndarray
    zone_weight: np.ndarray
    steady_target: np.ndarray
    steady_weight: np.ndarray

    def without(self, cvs: np.ndarray) -> Terms:
        """The same with nothing asked of some CVs (CVs,) bool."""
        out = np.append(cvs, np.zeros(self.weight.shape[1] - len(cvs), bool))
        return self._replace(
            weight=np.where(out, 0.0, self.weight),
            price=np.where(out, 0.0, self.price),
            zone_weight=np.where(cvs, 0.0, self.zone_weight),
            steady_weight=np.where(out, 0.0, self.steady_weight),
        )


def terms(objective: Objective, plant: Plant, rows: int, span: np.ndarray) -> Terms:
    """The objective over a horizon of so many rows.

    Args:
        span: (columns,) of the CVs and inputs.

    Raises:
        QuestionError: an unknown tag, a setpoint of a DV, a zone of a tag that is no CV, a move suppression of one
            that is no MV, a setpoint without a value or with both forms, a zone that is open on both sides or whose
            sides cross, a number that is not finite, a negative weight.
    """
    columns = plant.cvs + plant.inputs
    target, weight, price = np.zeros((3, rows, len(columns)))
    last = _weight(objective.terminal_weight, ("objective", "terminal_weight"))
    for name, setpoint in objective.setpoints.items():
        loc: Location = ("objective", "setpoints", name)
        tag = _tag(plant, name, loc)
        if tag.role is Role.DV:
            raise QuestionError.at(loc, f"{name} is a DV; only a CV can be given a setpoint (or an MV, to rest at)")
        target[:, columns.index(tag)] = _path(setpoint, rows, loc)
        weight[:, columns.index(tag)] = given = _weight(setpoint.weight, (*loc, "weight")) / rows
        own = None if setpoint.last is None else _weight(setpoint.last, (*loc, "last"))
        weight[-1, columns.index(tag)] += last * given * rows if own is None else own
    for name, value in objective.prices.items():
        loc = ("objective", "prices", name)
        column, hours = columns.index(_tag(plant, name, loc)), plant.sample_period_s / 3600
        path = np.full(rows, _finite(value, loc)) if isinstance(value, int | float) else _rows(value, rows, loc)
        price[:, column] = path * hours
    swing = float(np.abs(price).sum(axis=0) @ span)
    more = bool(objective.setpoints or objective.zones or objective.steady_state)
    calm = SWING * swing + PRICED * more if swing > 0 else SUPPRESSION
    suppression = np.full(len(plant.mvs), calm / rows)
    for name, value in objective.move_suppression.items():
        loc = ("objective", "move_suppression", name)
        tag = _tag(plant, name, loc)
        if tag.role is not Role.MV:
            raise QuestionError.at(loc, f"{name} is a {tag.role.upper()}; only the moves of an MV can be suppressed")
        suppression[plant.mvs.index(tag)] = _weight(value, loc) / rows
    return Terms(target, weight, price, suppression, *_zones(objective, plant, rows), *_steady(objective, plant))


def _zones(objective: Objective, plant: Plant, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K, CVs) low, high and weight."""
    low, high, weight = (np.full((rows, len(plant.cvs)), value) for value in (-np.inf, np.inf, 0.0))
    for name, zone in objective.zones.items():
        loc: Location = ("objective", "zones", name)
        tag = _tag(plant, name, loc)
        if tag.role is not Role.CV:
            raise QuestionError.at(loc, f"{name} is a {tag.role.upper()}; only a CV has a zone")
        if zone.low is None and zone.high is None:
            raise QuestionError.at(loc, "needs low or high, or both")
        i = plant.cvs.index(tag)
        low[:, i] = -np.inf if zone.low is None else _finite(zone.low, (*loc, "low"))
        high[:, i] = np.inf if zone.high is None else _finite(zone.high, (*loc, "high"))
        if (low > high).any():
            raise QuestionError.at((*loc, "low"), f"{zone.low:g} is above high, {zone.high:g}")
        weight[:, i] = _weight(zone.weight, (*loc, "weight")) / rows
    return low, high, weight


def _steady(objective: Objective, plant: Plant) -> tuple[np.ndarray, np.ndarray]:
    """(columns,) target and weight."""
    columns = plant.cvs + plant.inputs
    target, weight = np.zeros((2, len(columns)))
    for name, steady in objective.steady_state.items():
        loc: Location = ("objective", "steady_state", name)
        tag = _tag(plant, name, loc)
        if tag.role is Role.DV:
            raise QuestionError.at(loc, f"{name} is a DV: nothing the planner does moves it")
        target[columns.index(tag)] = _finite(steady.value, (*loc, "value"))
        weight[columns.index(tag)] = _weight(steady.weight, (*loc, "weight"))
    return target, weight


def cost_by_term(
    terms: Terms, plant: Plant, span: np.ndarray, y: np.ndarray, w: np.ndarray, before: np.ndarray
) -> dict[str, float]:
    """What each term costs, float64; the values sum to the cost of the plan.

    Args:
        span: (columns,) of the CVs and inputs.
        y: (K, CVs), w: (K, inputs) of the plan, engineering units.
        before: (inputs,) in force before it.
    """
    values = np.concatenate([y, w], axis=1)
    tracking = (terms.weight * ((values - terms.target) / span) ** 2).sum(axis=0)
    prices = (terms.price * values).sum(axis=0)
    mvs = len(plant.mvs)
    moves = np.diff(np.vstack([before, w])[:, :mvs], axis=0) / span[y.shape[1] :][:mvs]
    calm = terms.suppression * (moves**2).sum(axis=0)
    out: dict[str, float] = {}
    p = y.shape[1]
    outside = (terms.zone_weight * ((y - np.clip(y, terms.zone_low, terms.zone_high)) / span[:p]) ** 2).sum(axis=0)
    ends = np.concatenate([extrapolation(len(y), len(y)) @ y, w[-1]])
    steady = terms.steady_weight * ((ends - terms.steady_target) / span) ** 2
    kinds = (
        ("setpoints", tracking, terms.weight),
        ("zones", outside, terms.zone_weight),
        ("steady_state", steady, terms.steady_weight[None]),
        ("prices", prices, terms.price),
    )
    for kind, cost, given in kinds:
        named = zip((plant.cvs + plant.inputs)[: len(cost)], cost, given.T, strict=True)  # zones are of CVs only
        out |= {f"{kind}.{tag.name}": float(value) for tag, value, weights in named if weights.any()}
    return out | {f"move_suppression.{tag.name}": float(v) for tag, v in zip(plant.mvs, calm, strict=True)}


def extrapolation(rows: int, horizon: int) -> np.ndarray:
    """(horizon,) weights that carry the change over the last quarter of so many rows on for as long again."""
    weights = np.zeros(horizon)
    weights[rows - 1] = 2.0
    weights[rows - 1 - rows // 4] -= 1.0
    return weights


def _path(setpoint: Setpoint, rows: int, loc: Location) -> np.ndarray:
    if (setpoint.value is None) == (setpoint.trajectory is None):
        raise QuestionError.at(loc, "needs a value or a trajectory, and not both")
    if setpoint.trajectory is None:
        return np.full(rows, _finite(setpoint.value, (*loc, "value")))
    return _rows(setpoint.trajectory, rows, (*loc, "trajectory"))


def _rows(values: Sequence[float], rows: int, loc: Location) -> np.ndarray:
    """(rows,) one value a period, the last of which holds."""
    path = np.array([_finite(v, (*loc, i)) for i, v in enumerate(values)][:rows], np.float64)
    if not len(path):
        raise QuestionError.at(loc, "needs at least one value")
    return np.pad(path, (0, rows - len(path)), mode="edge")


def _tag(plant: Plant, name: str, loc: Location) -> Tag:
    try:
        return plant.tag(name)
    except QuestionError as error:
        raise QuestionError.at(loc, error.detail) from None


def _finite(value: float | None, loc: Location) -> float:
    if value is None or not math.isfinite(value) or abs(value) > LARGEST:
        raise QuestionError.at(loc, f"must be a finite number of at most {LARGEST:g} in size")
    return float(value)


def _weight(value: float, loc: Location) -> float:
    if _finite(value, loc) < 0:
        raise QuestionError.at(loc, "a weight cannot be negative")
    return float(value)
