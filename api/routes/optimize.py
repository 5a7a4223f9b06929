"""Plans under limits; every answer goes to the log of recommendations."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd
from fastapi import APIRouter, Response

from api.answers import OptimizeAnswer, json_answer
from api.deps import App, Optimizer, PlantSlug
from api.examples import OPTIMIZE, body
from api.questions import served_twin
from api.routes.predict import steps
from api.schemas import ObjectiveBody, OptimizeBody
from api.security import Key
from api.tables import RecommendationRow
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.telemetry import Telemetry

router = APIRouter(prefix="/v1/plants", tags=["optimize"])

LOGGED = ("status", "status_detail", "at", "next", "moves", "cost", "certificate", "trust", "solve_ms", "iterations")


@router.post("/{plant}/optimize", response_model=OptimizeAnswer, openapi_extra=body(OPTIMIZE))
def optimize(app: App, key: Optimizer, plant: PlantSlug, body: OptimizeBody) -> Response:
    """The best moves under the limits; always 200 with a status: optimal, feasible, relaxed or abstained."""
    twin = served_twin(app, plant, body.twin)
    history, version = app.histories.of(plant, twin, body.at, body.history)
    answer = plan(
        twin,
        history,
        _objective(body.objective),
        {tag: Limit(**limit.model_dump()) for tag, limit in body.limits.items()},
        horizon_s=body.horizon_s,
        disturbances=steps(body.disturbances),
        control_horizon_s=body.control_horizon_s,
        hold_mvs=body.hold_mvs,
        beyond_trained_range=body.beyond_trained_range,
        solver=body.solver,
        coverage=body.coverage,
        deadline_ms=body.deadline_ms,
        max_age_s=body.max_age_s,
        now=None if body.at is None else pd.Timestamp(body.at),
        state=body.state,
    ).to_json()
    answer["data_version"] = version
    app.recorder.add(_recommendation(plant, key, body, history, answer))
    app.metrics.solves.labels(plant, answer["status"]).inc()
    app.metrics.solve_seconds.labels(plant).observe(answer["solve_ms"] / 1e3)
    return json_answer(answer)


def _objective(body: ObjectiveBody) -> Objective:
    setpoints = {tag: Setpoint(s.value, s.trajectory, s.weight) for tag, s in body.setpoints.items()}
    return Objective(setpoints, body.prices, body.move_suppression)


def _recommendation(
    slug: str, key: Key, body: OptimizeBody, history: Telemetry, answer: dict[str, Any]
) -> RecommendationRow:
    """What was asked and answered, and a fingerprint of all that the answer depends on."""
    text = body.model_dump_json(exclude_unset=True)
    digest = hashlib.sha256(f"{answer['twin']} {text}".encode())
    digest.update(history.times.tobytes())
    digest.update(history.values.tobytes())
    request = body.model_dump(mode="json", exclude_unset=True)
    request |= {"twin": answer["twin"], "at": answer["at"], "data_version": answer["data_version"]}
    outcome = {name: answer[name] for name in LOGGED}
    return RecommendationRow(
        plant=slug, twin=answer["twin"], key=key.id, fingerprint=digest.hexdigest(), request=request, outcome=outcome
    )
