"""The running controller of a plant: its state, what is wanted of it, its last cycles, how it did."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from api.control.report import summarize
from api.deps import App, Limit, Operator, PlantSlug, Reader, page
from api.http.answers import (
    ControllerAnswer,
    ControllerRecordAnswer,
    ControllerReportAnswer,
    ControlReportAnswer,
    Page,
    json_answer,
)
from api.http.examples import CONTROLLER, CONTROLLER_REPORT, body
from api.http.schemas import ControllerBody, ControllerReportBody, Time

router = APIRouter(prefix="/v1/plants/{plant}/controller", tags=["control"])

Start = Annotated[Time | None, Query(description="the first time; by default the first there is")]
End = Annotated[Time | None, Query(description="the last time; by default the last there is")]
Kind = Annotated[
    Literal["cycle", "mode", "setpoints"] | None, Query(description="only cycles, changes of mode, or of setpoints")
]


@router.get("", response_model=ControllerAnswer)
def get_controller(app: App, _: Reader, plant: PlantSlug) -> Response:
    """What the controller said of itself last, whether it runs, and what was last asked of it."""
    return json_answer(app.controllers.find(plant))


@router.put("", status_code=202, response_model=ControllerAnswer, openapi_extra=body(CONTROLLER))
def put_controller(app: App, key: Operator, plant: PlantSlug, body: ControllerBody) -> Response:
    """Ask for another mode or setpoints; `closed` needs `confirm`. `state.request` says what became of it."""
    return json_answer(app.controllers.want(key.id, plant, body), 202)


@router.get("/cycles", response_model=Page[ControllerRecordAnswer])
def list_cycles(
    app: App,
    _: Reader,
    plant: PlantSlug,
    limit: Limit = 100,
    after: Annotated[int | None, Query(ge=1, le=2**53, description="the `next` of the page before")] = None,
    kind: Kind = None,
) -> Response:
    """The controller's cycles and changes, newest first."""
    return page(app.controllers.records(plant, limit + 1, after, kind), limit, "id")


@router.post("/cycles", response_model=ControllerReportAnswer, openapi_extra=body(CONTROLLER_REPORT))
def report_cycles(app: App, key: Operator, plant: PlantSlug, body: ControllerReportBody) -> Response:
    """For the running controller: what it did; the answer is what is wanted of it. Reported twice is kept once."""
    return json_answer({"wanted": app.controllers.report(key.id, plant, body.run, body.state, body.records)})


@router.get("/report", response_model=ControlReportAnswer)
def get_report(app: App, _: Reader, plant: PlantSlug, start: Start = None, end: End = None) -> Response:
    """Service factor, time at limits, overrides with reasons, forecasts against values, benefit against shadow."""
    return json_answer(summarize(app.controllers.between(plant, start, end)))
