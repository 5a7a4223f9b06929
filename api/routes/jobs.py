"""Jobs: how far they are, what happened, and how to stop them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.answers import JobAnswer, Page, json_answer
from api.deps import After, App, Limit, Reader, Trainer, page
from api.jobs import ENDED
from api.tables import JobRow
from twin.errors import QuestionError

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

POLL_S = 0.3


@router.get("", response_model=Page[JobAnswer])
def list_jobs(
    app: App, _: Reader, plant: Annotated[str | None, Query()] = None, limit: Limit = 100, after: After = None
) -> Response:
    """The jobs, newest first."""
    return page([job_json(job) for job in app.jobs.list(plant, limit + 1, after)], limit, "job")


@router.get("/{job}", response_model=JobAnswer)
def get_job(app: App, _: Reader, job: str) -> Response:
    """A job: its state, progress and remaining time, its result or the reason why it failed."""
    return json_answer(job_json(app.jobs.get(job)))


@router.delete("/{job}", response_model=JobAnswer)
def cancel_job(app: App, _: Trainer, job: str) -> Response:
    """Cancel a job. One that is cancelled stays so; one that has ended otherwise answers 409."""
    return json_answer(job_json(app.jobs.cancel(job)))


def _known(app: App, job: str) -> JobRow:
    return app.jobs.get(job)


def _resume_at(last_event_id: Annotated[str | None, Header(description="resume behind this event")] = None) -> int:
    if last_event_id is None:
        return 0
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise QuestionError.at(("Last-Event-ID",), "must be the id of an event, a number")
    return int(last_event_id)


@router.get("/{job}/events", response_class=EventSourceResponse)
async def job_events(
    app: App, _: Reader, job: Annotated[JobRow, Depends(_known)], after: Annotated[int, Depends(_resume_at)]
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


def job_json(job: JobRow) -> dict[str, object]:
    """A job as the contract writes it."""
    return {
        "job": job.id,
        "plant": job.plant,
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
