"""The log of recommendations, written behind the answers: one thread, in batches, flushed at the end."""

from __future__ import annotations

import queue
import threading
import time

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from api.records.audit import audit_recommendations
from api.records.db import Database
from api.records.tables import RecommendationRow

log = structlog.get_logger()

WAITING = 10_000  # recommendations; an answer waits where more are still to be written
BATCH = 200
RETRY_S = 1.0
LEAVING_S = 10.0


class Recorder:
    """Stores recommendations without slowing the answers that make them."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._queue: queue.Queue[RecommendationRow | None] = queue.Queue(WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, row: RecommendationRow) -> None:
        """Have a recommendation stored soon."""
        self._queue.put(row)

    def flush(self) -> None:
        """Wait until everything added so far is stored."""
        self._queue.join()

    def stop(self) -> None:
        """Store what is left and end; a database that is away is waited for only so long."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            rows = [row for row in batch if row is not None]
            going = len(rows) == len(batch)
            self._store(rows)
            for _ in batch:
                self._queue.task_done()

    def _store(self, rows: list[RecommendationRow]) -> None:
        """Store rows, however long the database is away; while the service ends, for `LEAVING_S` at most."""
        left = LEAVING_S
        while left > 0:
            try:
                with self._db.write() as session:
                    session.add_all(rows)
                    session.flush()
                    audit_recommendations(session, rows)
                return
            except (OperationalError, InterfaceError) as error:
                log.error("recommendations not stored yet", rows=len(rows), error=str(error))
            except SQLAlchemyError as error:  # it would be no better another time
                log.error("recommendations not stored", rows=len(rows), error=str(error))
                return
            if self._stopping.is_set():
                left -= RETRY_S
            time.sleep(RETRY_S)
        log.error("recommendations lost", rows=len(rows))
