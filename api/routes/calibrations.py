"""Calibrations of the closed loop: read, and renewed without training."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from fastapi import APIRouter, Query, Response

from api.deps import App, PlantSlug, Reader, Trainer, TwinName
from api.http.answers import CalibrationAnswer, json_answer
from api.http.examples import CALIBRATE, body
from api.http.schemas import CalibrateBody
from api.records.calibrations import answer
from twin.errors import NotFoundError

router = APIRouter(prefix="/v1/plants/{plant}/twins/{twin}", tags=["twins"])

COVERAGE = 0.95
Coverage = Annotated[float, Query(ge=0.5, le=0.999, description="one-sided, per step")]


@router.get("/calibration", response_model=CalibrationAnswer)
def get_calibration(app: App, _: Reader, plant: PlantSlug, twin: TwinName, coverage: Coverage = COVERAGE) -> Response:
    """How far plans stay inside the limits of each CV: the newest calibration of the twin's closed loop."""
    served = app.registry.get(plant, twin)
    made = app.calibrations.latest(served.id)
    if made is None:
        raise NotFoundError(f"twin {served.id} was never calibrated in closed loop: POST to this path does it")
    return json_answer(answer(made, served, coverage))


@router.post("/calibration", status_code=201, response_model=CalibrationAnswer, openapi_extra=body(CALIBRATE))
def calibrate(app: App, key: Trainer, plant: PlantSlug, twin: TwinName, body: CalibrateBody) -> Response:
    """Renew the calibration of a twin's closed loop, without training: on the telemetry since its training where there
    is enough, else on that of its training; `source` says which."""
    start, end = (None if time is None else pd.Timestamp(time) for time in (body.start, body.end))
    made = app.calibrations.renew(key.id, plant, twin, start, end)
    return json_answer(answer(made, app.registry.get(plant, twin), COVERAGE), 201)
