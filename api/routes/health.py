"""Whether the service lives and is ready, and what Prometheus scrapes. No key is needed."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.deps import App
from api.http.answers import ReadyAnswer, json_answer

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return json_answer({"status": "ok", "version": version("plant-twin")})


@router.get(
    "/readyz",
    response_model=ReadyAnswer,
    responses={503: {"model": ReadyAnswer, "description": "not ready yet: the database is away, or champions compile"}},
)
def readyz(app: App) -> Response:
    """The database answers and the champions are compiled; 503 with the reasons until then."""
    reasons = app.registry.pending()
    return json_answer({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


@router.get("/metrics", response_class=Response)
def metrics(app: App) -> Response:
    """Requests, latency, solves, jobs and rows in the text format of Prometheus."""
    for state, count in app.jobs.count().items():
        app.metrics.jobs.labels(state).set(count)
    return Response(generate_latest(app.metrics.registry), media_type=CONTENT_TYPE_LATEST)
