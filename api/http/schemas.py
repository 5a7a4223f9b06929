"""The questions of REST contract v1: what each request body may hold.

Everything is strict: a number is not text, `true` is not 1, NaN and infinities are refused, and so is a field
that is not listed. Times are RFC 3339 with an offset; durations end in `_s`; values are in the tag's unit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

FIRST_YEAR, LAST_YEAR = 1700, 2200  # nanoseconds since 1970 reach from 1677 to 2262


def _time(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not value[:4].isdigit():
        raise ValueError("a time is text such as 2026-01-31T08:00:00Z")
    try:
        return datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)  # a `+` of a URL
    except ValueError:
        raise ValueError(f"'{value}' is no RFC 3339 time such as 2026-01-31T08:00:00Z") from None


def _zoned(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("the time has no offset; add Z for UTC, or one such as +01:00")
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"the year must be from {FIRST_YEAR} to {LAST_YEAR}")
    return value


Time = Annotated[
    datetime,
    BeforeValidator(_time),
    AfterValidator(_zoned),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
TagName = Annotated[str, Field(min_length=1, max_length=200)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Coverage = Annotated[float, Field(gt=0, lt=1)]
Scope = Literal["read", "upload", "train", "predict", "optimize", "control", "admin"]


class Question(BaseModel):
    """The base of every request body."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class TagBody(Question):
    """One tag of a plant."""

    name: str
    role: Literal["mv", "dv", "cv", "ov"]
    unit: str = "1"
    low: float | None = Field(default=None, description="an MV's hard limit; of a CV or DV the start of its range")
    high: float | None = Field(default=None, description="an MV's hard limit; of a CV or DV the end of its range")
    limit_low: float | None = Field(default=None, description="operating limit of a CV")
    limit_high: float | None = Field(default=None, description="operating limit of a CV")
    rate_limit_per_s: float | None = Field(default=None, description="largest change of an MV per second")
    dead_time_s: float | None = Field(default=None, description="a hint")
    description: str = ""
    formula: str | None = Field(
        default=None, description="of a calculated CV: arithmetic over other tags, such as {FIC-101.PV} / steam"
    )
    shape: list[int] | None = Field(
        default=None,
        description="of a vector tag (role ov), such as [64] for a spectrum or [24, 32] for an image: the twin reads "
        "its frames; its elements are columns NAME[0], NAME[1], … in row-major order",
    )


class PlantBody(Question):
    """`PUT /v1/plants/{plant}`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    sample_period_s: Positive
    tags: list[TagBody]


Sign = Annotated[int, Field(ge=-1, le=1)]


class TrainOptions(Question):
    """What an expert may change; a good twin needs none of it."""

    pure: bool | None = Field(default=None, description="pure JEPA: the readout learns behind a stop-gradient")
    gain_sign: dict[TagName, dict[TagName, Sign]] | None = Field(
        default=None,
        description="what is known of the process, MV → CV → 1, -1 or 0 (no effect): the twin keeps it, whatever the "
        "telemetry seems to say, and its report says whether it does",
    )
    hierarchy: bool | None = Field(
        default=None, description="a slow model beneath the twin, of averages, for horizons of many settling times"
    )
    slow_stride: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="rows that the slow model averages; by default the dominant settling time decides"
    )


class ExcludeBody(Question):
    """Rows not to learn from: a span of time, or those in which a tag is below or above a value."""

    start: Time | None = None
    end: Time | None = None
    tag: TagName | None = None
    below: float | None = None
    above: float | None = None
    after_s: NotNegative | None = Field(
        default=None, description="the condition is taken to hold so long after it ended"
    )
    note: Annotated[str, Field(max_length=500)] | None = None


class TrainBody(Question):
    """`POST /v1/plants/{plant}/twins`."""

    start: Time | None = Field(default=None, description="the first row to learn from; by default the first there is")
    end: Time | None = Field(default=None, description="the last row to learn from; by default the last there is")
    horizon_s: Positive | None = Field(default=None, description="how far the twin learns to forecast")
    budget_s: Positive | None = Field(default=None, description="how long training may take, about")
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    from_twin: str | None = Field(
        default=None, description="a twin, or an alias, to train on from; a fresh one is trained too, the better kept"
    )
    from_fleet: Slug | None = Field(
        default=None,
        description="a fleet to start from, learnt from similar plants: few rows will do; a twin of these "
        "rows alone is trained too, the better kept",
    )
    fleet_tags: dict[TagName, TagName] | None = Field(
        default=None, description="the plant's tags by the fleet's, where they have other names"
    )
    exclude: Annotated[list[ExcludeBody], Field(max_length=1000)] = Field(
        default=[], description="bad periods and regimes that are not to be learnt from, such as start-ups"
    )
    options: TrainOptions = TrainOptions()


class FleetUnit(Question):
    """A plant that a fleet is to learn from."""

    plant: Slug
    tags: dict[TagName, TagName] = Field(
        default={},
        description="its tags by the fleet's, where they have other names; the fleet's are the first's",
    )
    start: Time | None = None
    end: Time | None = None


class FleetBody(Question):
    """`POST /v1/fleets/{fleet}`."""

    units: Annotated[list[FleetUnit], Field(min_length=2, max_length=1000)] = Field(
        description="similar plants: the same tags, roles and sample period, each with its own parameters"
    )
    horizon_s: Positive | None = Field(default=None, description="how far twins that start from it forecast")
    budget_s: Positive | None = Field(default=None, description="how long learning may take, about")
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None


class AliasBody(Question):
    """`PUT /v1/plants/{plant}/aliases/{alias}`."""

    twin: str


class History(Question):
    """Measured rows, the last of which is `at`; missing is null."""

    times: Annotated[list[Time], Field(min_length=1, max_length=100_000)]
    values: dict[TagName, list[float | None]]


class StepBody(Question):
    """A value that holds from `after_s` seconds after `at` until the next one."""

    after_s: NotNegative
    value: float


Steps = dict[TagName, list[StepBody]]


class ScenarioBody(Question):
    """What would be moved, and what DVs are known to do; of a DV that is not named the twin says what it expects."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    moves: Steps = {}
    disturbances: Steps = {}


class PredictBody(Question):
    """`POST /v1/plants/{plant}/predict`."""

    twin: str = Field(default="champion", description="the id of a twin, or an alias")
    at: Time | None = Field(default=None, description="forecast from here; by default from the last row there is")
    history: History | None = Field(default=None, description="by default what was uploaded")
    horizon_s: float = Field(description="how far to look")
    moves: Steps = {}
    disturbances: Steps = {}
    scenarios: Annotated[list[ScenarioBody], Field(max_length=256)] = []
    coverage: Coverage = 0.9
    scale: Literal["auto", "fast", "slow"] = Field(
        default="auto", description="of a twin with a slow model: fast as far as that is calibrated, then slow"
    )


class SetpointBody(Question):
    """A target of a CV: one value, or one a period."""

    value: float | None = None
    trajectory: Annotated[list[float], Field(min_length=1)] | None = None
    weight: NotNegative = 1.0


class ZoneBody(Question):
    """Where a CV costs nothing: outside it costs the square of how far."""

    low: float | None = None
    high: float | None = None
    weight: NotNegative = 1.0


class SteadyBody(Question):
    """Where a CV is to tend to, or an MV to come to rest, at the end of the horizon."""

    value: float
    weight: NotNegative = 1.0


class ObjectiveBody(Question):
    """What is wanted."""

    setpoints: dict[TagName, SetpointBody] = {}
    prices: dict[TagName, float | Annotated[list[float], Field(min_length=1)]] = Field(
        default={}, description="per unit and hour, one or one a period (the last one holds); positive is a cost"
    )
    move_suppression: dict[TagName, NotNegative] = {}
    zones: dict[TagName, ZoneBody] = Field(default={}, description="of CVs: low, high or both, and no target")
    steady_state: dict[TagName, SteadyBody] = Field(default={}, description="of CVs and MVs, where they are to end")
    terminal_weight: NotNegative = Field(default=0.0, description="of the last row's setpoint errors, beside the mean")


class LimitBody(Question):
    """A limit of this request; it can tighten the plant's, never widen them."""

    low: float | None = None
    high: float | None = None
    rate_per_s: NotNegative | None = None
    rank: Annotated[int, Field(ge=1, le=100)] | None = Field(default=None, description="1 matters most")
    hard: bool | None = Field(default=None, description="relaxed after every rank, and told in hard_violated")
    max_move: NotNegative | None = Field(default=None, description="of an MV: largest change from one row to the next")
    ramp_s: NotNegative | None = Field(
        default=None,
        description="of a CV that is beyond the limit now: it comes in from the present value over so long",
    )


class OptimizeBody(Question):
    """`POST /v1/plants/{plant}/optimize`."""

    twin: str = Field(default="champion", description="the id of a twin, or an alias")
    at: Time | None = None
    history: History | None = None
    horizon_s: float
    objective: ObjectiveBody
    limits: dict[TagName, LimitBody] = {}
    disturbances: Steps = {}
    control_horizon_s: Positive | None = None
    hold_mvs: list[TagName] = []
    manual_mvs: dict[TagName, list[StepBody] | None] = Field(
        default={}, description="MVs in manual: the steps their operator will take, or null where they stay"
    )
    critical: list[TagName] | None = Field(
        default=None,
        description="tags without whose good values nothing is planned; by default every CV that is asked about",
    )
    beyond_trained_range: bool = False
    solver: str = Field(default="sqp", description="sqp, or cem, mppi, gradient for objectives without a slope")
    coverage: Coverage = 0.95
    deadline_ms: Positive | None = None
    max_age_s: Positive | None = None
    hierarchy: bool | None = Field(
        default=None,
        description="of a twin with a slow model: plan at both time scales; by default where the horizon is longer "
        "than the fast model's",
    )
    state: dict[str, Any] | None = Field(
        default=None, description="the `state` of the answer before, to start warm from"
    )


class OperatingPointBody(Question):
    """`POST /v1/plants/{plant}/twins/{twin}/step-responses`."""

    at: Time | None = Field(default=None, description="by default the last row there is")
    history: History | None = Field(default=None, description="by default what was uploaded")


class RangeBody(Question):
    """Where a tag is to stay."""

    low: float | None = None
    high: float | None = None


class StepTestBody(Question):
    """`POST /v1/plants/{plant}/step-tests`."""

    twin: str | None = Field(default=None, description="to foresee the CVs; by default the champion, if any")
    at: Time | None = None
    history: History | None = None
    present: dict[TagName, float] = Field(default={}, description="of each MV; by default the last one measured")
    settling_s: Positive | dict[TagName, Positive] | None = Field(
        default=None, description="how long effects take to settle, of all MVs or each; by default what the twin shows"
    )
    length_s: Positive | None = Field(default=None, description="of the test; 16 settling times by default")
    signal: Literal["gbn", "prbs"] = "gbn"
    mvs: Annotated[list[TagName], Field(min_length=1)] | None = Field(
        default=None, description="that move; all of them"
    )
    amplitude: dict[TagName, Positive] = Field(default={}, description="of an MV, up and down from its present value")
    limits: dict[TagName, RangeBody] = Field(default={}, description="of MVs and CVs, tighter than the plant's")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class ReplayBody(Question):
    """`POST /v1/plants/{plant}/recommendations/{id}/replay`: nothing can be changed."""


class CalibrateBody(Question):
    """`POST /v1/plants/{plant}/twins/{twin}/calibration`."""

    start: Time | None = Field(default=None, description="by default the first row since the twin's training")
    end: Time | None = Field(default=None, description="by default the last row there is")


class BacktestBody(Question):
    """`POST /v1/plants/{plant}/twins/{twin}/backtest`."""

    start: Time | None = Field(
        default=None, description="by default the first row that none of the twins was trained on"
    )
    end: Time | None = Field(default=None, description="by default the last row there is")
    against: Annotated[list[str], Field(max_length=8)] | None = Field(
        default=None, description="ids or aliases of other twins; by default champion and challenger"
    )
    coverage: Annotated[float, Field(ge=0.2, le=0.998)] = 0.9


class KeyBody(Question):
    """`POST /v1/keys`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: Annotated[
        list[Literal["read", "upload", "train", "predict", "optimize", "control", "admin"]], Field(min_length=1)
    ]
    expires: Time | None = None
    plants: list[Slug] | None = Field(default=None, description="the plants it is for; without them, all")


class ControllerBody(Question):
    """`PUT /v1/plants/{plant}/controller`: what is wanted of the running controller; what is left out stays."""

    mode: Literal["off", "shadow", "advisory", "closed"] | None = None
    confirm: Slug | None = Field(default=None, description="for `closed`: the plant's slug, typed once more")
    setpoints: dict[TagName, float] = {}
    reason: Annotated[str, Field(max_length=500)] = Field(default="", description="for the log of overrides")


class ControllerReportBody(Question):
    """`POST /v1/plants/{plant}/controller/cycles`: what a running controller reports."""

    run: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    state: dict[str, Any]
    records: Annotated[list[dict[str, Any]], Field(max_length=1000)] = []


class SourceBody(Question):
    """How a source fares; `last_time` is in nanoseconds since 1970, the counts are since its collector started."""

    name: str = Field(min_length=1, max_length=200)
    kind: str = Field(max_length=50)
    connected: bool
    received: int = Field(ge=0)
    refused: int = Field(ge=0)
    reconnects: int = Field(ge=0)
    gaps: int = Field(ge=0)
    last_time: int
    lag_s: float
    skew_s: float
    last_error: str = Field(max_length=10_000)
    buffered: int = Field(ge=0)
    buffered_bytes: int = Field(ge=0)
    full: bool


class SourcesBody(Question):
    """The sources of one collector."""

    sources: list[SourceBody] = Field(max_length=1000)
