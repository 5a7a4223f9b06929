"""The answers of REST contract v1, for OpenAPI; the routes serialise them without validating them again."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import pydantic_core
from fastapi import Response
from pydantic import BaseModel, ConfigDict

Item = TypeVar("Item")


def json_answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON; a value that is not finite becomes null."""
    content = pydantic_core.to_json(body, inf_nan_mode="null")
    return Response(content, status, headers, media_type="application/json")


class Answer(BaseModel):
    """The base of every answer; clients must expect further fields."""

    model_config = ConfigDict(extra="allow")


class Page(Answer, Generic[Item]):
    """Part of a list; `next` is the `after` that continues it, null at the end."""

    items: list[Item]
    next: str | None


class ProblemAnswer(Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, Any]]


class ReadyAnswer(Answer):
    """Whether questions can be answered at once; if not, what is still to come."""

    ready: bool
    reasons: list[str]


class PlantAnswer(Answer):
    """A plant at one of its versions."""

    plant: str
    version: int
    name: str
    sample_period_s: float
    tags: list[dict[str, Any]]
    aliases: dict[str, str]
    created: datetime
    changed: datetime


class ReceiptAnswer(Answer):
    """What became of an upload: received = stored + duplicate + rejected."""

    upload: str
    rows_received: int
    rows_stored: int
    rows_duplicate: int
    rows_replaced: int
    rows_rejected: int
    rejected: list[dict[str, Any]]
    first_time: datetime | None
    last_time: datetime | None
    unknown_tags: list[str]
    version: int


class SourcesAnswer(Answer):
    """How the sources of a plant fare."""

    sources: list[dict[str, Any]]


class FileAnswer(Answer):
    """A file that arrives in parts: bytes it has and bytes that are here; its receipt when it is stored."""

    file: str
    length: int
    offset: int
    receipt: ReceiptAnswer | None


class AuditAnswer(Answer):
    """An entry of the audit log."""

    id: int
    at: datetime
    key: str
    action: str
    subject: str
    detail: dict[str, Any]
    digest: str | None


class AuditVerdictAnswer(Answer):
    """Whether the audit log is what was written; note `head` elsewhere."""

    ok: bool
    entries: int
    head: str
    problems: list[str]


class SeriesAnswer(Answer):
    """Measured rows; missing is null."""

    times: list[datetime]
    values: dict[str, list[float | None]]


class JobAnswer(Answer):
    """A job; `eta_s` is the remaining time, `progress` goes from 0 to 1; `fleet` is the one it learns, or null."""

    job: str
    plant: str
    fleet: str | None
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: float
    eta_s: float | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    attempts: int
    created: datetime
    started: datetime | None
    finished: datetime | None


class FleetAnswer(Answer):
    """A fleet: its units, its tags, and in `card` the errors of units that it had not seen."""

    fleet: str
    version: str
    units: list[dict[str, Any]]
    tags: list[dict[str, Any]]
    sample_period_s: float
    horizon_s: float
    card: dict[str, Any]


class LogAnswer(Answer):
    """A line of the log of a job."""

    id: int
    at: datetime
    level: Literal["info", "warning", "error"]
    message: str


class TwinAnswer(Answer):
    """A trained version."""

    twin: str
    plant: str
    plant_version: int
    data_version: int
    aliases: list[str]
    job: str
    created: datetime


class AliasAnswer(Answer):
    """What an alias names."""

    plant: str
    alias: str
    twin: str
    changed: datetime


class BandAnswer(Answer):
    """One CV over the horizon."""

    mean: list[float]
    low: list[float]
    high: list[float]


class TrustAnswer(Answer):
    """A verdict on this answer."""

    in_distribution: bool
    score: float
    reasons: list[dict[str, Any]]


class ScenarioAnswer(Answer):
    """What one scenario does. Of the DVs in `unannounced` nobody said what they will do: the twin expects it."""

    name: str
    moves: dict[str, list[float]]
    disturbances: dict[str, list[float]]
    unannounced: list[str]
    cvs: dict[str, BandAnswer]
    change: dict[str, list[float]]
    clipped: list[dict[str, Any]]
    trust: TrustAnswer


class ScaleAnswer(Answer):
    """Rows of a forecast in their order; those of the slow scale are means of the period that ends at their time."""

    scale: Literal["fast", "slow"]
    period_s: float
    rows: int


class PredictAnswer(Answer):
    """The no-move baseline, in which DVs do what the twin expects of them, and every scenario."""

    twin: str
    at: datetime
    times: list[datetime]
    coverage: float
    disturbances: dict[str, list[float]]
    baseline: dict[str, BandAnswer]
    scenarios: list[ScenarioAnswer]
    trust: TrustAnswer
    scales: list[ScaleAnswer]


class RemedyAnswer(Answer):
    """One change that alone, to first order, would make a limit keepable that the plan does not keep."""

    tag: str
    side: Literal["low", "high"]
    kind: Literal["limit", "bound", "trained_range", "rate", "move", "release", "later"]
    of: str
    now: float | None
    to: float | None
    detail: str


class HierarchyAnswer(Answer):
    """A plan at two time scales: which one is used and why, the slow plan, and the flat one beside it."""

    used: Literal["hierarchical", "flat"]
    why: str
    measure: str
    cost: dict[str, float]
    outside_limits: dict[str, float]
    flat: dict[str, Any]
    guided: dict[str, Any] | None
    slow: dict[str, Any]


class OptimizeAnswer(Answer):
    """A plan: read `status` first."""

    status: Literal["optimal", "feasible", "relaxed", "abstained"]
    status_detail: str
    twin: str
    calibration: str | None
    at: datetime | None
    times: list[datetime]
    moves: dict[str, list[float | None]]
    next: dict[str, float | None] | None
    disturbances: dict[str, list[float]]
    unannounced: list[str]
    cvs: dict[str, BandAnswer]
    cost: dict[str, Any] | None
    certificate: list[dict[str, Any]]
    remedies: list[RemedyAnswer]
    trust: TrustAnswer
    solve_ms: float
    iterations: int
    residual: float | None
    hierarchy: HierarchyAnswer | None


class StepResponsesAnswer(Answer):
    """What a step of each MV does to each CV."""

    times_s: list[float]
    responses: dict[str, dict[str, BandAnswer]]
    gains: dict[str, Any]
    dead_times_s: dict[str, Any]
    settling_times_s: dict[str, Any]


class StepTestAnswer(Answer):
    """A schedule of moves; `mvs` says how each was chosen, `cvs` how far each CV is expected to go."""

    twin: str | None
    signal: str
    times: list[datetime]
    moves: dict[str, list[float]]
    mvs: dict[str, Any]
    correlation: float
    cvs: dict[str, dict[str, float]]
    notes: list[str]


class RecommendationAnswer(Answer):
    """One answer of optimize, with what is needed to compute it again."""

    id: int
    plant: str
    twin: str
    key: str
    fingerprint: str
    request: dict[str, Any]
    outcome: dict[str, Any]
    created: datetime


class ReplayAnswer(Answer):
    """An answer computed again; `differences` names each field that is not as logged."""

    recommendation: int
    same: bool
    differences: list[dict[str, Any]]
    software: dict[str, Any]
    answer: dict[str, Any]


class CalibrationAnswer(Answer):
    """How far plans stay inside the limits of each CV, at a coverage, beside what the open-loop bands would ask."""

    calibration: str
    twin: str
    source: str
    windows: int
    start: datetime
    end: datetime
    created: datetime
    coverage: float
    times_s: list[float]
    margins: dict[str, dict[str, Any]]


class BacktestAnswer(Answer):
    """Twins on the same rows, which none of them was trained on; `comparisons` are with the one asked about."""

    plant: str
    twin: str
    start: datetime
    end: datetime
    windows: int
    coverage: float
    times_s: list[float]
    horizons: list[int]
    twins: dict[str, dict[str, Any]]
    comparisons: list[dict[str, Any]]


class DriftAnswer(Answer):
    """Whether a twin is to be trained again: `status` is stable, watch, retrain, or unknown (too few rows since)."""

    plant: str
    twin: str
    status: Literal["stable", "watch", "retrain", "unknown"]
    detail: str
    reasons: list[dict[str, Any]]
    start: datetime | None
    end: datetime | None
    rows: int
    windows: int
    cvs: dict[str, dict[str, Any]]
    outside: float | None
    beyond: dict[str, float]
    timeline: dict[str, Any]


class KeyAnswer(Answer):
    """A key; its text is told once, when it is made."""

    id: str
    name: str
    scopes: list[str]
    plants: list[str] | None
    created: datetime
    expires: datetime | None


class ControllerAnswer(Answer):
    """A plant's controller: `running` where it reported lately; `state` is what it said, `wanted` what it was asked."""

    plant: str
    running: bool
    seen: datetime | None
    state: dict[str, Any] | None
    wanted: dict[str, Any] | None


class ControllerReportAnswer(Answer):
    """What a controller is to do: the last request, with its age."""

    wanted: dict[str, Any] | None


class ControllerRecordAnswer(Answer):
    """A cycle, a change of mode or of setpoints."""

    id: int
    kind: str
    run: str
    n: int
    at: datetime


class ControlReportAnswer(Answer):
    """How a controller did over a span (`api.control.report`)."""

    cycles: int
    service_factor: float | None
