"""The log of recommendations, written behind the answers: one thread, in batches, flushed at the end.

Before an answer goes out its recommendation is in the spool, so that neither a kill nor a database that is away takes
one that was acknowledged; what a process left there is stored at the next start.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from api.records.audit import audit_recommendations
from api.records.db import Database
from api.records.spool import Part, Spool
from api.records.tables import RecommendationRow, utc_now
from twin.errors import StoreError

log = structlog.get_logger()

WAITING = 10_000  # recommendations; an answer waits where more are still to be written
BATCH = 200
RETRY_S = 1.0
LEAVING_S = 10.0
FLUSH_S = 10.0
FIELDS = ("plant", "twin", "key", "fingerprint", "request", "outcome")
Item = tuple[dict[str, Any], Part]  # as the spool holds it, and where


class Recorder:
    """Stores recommendations without slowing the answers that make them.

    Args:
        folder: of the spool.
    """

    def __init__(self, db: Database, folder: Path) -> None:
        self._db = db
        self._spool = Spool(folder)
        self._queue: queue.Queue[Item | None] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._last = utc_now()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Store what an earlier process left, and begin to write."""
        for part, entries in self._spool.left():
            self._store([(entry, part) for entry in entries], again=True)
        self._thread.start()

    def add(self, row: RecommendationRow) -> None:
        """Have a recommendation stored soon; it is safe from a kill when this returns.

        Raises:
            OSError: the disk does not take it.
        """
        entry = {"created": self._instant().isoformat()} | {name: getattr(row, name) for name in FIELDS}
        self._queue.put((entry, self._spool.add(entry)))

    def _instant(self) -> datetime:
        """Now, and no two of a process at the same instant: by that `_known` knows them."""
        with self._lock:
            now = utc_now()
            if now <= self._last < now + timedelta(seconds=1):
                now = self._last + timedelta(microseconds=1)
            self._last = now
            return now

    def flush(self) -> None:
        """Wait until everything added so far is stored.

        Raises:
            StoreError: the database takes nothing for so long that who asks shall not wait for it.
        """
        done = self._queue.all_tasks_done
        with done:
            if not done.wait_for(lambda: not self._queue.unfinished_tasks, FLUSH_S):
                raise StoreError("the database takes no recommendations at present; they wait on disk: try again later")

    def stop(self) -> None:
        """Store what is left and end; a database that is away is waited for only so long."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()
        self._spool.close()

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            items = [item for item in batch if item is not None]
            going = len(items) == len(batch)
            self._store(items)
            for _ in batch:
                self._queue.task_done()

    def _store(self, items: Sequence[Item], again: bool = False) -> None:
        """Store recommendations, however long the database is away; while the service ends, for `LEAVING_S` at most.

        Args:
            again: some may be there already.
        """
        left = LEAVING_S
        while left > 0:
            try:
                with self._db.write() as session:
                    rows = [_row(entry) for entry, _ in items]
                    known = self._known(session, rows) if again else set()
                    rows = [row for row in rows if (row.fingerprint, row.created) not in known]
                    session.add_all(rows)
                    session.flush()
                    audit_recommendations(session, rows)
            except (OperationalError, InterfaceError) as error:
                log.error("recommendations not stored yet", rows=len(items), error=str(error))
                again = True  # the commit may have arrived, and its answer not
                self._sync()
            except SQLAlchemyError as error:  # it would be no better now; they stay in the spool
                log.error("recommendations not stored", rows=len(items), error=str(error))
                return
            else:
                for _, part in items:
                    self._spool.done(part)
                return
            if self._stopping.is_set():
                left -= RETRY_S
            time.sleep(RETRY_S)
        log.error("recommendations wait for the next start", rows=len(items))

    def _sync(self) -> None:
        try:
            self._spool.sync()
        except OSError as error:  # the disk is full or gone, as the database may be: what was written is tried again
            log.error("the spool is not synced", error=str(error))

    @staticmethod
    def _known(session: Session, rows: Sequence[RecommendationRow]) -> set[tuple[str, datetime]]:
        """Which of them are stored."""
        known: set[tuple[str, datetime]] = set()
        query = select(RecommendationRow.fingerprint, RecommendationRow.created)
        for start in range(0, len(rows), BATCH):
            times = [row.created for row in rows[start : start + BATCH]]
            found = session.execute(query.where(RecommendationRow.created.in_(times)))
            known |= {(fingerprint, created) for fingerprint, created in found}
        return known


def _row(entry: dict[str, Any]) -> RecommendationRow:
    """A recommendation as the spool holds it."""
    fields = {name: entry[name] for name in FIELDS}
    return RecommendationRow(created=datetime.fromisoformat(entry["created"]), **fields)
