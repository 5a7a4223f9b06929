"""Every call to the service, written once: what is sent, how often, and what is made of the answer.

Both clients offer each of these by the same name; here they are flows (`api.client.flow`), which know no input or
output. Values are in engineering units, times RFC 3339 text or anything with `isoformat` and an offset, durations
seconds. Each raises `RefusedError` and its kinds where the service refuses, and `UnreachableError` where it is silent.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import quote

import httpx

from api.client import bodies, parts, uploads
from api.client.bodies import Moves, When, given, moment, steps
from api.client.errors import JobError, UnreachableError, WaitedError, refusal
from api.client.events import Event, Parser
from api.client.flow import Flow, Give, Line, Open, Pause, Request
from api.client.retry import Retry, said, send
from api.client.types import (
    AliasAnswer,
    AuditAnswer,
    AuditVerdictAnswer,
    BacktestAnswer,
    CalibrationAnswer,
    ControllerAnswer,
    ControllerRecordAnswer,
    ControlReportAnswer,
    DriftAnswer,
    ExcludeBody,
    FileAnswer,
    FleetAnswer,
    FleetUnit,
    JobAnswer,
    KeyAnswer,
    LimitBody,
    LogAnswer,
    OptimizeAnswer,
    PlantAnswer,
    PlantBody,
    PredictAnswer,
    ReceiptAnswer,
    RecommendationAnswer,
    ReplayAnswer,
    ScenarioBody,
    SeriesAnswer,
    SetpointBody,
    StepResponsesAnswer,
    StepTestAnswer,
    TwinAnswer,
)

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

PAGE = 200  # items of a list asked for at once
ENDED = ("succeeded", "failed", "cancelled")
ARROW = "application/vnd.apache.arrow.stream"


class Items(Generic[T]):
    """What a listing returns in the end; its items are given one by one."""


class Calls:
    """The calls; `retry` says how often what may be sent again is sent again."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry

    # Plants

    def plants(self) -> Flow[Items[PlantAnswer]]:
        """All plants, by slug."""
        return self._pages("/v1/plants")

    def plant(self, plant: str, *, version: int | None = None) -> Flow[PlantAnswer]:
        """A plant, by default at its current version."""
        return self._get(_at("plants", plant), version=version)

    def put_plant(
        self, plant: str, body: PlantBody | Mapping[str, Any], *, if_match: str | None = None
    ) -> Flow[PlantAnswer]:
        """Describe a plant, or change it: each change is a new version."""
        headers = given({"If-Match": if_match})
        return self._json("PUT", _at("plants", plant), body, headers=headers, repeatable=if_match is None)

    def delete_plant(self, plant: str) -> Flow[None]:
        """Forget a plant with its telemetry and twins."""
        return self._json("DELETE", _at("plants", plant))

    # Telemetry

    def upload(
        self,
        plant: str,
        source: Path | str | bytes | pd.DataFrame,
        *,
        content_type: str | None = None,
        timezone: str | None = None,
        idempotency_key: str | None = None,
        on_progress: uploads.Progress | None = None,
    ) -> Flow[ReceiptAnswer]:
        """Store telemetry; the receipt accounts for every row.

        Args:
            source: a file (CSV, Parquet or Arrow by its ending, .gz behind it), bytes, or a frame.
            timezone: of times without an offset, such as "Europe/Berlin".
            idempotency_key: by default a new one; an upload that is sent again is stored once.
            on_progress: called with the bytes sent and their total.
        """
        content, headers = uploads.prepared(source, content_type, on_progress)
        headers["Idempotency-Key"] = idempotency_key or str(uuid.uuid4())
        path = _at("plants", plant, "telemetry")
        return self._json("POST", path, content=content, headers=headers, params=given({"timezone": timezone}))

    def upload_in_parts(
        self,
        plant: str,
        source: Path | str,
        *,
        at: str | None = None,
        content_type: str | None = None,
        timezone: str | None = None,
        idempotency_key: str | None = None,
        part_bytes: int = parts.PART_BYTES,
        on_begin: Callable[[str], None] | None = None,
        on_progress: uploads.Progress | None = None,
    ) -> Flow[ReceiptAnswer]:
        """Store a file that is sent in parts, for large ones and links that break; the receipt.

        Args:
            source: a file; CSV, Parquet or Arrow by its ending, .gz behind it.
            at: where an earlier attempt was going, as `on_begin` was told: only what has not arrived is sent.
            content_type, timezone, idempotency_key: as of `upload`.
        """
        path = Path(source)
        headers = uploads.headers_of(path) if content_type is None else {"Content-Type": content_type}
        about = {name.lower().replace("-", "_"): value for name, value in headers.items()}
        told = about | given({"timezone": timezone, "idempotency_key": idempotency_key})
        sender = parts.Parts(
            _at("plants", plant, "telemetry", "files"), path, told, self._retry, part_bytes, on_progress
        )
        return sender.send(at, on_begin)

    def file(self, plant: str, file: str) -> Flow[FileAnswer]:
        """How much of a file that comes in parts has arrived; its receipt when it is stored."""
        return self._get(_at("plants", plant, "telemetry", "files", file))

    def give_up_file(self, plant: str, file: str) -> Flow[None]:
        """Give up a file that is on its way."""
        return self._json("DELETE", _at("plants", plant, "telemetry", "files", file))

    def sources(self, plant: str) -> Flow[Items[dict[str, Any]]]:
        """How each source of a running collector fares."""
        for source in (yield from self._get(_at("plants", plant, "sources")))["sources"]:
            yield Give(source)
        return Items()

    def telemetry(
        self,
        plant: str,
        *,
        start: When | None = None,
        end: When | None = None,
        tags: Sequence[str] | None = None,
        max_points: int | None = None,
        as_of: int | None = None,
    ) -> Flow[SeriesAnswer]:
        """Measured rows, thinned out to `max_points` (5,000 where not asked otherwise)."""
        return self._get(_at("plants", plant, "telemetry"), **bodies.span(start, end, tags, max_points, as_of))

    def frame(
        self,
        plant: str,
        *,
        start: When | None = None,
        end: When | None = None,
        tags: Sequence[str] | None = None,
        max_points: int | None = None,
        as_of: int | None = None,
    ) -> Flow[pd.DataFrame]:
        """Measured rows as a DataFrame, all of them where `max_points` does not thin them out."""
        from api.client import frames

        params = given(bodies.span(start, end, tags, max_points, as_of))
        answer = yield from self._answer(
            Request("GET", _at("plants", plant, "telemetry"), params=params, headers={"Accept": ARROW})
        )
        return frames.of_arrow(answer.content)

    def quality_page(self, plant: str, *, start: When | None = None, end: When | None = None) -> Flow[str]:
        """The quality report as a page with an overview of every tag."""
        path = _at("plants", plant, "telemetry", "quality")
        answer = yield from self._answer(
            Request("GET", path, params=given(bodies.span(start, end)), headers={"Accept": "text/html"})
        )
        return answer.text

    def quality(self, plant: str, *, start: When | None = None, end: When | None = None) -> Flow[dict[str, Any]]:
        """What the telemetry is worth: gaps, frozen spans, excitation of each MV."""
        return self._get(_at("plants", plant, "telemetry", "quality"), **bodies.span(start, end))

    def uploads(self, plant: str) -> Flow[Items[dict[str, Any]]]:
        """The receipts of all uploads, the last one first."""
        return self._whole(_at("plants", plant, "telemetry", "uploads"))

    def take_back(self, plant: str, upload: str) -> Flow[dict[str, Any]]:
        """Take a wrong upload back."""
        return self._json("DELETE", _at("plants", plant, "telemetry", "uploads", upload))

    # Twins

    def train(
        self,
        plant: str,
        *,
        start: When | None = None,
        end: When | None = None,
        horizon_s: float | None = None,
        budget_s: float | None = None,
        seed: int | None = None,
        from_twin: str | None = None,
        from_fleet: str | None = None,
        fleet_tags: Mapping[str, str] | None = None,
        exclude: Sequence[ExcludeBody] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Flow[JobAnswer]:
        """Train a twin; the job, which `wait` and `events` follow. No option is needed.

        Args:
            from_twin: an earlier twin, or an alias, to train on from; the better of that and a fresh one is kept.
            from_fleet: a fleet to start from; the better of that and a twin of these rows alone is kept.
            fleet_tags: the plant's tags by the fleet's, where they have other names.
            exclude: rows not to learn from: spans {start, end} and conditions {tag, below or above, after_s}.
            options: `gain_sign` {MV: {CV: 1, -1 or 0}}, what is known of the process; `hierarchy`, a slow model for
                horizons of many settling times, and its `slow_stride` in rows; `pure`.
        """
        body = {"start": moment(start), "end": moment(end), "horizon_s": horizon_s, "budget_s": budget_s}
        body |= {"from_fleet": from_fleet}
        more = {"fleet_tags": fleet_tags, "from_twin": from_twin, "exclude": exclude, "options": options}
        body = given({**body, "seed": seed, **more})
        return self._json("POST", _at("plants", plant, "twins"), body, repeatable=False)

    def twins(self, plant: str) -> Flow[Items[TwinAnswer]]:
        """The twins of a plant, newest first."""
        return self._pages(_at("plants", plant, "twins"))

    def twin(self, plant: str, twin: str = "champion") -> Flow[TwinAnswer]:
        """A twin, by its id or an alias."""
        return self._get(_at("plants", plant, "twins", twin))

    def report(self, plant: str, twin: str = "champion") -> Flow[dict[str, Any]]:
        """The model card of a twin."""
        return self._get(_at("plants", plant, "twins", twin, "report"))

    def report_page(self, plant: str, twin: str = "champion") -> Flow[str]:
        """The model card as a page with plots."""
        path = _at("plants", plant, "twins", twin, "report")
        answer = yield from self._answer(Request("GET", path, headers={"Accept": "text/html"}))
        return answer.text

    def export(self, plant: str, twin: str = "champion") -> Flow[bytes]:
        """A twin for use elsewhere: a zip archive whose `exported.py` asks it with jax and numpy alone."""
        answer = yield from self._answer(Request("GET", _at("plants", plant, "twins", twin, "export")))
        return answer.content

    def step_responses(
        self,
        plant: str,
        twin: str = "champion",
        *,
        at: When | None = None,
        history: pd.DataFrame | Mapping[str, Any] | None = None,
    ) -> Flow[StepResponsesAnswer]:
        """What a step of each MV does to each CV: around the middle of what was seen, or at an operating point.

        Args:
            at: the operating point is where the plant was then.
            history: it is where this frame ends; the answer then also has a `gain_map` over the range of each MV.
        """
        path = _at("plants", plant, "twins", twin, "step-responses")
        if history is None:
            return self._get(path, at=moment(at))
        return self._json("POST", path, given({"at": moment(at), "history": bodies.history_of(history)}))

    def aliases(self, plant: str) -> Flow[dict[str, str]]:
        """The aliases of a plant and the twins that they name."""
        return self._get(_at("plants", plant, "aliases"))

    def promote(self, plant: str, twin: str, alias: str = "champion") -> Flow[AliasAnswer]:
        """Have an alias name a twin."""
        return self._json("PUT", _at("plants", plant, "aliases", alias), {"twin": twin})

    # Questions

    def ask(self, plant: str, verb: str, body: Mapping[str, Any]) -> Flow[Any]:
        """Ask `predict`, `optimize` or `step-tests` with a body as the contract writes it."""
        return self._json("POST", _at("plants", plant, verb), body)

    def predict(
        self,
        plant: str,
        *,
        horizon_s: float,
        moves: Moves | None = None,
        disturbances: Moves | None = None,
        scenarios: Sequence[ScenarioBody] | Mapping[str, Moves] | None = None,
        twin: str = "champion",
        at: When | None = None,
        history: pd.DataFrame | Mapping[str, Any] | None = None,
        coverage: float | None = None,
        scale: str | None = None,
    ) -> Flow[PredictAnswer]:
        """What the CVs will do if nothing moves, and under each scenario.

        Args:
            moves, disturbances: by tag a value at once, or steps `(after_s, value)`.
            scenarios: several sets of moves by name, or bodies as the contract writes them.
            history: a frame that ends with the row to start from; by default what was uploaded.
            coverage: share of measured values that a band holds.
            scale: of a twin with a slow model: "fast" or "slow" alone; by default the slow one beyond the fast horizon.
        """
        body = bodies.question(twin, at, history, horizon_s, disturbances, coverage)
        body |= given({"moves": steps(moves), "scenarios": bodies.scenarios(scenarios), "scale": scale})
        return self.ask(plant, "predict", body)

    def optimize(
        self,
        plant: str,
        *,
        horizon_s: float,
        setpoints: Mapping[str, float | Sequence[float] | SetpointBody] | None = None,
        prices: Mapping[str, float | Sequence[float]] | None = None,
        move_suppression: Mapping[str, float] | None = None,
        limits: Mapping[str, tuple[float | None, float | None] | LimitBody] | None = None,
        disturbances: Moves | None = None,
        twin: str = "champion",
        at: When | None = None,
        history: pd.DataFrame | Mapping[str, Any] | None = None,
        coverage: float | None = None,
        hierarchy: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Flow[OptimizeAnswer]:
        """The best moves under the limits. Read `status` first: `abstained` is an answer, not an error.

        Args:
            setpoints: by CV a value, a trajectory of one value a period, or a body with its weight.
            prices: per unit and hour, one or one a period; positive is a cost.
            limits: by tag `(low, high)`, either None, or a body with rank and rate.
            hierarchy: of a twin with a slow model: plan at both time scales; by default where the horizon asks for it.
            options: further fields of the contract, such as `hold_mvs` or `deadline_ms`.
        """
        objective = {"setpoints": bodies.setpoints(setpoints), "prices": prices, "move_suppression": move_suppression}
        body = bodies.question(twin, at, history, horizon_s, disturbances, coverage)
        body |= given({"limits": bodies.limits(limits), "hierarchy": hierarchy, **(options or {})}) | {
            "objective": given(objective)
        }
        return self.ask(plant, "optimize", body)

    def step_test(
        self,
        plant: str,
        *,
        settling_s: float | Mapping[str, float] | None = None,
        length_s: float | None = None,
        amplitude: Mapping[str, float] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Flow[StepTestAnswer]:
        """Design a step test from which a twin can learn; `options` are further fields of the contract."""
        body = given({"settling_s": settling_s, "length_s": length_s, "amplitude": amplitude, **(options or {})})
        return self.ask(plant, "step-tests", body)

    def step_test_csv(self, plant: str, body: Mapping[str, Any]) -> Flow[str]:
        """The schedule of a step test as CSV."""
        path, headers = _at("plants", plant, "step-tests"), {"Accept": "text/csv"}
        answer = yield from self._answer(Request("POST", path, json=body, headers=headers))
        return answer.text

    def recommendations(self, plant: str) -> Flow[Items[RecommendationAnswer]]:
        """Every answer of optimize, newest first."""
        return self._pages(_at("plants", plant, "recommendations"))

    def recommendation(self, plant: str, recommendation: int) -> Flow[RecommendationAnswer]:
        """One of them, with everything that it depended on."""
        return self._get(_at("plants", plant, "recommendations", str(recommendation)))

    def replay(self, plant: str, recommendation: int) -> Flow[ReplayAnswer]:
        """Compute one of them again; `same` says whether the answer is the logged one."""
        return self._json("POST", _at("plants", plant, "recommendations", str(recommendation), "replay"), {})

    def calibration(self, plant: str, twin: str = "champion") -> Flow[CalibrationAnswer]:
        """How far plans stay inside the limits of each CV."""
        return self._get(_at("plants", plant, "twins", twin, "calibration"))

    def calibrate(
        self, plant: str, twin: str = "champion", *, start: When | None = None, end: When | None = None
    ) -> Flow[CalibrationAnswer]:
        """Renew that from telemetry since the training; nothing is trained."""
        body = given({"start": moment(start), "end": moment(end)})
        return self._json("POST", _at("plants", plant, "twins", twin, "calibration"), body)

    def backtest(
        self,
        plant: str,
        twin: str = "champion",
        *,
        against: Sequence[str] | None = None,
        start: When | None = None,
        end: When | None = None,
        coverage: float | None = None,
    ) -> Flow[BacktestAnswer]:
        """A twin on the rows since its training, beside others (by default champion and challenger) on the same."""
        body = given({"against": against, "start": moment(start), "end": moment(end), "coverage": coverage})
        return self._json("POST", _at("plants", plant, "twins", twin, "backtest"), body)

    def drift(
        self, plant: str, twin: str = "champion", *, start: When | None = None, end: When | None = None
    ) -> Flow[DriftAnswer]:
        """Whether a twin is to be trained again, by the rows since its training."""
        return self._get(_at("plants", plant, "twins", twin, "drift"), **bodies.span(start, end))

    # The controller

    def controller(self, plant: str) -> Flow[ControllerAnswer]:
        """The running controller: its mode, its last cycle, and what was asked of it."""
        return self._get(_at("plants", plant, "controller"))

    def ask_controller(
        self,
        plant: str,
        *,
        mode: str | None = None,
        confirm: str | None = None,
        setpoints: Mapping[str, float] | None = None,
        reason: str | None = None,
    ) -> Flow[ControllerAnswer]:
        """Ask for a mode (`closed` needs `confirm`, the slug of the plant) or setpoints; what is left out stays."""
        body = given({"mode": mode, "confirm": confirm, "setpoints": setpoints, "reason": reason})
        return self._json("PUT", _at("plants", plant, "controller"), body)

    def controller_cycles(self, plant: str, *, kind: str | None = None) -> Flow[Items[ControllerRecordAnswer]]:
        """Its cycles and changes of mode and setpoints, newest first; `kind` is cycle, mode or setpoints."""
        return self._pages(_at("plants", plant, "controller", "cycles"), kind=kind)

    def controller_report(
        self, plant: str, *, start: When | None = None, end: When | None = None
    ) -> Flow[ControlReportAnswer]:
        """How it did: service factor, time at limits, overrides, forecasts against values, benefit."""
        return self._get(_at("plants", plant, "controller", "report"), start=moment(start), end=moment(end))

    # Fleets

    def learn_fleet(
        self,
        fleet: str,
        units: Sequence[FleetUnit],
        *,
        horizon_s: float | None = None,
        budget_s: float | None = None,
        seed: int | None = None,
    ) -> Flow[JobAnswer]:
        """Learn a fleet from similar plants; the job. `train` starts from it with `from_fleet`.

        Args:
            units: `{plant, tags?, start?, end?}`; `tags` maps the first plant's tags to its own.
        """
        body = given({"units": list(units), "horizon_s": horizon_s, "budget_s": budget_s, "seed": seed})
        return self._json("POST", _at("fleets", fleet), body, repeatable=False)

    def fleets(self) -> Flow[Items[FleetAnswer]]:
        """The fleets."""
        return self._pages("/v1/fleets")

    def fleet(self, fleet: str) -> Flow[FleetAnswer]:
        """A fleet: its units, its tags, and the errors of units that it had not seen."""
        return self._get(_at("fleets", fleet))

    def delete_fleet(self, fleet: str) -> Flow[None]:
        """Forget a fleet; twins that started from it stay."""
        return self._json("DELETE", _at("fleets", fleet))

    # Jobs

    def jobs(self, *, plant: str | None = None) -> Flow[Items[JobAnswer]]:
        """The jobs, newest first."""
        return self._pages("/v1/jobs", plant=plant)

    def job(self, job: str) -> Flow[JobAnswer]:
        """A job: its state, progress, and result or reason of failure."""
        return self._get(_at("jobs", job))

    def logs(self, job: str) -> Flow[Items[LogAnswer]]:
        """The log of a job, oldest line first."""
        return self._pages(_at("jobs", job, "logs"))

    def cancel(self, job: str) -> Flow[JobAnswer]:
        """Cancel a job."""
        return self._json("DELETE", _at("jobs", job))

    def wait(
        self,
        job: str | JobAnswer,
        *,
        on_progress: Callable[[JobAnswer], None] | None = None,
        timeout_s: float | None = None,
        poll_s: float = 0.5,
    ) -> Flow[JobAnswer]:
        """Wait until a job has succeeded; the job.

        Raises:
            JobError: it failed or was cancelled.
            WaitedError: it has not ended after `timeout_s`; it goes on.
        """
        name = job if isinstance(job, str) else job["job"]
        until = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        while True:
            found = yield from self.job(name)
            if on_progress is not None:
                on_progress(found)
            if found["state"] in ENDED:
                break
            if time.monotonic() > until:
                raise WaitedError(f"job {name} is {found['state']} after {timeout_s:g} s ({found['progress']:.0%})")
            yield Pause(poll_s)
        if found["state"] != "succeeded":
            raise JobError(found)
        return found

    def events(self, job: str, *, after: str = "0") -> Flow[Items[Event]]:
        """What happens to a job until it ends, from its start or behind an event; a stream that breaks is resumed."""
        failures, why = 0, ""
        while failures <= self._retry.times:
            before = after
            try:
                answer = yield Open(Request("GET", _at("jobs", job, "events"), headers={"Last-Event-ID": after}))
                if answer.is_error and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    raise refusal(answer)
                parser = Parser(after)
                while not answer.is_error and (line := (yield Line())) is not None:
                    event = parser.feed(line)
                    if event is not None:
                        after = event.id
                        yield Give(event)
                        if event.data.get("state") in ENDED:
                            return Items()
                if (yield from self.job(job))["state"] in ENDED:
                    return Items()
            except httpx.TransportError as error:
                why = said(error)
            failures = 1 if after != before else failures + 1
            yield self._retry.pause(failures)
        raise UnreachableError(f"the events of {job} break off again and again {why}".rstrip())

    # Keys and the audit log

    def keys(self) -> Flow[Items[KeyAnswer]]:
        """The keys, without their texts."""
        return self._whole("/v1/keys")

    def create_key(
        self, name: str, scopes: Sequence[str], *, expires: When | None = None, plants: Sequence[str] | None = None
    ) -> Flow[dict[str, Any]]:
        """Make a key, for some plants or for all; `key` holds its text, this once."""
        of = None if plants is None else list(plants)
        body = {"name": name, "scopes": list(scopes), **given({"expires": moment(expires), "plants": of})}
        return self._json("POST", "/v1/keys", body, repeatable=False)

    def revoke_key(self, key_id: str) -> Flow[None]:
        """Revoke a key."""
        return self._json("DELETE", _at("keys", key_id))

    def audit(self) -> Flow[Items[AuditAnswer]]:
        """The audit log, newest first."""
        return self._pages("/v1/audit")

    def verify_audit(self, heads: Sequence[str] = ()) -> Flow[AuditVerdictAnswer]:
        """Whether the audit log is whole, and still holds the heads noted earlier."""
        return self._get("/v1/audit/verify", head=list(heads) or None)

    # The service

    def alive(self) -> Flow[bool]:
        """Whether a service answers; asked once."""
        try:
            answer = yield from send(Request("GET", "/healthz"), Retry(0))
        except UnreachableError:
            return False
        return answer.is_success

    def ready(self) -> Flow[bool]:
        """Whether the champions' programs are compiled; asked once."""
        answer = yield from send(Request("GET", "/readyz"), Retry(0))
        return answer.is_success

    def request(
        self, method: str, path: str, body: Any = None, *, params: Mapping[str, Any] | None = None
    ) -> Flow[Any]:
        """Any other route: the JSON that it answers, None where that is empty."""
        return self._json(method, path, body, params=given(params or {}), repeatable=method in ("GET", "PUT", "DELETE"))

    # What they stand on

    def _get(self, path: str, **params: Any) -> Flow[Any]:
        return self._json("GET", path, params=given(params))

    def _json(self, method: str, path: str, body: Any = None, **options: Any) -> Flow[Any]:
        answer = yield from self._answer(Request(method, path, json=body, **options))
        return answer.json() if answer.content else None

    def _answer(self, request: Request) -> Flow[httpx.Response]:
        answer = yield from send(request, self._retry)
        if answer.is_error:
            raise refusal(answer)
        return answer

    def _pages(self, path: str, **params: Any) -> Flow[Any]:
        after: str | None = None
        while True:
            found = yield from self._get(path, limit=PAGE, after=after, **params)
            for item in found["items"]:
                yield Give(item)
            after = cast("str | None", found["next"])
            if after is None:
                return Items()

    def _whole(self, path: str) -> Flow[Any]:
        for item in (yield from self._get(path))["items"]:
            yield Give(item)
        return Items()


def _at(*names: str) -> str:
    return "/".join(["/v1", *(quote(name, safe="") for name in names)])
