"""What is sent and answered, as the OpenAPI document says.

Written by `python tests/api/client/types_of_openapi.py`; a test fails where it is not up to date. An answer may hold
more than its type names.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class AliasAnswer(TypedDict):
    """What an alias names."""

    plant: str
    alias: str
    twin: str
    changed: str


class AliasBody(TypedDict):
    """`PUT /v1/plants/{plant}/aliases/{alias}`."""

    twin: str


class AuditAnswer(TypedDict):
    """An entry of the audit log."""

    id: int
    at: str
    key: str
    action: str
    subject: str
    detail: dict[str, Any]
    digest: str | None


class AuditVerdictAnswer(TypedDict):
    """Whether the audit log is what was written; note `head` elsewhere."""

    ok: bool
    entries: int
    head: str
    problems: list[str]


class BacktestAnswer(TypedDict):
    """Twins on the same rows, which none of them was trained on; `comparisons` are with the one asked about."""

    plant: str
    twin: str
    start: str
    end: str
    windows: int
    coverage: float
    times_s: list[float]
    horizons: list[int]
    twins: dict[str, dict[str, Any]]
    comparisons: list[dict[str, Any]]


class BacktestBody(TypedDict):
    """`POST /v1/plants/{plant}/twins/{twin}/backtest`."""

    start: NotRequired[str | None]
    end: NotRequired[str | None]
    against: NotRequired[list[str] | None]
    coverage: NotRequired[float]


class BandAnswer(TypedDict):
    """One CV over the horizon."""

    mean: list[float]
    low: list[float]
    high: list[float]


class CalibrateBody(TypedDict):
    """`POST /v1/plants/{plant}/twins/{twin}/calibration`."""

    start: NotRequired[str | None]
    end: NotRequired[str | None]


class CalibrationAnswer(TypedDict):
    """How far plans stay inside the limits of each CV, at a coverage, beside what the open-loop bands would ask."""

    calibration: str
    twin: str
    source: str
    windows: int
    start: str
    end: str
    created: str
    coverage: float
    times_s: list[float]
    margins: dict[str, dict[str, Any]]


class ControlReportAnswer(TypedDict):
    """How a controller did over a span (`api.control.report`)."""

    cycles: int
    service_factor: float | None


class ControllerAnswer(TypedDict):
    """A plant's controller: `running` where it reported lately; `state` is what it said, `wanted` what it was asked."""

    plant: str
    running: bool
    seen: str | None
    state: dict[str, Any] | None
    wanted: dict[str, Any] | None


class ControllerBody(TypedDict):
    """`PUT /v1/plants/{plant}/controller`: what is wanted of the running controller; what is left out stays."""

    mode: NotRequired[Literal["off", "shadow", "advisory", "closed"] | None]
    confirm: NotRequired[str | None]
    setpoints: NotRequired[dict[str, float]]
    reason: NotRequired[str]


class ControllerRecordAnswer(TypedDict):
    """A cycle, a change of mode or of setpoints."""

    id: int
    kind: str
    run: str
    n: int
    at: str


class ControllerReportAnswer(TypedDict):
    """What a controller is to do: the last request, with its age."""

    wanted: dict[str, Any] | None


class ControllerReportBody(TypedDict):
    """`POST /v1/plants/{plant}/controller/cycles`: what a running controller reports."""

    run: str
    state: dict[str, Any]
    records: NotRequired[list[dict[str, Any]]]


class DriftAnswer(TypedDict):
    """Whether a twin is to be trained again: `status` is stable, watch, retrain, or unknown (too few rows since)."""

    plant: str
    twin: str
    status: Literal["stable", "watch", "retrain", "unknown"]
    detail: str
    reasons: list[dict[str, Any]]
    start: str | None
    end: str | None
    rows: int
    windows: int
    cvs: dict[str, dict[str, Any]]
    outside: float | None
    beyond: dict[str, float]
    timeline: dict[str, Any]


class ExcludeBody(TypedDict):
    """Rows not to learn from: a span of time, or those in which a tag is below or above a value."""

    start: NotRequired[str | None]
    end: NotRequired[str | None]
    tag: NotRequired[str | None]
    below: NotRequired[float | None]
    above: NotRequired[float | None]
    after_s: NotRequired[float | None]
    note: NotRequired[str | None]


class FileAnswer(TypedDict):
    """A file that arrives in parts: bytes it has and bytes that are here; its receipt when it is stored."""

    file: str
    length: int
    offset: int
    receipt: ReceiptAnswer | None


class FleetAnswer(TypedDict):
    """A fleet: its units, its tags, and in `card` the errors of units that it had not seen."""

    fleet: str
    version: str
    units: list[dict[str, Any]]
    tags: list[dict[str, Any]]
    sample_period_s: float
    horizon_s: float
    card: dict[str, Any]


class FleetBody(TypedDict):
    """`POST /v1/fleets/{fleet}`."""

    units: list[FleetUnit]
    horizon_s: NotRequired[float | None]
    budget_s: NotRequired[float | None]
    seed: NotRequired[int | None]


class FleetUnit(TypedDict):
    """A plant that a fleet is to learn from."""

    plant: str
    tags: NotRequired[dict[str, str]]
    start: NotRequired[str | None]
    end: NotRequired[str | None]


class HierarchyAnswer(TypedDict):
    """A plan at two time scales: which one is used and why, the slow plan, and the flat one beside it."""

    used: Literal["hierarchical", "flat"]
    why: str
    measure: str
    cost: dict[str, float]
    outside_limits: dict[str, float]
    flat: dict[str, Any]
    guided: dict[str, Any] | None
    slow: dict[str, Any]


class History(TypedDict):
    """Measured rows, the last of which is `at`; missing is null."""

    times: list[str]
    values: dict[str, list[float | None]]


class JobAnswer(TypedDict):
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
    created: str
    started: str | None
    finished: str | None


class KeyAnswer(TypedDict):
    """A key; its text is told once, when it is made."""

    id: str
    name: str
    scopes: list[str]
    plants: list[str] | None
    created: str
    expires: str | None


class KeyBody(TypedDict):
    """`POST /v1/keys`."""

    name: str
    scopes: list[Literal["read", "upload", "train", "predict", "optimize", "control", "admin"]]
    expires: NotRequired[str | None]
    plants: NotRequired[list[str] | None]


class LimitBody(TypedDict):
    """A limit of this request; it can tighten the plant's, never widen them."""

    low: NotRequired[float | None]
    high: NotRequired[float | None]
    rate_per_s: NotRequired[float | None]
    rank: NotRequired[int | None]
    hard: NotRequired[bool | None]
    max_move: NotRequired[float | None]
    ramp_s: NotRequired[float | None]


class LogAnswer(TypedDict):
    """A line of the log of a job."""

    id: int
    at: str
    level: Literal["info", "warning", "error"]
    message: str


class ObjectiveBody(TypedDict):
    """What is wanted."""

    setpoints: NotRequired[dict[str, SetpointBody]]
    prices: NotRequired[dict[str, float | list[float]]]
    move_suppression: NotRequired[dict[str, float]]
    zones: NotRequired[dict[str, ZoneBody]]
    steady_state: NotRequired[dict[str, SteadyBody]]
    terminal_weight: NotRequired[float]


class OperatingPointBody(TypedDict):
    """`POST /v1/plants/{plant}/twins/{twin}/step-responses`."""

    at: NotRequired[str | None]
    history: NotRequired[History | None]


class OptimizeAnswer(TypedDict):
    """A plan: read `status` first."""

    status: Literal["optimal", "feasible", "relaxed", "abstained"]
    status_detail: str
    twin: str
    calibration: str | None
    at: str | None
    times: list[str]
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


class OptimizeBody(TypedDict):
    """`POST /v1/plants/{plant}/optimize`."""

    twin: NotRequired[str]
    at: NotRequired[str | None]
    history: NotRequired[History | None]
    horizon_s: float
    objective: ObjectiveBody
    limits: NotRequired[dict[str, LimitBody]]
    disturbances: NotRequired[dict[str, list[StepBody]]]
    control_horizon_s: NotRequired[float | None]
    hold_mvs: NotRequired[list[str]]
    manual_mvs: NotRequired[dict[str, list[StepBody] | None]]
    critical: NotRequired[list[str] | None]
    beyond_trained_range: NotRequired[bool]
    solver: NotRequired[str]
    coverage: NotRequired[float]
    deadline_ms: NotRequired[float | None]
    max_age_s: NotRequired[float | None]
    hierarchy: NotRequired[bool | None]
    state: NotRequired[dict[str, Any] | None]


class PlantAnswer(TypedDict):
    """A plant at one of its versions."""

    plant: str
    version: int
    name: str
    sample_period_s: float
    tags: list[dict[str, Any]]
    aliases: dict[str, str]
    created: str
    changed: str


class PlantBody(TypedDict):
    """`PUT /v1/plants/{plant}`."""

    name: str
    sample_period_s: float
    tags: list[TagBody]


class PredictAnswer(TypedDict):
    """The no-move baseline, in which DVs do what the twin expects of them, and every scenario."""

    twin: str
    at: str
    times: list[str]
    coverage: float
    disturbances: dict[str, list[float]]
    baseline: dict[str, BandAnswer]
    scenarios: list[ScenarioAnswer]
    trust: TrustAnswer
    scales: list[ScaleAnswer]


class PredictBody(TypedDict):
    """`POST /v1/plants/{plant}/predict`."""

    twin: NotRequired[str]
    at: NotRequired[str | None]
    history: NotRequired[History | None]
    horizon_s: float
    moves: NotRequired[dict[str, list[StepBody]]]
    disturbances: NotRequired[dict[str, list[StepBody]]]
    scenarios: NotRequired[list[ScenarioBody]]
    coverage: NotRequired[float]
    scale: NotRequired[Literal["auto", "fast", "slow"]]


class ProblemAnswer(TypedDict):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, Any]]


class RangeBody(TypedDict):
    """Where a tag is to stay."""

    low: NotRequired[float | None]
    high: NotRequired[float | None]


class ReadyAnswer(TypedDict):
    """Whether questions can be answered at once; if not, what is still to come."""

    ready: bool
    reasons: list[str]


class ReceiptAnswer(TypedDict):
    """What became of an upload: received = stored + duplicate + rejected."""

    upload: str
    rows_received: int
    rows_stored: int
    rows_duplicate: int
    rows_replaced: int
    rows_rejected: int
    rejected: list[dict[str, Any]]
    first_time: str | None
    last_time: str | None
    unknown_tags: list[str]
    version: int


class RecommendationAnswer(TypedDict):
    """One answer of optimize, with what is needed to compute it again."""

    id: int
    plant: str
    twin: str
    key: str
    fingerprint: str
    request: dict[str, Any]
    outcome: dict[str, Any]
    created: str


class RemedyAnswer(TypedDict):
    """One change that alone, to first order, would make a limit keepable that the plan does not keep."""

    tag: str
    side: Literal["low", "high"]
    kind: Literal["limit", "bound", "trained_range", "rate", "move", "release", "later"]
    of: str
    now: float | None
    to: float | None
    detail: str


class ReplayAnswer(TypedDict):
    """An answer computed again; `differences` names each field that is not as logged."""

    recommendation: int
    same: bool
    differences: list[dict[str, Any]]
    software: dict[str, Any]
    answer: dict[str, Any]


class ReplayBody(TypedDict):
    """`POST /v1/plants/{plant}/recommendations/{id}/replay`: nothing can be changed."""


class ScaleAnswer(TypedDict):
    """Rows of a forecast in their order; those of the slow scale are means of the period that ends at their time."""

    scale: Literal["fast", "slow"]
    period_s: float
    rows: int


class ScenarioAnswer(TypedDict):
    """What one scenario does. Of the DVs in `unannounced` nobody said what they will do: the twin expects it."""

    name: str
    moves: dict[str, list[float]]
    disturbances: dict[str, list[float]]
    unannounced: list[str]
    cvs: dict[str, BandAnswer]
    change: dict[str, list[float]]
    clipped: list[dict[str, Any]]
    trust: TrustAnswer


class ScenarioBody(TypedDict):
    """What would be moved, and what DVs are known to do; of a DV that is not named the twin says what it expects."""

    name: str
    moves: NotRequired[dict[str, list[StepBody]]]
    disturbances: NotRequired[dict[str, list[StepBody]]]


class SeriesAnswer(TypedDict):
    """Measured rows; missing is null."""

    times: list[str]
    values: dict[str, list[float | None]]


class SetpointBody(TypedDict):
    """A target of a CV: one value, or one a period."""

    value: NotRequired[float | None]
    trajectory: NotRequired[list[float] | None]
    weight: NotRequired[float]


class SourceBody(TypedDict):
    """How a source fares; `last_time` is in nanoseconds since 1970, the counts are since its collector started."""

    name: str
    kind: str
    connected: bool
    received: int
    refused: int
    reconnects: int
    gaps: int
    last_time: int
    lag_s: float
    skew_s: float
    last_error: str
    buffered: int
    buffered_bytes: int
    full: bool


class SourcesAnswer(TypedDict):
    """How the sources of a plant fare."""

    sources: list[dict[str, Any]]


class SourcesBody(TypedDict):
    """The sources of one collector."""

    sources: list[SourceBody]


class SteadyBody(TypedDict):
    """Where a CV is to tend to, or an MV to come to rest, at the end of the horizon."""

    value: float
    weight: NotRequired[float]


class StepBody(TypedDict):
    """A value that holds from `after_s` seconds after `at` until the next one."""

    after_s: float
    value: float


class StepResponsesAnswer(TypedDict):
    """What a step of each MV does to each CV."""

    times_s: list[float]
    responses: dict[str, dict[str, BandAnswer]]
    gains: dict[str, Any]
    dead_times_s: dict[str, Any]
    settling_times_s: dict[str, Any]


class StepTestAnswer(TypedDict):
    """A schedule of moves; `mvs` says how each was chosen, `cvs` how far each CV is expected to go."""

    twin: str | None
    signal: str
    times: list[str]
    moves: dict[str, list[float]]
    mvs: dict[str, Any]
    correlation: float
    cvs: dict[str, dict[str, float]]
    notes: list[str]


class StepTestBody(TypedDict):
    """`POST /v1/plants/{plant}/step-tests`."""

    twin: NotRequired[str | None]
    at: NotRequired[str | None]
    history: NotRequired[History | None]
    present: NotRequired[dict[str, float]]
    settling_s: NotRequired[float | dict[str, float] | None]
    length_s: NotRequired[float | None]
    signal: NotRequired[Literal["gbn", "prbs"]]
    mvs: NotRequired[list[str] | None]
    amplitude: NotRequired[dict[str, float]]
    limits: NotRequired[dict[str, RangeBody]]
    seed: NotRequired[int]


class TagBody(TypedDict):
    """One tag of a plant."""

    name: str
    role: Literal["mv", "dv", "cv", "ov"]
    unit: NotRequired[str]
    low: NotRequired[float | None]
    high: NotRequired[float | None]
    limit_low: NotRequired[float | None]
    limit_high: NotRequired[float | None]
    rate_limit_per_s: NotRequired[float | None]
    dead_time_s: NotRequired[float | None]
    description: NotRequired[str]
    formula: NotRequired[str | None]
    shape: NotRequired[list[int] | None]


class TrainBody(TypedDict):
    """`POST /v1/plants/{plant}/twins`."""

    start: NotRequired[str | None]
    end: NotRequired[str | None]
    horizon_s: NotRequired[float | None]
    budget_s: NotRequired[float | None]
    seed: NotRequired[int | None]
    from_twin: NotRequired[str | None]
    from_fleet: NotRequired[str | None]
    fleet_tags: NotRequired[dict[str, str] | None]
    exclude: NotRequired[list[ExcludeBody]]
    options: NotRequired[TrainOptions]


class TrainOptions(TypedDict):
    """What an expert may change; a good twin needs none of it."""

    pure: NotRequired[bool | None]
    gain_sign: NotRequired[dict[str, dict[str, int]] | None]
    hierarchy: NotRequired[bool | None]
    slow_stride: NotRequired[int | None]


class TrustAnswer(TypedDict):
    """A verdict on this answer."""

    in_distribution: bool
    score: float
    reasons: list[dict[str, Any]]


class TwinAnswer(TypedDict):
    """A trained version."""

    twin: str
    plant: str
    plant_version: int
    data_version: int
    aliases: list[str]
    job: str
    created: str


class ZoneBody(TypedDict):
    """Where a CV costs nothing: outside it costs the square of how far."""

    low: NotRequired[float | None]
    high: NotRequired[float | None]
    weight: NotRequired[float]
