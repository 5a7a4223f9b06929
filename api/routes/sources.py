"""The sources that a plant's telemetry comes from: collectors tell, everybody reads."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import App, PlantSlug, Reader, Uploader
from api.http.answers import SourcesAnswer, json_answer
from api.http.examples import SOURCES, body
from api.http.schemas import SourcesBody

router = APIRouter(prefix="/v1/plants/{plant}/sources", tags=["telemetry"])


@router.get("", response_model=SourcesAnswer)
def get_sources(app: App, _: Reader, plant: PlantSlug) -> Response:
    """How each source fares: connected, lag, clock skew, counts, what waits on the collector's disk, last error."""
    app.catalog.plant(plant)
    return json_answer({"sources": app.sources.of(plant)})


@router.put("", response_model=SourcesAnswer, openapi_extra=body(SOURCES))
def put_sources(app: App, _: Uploader, plant: PlantSlug, body: SourcesBody) -> Response:
    """For a running collector: how its sources fare. It shows here and in `/metrics`, and outlives no restart."""
    app.catalog.plant(plant)
    app.sources.told(plant, [source.model_dump() for source in body.sources])
    return json_answer({"sources": app.sources.of(plant)})
