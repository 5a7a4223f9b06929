"""What-if: forecasts with calibrated bands, without moves and under each scenario."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import App, PlantSlug, Predictor
from api.http.answers import PredictAnswer, json_answer
from api.http.examples import PREDICT, body
from api.http.schemas import PredictBody, ScenarioBody
from api.questions import served_twin, steps
from twin.errors import QuestionError
from twin.hierarchy.forecast import forecast
from twin.predict import Scenario

router = APIRouter(prefix="/v1/plants", tags=["predict"])


@router.post("/{plant}/predict", response_model=PredictAnswer, openapi_extra=body(PREDICT))
def predict(app: App, _: Predictor, plant: PlantSlug, body: PredictBody) -> Response:
    """What the CVs will do if nothing moves, and what they would do under each scenario."""
    twin = served_twin(app, plant, body.twin)
    history, version = app.histories.of(plant, twin, body.at, body.history)
    answer = forecast(twin, history, body.horizon_s, _scenarios(body), body.coverage, body.scale)
    return json_answer({**answer.to_json(), "data_version": version})


def _scenarios(body: PredictBody) -> list[Scenario]:
    scenarios = list(body.scenarios)
    if body.moves or body.disturbances:
        scenarios.insert(0, ScenarioBody(name="moves", moves=body.moves, disturbances=body.disturbances))
    names = [scenario.name for scenario in scenarios]
    if len(set(names)) < len(names):
        raise QuestionError.at(("scenarios",), "two have one name")
    return [Scenario(s.name, steps(s.moves), steps(s.disturbances)) for s in scenarios]
