"""A controller's settings made one with its plant: the limits in force, what is read and written, what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.control.settings import InputTable, MvTable, Settings
from twin.errors import Problem
from twin.plant import Plant, Role, Tag, near


@dataclass(frozen=True)
class Mv:
    """An MV with the limits in force: the configuration's inside the plant's."""

    name: str
    low: float
    high: float
    rate_per_s: float
    tolerance: float
    mode_tag: str | None
    remote: tuple[float, ...]
    critical: bool
    moved: bool  # False: the configuration does not name it, so it is a DV to this controller
    safe: float | None = None  # where it is led when the controller gives up

    def step(self, period_s: float) -> float:
        """The largest move of one period."""
        return self.rate_per_s * period_s


@dataclass(frozen=True)
class Input:
    """What is asked of one measured tag; absent limits are infinite."""

    name: str
    role: Role
    critical: bool
    max_age_s: float
    low: float = -math.inf
    high: float = math.inf
    max_step: float = math.inf
    frozen_after_s: float = math.inf


@dataclass(frozen=True)
class Configuration:
    """A controller's settings made one with its plant."""

    slug: str
    plant: Plant
    settings: Settings
    mvs: tuple[Mv, ...]
    inputs: tuple[Input, ...]

    @classmethod
    def of(cls, slug: str, plant: Plant, settings: Settings) -> Configuration:
        """The configuration; `problems` must have found none."""
        mvs = tuple(_mv(plant, tag.name, settings.mvs.get(tag.name)) for tag in plant.mvs)
        return cls(slug, plant, settings, mvs, tuple(_input(plant, name, settings) for name in plant.measured))

    @property
    def period_s(self) -> float:
        """Between two cycles: the plant's sample period."""
        return self.plant.sample_period_s

    @property
    def write_within_s(self) -> float:
        """After a cycle is due, when a plan is too late."""
        return self.settings.write_within_s or 0.5 * self.period_s

    @property
    def extra_tags(self) -> tuple[str, ...]:
        """What is read beside the plant's tags."""
        modes = [mv.mode_tag for mv in self.mvs if mv.mode_tag is not None]
        return tuple(dict.fromkeys([*modes, *self.settings.permissives]))

    @property
    def written_tags(self) -> tuple[str, ...]:
        """All that is ever written."""
        heartbeat = [self.settings.watchdog.tag] if self.settings.watchdog else []
        return (*(mv.name for mv in self.mvs if mv.moved), *heartbeat, *self.settings.release)

    def with_extra_tags(self) -> Plant:
        """The plant with all that is read and written beside its tags, as numbers without a unit."""
        extras = dict.fromkeys([*self.extra_tags, *self.written_tags])
        more = tuple(Tag(name, Role.DV) for name in extras if name not in self.plant.names)
        return Plant(self.plant.name, self.plant.sample_period_s, (*self.plant.tags, *more))


def problems(plant: Plant, settings: Settings) -> Iterator[Problem]:
    """What contradicts the plant, each with its place below `control`."""
    for table, roles in (("mvs", {Role.MV}), ("setpoints", {Role.CV}), ("limits", {Role.CV}), ("inputs", set(Role))):
        for name in getattr(settings, table):
            yield from _unknown(plant, (table, name), roles)
    for table in ("prices", "move_suppression"):
        for name in getattr(settings, table):
            yield from _unknown(plant, (table, name), {Role.MV} if table == "move_suppression" else set(Role))
    for name, mv in settings.mvs.items():
        if name in plant.names:
            yield from _mv_problems(plant, name, mv)
    if not settings.setpoints and not settings.prices:
        yield Problem((), "needs setpoints or prices: there is nothing to control")
    if settings.write_within_s is not None and settings.write_within_s > plant.sample_period_s:
        yield Problem(("write_within_s",), f"is longer than the sample period, {plant.sample_period_s:g} s")
    for name in plant.names:
        if settings.watchdog is not None and settings.watchdog.tag == name:
            yield Problem(("watchdog", "tag"), f"'{name}' is a tag of the plant; the heartbeat needs one of its own")


def _unknown(plant: Plant, loc: tuple[str, str], roles: set[Role]) -> Iterator[Problem]:
    name = loc[1]
    known = [tag.name for tag in plant.tags if tag.role in roles]
    if name not in known:
        kinds = " or ".join(sorted(role.upper() for role in roles))
        yield Problem(loc, f"is no {kinds} of the plant{near(name, known)}")


def _mv_problems(plant: Plant, name: str, mv: MvTable) -> Iterator[Problem]:
    tag = plant.tag(name)
    if tag.low is None or tag.high is None:
        yield Problem(("mvs", name), "the plant states no low and high for it; both are needed to move it")
        return
    for side, mine in (("low", mv.low), ("high", mv.high)):
        if mine is not None and not tag.low <= mine <= tag.high:
            yield Problem(("mvs", name, side), f"{mine:g} is outside the plant's limits, {tag.low:g} to {tag.high:g}")
    low, high = tag.low if mv.low is None else mv.low, tag.high if mv.high is None else mv.high
    if not low < high:
        yield Problem(("mvs", name), f"low {low:g} is not below high {high:g}")
    if mv.rate_per_s is not None and tag.rate_limit_per_s is not None and mv.rate_per_s > tag.rate_limit_per_s:
        msg = f"{mv.rate_per_s:g} is faster than the plant's limit, {tag.rate_limit_per_s:g}"
        yield Problem(("mvs", name, "rate_per_s"), msg)
    if mv.safe is not None and not low <= mv.safe <= high:
        yield Problem(("mvs", name, "safe"), f"{mv.safe:g} is outside its limits, {low:g} to {high:g}")
    if mv.safe is not None and mv.rate_per_s is None and tag.rate_limit_per_s is None:
        yield Problem(("mvs", name, "safe"), "needs a rate limit, at which it is reached: give rate_per_s")


def _mv(plant: Plant, name: str, table: MvTable | None) -> Mv:
    tag, mine = plant.tag(name), table or MvTable()
    low = tag.low if mine.low is None else mine.low
    high = tag.high if mine.high is None else mine.high
    rate = tag.rate_limit_per_s if mine.rate_per_s is None else mine.rate_per_s
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    span = high - low if math.isfinite(high - low) else 1.0
    return Mv(
        name=name,
        low=low,
        high=high,
        rate_per_s=math.inf if rate is None else rate,
        tolerance=1e-3 * span if mine.tolerance is None else mine.tolerance,
        mode_tag=mine.mode_tag,
        remote=tuple(mine.remote),
        critical=mine.critical,
        moved=table is not None,
        safe=mine.safe,
    )


def _input(plant: Plant, name: str, settings: Settings) -> Input:
    tag, mine = plant.tag(name), settings.inputs.get(name, InputTable())
    ranged = tag.role is not Role.MV  # an MV that a hand has moved beyond its limits is measured all the same

    def limit(own: float | None, plants: float | None, absent: float) -> float:
        return own if own is not None else plants if ranged and plants is not None else absent

    critical = name in settings.setpoints if mine.critical is None else mine.critical
    return Input(
        name=name,
        role=tag.role,
        critical=critical or (name in settings.mvs and settings.mvs[name].critical),
        max_age_s=mine.max_age_s or settings.max_age_s or 3 * plant.sample_period_s,
        low=limit(mine.low, tag.low, -math.inf),
        high=limit(mine.high, tag.high, math.inf),
        max_step=mine.max_step or math.inf,
        frozen_after_s=mine.frozen_after_s or math.inf,
    )


def setpoints(settings: Settings, changed: Mapping[str, float]) -> dict[str, Any]:
    """The setpoints in force, as the question wants them; those of the operator first.

    Raises:
        ValueError: a changed one is no setpoint of this controller, or outside the range it may have.
    """
    for name, value in changed.items():
        table = settings.setpoints.get(name)
        if table is None:
            raise ValueError(f"'{name}' is no setpoint of this controller{near(name, settings.setpoints)}")
        low = -math.inf if table.low is None else table.low
        high = math.inf if table.high is None else table.high
        if not low <= value <= high:
            raise ValueError(f"{name} = {value:g} is outside what may be asked, {low:g} to {high:g}")
    return {
        name: {"value": changed.get(name, table.value), "weight": table.weight}
        for name, table in settings.setpoints.items()
    }
