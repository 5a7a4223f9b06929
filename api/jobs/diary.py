"""The diary of a job: what its worker tells of it, in the service's logs and in the log of the job.

A database that is away costs lines of the log, never the job.
"""

from __future__ import annotations

import traceback
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.jobs.queue import Jobs

log = structlog.get_logger()
HERE = Path(__file__).parents[1]


class Diary:
    """Of one job."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs, self._job = jobs, job_id

    def note(self, message: str, level: str = "info") -> None:
        """Add a line."""
        getattr(log, level)(message, job=self._job)
        try:
            self._jobs.log(self._job, message, level=level)
        except SQLAlchemyError as error:
            log.warning("line of the job's log lost", job=self._job, error=str(error))

    def broke(self, error: BaseException) -> None:
        """Add where in this program an exception arose; no path of this machine is in it."""
        log.error("job failed", job=self._job, exc_info=error)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if HERE in Path(frame.filename).parents]
        own = [f"{Path(frame.filename).relative_to(HERE)}:{frame.lineno} {frame.name}" for frame in frames]
        try:
            self._jobs.log(self._job, f"{type(error).__name__}: {error}; at {' < '.join(own[::-1])}", level="error")
        except SQLAlchemyError as lost:
            log.warning("line of the job's log lost", job=self._job, error=str(lost))
