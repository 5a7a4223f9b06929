"""Plants and their versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api.deps import After, App, Limit, PlantSlug, Reader, Trainer, page
from api.http.answers import Page, PlantAnswer, json_answer
from api.http.examples import PLANT, body
from api.http.schemas import PlantBody
from api.records.catalog import PlantVersion
from twin.errors import PlantError, Problem
from twin.plant import Plant
from twin.units import check

router = APIRouter(prefix="/v1/plants", tags=["plants"])

IfMatch = Annotated[str | None, Header(description="the ETag that the plant must still have")]
IfNoneMatch = Annotated[str | None, Header(description="`*`: only if there is no such plant yet")]

Version = Annotated[int | None, Query(ge=1, lt=2**31, description="an earlier version")]


@router.get("", response_model=Page[PlantAnswer])
def list_plants(app: App, key: Reader, limit: Limit = 100, after: After = None) -> Response:
    """The plants that the key is for, by slug."""
    plants = app.catalog.plants(limit + 1, after, key.plants)
    return page([_answer(app, plant) for plant in plants], limit, "plant")


@router.put("/{plant}", response_model=PlantAnswer, responses={201: {"model": PlantAnswer}}, openapi_extra=body(PLANT))
def put_plant(
    app: App,
    key: Trainer,
    plant: PlantSlug,
    body: PlantBody,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Describe a plant, or change it: every change is a new version."""
    described = Plant.from_json(body.model_dump(exclude_none=True))
    _check_units(described)
    stored, new = app.catalog.put_plant(key.id, plant, described, if_match, if_none_match)
    return json_answer(_answer(app, stored), 201 if new else 200, {"ETag": stored.etag})


@router.get("/{plant}", response_model=PlantAnswer)
def get_plant(
    app: App, _: Reader, plant: PlantSlug, version: Version = None, if_none_match: IfNoneMatch = None
) -> Response:
    """A plant, by default at its current version."""
    stored = app.catalog.plant(plant, version)
    headers = {"ETag": stored.etag}
    if if_none_match is not None and stored.etag in [tag.strip() for tag in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    return json_answer(_answer(app, stored), headers=headers)


@router.delete("/{plant}", status_code=204)
def delete_plant(app: App, key: Trainer, plant: PlantSlug, if_match: IfMatch = None) -> Response:
    """Forget a plant with its telemetry, twins, aliases and recommendations; its jobs are cancelled."""
    key.require("admin")
    app.recorder.flush()
    twins = app.catalog.delete_plant(key.id, plant, if_match)
    app.jobs.cancel_all(plant)
    app.store.plant(plant).delete()
    app.registry.forget(twins)
    return Response(status_code=204)


def _check_units(plant: Plant) -> None:
    problems = []
    for i, tag in enumerate(plant.tags):
        try:
            check(tag.unit)
        except PlantError as error:
            problems.append(Problem(("tags", i, "unit"), f"{tag.name}: {error.detail}"))
    if problems:
        raise PlantError(problems[0].msg, problems)


def _answer(app: App, stored: PlantVersion) -> dict[str, object]:
    return {
        "plant": stored.slug,
        "version": stored.version,
        **stored.body,
        "aliases": app.catalog.aliases(stored.slug),
        "created": stored.created,
        "changed": stored.changed,
    }
