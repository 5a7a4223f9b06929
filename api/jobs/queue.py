"""Jobs: a table of work that worker processes lease.

A worker holds a job while its lease lasts and renews it as it works. One that dies silently loses it: the job
goes to another, up to `MAX_ATTEMPTS` times. Of each plant one job runs at a time, the others wait in the order in which
they came. Every change of state, progress and alarm is an event; what the worker tells beside them is the log.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from api.records.audit import audit
from api.records.db import Database
from api.records.tables import EventRow, JobRow, utc_now
from twin.errors import ConflictError, NotFoundError

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "queued", "running", "succeeded", "failed", "cancelled"
ENDED = (SUCCEEDED, FAILED, CANCELLED)
MAX_ATTEMPTS = 3
LOG = "log"  # the kind of event that only the log shows
LOGGED = ("state", "alarm", LOG)


class LeaseLostError(Exception):
    """The job is no longer this worker's: it was cancelled, or its lease ran out."""


class Jobs:
    """The queue.

    Args:
        lease_s: how long a worker may be silent.
    """

    def __init__(self, db: Database, lease_s: float) -> None:
        self._db = db
        self._lease = timedelta(seconds=lease_s)

    def submit(self, plant: str, request: dict[str, Any], key: str) -> JobRow:
        """Queue a job that a key asked for."""
        job = JobRow(id=f"job-{secrets.token_hex(8)}", plant=plant, request=request)
        with self._db.write() as session:
            session.add(job)
            session.flush()
            _event(session, job.id, "state", {"state": QUEUED})
            audit(session, key, "job.submit", job.id, {"plant": plant, "request": request})
        return job

    def get(self, job_id: str) -> JobRow:
        """A job.

        Raises:
            NotFoundError: there is none of that id.
        """
        with self._db.read() as session:
            return _get(session, job_id)

    def list(self, plants: Collection[str] | None, limit: int, after: str | None) -> Sequence[JobRow]:
        """Jobs of these plants, or of all, newest first, below the job `after`."""
        query = select(JobRow).order_by(JobRow.created.desc(), JobRow.id.desc()).limit(limit)
        if plants is not None:
            query = query.where(JobRow.plant.in_(plants))
        if after is not None:
            last = self.get(after)
            older = (JobRow.created == last.created) & (JobRow.id < last.id)
            query = query.where((JobRow.created < last.created) | older)
        with self._db.read() as session:
            return session.scalars(query).all()

    def cancel(self, job_id: str, key: str) -> JobRow:
        """Cancel a job on behalf of a key; its worker notices within about a second.

        Raises:
            ConflictError: it has succeeded or failed already.
        """
        with self._db.write() as session:
            job = _get(session, job_id)
            if job.state in (SUCCEEDED, FAILED):
                raise ConflictError(f"job {job_id} has {job.state} already")
            if job.state != CANCELLED:
                _end(session, job, CANCELLED)
                audit(session, key, "job.cancel", job_id, {"plant": job.plant})
            return job

    def cancel_all(self, plant: str) -> None:
        """Cancel whatever waits or runs for a plant."""
        with self._db.write() as session:
            for job in session.scalars(select(JobRow).where(JobRow.plant == plant, JobRow.state.not_in(ENDED))):
                _end(session, job, CANCELLED)

    def held_by(self, workers: Collection[str]) -> int:
        """How many running jobs these workers hold."""
        with self._db.read() as session:
            found = select(func.count()).where(JobRow.state == RUNNING, JobRow.worker.in_(workers))
            return session.scalar(found) or 0

    def open_of(self, plant: str) -> bool:
        """Whether a job of the plant waits or runs."""
        with self._db.read() as session:
            found = select(JobRow.id).where(JobRow.plant == plant, JobRow.state.not_in(ENDED)).limit(1)
            return session.scalar(found) is not None

    def count(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        with self._db.read() as session:
            found = session.execute(select(JobRow.state, func.count().label("jobs")).group_by(JobRow.state)).all()
        return dict.fromkeys((QUEUED, RUNNING, *ENDED), 0) | {row.state: row.jobs for row in found}

    def events(self, job_id: str, after: int, limit: int = 500) -> Sequence[EventRow]:
        """What happened to a job since the event `after`, oldest first."""
        return self._events(job_id, after, limit, EventRow.kind != LOG)

    def logs(self, job_id: str, after: int, limit: int) -> Sequence[EventRow]:
        """The log of a job behind the line `after`, oldest first: states, alarms and what its workers told."""
        return self._events(job_id, after, limit, EventRow.kind.in_(LOGGED))

    def _events(self, job_id: str, after: int, limit: int, kind: Any) -> Sequence[EventRow]:
        query = select(EventRow).where(EventRow.job == job_id, EventRow.id > after, kind)
        with self._db.read() as session:
            return session.scalars(query.order_by(EventRow.id).limit(limit)).all()

    def lease(self, worker: str) -> JobRow | None:
        """Take the oldest job that waits, none of its plant running, or whose worker has gone silent; None where there
        is none."""
        try:
            return self._lease_one(worker)
        except IntegrityError:  # another worker took one of the same plant at the same instant
            return None

    def _lease_one(self, worker: str) -> JobRow | None:
        now, other = utc_now(), aliased(JobRow)
        silent = (JobRow.state == RUNNING) & (JobRow.lease_until < now)
        busy = select(other.id).where(other.plant == JobRow.plant, other.state == RUNNING).exists()
        free = or_((JobRow.state == QUEUED) & ~busy, silent)
        with self._db.write() as session:
            query = select(JobRow).where(free).order_by(JobRow.created).limit(1).with_for_update(skip_locked=True)
            job = session.scalar(query)
            if job is None:
                return None
            if job.attempts >= MAX_ATTEMPTS:
                reason = f"its worker died {job.attempts} times; the memory may not suffice for this much telemetry"
                _end(session, job, FAILED, error={"detail": reason})
                return None
            job.state, job.worker, job.attempts = RUNNING, worker, job.attempts + 1
            job.started, job.lease_until = job.started or now, now + self._lease
            _event(session, job.id, "state", {"state": RUNNING, "attempt": job.attempts})
            session.flush()
            return job

    def renew(self, job_id: str, worker: str) -> None:
        """Keep a job.

        Raises:
            LeaseLostError: it is this worker's no more.
        """
        with self._db.write() as session:
            _held(session, job_id, worker).lease_until = utc_now() + self._lease

    def report(
        self, job_id: str, worker: str, kind: str, data: dict[str, Any], progress: float, eta_s: float | None
    ) -> None:
        """Tell how far a job is.

        Raises:
            LeaseLostError: it is this worker's no more.
        """
        with self._db.write() as session:
            job = _held(session, job_id, worker)
            job.progress, job.eta_s, job.lease_until = progress, eta_s, utc_now() + self._lease
            _event(session, job_id, kind, data)

    def log(self, job_id: str, message: str, *, level: str = "info") -> None:
        """Add a line to the log of a job."""
        with self._db.write() as session:
            _event(session, job_id, LOG, {"level": level, "message": message})

    def succeed(self, session: Session, job_id: str, worker: str, result: dict[str, Any]) -> None:
        """End a job within the transaction that stores what it made.

        Raises:
            LeaseLostError: it is this worker's no more: nothing must be stored.
        """
        job = _held(session, job_id, worker)
        job.progress = 1.0
        _end(session, job, SUCCEEDED, result=result)

    def fail(self, job_id: str, worker: str, error: dict[str, Any]) -> None:
        """End a job with the reason why it failed.

        Raises:
            LeaseLostError: it is this worker's no more.
        """
        with self._db.write() as session:
            _end(session, _held(session, job_id, worker), FAILED, error=error)

    def release(self, worker: str, *, died: bool) -> None:
        """Put back what a worker held; only its death counts as an attempt."""
        with self._db.write() as session:
            session.execute(
                update(JobRow)
                .where(JobRow.worker == worker, JobRow.state == RUNNING)
                .values(worker=None, lease_until=utc_now(), attempts=JobRow.attempts - (0 if died else 1))
            )


def _get(session: Session, job_id: str) -> JobRow:
    job = session.get(JobRow, job_id)
    if job is None:
        raise NotFoundError(f"no job '{job_id}'")
    return job


def _held(session: Session, job_id: str, worker: str) -> JobRow:
    job = session.scalar(select(JobRow).where(JobRow.id == job_id).with_for_update())
    if job is None or job.state != RUNNING or job.worker != worker:
        raise LeaseLostError(job_id)
    return job


def _end(session: Session, job: JobRow, state: str, **outcome: dict[str, Any]) -> None:
    job.state, job.finished, job.eta_s, job.lease_until = state, utc_now(), None, None
    for name, value in outcome.items():
        setattr(job, name, value)
    _event(session, job.id, "state", {"state": state, **outcome})


def _event(session: Session, job_id: str, kind: str, data: dict[str, Any]) -> None:
    session.add(EventRow(job=job_id, kind=kind, data=data))
