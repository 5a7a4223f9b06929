"""A plant: the tags an engineer names, their roles, units, limits and rates.

This module imports nothing heavy: connectors describe plants without loading JAX.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeGuard

from twin.errors import PlantError, Problem, QuestionError
from twin.formula import Formula, FormulaError, Formulas, ordered

if TYPE_CHECKING:
    from twin.vector import Branch

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MAX_TAGS = 10_000
RESERVED = ("time", "tag", "value", "quality")
TEXTS = ("name", "role", "unit", "description")


class Role(StrEnum):
    """What a tag is to the controller."""

    MV = "mv"
    DV = "dv"
    CV = "cv"
    OV = "ov"  # observed: an element of a vector tag, which the encoder reads and nobody moves, forecasts or limits


@dataclass(frozen=True)
class Tag:
    """One measured or manipulated signal, in its engineering unit.

    Args:
        name: as the historian names it; unique in its plant.
        role: mv, dv or cv.
        unit: an engineering unit, such as "degC", "m3/h", "mol%".
        low, high: of an MV its hard limits (both are needed to optimize);
            of a CV or DV the range of the instrument.
        limit_low, limit_high: operating limits of a CV (or DV); a request may tighten them.
        rate_limit_per_s: largest change of an MV per second; absent is unlimited.
        dead_time_s: a hint, where the engineer knows it.
        description: free text.
        formula: of a calculated CV (`twin.formula`): arithmetic over other tags; it is computed on read, never stored.
        shape: of a vector tag (role ov), such as (64,) for a spectrum or (24, 32) for an image; its elements are tags
            themselves, `name[0]`, `name[1]` and so on in row-major order, which all have this shape.
        vector: the name of the vector tag that an element, or a component found in training, is a part of.
    """

    name: str
    role: Role
    unit: str = "1"
    low: float | None = None
    high: float | None = None
    limit_low: float | None = None
    limit_high: float | None = None
    rate_limit_per_s: float | None = None
    dead_time_s: float | None = None
    description: str = ""
    formula: str | None = None
    shape: tuple[int, ...] | None = None
    vector: str | None = None

    @property
    def behind(self) -> str:
        """The unit as it stands behind a value: " m3/h", and of a plain number nothing."""
        return "" if self.unit == "1" else f" {self.unit}"


@dataclass(frozen=True)
class Plant:
    """The tags of one plant and its sample period.

    Attributes:
        tags: as described, of vector tags the elements.
        branches: of the plant of a twin, how the components of vector tags are read (`twin.vector`).

    Raises:
        PlantError: with every contradiction in the description, each with its place.
    """

    name: str
    sample_period_s: float
    tags: tuple[Tag, ...]
    branches: tuple[Branch, ...] = ()

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            first = problems[0]
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise PlantError(f"{'.'.join(map(str, first.loc))}: {first.msg}{more}", problems)

    @cached_property
    def mvs(self) -> tuple[Tag, ...]:
        return self._of(Role.MV)

    @cached_property
    def dvs(self) -> tuple[Tag, ...]:
        return self._of(Role.DV)

    @cached_property
    def cvs(self) -> tuple[Tag, ...]:
        return self._of(Role.CV)

    @cached_property
    def inputs(self) -> tuple[Tag, ...]:
        """MVs, then DVs: the columns of every input array `w`."""
        return self.mvs + self.dvs

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All tag names, in the order of `tags`: the columns of `Telemetry.values`."""
        return tuple(tag.name for tag in self.tags)

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """The names of the tags that are measured, not calculated."""
        return tuple(tag.name for tag in self.tags if tag.formula is None and not _is_component(tag))

    @cached_property
    def vectors(self) -> dict[str, tuple[int, ...]]:
        """Vector tag → where its elements stand in `tags`."""
        found: dict[str, list[int]] = {}
        for i, tag in enumerate(self.tags):
            if tag.role is Role.OV and tag.vector is not None:
                found.setdefault(tag.vector, []).append(i)
        return {name: tuple(columns) for name, columns in found.items()}

    @cached_property
    def scalars(self) -> tuple[str, ...]:
        """The names of the tags of one value a row: all but the parts of vector tags."""
        return tuple(tag.name for tag in self.tags if tag.vector is None)

    @cached_property
    def components(self) -> tuple[str, ...]:
        """The CVs that are no tags of the plant but components of its vector tags."""
        return tuple(tag.name for tag in self.tags if _is_component(tag))

    @cached_property
    def formulas(self) -> Formulas:
        """The formulas of the calculated tags, each after those that it needs."""
        return ordered({tag.name: Formula.parse(tag.formula) for tag in self.tags if tag.formula is not None})[0]

    def tag(self, name: str) -> Tag:
        """The tag of that name.

        Raises:
            QuestionError: there is none; near matches are named.
        """
        found = self._by_name.get(name)
        if found is None:
            raise QuestionError(f"unknown tag '{name}'{near(name, self.names)}", [Problem((name,), "unknown tag")])
        return found

    def column(self, name: str) -> int:
        """Where the tag stands in `tags`."""
        return self.names.index(self.tag(name).name)

    def columns(self, tags: Iterable[Tag]) -> list[int]:
        """Where each of the tags stands in `tags`."""
        return [self.names.index(tag.name) for tag in tags]

    def to_json(self) -> dict[str, Any]:
        """The plant as the REST contract writes it: vector tags whole; absent values are left out."""
        return {
            "name": self.name,
            "sample_period_s": self.sample_period_s,
            "tags": [
                _written(tag) for tag in self.tags if tag.role is not Role.OV or tag.name == element(tag.vector, 0)
            ],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Plant:
        """The plant of such a description.

        Raises:
            PlantError: a field is unknown, missing or contradicts another.
        """
        if not isinstance(body, Mapping) or not isinstance(body.get("tags", ()), list | tuple):
            raise PlantError("a plant is an object with a name, a sample_period_s and a list of tags")
        tags = tuple(tag for i, item in enumerate(body.get("tags", ())) for tag in _tags(i, item))
        name, period = body.get("name", ""), body.get("sample_period_s")
        if not isinstance(name, str):
            raise _refuse(("name",), "must be text")
        if not _is_number(period):
            raise _refuse(("sample_period_s",), "must be a positive number of seconds")
        return cls(name, float(period), tags)

    @cached_property
    def _by_name(self) -> dict[str, Tag]:
        return {tag.name: tag for tag in self.tags}

    def _of(self, role: Role) -> tuple[Tag, ...]:
        return tuple(tag for tag in self.tags if tag.role is role)


PART = 3  # letters of a name, or more, by which it is found


def near(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped word, or for a part of one, in whatever case: '; did you mean …?', or nothing."""
    import difflib

    known = list(known)
    part = word.casefold() if len(word) >= PART else None
    matches = difflib.get_close_matches(word, known, n=3)
    matches = matches or [name for name in known if part is not None and part in name.casefold()][:3]
    return f"; did you mean {', '.join(matches)}?" if matches else ""


def element(vector: str | None, index: int) -> str:
    """The name of one element of a vector tag, counted from 0 in row-major order."""
    return f"{vector}[{index}]"


def _is_component(tag: Tag) -> bool:
    return tag.vector is not None and tag.role is Role.CV


def _written(tag: Tag) -> dict[str, Any]:
    """A tag, or of a vector tag's first element the vector, as JSON."""
    body = {k: v for k, v in asdict(tag).items() if v is not None}
    if tag.role is Role.OV:
        body |= {"name": body.pop("vector"), "shape": list(tag.shape or ())}
    return body


def _tags(i: int, item: Any) -> tuple[Tag, ...]:
    """The tag of such a description, or the elements of a vector tag."""
    tag = _tag(i, item)
    if tag.role is not Role.OV:
        if tag.shape is not None:
            raise _refuse(("tags", i, "shape"), f"{tag.name}: only a tag of the role ov has a shape")
        return (tag,)
    shape = tag.shape
    if shape is None or not 1 <= len(shape) <= 2 or not all(n >= 1 for n in shape) or math.prod(shape) < 2:
        msg = f"{tag.name}: a vector tag has a shape of one or two positive whole numbers, such as [64] or [24, 32]"
        raise _refuse(("tags", i, "shape"), msg)
    if math.prod(shape) > MAX_TAGS:
        raise _refuse(("tags", i, "shape"), f"{tag.name}: {math.prod(shape)} elements; at most {MAX_TAGS}")
    return tuple(replace(tag, name=element(tag.name, k), vector=tag.name) for k in range(math.prod(shape)))


def _tag(i: int, item: Any) -> Tag:
    """The tag of such a description; what only its type shows is refused here, the rest by the plant."""
    known = {field.name: field for field in fields(Tag)}
    if not isinstance(item, Mapping):
        raise _refuse(("tags", i), "a tag is an object with a name and a role")
    for field, value in item.items():
        if field not in known:
            raise _refuse(("tags", i, str(field)), f"unknown field{near(str(field), known)}")
        if field == "formula" and not isinstance(value, str | None):
            raise _refuse(("tags", i, field), "must be text")
        if field in TEXTS and not isinstance(value, str):
            raise _refuse(("tags", i, field), "must be text")
        if field == "vector" and not isinstance(value, str | None):
            raise _refuse(("tags", i, field), "must be text")
        if field == "shape" and not _is_shape(value):
            raise _refuse(("tags", i, field), "must be a list of whole numbers")
        if field not in (*TEXTS, "formula", "shape", "vector") and value is not None and not _is_number(value):
            raise _refuse(("tags", i, field), "must be a number")
    if "name" not in item or item.get("role") not in set(Role):
        raise _refuse(("tags", i), "needs a name and a role: mv, dv or cv, or ov of a vector tag")
    shape = None if item.get("shape") is None else tuple(item["shape"])
    return Tag(**{**item, "role": Role(item["role"]), "shape": shape})


def _is_shape(value: Any) -> bool:
    whole = isinstance(value, list | tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
    return value is None or whole


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse(loc: tuple[str | int, ...], msg: str) -> PlantError:
    return PlantError(f"{'.'.join(map(str, loc))}: {msg}", [Problem(loc, msg)])


def _problems(plant: Plant) -> Iterable[Problem]:
    if not (math.isfinite(plant.sample_period_s) and plant.sample_period_s > 0):
        yield Problem(("sample_period_s",), "must be a positive number of seconds")
    if not plant.tags:
        yield Problem(("tags",), "a plant needs tags")
    if len(plant.tags) > MAX_TAGS:
        yield Problem(("tags",), f"{len(plant.tags)} tags; at most {MAX_TAGS}")
    seen: dict[str, int] = {}
    for i, tag in enumerate(plant.tags):
        key = tag.name.lower()  # the store's columns, and many historians, know no case
        if key in seen:
            yield Problem(("tags", i, "name"), f"'{tag.name}' is the name of tag {seen[key]} too; names are unique")
        seen.setdefault(key, i)
        yield from _tag_problems(i, tag)
    yield from _formula_problems(plant)
    roles = {tag.role for tag in plant.tags}
    if plant.tags and Role.CV not in roles:
        yield Problem(("tags",), "no CV: a plant needs at least one tag with role cv to predict")
    if plant.tags and roles == {Role.CV}:
        yield Problem(("tags",), "only CVs: a plant needs at least one tag with role mv (or dv) that acts on them")


def _formula_problems(plant: Plant) -> Iterable[Problem]:
    """What is wrong with calculated tags."""
    names, formulas = {tag.name for tag in plant.tags}, {}
    for i, tag in enumerate(plant.tags):
        if tag.formula is None:
            continue
        loc = ("tags", i, "formula")
        if tag.role is not Role.CV:
            why = "is moved or measured, not calculated" if tag.role is Role.MV else "acts on the plant by itself"
            yield Problem(loc, f"{tag.name}: only a CV can be calculated; an {tag.role.upper()} {why}")
            continue
        try:
            formula = Formula.parse(tag.formula)
        except FormulaError as error:
            yield Problem(loc, f"{tag.name}: {error}")
            continue
        unknown = [name for name in formula.tags if name not in names]
        if unknown:
            yield Problem(loc, f"{tag.name}: unknown tag '{unknown[0]}'{near(unknown[0], names)}")
            continue
        formulas[tag.name] = formula
    circle = set(ordered(formulas)[1])
    for i, tag in enumerate(plant.tags):
        if tag.name in circle:
            yield Problem(("tags", i, "formula"), f"{tag.name}: it needs itself, by way of {', '.join(sorted(circle))}")


def _tag_problems(i: int, tag: Tag) -> Iterable[Problem]:
    def wrong(field: str, msg: str) -> Problem:
        return Problem(("tags", i, field), f"{tag.name}: {msg}")

    if not tag.name or tag.name != tag.name.strip() or len(tag.name) > 200 or not tag.name.isprintable():
        yield wrong("name", "a name has 1 to 200 printable characters and no space at its ends")
    if tag.name in RESERVED or tag.name.startswith("_") or tag.name.endswith("__quality"):
        yield wrong("name", "this word is a column of the upload formats or of the store; choose another")
    for field in ("low", "high", "limit_low", "limit_high", "rate_limit_per_s", "dead_time_s"):
        value = getattr(tag, field)
        if value is not None and not math.isfinite(value):
            yield wrong(field, "must be a finite number")
    for low, high in (("low", "high"), ("limit_low", "limit_high")):
        below, above = getattr(tag, low), getattr(tag, high)
        if below is not None and above is not None and not below < above:
            yield wrong(low, f"{low} {below:g} is not below {high} {above:g}")
    if tag.role is Role.OV and (tag.vector is None or tag.shape is None):
        yield wrong("role", "an ov is an element of a vector tag, which has a shape")
    if tag.rate_limit_per_s is not None and not tag.rate_limit_per_s > 0:
        yield wrong("rate_limit_per_s", "must be positive; leave it out for unlimited")
    if tag.rate_limit_per_s is not None and tag.role is not Role.MV:
        yield wrong("rate_limit_per_s", "only an MV has a rate limit")
    if tag.dead_time_s is not None and tag.dead_time_s < 0:
        yield wrong("dead_time_s", "cannot be negative")
