"""The log of what optimize has answered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy import select

from api.answers import Page, RecommendationAnswer
from api.deps import App, Limit, PlantSlug, Reader, page
from api.tables import RecommendationRow

router = APIRouter(prefix="/v1/plants", tags=["optimize"])


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


def _answer(row: RecommendationRow) -> dict[str, object]:
    fields = ("id", "plant", "twin", "key", "fingerprint", "request", "outcome", "created")
    return {name: getattr(row, name) for name in fields}
