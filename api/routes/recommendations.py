"""The log of what optimize has answered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import select

from api.deps import App, Limit, PlantSlug, Reader, page
from api.http.answers import Page, RecommendationAnswer, ReplayAnswer, json_answer
from api.http.examples import REPLAY, body
from api.http.schemas import ReplayBody
from api.recommend import replay
from api.records.tables import RecommendationRow
from api.service import Service
from twin.errors import NotFoundError

router = APIRouter(prefix="/v1/plants", tags=["optimize"])

Recommendation = Annotated[int, Path(ge=1, le=2**53, description="the id in the list of recommendations")]


@router.get("/{plant}/recommendations", response_model=Page[RecommendationAnswer])
def list_recommendations(
    app: App,
    _: Reader,
    plant: PlantSlug,
    limit: Limit = 100,
    after: Annotated[int | None, Query(ge=1, le=2**53, description="the `next` of the page before")] = None,
) -> Response:
    """Every answer of optimize, newest first, with its inputs' fingerprint, twin and outcome."""
    app.catalog.plant(plant)
    app.recorder.flush()
    query = select(RecommendationRow).where(RecommendationRow.plant == plant)
    if after is not None:
        query = query.where(RecommendationRow.id < after)
    with app.db.read() as session:
        rows = session.scalars(query.order_by(RecommendationRow.id.desc()).limit(limit + 1)).all()
    return page([_answer(row) for row in rows], limit, "id")


@router.get("/{plant}/recommendations/{recommendation}", response_model=RecommendationAnswer)
def get_recommendation(app: App, _: Reader, plant: PlantSlug, recommendation: Recommendation) -> Response:
    """One answer of optimize: what was asked, everything else that it depended on, and the outcome."""
    return json_answer(_answer(_row(app, plant, recommendation)))


@router.post(
    "/{plant}/recommendations/{recommendation}/replay", response_model=ReplayAnswer, openapi_extra=body(REPLAY)
)
def replay_recommendation(
    app: App, _: Reader, plant: PlantSlug, recommendation: Recommendation, body: ReplayBody
) -> Response:
    """Compute an answer again from the rows, twin, calibration and limits of then, with as many iterations: is it the
    same? Nothing is logged."""
    return json_answer(replay(app, _row(app, plant, recommendation)))


def _row(app: Service, slug: str, recommendation: int) -> RecommendationRow:
    app.catalog.plant(slug)
    app.recorder.flush()
    with app.db.read() as session:
        row = session.get(RecommendationRow, recommendation)
    if row is None or row.plant != slug:
        raise NotFoundError(f"plant '{slug}' has no recommendation {recommendation}")
    return row


def _answer(row: RecommendationRow) -> dict[str, object]:
    fields = ("id", "plant", "twin", "key", "fingerprint", "request", "outcome", "created")
    return {name: getattr(row, name) for name in fields}
