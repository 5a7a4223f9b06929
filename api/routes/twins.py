"""Twins: trained by a job, listed, reported on, promoted."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response

from api.deps import After, App, Limit, PlantSlug, Reader, Trainer, TwinName, page
from api.http.answers import AliasAnswer, JobAnswer, Page, StepResponsesAnswer, TwinAnswer, json_answer
from api.http.examples import ALIAS, OPERATING_POINT, TRAIN, body
from api.http.schemas import AliasBody, History, OperatingPointBody, Time, TrainBody
from api.records.tables import TwinRow
from api.routes.jobs import job_json
from api.service import Service
from twin.artifact import Twin
from twin.errors import QuestionError
from twin.exclusions import Exclusion
from twin.gain_sign import signs
from twin.responses import gain_map, step_responses
from twin.summary import summary

router = APIRouter(prefix="/v1/plants/{plant}", tags=["twins"])

At = Annotated[Time | None, Query(description="the operating point is that of the telemetry then")]
AliasName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="a name, such as champion")]


@router.post("/twins", status_code=202, response_model=JobAnswer, openapi_extra=body(TRAIN))
def train(app: App, key: Trainer, plant: PlantSlug, body: TrainBody) -> Response:
    """Train a twin on what is stored now; answers the job that does."""
    stored = app.catalog.plant(plant)
    if body.start and body.end and body.end <= body.start:
        raise QuestionError.at(("end",), "must be after start")
    request = body.model_dump(mode="json", exclude_none=True)
    for i, exclusion in enumerate(request.get("exclude", [])):
        rule = Exclusion.from_json(exclusion, ("exclude", i))
        if rule.tag is not None:
            stored.plant.tag(rule.tag)
    signs(stored.plant, request["options"].get("gain_sign", {}))
    if body.from_twin is not None:
        request["from_twin"] = app.catalog.twin(plant, body.from_twin).id
    if body.from_fleet is not None:
        request["from_fleet"] = {"name": body.from_fleet, "version": app.fleets.current(body.from_fleet)["version"]}
        if body.from_twin is not None:
            raise QuestionError.at(("from_twin",), "a twin starts from an earlier twin or from a fleet, not from both")
        if body.options.hierarchy or body.options.slow_stride is not None:
            raise QuestionError.at(("options", "hierarchy"), "a twin that starts from a fleet has one time scale")
    elif body.fleet_tags is not None:
        raise QuestionError.at(("fleet_tags",), "they map a plant's tags to those of a fleet: name it in from_fleet")
    request |= {"plant_version": stored.version, "data_version": app.store.plant(plant).version}
    job = app.jobs.submit(plant, request, key.id)
    return json_answer(job_json(job), 202, {"Location": f"/v1/jobs/{job.id}"})


@router.get("/twins", response_model=Page[TwinAnswer])
def list_twins(app: App, _: Reader, plant: PlantSlug, limit: Limit = 100, after: After = None) -> Response:
    """The twins of a plant, newest first."""
    rows = app.catalog.twins(plant, limit + 1, after)
    aliases = app.catalog.aliases(plant)
    return page([_answer(row, aliases) for row in rows], limit, "twin")


@router.get("/twins/{twin}", response_model=TwinAnswer)
def get_twin(app: App, _: Reader, plant: PlantSlug, twin: TwinName) -> Response:
    """A twin: what it was trained on, how much history it needs, how far it looks."""
    row = app.catalog.twin(plant, twin)
    return json_answer(_answer(row, app.catalog.aliases(plant)))


@router.get("/twins/{twin}/report", responses={200: {"content": {"text/html": {}}}})
def report(
    app: App, _: Reader, plant: PlantSlug, twin: TwinName, accept: Annotated[str, Header()] = "application/json"
) -> Response:
    """The model card: backtest, coverage, step responses, data used, and a `summary` in sentences. JSON, or HTML with
    plots by Accept."""
    card = app.registry.get(plant, twin).card
    if "text/html" in accept:
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        from twin.report import page  # draws with matplotlib, which is not worth loading before it is asked for

        return Response(page(card), media_type="text/html", headers={"Content-Security-Policy": policy})
    return json_answer({**card, "summary": summary(card)})


@router.get("/twins/{twin}/step-responses", response_model=StepResponsesAnswer)
def responses(app: App, _: Reader, plant: PlantSlug, twin: TwinName, at: At = None) -> Response:
    """What a step of each MV does to each CV: gains, dead times and settling times with their ranges, around the
    middle of what was seen or around the telemetry `at` a time."""
    served = app.registry.get(plant, twin)
    if at is None:
        return json_answer(served.card.get("step_responses") or step_responses(served))
    return json_answer(_around(app, plant, served, at, None))


@router.post("/twins/{twin}/step-responses", response_model=StepResponsesAnswer, openapi_extra=body(OPERATING_POINT))
def responses_at(app: App, _: Reader, plant: PlantSlug, twin: TwinName, body: OperatingPointBody) -> Response:
    """The same around an operating point: stored telemetry `at` a time, or a history given; with a map of the gains
    over the range of each MV, the other inputs as they are there."""
    served = app.registry.get(plant, twin)
    return json_answer(_around(app, plant, served, body.at, body.history))


def _around(app: Service, plant: str, twin: Twin, at: datetime | None, history: History | None) -> dict[str, Any]:
    rows, _ = app.histories.of(plant, twin, at, history)
    return {"at": rows.at.isoformat(), **step_responses(twin, rows), "gain_map": gain_map(twin, rows)}


@router.get("/aliases")
def list_aliases(app: App, _: Reader, plant: PlantSlug) -> Response:
    """The aliases of a plant and the twins that they name."""
    app.catalog.plant(plant)
    return json_answer(app.catalog.aliases(plant))


@router.put("/aliases/{alias}", response_model=AliasAnswer, openapi_extra=body(ALIAS))
def put_alias(app: App, key: Trainer, plant: PlantSlug, alias: AliasName, body: AliasBody) -> Response:
    """Have an alias name a twin: `champion` is the one that answers where none is asked for."""
    row = app.catalog.set_alias(key.id, plant, alias, body.twin)
    return json_answer({"plant": plant, "alias": alias, "twin": row.twin, "changed": row.changed})


def _answer(row: TwinRow, aliases: dict[str, str]) -> dict[str, Any]:
    return {
        "twin": row.id,
        "plant": row.plant,
        "plant_version": row.plant_version,
        "data_version": row.data_version,
        "aliases": [alias for alias, twin in aliases.items() if twin == row.id],
        **row.summary,
        "job": row.job,
        "created": row.created,
    }
