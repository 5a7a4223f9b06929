"""What predict and optimize have in common: which twin answers, and under which limits."""

from __future__ import annotations

from dataclasses import replace

from api.http.schemas import Steps
from api.service import Service
from twin.artifact import Twin
from twin.errors import ConflictError
from twin.plant import Plant, Tag
from twin.timeline import Step

LIMITS = ("low", "high", "limit_low", "limit_high", "rate_limit_per_s")


def served_twin(app: Service, slug: str, name: str) -> Twin:
    """A twin of a plant, under the limits that the plant has now: those may have changed since it was trained.

    Raises:
        NotFoundError: there is no such plant or twin.
        ConflictError: the plant's tags no longer are what the twin knows.
    """
    return served(app, slug, name)[0]


def served(app: Service, slug: str, name: str) -> tuple[Twin, int]:
    """`served_twin`, and the version of the plant whose limits those are."""
    twin_id, now = app.catalog.serving(slug, name)
    twin = app.registry.load(twin_id)
    plant = under_limits_of(twin, now.plant)
    return (twin if plant == twin.plant else twin.under(plant)), now.version


def under_limits_of(twin: Twin, now: Plant) -> Plant:
    """The plant of a twin with the limits of the plant as it is described now."""
    current = {tag.name: tag for tag in now.tags}
    known = [tag for tag in twin.plant.tags if tag.name not in twin.plant.components]
    changed = [tag.name for tag in known if not _same(tag, current.get(tag.name))]
    if changed or twin.plant.sample_period_s != now.sample_period_s:
        what = f"tags {', '.join(changed[:5])}" if changed else "its sample period"
        raise ConflictError(f"the plant has changed since twin {twin.id} was trained ({what}): train a new one")
    tags = tuple(
        replace(tag, **{f: getattr(current[tag.name], f) for f in LIMITS}) if tag.name in current else tag
        for tag in twin.plant.tags
    )
    return replace(twin.plant, tags=tags)


def _same(tag: Tag, now: Tag | None) -> bool:
    return now is not None and (tag.role, tag.unit) == (now.role, now.unit)


def steps(given: Steps) -> dict[str, list[Step]]:
    """Steps of a request as the library takes them."""
    return {tag: [Step(step.after_s, step.value) for step in values] for tag, values in given.items()}
