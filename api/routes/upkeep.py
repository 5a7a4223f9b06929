"""Twins since their training: backtests on new rows, whether to train again, and export for use elsewhere."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from fastapi import APIRouter, Query, Response

from api.deps import App, PlantSlug, Reader, TwinName
from api.http.answers import BacktestAnswer, DriftAnswer, json_answer
from api.http.examples import BACKTEST, body
from api.http.schemas import BacktestBody, Time

router = APIRouter(prefix="/v1/plants/{plant}/twins/{twin}", tags=["twins"])

Start = Annotated[Time | None, Query(description="by default the first row since its training")]
End = Annotated[Time | None, Query(description="by default the last row there is")]


@router.post("/backtest", response_model=BacktestAnswer, openapi_extra=body(BACKTEST))
def backtest(app: App, _: Reader, plant: PlantSlug, twin: TwinName, body: BacktestBody) -> Response:
    """A twin on the rows since its training, beside others on the same rows (by default the champion and the
    challenger): errors by CV and horizon, coverage, and which is better, as far as that can be told."""
    start, end = (None if time is None else pd.Timestamp(time) for time in (body.start, body.end))
    return json_answer(app.drifts.backtest(plant, twin, body.against, start, end, body.coverage))


@router.get("/drift", response_model=DriftAnswer)
def drift(app: App, _: Reader, plant: PlantSlug, twin: TwinName, start: Start = None, end: End = None) -> Response:
    """Whether a twin is to be trained again: its errors and coverage since its training against those of its report,
    CV by CV and in blocks of time, with the reasons."""
    first, last = (None if time is None else pd.Timestamp(time) for time in (start, end))
    return json_answer(app.drifts.drift(plant, twin, first, last))


@router.get("/export", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
def export(app: App, _: Reader, plant: PlantSlug, twin: TwinName) -> Response:
    """A twin for use elsewhere, as a zip archive: encode and rollout compiled for CPU, CUDA and TPU by jax.export,
    a manifest, and a file that asks them with numpy and jax alone."""
    from twin.export import export  # lowers for three platforms; most services never do

    served = app.registry.get(plant, twin)
    headers = {"Content-Disposition": f'attachment; filename="{plant}-{served.id}.zip"'}
    return Response(export(served), media_type="application/zip", headers=headers)
