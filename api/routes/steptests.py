"""Step tests designed: what to do with the MVs so that a twin can learn their effects."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from fastapi import APIRouter, Header, Response

from api.deps import App, PlantSlug, Predictor
from api.http.answers import StepTestAnswer, json_answer
from api.http.examples import STEP_TEST, body
from api.http.schemas import StepTestBody
from api.questions import served_twin
from api.records.catalog import CHAMPION
from api.records.histories import given
from api.service import Service
from twin.artifact import Twin
from twin.errors import NotFoundError, QuestionError
from twin.history import check_history, present_inputs
from twin.plant import Plant
from twin.steptest import design
from twin.telemetry import Telemetry

router = APIRouter(prefix="/v1/plants/{plant}", tags=["step tests"])

ROWS = 60  # of telemetry read for the present values, where no twin says how many


@router.post(
    "/step-tests",
    response_model=StepTestAnswer,
    responses={200: {"content": {"text/csv": {}}}},
    openapi_extra=body(STEP_TEST),
)
def step_test(
    app: App,
    _: Predictor,
    plant: PlantSlug,
    body: StepTestBody,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """Design a step test: a schedule of MV moves inside limits and rates, as JSON, or as CSV by Accept."""
    twin = _twin(app, plant, body.twin)
    described = app.catalog.plant(plant).plant if twin is None else twin.plant
    history = _history(app, plant, described, twin, body)
    answer = design(
        described,
        _present(described, twin, history, body),
        history.at if len(history) else pd.Timestamp.now("UTC").floor("s"),
        settling_s=body.settling_s,
        length_s=body.length_s,
        signal=body.signal,
        mvs=body.mvs,
        amplitude=body.amplitude,
        limits={tag: (limit.low, limit.high) for tag, limit in body.limits.items()},
        seed=body.seed,
        twin=twin,
        history=history if twin else None,
    )
    if "text/csv" in accept:
        headers = {"Content-Disposition": f'attachment; filename="{plant}-step-test.csv"'}
        return Response(answer.to_csv(), media_type="text/csv", headers=headers)
    return json_answer({"twin": twin and twin.id, **answer.to_json()})


def _twin(app: Service, plant: str, name: str | None) -> Twin | None:
    """The twin asked for; by default the champion, where there is one."""
    app.catalog.plant(plant)
    if name is not None:
        return served_twin(app, plant, name)
    try:
        return served_twin(app, plant, CHAMPION)
    except NotFoundError:
        return None


def _history(app: Service, slug: str, plant: Plant, twin: Twin | None, body: StepTestBody) -> Telemetry:
    if twin is not None:
        history = app.histories.of(slug, twin, body.at, body.history)[0]
        check_history(twin, history)
        return history
    if body.history is not None:
        return given(plant, body.history)
    frame = app.store.plant(slug).last_rows(ROWS, plant.sample_period_s, tags=plant.names)
    return Telemetry.from_frame(plant, frame)


def _present(plant: Plant, twin: Twin | None, history: Telemetry, body: StepTestBody) -> dict[str, float]:
    """MV → the value in force: as the request says, else the last one measured."""
    if twin is not None:
        last = present_inputs(twin, history)
        found = {tag.name: float(value) for tag, value in zip(plant.mvs, last, strict=False)}
    else:
        filled = history.frame()[[tag.name for tag in plant.mvs]].ffill()
        found = {} if filled.empty else {str(name): float(value) for name, value in filled.iloc[-1].dropna().items()}
    for name in body.present:
        if name not in [tag.name for tag in plant.mvs]:
            raise QuestionError.at(("present", name), f"{name} is no MV of this plant")
    found |= body.present
    unknown = [tag.name for tag in plant.mvs if tag.name not in found]
    if unknown:
        raise QuestionError.at(("present",), f"no value of {', '.join(unknown)} is known: give it, or upload telemetry")
    return found
