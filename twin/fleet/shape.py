"""What the units of a fleet have in common: tags by the fleet's own names, a sample period, windows.

A unit is put into that form by a map from the fleet's tags to its own. Units of engineering may differ (bar here, kPa
there) where they measure the same thing; what else does not fit is refused, with its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from twin.dynamics.jepa import Sizes
from twin.errors import PlantError, QuestionError
from twin.plant import Plant, Role, near
from twin.telemetry import Telemetry
from twin.training.folds import HISTORY, ROWS
from twin.units import convert

Tags = Mapping[str, str]  # of a unit, by the fleet's tag


@dataclass(frozen=True)
class Shape:
    """The form of a fleet's common model.

    Attributes:
        mvs, dvs, cvs: the fleet's tags, in order.
        units: of engineering, of the MVs, DVs and CVs in that order.
        sample_period_s: of every unit.
        history, horizon: rows L up to `at`, rows K after it.
        lags, input_rows: of its linear part: rows of CVs, and of inputs, the row's own included.
    """

    mvs: tuple[str, ...]
    dvs: tuple[str, ...]
    cvs: tuple[str, ...]
    units: tuple[str, ...]
    sample_period_s: float
    history: int = HISTORY
    horizon: int = ROWS
    lags: int = 4
    input_rows: int = 4

    @classmethod
    def of(cls, plant: Plant, **sizes: Any) -> Shape:
        """That of a plant, whose tags give the fleet's their names."""
        mvs, dvs, cvs = (tuple(tag.name for tag in tags) for tags in (plant.mvs, plant.dvs, plant.cvs))
        units = tuple(tag.unit for tag in plant.inputs + plant.cvs)
        return replace(cls(mvs, dvs, cvs, units, plant.sample_period_s), **sizes)

    @classmethod
    def named(cls, plant: Plant, tags: Tags) -> Shape:
        """That of a plant whose tags have other names in the fleet."""
        names = {own: name for name, own in tags.items()}
        renamed = tuple(replace(tag, name=names.get(tag.name, tag.name), formula=None) for tag in plant.tags)
        return cls.of(Plant(plant.name, plant.sample_period_s, renamed))

    @property
    def names(self) -> tuple[str, ...]:
        """All tags: MVs, DVs, CVs."""
        return self.mvs + self.dvs + self.cvs

    @property
    def inputs(self) -> int:
        """How many MVs and DVs there are."""
        return len(self.mvs) + len(self.dvs)

    @property
    def sizes(self) -> Sizes:
        """Of the latent residual."""
        return Sizes(len(self.cvs), self.inputs, self.history)

    @property
    def past(self) -> int:
        """Rows before a row that its linear forecast needs."""
        return max(self.lags, self.input_rows - 1)

    @property
    def coefficients(self) -> int:
        """A CV's: lags of CVs, rows of inputs, the constant."""
        return self.lags * len(self.cvs) + self.input_rows * self.inputs + 1

    def to_json(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Shape:
        """The shape of such JSON."""
        tuples: dict[str, Any] = {name: tuple(body[name]) for name in ("mvs", "dvs", "cvs", "units")}
        return cls(**{**body, **tuples})


def matched(shape: Shape, telemetry: Telemetry, tags: Tags | None = None) -> Telemetry:
    """Telemetry of a unit with its tags, under its own names, in the fleet's order; others are left out.

    Raises:
        QuestionError: a tag is missing, is mapped twice, has another role, measures something else, or the sample
            periods differ; every one is named.
    """
    plant, tags = telemetry.plant, tags or {}
    strange = [name for name in tags if name not in shape.names]
    if strange:
        raise _refused(plant, strange[0], f"the fleet has no tag '{strange[0]}'{near(strange[0], shape.names)}")
    if plant.sample_period_s != shape.sample_period_s:
        why = f"{plant.sample_period_s:g} s, the fleet's {shape.sample_period_s:g} s: give the plant the same period"
        raise QuestionError.at(("sample_period_s",), f"{plant.name}: {why}")
    wanted: dict[str, str] = {}
    roles = dict.fromkeys(shape.mvs, Role.MV) | dict.fromkeys(shape.dvs, Role.DV) | dict.fromkeys(shape.cvs, Role.CV)
    for name, unit in zip(shape.names, shape.units, strict=True):
        own = tags.get(name, name)
        if own not in plant.names:
            raise _refused(plant, name, f"there is no tag '{own}'{near(own, plant.names)}; map it: {name}=its tag")
        if own in wanted.values():
            raise _refused(plant, name, f"'{own}' stands for two of the fleet's tags")
        tag = plant.tag(own)
        if tag.role is not roles[name]:
            raise _refused(plant, name, f"'{own}' is a {tag.role.upper()}, the fleet's a {roles[name].upper()}")
        try:
            convert(0.0, unit, tag.unit, delta=True)
        except PlantError as error:
            raise _refused(plant, name, f"'{own}' is in {tag.unit}, the fleet's in {unit}: {error.detail}") from None
        wanted[name] = own
    # what is calculated is there already, and may be from tags that are left out
    taken = tuple(replace(plant.tag(own), formula=None) for own in wanted.values())
    ordered = Plant(plant.name, plant.sample_period_s, taken)
    return replace(telemetry, plant=ordered, values=telemetry.values[:, plant.columns(ordered.tags)])


def _refused(plant: Plant, name: str, why: str) -> Exception:
    return QuestionError.at(("tags", name), f"{plant.name}: {why}")


def converted(
    shape: Shape, plant: Plant, mean: np.ndarray, scale: np.ndarray, back: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Means and scales (tags,) of MVs, DVs and CVs from the fleet's units of engineering into those of a matched
    plant, or back."""
    pairs = list(zip(shape.units, (tag.unit for tag in plant.inputs + plant.cvs), strict=True))
    if back:
        pairs = [(own, fleets) for fleets, own in pairs]
    means = [float(convert(m, a, b)) for m, (a, b) in zip(mean, pairs, strict=True)]
    scales = [float(convert(s, a, b, delta=True)) for s, (a, b) in zip(scale, pairs, strict=True)]
    return np.array(means), np.array(scales)
