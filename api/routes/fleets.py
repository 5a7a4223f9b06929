"""Fleets: learnt from many similar plants by a job; what new plants start from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Response

from api.access.security import Key
from api.deps import Admin, After, App, Limit, Reader, Trainer, page
from api.http.answers import FleetAnswer, JobAnswer, Page, json_answer
from api.http.examples import FLEET, body
from api.http.schemas import FleetBody
from api.records.audit import audit
from api.routes.jobs import job_json
from api.service import Service
from twin.errors import ArtifactError, NotFoundError, Problem, QuestionError

log = structlog.get_logger()
router = APIRouter(prefix="/v1/fleets", tags=["fleets"])

FleetName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="the fleet's name")]


@router.post("/{fleet}", status_code=202, response_model=JobAnswer, openapi_extra=body(FLEET))
def learn(app: App, key: Trainer, fleet: FleetName, body: FleetBody) -> Response:
    """Learn a fleet, or a new version of it, from what is stored of its plants now; answers the job that does. The job
    is filed under the first plant, which gives the fleet its tags and their units."""
    if fleet in app.fleets.names():  # what others learnt is not replaced by who may not see it
        _require_all(app, key, fleet)
    request = body.model_dump(mode="json", exclude_none=True) | {"fleet": fleet}
    seen: set[str] = set()
    for i, unit in enumerate(request["units"]):
        slug = unit["plant"]
        key.require_plant(slug)
        if slug in seen:
            raise QuestionError(f"units.{i}.plant: '{slug}' stands there twice", [Problem(("units", i), "twice")])
        seen.add(slug)
        stored = app.catalog.plant(slug)
        unit |= {"plant_version": stored.version, "data_version": app.store.plant(slug).version}
    job = app.jobs.submit(request["units"][0]["plant"], request, key.id)
    return json_answer(job_json(job), 202, {"Location": f"/v1/jobs/{job.id}"})


@router.get("", response_model=Page[FleetAnswer])
def list_fleets(app: App, key: Reader, limit: Limit = 100, after: After = None) -> Response:
    """The fleets whose plants this key may see, by name."""
    names = (name for name in app.fleets.names() if after is None or name > after)
    return page(list(islice(_seen(app, key, names), limit + 1)), limit, "fleet")


@router.get("/{fleet}", response_model=FleetAnswer)
def get_fleet(app: App, key: Reader, fleet: FleetName) -> Response:
    """A fleet: its units, its tags, and what it gives units that it has not seen."""
    _require_all(app, key, fleet)
    return json_answer(fleet_json(app, fleet))


@router.delete("/{fleet}", status_code=204)
def delete_fleet(app: App, key: Admin, fleet: FleetName) -> Response:
    """Forget a fleet with all that was learnt; twins that started from it stay as they are."""
    app.fleets.delete(fleet)
    with app.db.write() as session:
        audit(session, key.id, "fleet.delete", fleet, {})
    return Response(status_code=204)


def _require_all(app: Service, key: Key, name: str) -> None:
    """Raise ForbiddenError unless the key is for all plants of a fleet."""
    for unit in app.fleets.current(name)["units"]:
        key.require_plant(unit["unit"])


def _seen(app: Service, key: Key, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The fleets that a key may see; one that cannot be read, or is gone by now, does not hide the others."""
    for name in names:
        try:
            if all(key.sees(unit["unit"]) for unit in app.fleets.current(name)["units"]):
                yield fleet_json(app, name)
        except (ArtifactError, NotFoundError) as error:
            log.warning("a fleet is not listed", fleet=name, error=error.detail)


def fleet_json(app: Service, name: str) -> dict[str, Any]:
    """A fleet as it is answered."""
    version = app.fleets.current(name)["version"]
    found = app.fleets.get(name, version)
    shape, card = found.shape, found.card
    roles = {"mv": shape.mvs, "dv": shape.dvs, "cv": shape.cvs}
    tags = [{"name": tag, "role": role} for role, tags in roles.items() for tag in tags]
    return {
        "fleet": name,
        "version": version,
        "units": card["units"],
        "tags": [{**tag, "unit": unit} for tag, unit in zip(tags, shape.units, strict=True)],
        "sample_period_s": shape.sample_period_s,
        "horizon_s": shape.horizon * shape.sample_period_s,
        "card": {name: value for name, value in card.items() if name != "units"},
    }
