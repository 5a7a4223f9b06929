"""Jobs: how far they are, what happened, and how to stop them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.deps import After, App, Limit, Reader, Trainer, page
from api.http.answers import JobAnswer, LogAnswer, Page, json_answer
from api.jobs.queue import ENDED
from api.records.tables import EventRow, JobRow
from twin.errors import QuestionError

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

POLL_S = 0.3
Line = Annotated[int, Query(ge=0, le=2**53, description="the `next` of the page before")]


@router.get("", response_model=Page[JobAnswer])
def list_jobs(
    app: App, key: Reader, plant: Annotated[str | None, Query()] = None, limit: Limit = 100, after: After = None
) -> Response:
    """The jobs, newest first."""
    if plant is not None:
        key.require_plant(plant)
    plants = key.plants if plant is None else {plant}
    return page([job_json(job) for job in app.jobs.list(plants, limit + 1, after)], limit, "job")


@router.get("/{job}", response_model=JobAnswer)
def get_job(app: App, key: Reader, job: str) -> Response:
    """A job: its state, progress and remaining time, its result or the reason why it failed."""
    return json_answer(job_json(_seen(app, key, job)))


@router.delete("/{job}", response_model=JobAnswer)
def cancel_job(app: App, key: Trainer, job: str) -> Response:
    """Cancel a job. One that is cancelled stays so; one that has ended otherwise answers 409."""
    _seen(app, key, job)
    return json_answer(job_json(app.jobs.cancel(job, key.id)))


@router.get("/{job}/logs", response_model=Page[LogAnswer])
def job_logs(app: App, key: Reader, job: str, limit: Limit = 1000, after: Line = 0) -> Response:
    """The log of a job, oldest line first: its states, alarms, and what its workers told of every attempt."""
    _seen(app, key, job)
    return page([line_json(event) for event in app.jobs.logs(job, after, limit + 1)], limit, "id")


def _seen(app: App, key: Reader, job: str) -> JobRow:
    found = app.jobs.get(job)
    key.require_plant(found.plant)
    return found


def _resume_at(last_event_id: Annotated[str | None, Header(description="resume behind this event")] = None) -> int:
    if last_event_id is None:
        return 0
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise QuestionError.at(("Last-Event-ID",), "must be the id of an event, a number")
    return int(last_event_id)


@router.get("/{job}/events", response_class=EventSourceResponse)
async def job_events(
    app: App, job: Annotated[JobRow, Depends(_seen)], after: Annotated[int, Depends(_resume_at)]
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events of a job, `state`, `progress` and `alarm`, from the start or behind Last-Event-ID."""
    while not app.closing.is_set():
        state = (await run_in_threadpool(app.jobs.get, job.id)).state
        events = await run_in_threadpool(app.jobs.events, job.id, after)
        for event in events:
            yield ServerSentEvent(data={"at": event.at, **event.data}, event=event.kind, id=str(event.id))
            after = event.id
        if not events and state in ENDED:
            return
        if not events:
            await asyncio.sleep(POLL_S)


def line_json(event: EventRow) -> dict[str, object]:
    """An event as a line of the log."""
    data = event.data
    if event.kind == "state":
        error, attempt = (data.get("error") or {}).get("detail"), data.get("attempt")
        more = f": {error}" if error else f", attempt {attempt}" if attempt else ""
        level, message = ("error" if error else "info"), f"{data['state']}{more}"
    elif event.kind == "alarm":
        level, message = "warning", data["detail"]
    else:
        level, message = data["level"], data["message"]
    return {"id": event.id, "at": event.at, "level": level, "message": message}


def job_json(job: JobRow) -> dict[str, object]:
    """A job as the contract writes it."""
    return {
        "job": job.id,
        "plant": job.plant,
        "fleet": job.request.get("fleet"),
        "state": job.state,
        "progress": job.progress,
        "eta_s": job.eta_s,
        "result": job.result,
        "error": job.error,
        "attempts": job.attempts,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
    }
