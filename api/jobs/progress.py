"""What a job tells while it runs: its progress a few times a second at most, and every alarm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.jobs.queue import Jobs
from api.records.tables import JobRow
from twin.errors import Cancelled
from twin.training.pace import Progress

log = structlog.get_logger()

EVERY_S = 0.5  # between progress events
FITTED = 0.95  # of the progress; the rest is the report


def teller(jobs: Jobs, worker: str, job: JobRow, lost: threading.Event) -> Callable[[Progress], None]:
    """A function that tells; it raises `Cancelled` when the job is no longer this worker's (`lost`)."""
    told = 0.0

    def tell(progress: Progress) -> None:
        nonlocal told
        if lost.is_set():
            raise Cancelled("the job was cancelled")
        if not progress.alarms and time.monotonic() - told < EVERY_S:
            return
        told = time.monotonic()
        fraction = FITTED * progress.fraction
        data = {"progress": fraction, "eta_s": progress.eta_s, "step": progress.step, "losses": progress.losses}
        try:
            jobs.report(job.id, worker, "progress", data, fraction, progress.eta_s)
            for alarm in progress.alarms:
                jobs.report(job.id, worker, "alarm", {"detail": alarm}, fraction, progress.eta_s)
        except SQLAlchemyError as error:  # training goes on; the lease is looked after elsewhere
            log.warning("progress not told", job=job.id, error=str(error))

    return tell
