"""What a trial run asks of a controller and does to its plant, as plain data: JSON in, JSON out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from twin.errors import QuestionError
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.plant import Plant, Role

KINDS = {"setpoints": (Role.CV,), "prices": (Role.MV, Role.DV, Role.CV), "limits": (Role.MV, Role.CV)}


@dataclass(frozen=True)
class Event:
    """What changes at a row, and lasts until another event changes it.

    Attributes:
        row: of the run, from 0.
        setpoints: CV → value, engineering units.
        limits: tag → fields of `Limit`; none lifts what an earlier event set.
        prices: tag → value per unit and hour.
        disturb: disturbance → its lasting offset from rest, measured or not.
        freeze: tag → whether its sensor repeats its last value.
    """

    row: int
    setpoints: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    disturb: Mapping[str, float] = field(default_factory=dict)
    freeze: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """What is asked in one row."""

    setpoints: Mapping[str, float]
    prices: Mapping[str, float]
    limits: Mapping[str, Limit]
    suppression: Mapping[str, float]
    horizon: int
    coverage: float

    @property
    def objective(self) -> Objective:
        """For `optimize.plan`."""
        setpoints = {tag: Setpoint(value) for tag, value in self.setpoints.items()}
        return Objective(setpoints, self.prices, self.suppression)


@dataclass(frozen=True)
class Scenario:
    """One trial.

    Attributes:
        name: unique in a table.
        rows: of the run.
        events: in the order of their rows.
        gain: MV → by how much more than in training the plant answers it, about its rest: 1.3 is 30 % more.
        noise: of the measurements, as a multiple of the plant's own.
        wander: of its disturbances, likewise.
        resting: rows at rest before the run, which are the first history.
        seed: of noise and wander.
        horizon: rows that plans look ahead.
        suppression: weight of each MV's moves; None leaves it to the planner, and moves are judged by `SUPPRESSION`.
        coverage: that CV limits are kept with.
    """

    name: str
    rows: int
    events: tuple[Event, ...] = ()
    gain: Mapping[str, float] = field(default_factory=dict)
    noise: float = 1.0
    wander: float = 1.0
    resting: int = 150
    seed: int = 0
    horizon: int = 60
    suppression: float | None = None
    coverage: float = 0.95

    def ask(self, plant: Plant, row: int) -> Ask:
        """What holds in a row of the run."""
        setpoints, prices = dict[str, float](), dict[str, float]()
        limits: dict[str, Mapping[str, Any] | None] = {}
        for event in self.events:
            if event.row <= row:
                setpoints |= event.setpoints
                prices |= event.prices
                limits |= event.limits
        given = {tag: Limit(**limit) for tag, limit in limits.items() if limit is not None}
        suppression = {} if self.suppression is None else {tag.name: self.suppression for tag in plant.mvs}
        return Ask(setpoints, prices, given, suppression, self.horizon, self.coverage)

    def changes(self) -> list[int]:
        """The rows in which something changes for good, and the end: offsets are judged before each of them."""
        rows = {event.row for event in self.events if event.setpoints or event.limits or event.disturb or event.prices}
        return sorted(rows | {self.rows})

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any], plant: Plant) -> Scenario:
        """The scenario that such an object describes, checked against a plant.

        Raises:
            QuestionError: an unknown field or tag, or a number that makes no sense; it says which.
        """
        unknown = set(body) - {f.name for f in fields(cls)}
        if unknown:
            raise QuestionError.at((min(unknown),), f"no field of a scenario: {', '.join(f.name for f in fields(cls))}")
        for name in ("name", "rows"):
            if name not in body:
                raise QuestionError.at((name,), "a scenario needs it")
        try:
            events = tuple(sorted((Event(**event) for event in body.get("events", ())), key=lambda event: event.row))
            made = cls(**{**body, "events": events})
            made._check(plant)
        except (TypeError, AttributeError) as error:
            raise QuestionError.at(("events",), f"not a scenario: {error}") from None
        return made

    def _check(self, plant: Plant) -> None:
        for name in ("rows", "resting", "horizon"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise QuestionError.at((name,), "must be a whole number of rows, at least 1")
        for name in ("noise", "wander", "suppression"):
            value = getattr(self, name)
            if not (name == "suppression" and value is None) and not (math.isfinite(value) and value >= 0):
                raise QuestionError.at((name,), "must be a number, at least 0")
        for tag in self.gain:
            if plant.tag(tag).role is not Role.MV:
                raise QuestionError.at(("gain", tag), f"{tag} is a {plant.tag(tag).role.upper()}, no MV")
        for i, event in enumerate(self.events):
            for kind, roles in KINDS.items():
                for tag in getattr(event, kind):
                    if plant.tag(tag).role not in roles:
                        raise QuestionError.at(("events", i, kind, tag), f"{tag} is a {plant.tag(tag).role.upper()}")
            for tag in event.freeze:
                plant.tag(tag)
            for limit in event.limits.values():
                Limit(**(limit or {}))
