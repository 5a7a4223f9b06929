"""A recommendation: all that an answer of optimize depends on, the answer, and the same answer once more."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from api.access.security import Key
from api.http.schemas import ObjectiveBody, OptimizeBody
from api.questions import served, steps, under_limits_of
from api.records.tables import RecommendationRow
from api.service import Service
from twin.artifact import Twin, libraries
from twin.errors import ConflictError, NotFoundError
from twin.hierarchy.planning import LayeredPlan, plan
from twin.limits import Limit
from twin.objective import Objective, Setpoint, Steady, Zone
from twin.optimize import Plan
from twin.planning.backoff import BackOff
from twin.telemetry import Telemetry
from twin.timeline import Step

LOGGED = (
    "status", "status_detail", "at", "next", "moves", "cost", "certificate", "remedies", "trust", "solve_ms",
    "iterations", "hierarchy",
)  # fmt: skip
COMPARED = tuple(name for name in LOGGED if name != "solve_ms")


@dataclass(frozen=True)
class Inputs:
    """What an answer depends on beside the request: all of it is logged.

    Attributes:
        plant_version: whose limits hold.
        data_version: of the telemetry read; None where the request brought its history.
        now: that the history's age is judged against.
    """

    twin: Twin
    back_off: BackOff | None
    history: Telemetry
    plant_version: int
    data_version: int | None
    now: pd.Timestamp | None


def inputs(app: Service, slug: str, body: OptimizeBody) -> Inputs:
    """What there is now.

    Raises:
        NotFoundError, ConflictError: no such plant or twin, or one that no longer fits.
    """
    twin, plant_version = served(app, slug, body.twin)
    history, version = app.histories.of(slug, twin, body.at, body.history)
    now = None if body.at is None else pd.Timestamp(body.at)
    if now is None and body.max_age_s is not None:
        now = pd.Timestamp.now("UTC")
    return Inputs(twin, app.calibrations.latest(twin.id), history, plant_version, version, now)


def compute(given: Inputs, body: OptimizeBody, looks: int | list[int] | None = None) -> Plan | LayeredPlan:
    """The plan.

    Args:
        looks: of an earlier plan to make again.
    """
    return plan(
        given.twin,
        given.history,
        _objective(body.objective),
        {tag: Limit(**limit.model_dump()) for tag, limit in body.limits.items()},
        horizon_s=body.horizon_s,
        hierarchy=body.hierarchy,
        disturbances=steps(body.disturbances),
        control_horizon_s=body.control_horizon_s,
        hold_mvs=body.hold_mvs,
        manual_mvs=_manual(body),
        critical=body.critical,
        beyond_trained_range=body.beyond_trained_range,
        solver=body.solver,
        coverage=body.coverage,
        deadline_ms=body.deadline_ms,
        max_age_s=body.max_age_s,
        now=given.now,
        state=body.state,
        back_off=given.back_off,
        looks=looks,
    )


def record(
    slug: str, key: Key, body: OptimizeBody, given: Inputs, made: Plan | LayeredPlan, answer: dict[str, Any]
) -> RecommendationRow:
    """What was asked and answered, and a fingerprint of all that the answer depends on."""
    text = body.model_dump_json(exclude_unset=True)
    calibration = None if given.back_off is None else given.back_off.id
    digest = hashlib.sha256(f"{answer['twin']} {calibration} {text}".encode())
    digest.update(given.history.times.tobytes())
    digest.update(given.history.values.tobytes())
    request = body.model_dump(mode="json", exclude_unset=True)
    request["inputs"] = {
        "twin": request.get("twin"),
        "at": request.get("at"),
        "now": None if given.now is None else given.now.isoformat(),
        "plant_version": given.plant_version,
        "calibration": calibration,
        "looks": made.looks,
        "software": libraries(),
    }
    request |= {"twin": answer["twin"], "at": answer["at"], "data_version": given.data_version}
    outcome = {name: answer[name] for name in LOGGED}
    return RecommendationRow(
        plant=slug, twin=answer["twin"], key=key.id, fingerprint=digest.hexdigest(), request=request, outcome=outcome
    )


def replay(app: Service, row: RecommendationRow) -> dict[str, Any]:
    """The same plan computed again, from the same rows, twin, calibration and limits, with the same iterations.

    Raises:
        ConflictError: what it takes is no longer there.
    """
    logged = row.request.get("inputs")
    if logged is None:
        raise ConflictError(f"recommendation {row.id} was logged by a version that did not keep what a replay takes")
    asked = {name: value for name, value in row.request.items() if name in OptimizeBody.model_fields}
    asked = {**asked, "twin": row.twin, "at": logged["at"]}
    body = OptimizeBody.model_validate({name: value for name, value in asked.items() if value is not None})
    try:
        given = _as_of(app, row, body, logged)
    except NotFoundError as error:
        raise ConflictError(f"recommendation {row.id} cannot be computed again: {error.detail}") from None
    answer = {"hierarchy": None, **compute(given, body, logged["looks"]).to_json()}
    answer["data_version"] = given.data_version
    answer = json.loads(json.dumps(answer))  # as the log holds it
    found = [_difference(name, row.outcome[name], answer[name]) for name in COMPARED if name in row.outcome]
    differences = [difference for difference in found if difference is not None]
    return {
        "recommendation": row.id,
        "same": not differences,
        "differences": differences,
        "software": {"logged": logged["software"], "now": libraries()},
        "answer": answer,
    }


def _as_of(app: Service, row: RecommendationRow, body: OptimizeBody, logged: dict[str, Any]) -> Inputs:
    twin = app.registry.get(row.plant, row.twin)
    plant = under_limits_of(twin, app.catalog.plant(row.plant, logged["plant_version"]).plant)
    twin = twin.under(plant) if plant != twin.plant else twin
    version = row.request["data_version"]
    at: datetime | None = body.at
    history, version = app.histories.of(row.plant, twin, at, body.history, version)
    calibration = logged["calibration"] and app.calibrations.get(logged["calibration"])
    now = None if logged["now"] is None else pd.Timestamp(logged["now"])
    return Inputs(twin, calibration or None, history, logged["plant_version"], version, now)


def _objective(body: ObjectiveBody) -> Objective:
    return Objective(
        {tag: Setpoint(s.value, s.trajectory, s.weight) for tag, s in body.setpoints.items()},
        body.prices,
        body.move_suppression,
        {tag: Zone(**zone.model_dump()) for tag, zone in body.zones.items()},
        {tag: Steady(**steady.model_dump()) for tag, steady in body.steady_state.items()},
        body.terminal_weight,
    )


def _manual(body: OptimizeBody) -> dict[str, list[Step]]:
    return {tag: [Step(s.after_s, s.value) for s in given or []] for tag, given in body.manual_mvs.items()}


def _difference(name: str, logged: Any, now: Any) -> dict[str, Any] | None:
    if logged == now:
        return None
    found = {"field": name, "logged": logged, "now": now}
    if name == "moves" and set(logged) == set(now):
        pairs = [(a, b) for tag in logged for a, b in zip(logged[tag], now[tag], strict=False)]
        found["largest"] = max((abs(a - b) for a, b in pairs if None not in (a, b)), default=None)
    return found
