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
LARGEST = 1e15  # of a weight or price


@dataclass(frozen=True)
class Setpoint:
    """A target of a CV (or the resting value of an MV): one value, or a trajectory of one value a period.

    Past the end of a trajectory its last value is held.
    """

    value: float | None = None
    trajectory: Sequence[float] | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Objective:
    """What is wanted.

    Attributes:
        setpoints: tag → target.
        prices: tag → value per unit and hour; positive is a cost, negative earns.
        move_suppression: MV → weight of its moves; `SUPPRESSION` where not given.
    """

    setpoints: Mapping[str, Setpoint] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    move_suppression: Mapping[str, float] = field(default_factory=dict)


class Terms(NamedTuple):
    """An objective over K rows; columns are the plant's CVs, then its inputs, in engineering units.

    Attributes:
        target: (K, columns).
        weight: (K, columns) of the squared error over the span, per row.
        price: (K, columns) per unit, per row.
        suppression: (MVs,) of a squared move over the span.
    """

    target: np.ndarray
    weight: np.ndarray
    price: np.ndarray
    suppression: np.ndarray


def terms(objective: Objective, plant: Plant, rows: int) -> Terms:
    """The objective over a horizon of so many rows.

    Raises:
        QuestionError: an unknown tag, a setpoint of a DV, a move suppression of a tag that is no MV, a setpoint
            without a value or with both forms, a number that is not finite, a negative weight.
    """
    columns = plant.cvs + plant.inputs
    target, weight, price = np.zeros((3, rows, len(columns)))
    suppression = np.full(len(plant.mvs), SUPPRESSION / rows)
    for name, setpoint in objective.setpoints.items():
        loc: Location = ("objective", "setpoints", name)
        tag = _tag(plant, name, loc)
        if tag.role is Role.DV:
            raise QuestionError.at(loc, f"{name} is a DV; only a CV can be given a setpoint (or an MV, to rest at)")
        target[:, columns.index(tag)] = _path(setpoint, rows, loc)
        weight[:, columns.index(tag)] = _weight(setpoint.weight, (*loc, "weight")) / rows
    for name, value in objective.prices.items():
        loc = ("objective", "prices", name)
        price[:, columns.index(_tag(plant, name, loc))] = _finite(value, loc) * plant.sample_period_s / 3600
    for name, value in objective.move_suppression.items():
        loc = ("objective", "move_suppression", name)
        tag = _tag(plant, name, loc)
        if tag.role is not Role.MV:
            raise QuestionError.at(loc, f"{name} is a {tag.role.upper()}; only the moves of an MV can be suppressed")
        suppression[plant.mvs.index(tag)] = _weight(value, loc) / rows
    return Terms(target, weight, price, suppression)


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
    for kind, cost, given in (("setpoints", tracking, terms.weight), ("prices", prices, terms.price)):
        named = zip(plant.cvs + plant.inputs, cost, given.T, strict=True)
        out |= {f"{kind}.{tag.name}": float(value) for tag, value, weights in named if weights.any()}
    return out | {f"move_suppression.{tag.name}": float(v) for tag, v in zip(plant.mvs, calm, strict=True)}


def _path(setpoint: Setpoint, rows: int, loc: Location) -> np.ndarray:
    if (setpoint.value is None) == (setpoint.trajectory is None):
        raise QuestionError.at(loc, "needs a value or a trajectory, and not both")
    if setpoint.trajectory is None:
        return np.full(rows, _finite(setpoint.value, (*loc, "value")))
    path = np.array([_finite(v, (*loc, "trajectory", i)) for i, v in enumerate(setpoint.trajectory)][:rows], np.float64)
    if not len(path):
        raise QuestionError.at((*loc, "trajectory"), "needs at least one value")
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
