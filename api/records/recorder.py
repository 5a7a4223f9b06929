"""The log of recommendations, written behind the answers: one thread, in batches, flushed at the end.

Before an answer goes out its recommendation is in the spool, so that neither a kill nor a database that is away takes
one that was acknowledged; what a process left there is stored by the next one, which does not wait for it. An answer
never waits for the database: where too much of the spool waits for it, there is none.
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
from api.records.spool import Line, Spool, SpoolFullError
from api.records.tables import RecommendationRow, utc_now
from twin.errors import StoreError

log = structlog.get_logger()

BATCH = 200
RETRY_S = 1.0
LEAVING_S = 10.0
FLUSH_S = 10.0
FIELDS = ("plant", "twin", "key", "fingerprint", "request", "outcome")
Item = tuple[Line, bool]  # where it is in the spool, and whether it may be stored already


class Recorder:
    """Stores recommendations without slowing the answers that make them.

    Args:
        folder: of the spool.
        room: bytes of the spool that may wait for the database.
    """

    def __init__(self, db: Database, folder: Path, room: int) -> None:
        self._db = db
        self._spool = Spool(folder, room)
        self._room = room
        self._queue: queue.Queue[Item | None] = queue.Queue()
        self._lock = threading.Lock()
        self._last = utc_now()
        self._end: float | None = None  # of the thread at the latest, once it is asked to
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def waiting(self) -> int:
        """How many are still to be stored."""
        return self._queue.unfinished_tasks

    def start(self) -> None:
        """Begin to write, first what an earlier process left."""
        for lines in self._spool.left():
            for line in lines:
                self._queue.put((line, True))
        self._thread.start()

    def check(self) -> None:
        """Ask before the work for an answer whether it could be recorded.

        Raises:
            StoreError: too many wait for the database.
        """
        try:
            self._spool.check()
        except SpoolFullError:
            raise self._full() from None

    def add(self, row: RecommendationRow) -> None:
        """Have a recommendation stored soon; it is safe from a kill when this returns, at once.

        Raises:
            StoreError: too many wait for the database; this one is not kept.
            OSError: the disk does not take it.
        """
        entry = {"created": self._instant().isoformat()} | {name: getattr(row, name) for name in FIELDS}
        try:
            self._queue.put((self._spool.add(entry), False))
        except SpoolFullError:
            raise self._full() from None

    def _full(self) -> StoreError:
        return StoreError(
            f"the database cannot be written, and {self.waiting} recommendations that wait for it have used up the "
            f"{self._room >> 20} MiB of disk that they may take (TWIN_SPOOL_MIB): none is given that could not be "
            "logged. See that the database can be written again (its server, its disk, who locks it); they are then "
            "stored, and optimize answers again, without a restart"
        )

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
        self._end = time.monotonic() + LEAVING_S
        self._queue.put(None)
        self._thread.join(LEAVING_S)
        if self._thread.is_alive():  # the database does not even refuse: the files stay this process's to its end
            log.error("the database does not answer; recommendations wait for the next start", rows=self.waiting)

    def _run(self) -> None:
        stored = True
        while stored and not self._late():
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            items = [item for item in batch if item is not None]
            stored = self._store(items)
            for _ in batch if stored else ():
                self._queue.task_done()
            if len(items) < len(batch):
                break
        if self.waiting:
            log.error("recommendations wait for the next start", rows=self.waiting)
        self._spool.close()

    def _late(self) -> bool:
        """Whether the service has to end now."""
        return self._end is not None and time.monotonic() > self._end - RETRY_S

    def _store(self, items: Sequence[Item]) -> bool:
        """Store recommendations, however long the database is away.

        Returns:
            False where it is still away when the service has to end; they wait for the next start.
        """
        again = any(known for _, known in items)
        while True:
            try:
                entries = [self._spool.read(line) for line, _ in items]
                with self._db.write() as session:
                    rows = [_row(entry) for entry in entries if entry is not None]
                    known = self._known(session, rows) if again else set()
                    rows = [row for row in rows if (row.fingerprint, row.created) not in known]
                    session.add_all(rows)
                    session.flush()
                    audit_recommendations(session, rows)
            except (OperationalError, InterfaceError, OSError) as error:
                log.error("recommendations not stored yet", rows=len(items), error=str(error))
                again = True  # the commit may have arrived, and its answer not
                self._sync()
            except SQLAlchemyError as error:
                return self._refused(items, error)
            else:
                for (line, _), entry in zip(items, entries, strict=True):
                    if entry is None:
                        log.error("a line of the spool is damaged", path=str(line.part.path), start=line.start)
                    else:
                        self._spool.done(line)
                return True
            if self._late():
                return False
            time.sleep(RETRY_S)

    def _refused(self, items: Sequence[Item], error: SQLAlchemyError) -> bool:
        """One of them is refused for what it is: it stays in the spool, and takes no other with it."""
        if len(items) > 1:
            return all(self._store([(line, True)]) for line, _ in items)
        log.error("a recommendation cannot be stored", error=str(error))
        return True

    def _sync(self) -> None:
        try:
            self._spool.sync()
        except OSError as error:  # the disk is full or gone, as the database may be: what was written is tried again
            log.error("the spool is not synced", error=str(error))

    @staticmethod
    def _known(session: Session, rows: Sequence[RecommendationRow]) -> set[tuple[str, datetime]]:
        """Which of them are stored."""
        query = select(RecommendationRow.fingerprint, RecommendationRow.created)
        found = session.execute(query.where(RecommendationRow.created.in_([row.created for row in rows])))
        return {(fingerprint, created) for fingerprint, created in found}


def _row(entry: dict[str, Any]) -> RecommendationRow:
    """A recommendation as the spool holds it."""
    fields = {name: entry[name] for name in FIELDS}
    return RecommendationRow(created=datetime.fromisoformat(entry["created"]), **fields)
