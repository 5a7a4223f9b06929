"""Plans under limits; every answer goes to the log of recommendations."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import App, Optimizer, PlantSlug
from api.http.answers import OptimizeAnswer, json_answer
from api.http.examples import OPTIMIZE, body
from api.http.schemas import OptimizeBody
from api.recommend import compute, inputs, record

router = APIRouter(prefix="/v1/plants", tags=["optimize"])


@router.post("/{plant}/optimize", response_model=OptimizeAnswer, openapi_extra=body(OPTIMIZE))
def optimize(app: App, key: Optimizer, plant: PlantSlug, body: OptimizeBody) -> Response:
    """The best moves under the limits; always 200 with a status: optimal, feasible, relaxed or abstained."""
    app.recorder.check()
    given = inputs(app, plant, body)
    made = compute(given, body)
    answer = {"hierarchy": None, **made.to_json()}
    answer["data_version"] = given.data_version
    app.recorder.add(record(plant, key, body, given, made, answer))
    app.metrics.solves.labels(plant, answer["status"]).inc()
    app.metrics.solve_seconds.labels(plant).observe(answer["solve_ms"] / 1e3)
    return json_answer(answer)
