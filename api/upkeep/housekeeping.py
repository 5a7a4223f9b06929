"""What must be done once a day: small files of telemetry are merged; old ones, telemetry past its retention, abandoned
uploads and what ended jobs left behind are removed."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pandas as pd
import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.incoming import Inbox
from api.jobs.queue import ENDED, Jobs
from api.records.catalog import Catalog
from api.records.registry import Registry
from twin.errors import NotFoundError, StoreError, TwinError
from twin.store import Store

log = structlog.get_logger()

FIRST_S = 600.0  # after the start: not while everything else starts too
EVERY_S = 86_400.0
PAGE = 1000


class Housekeeper:
    """A thread that compacts every plant's telemetry, and forgets what is past its retention; several servers may.

    Args:
        retention_days: of telemetry; 0 keeps everything. What a twin with an alias was trained on is kept as well, and
            everything of a plant while a job of it is open.
    """

    def __init__(
        self, catalog: Catalog, store: Store, inbox: Inbox, jobs: Jobs, registry: Registry, checkpoints: Path,
        retention_days: float = 0.0,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._retention_days = retention_days
        self._catalog = catalog
        self._store = store
        self._inbox = inbox
        self._jobs = jobs
        self._checkpoints = checkpoints
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Begin to look after things."""
        self._thread.start()

    def stop(self) -> None:
        """End, when the plant in hand is done."""
        self._stop.set()
        self._thread.join()

    def tidy(self) -> None:
        """Compact every plant's telemetry, now; one that fails does not keep the others from it."""
        self._inbox.tidy()
        self._tidy_checkpoints()
        after = None
        while plants := self._catalog.plants(PAGE, after):
            for plant in plants:
                if self._stop.is_set():
                    return
                try:
                    self._forget(plant.slug)
                    self._store.plant(plant.slug).compact()
                except StoreError as error:
                    log.warning("telemetry not compacted", plant=plant.slug, error=error.detail)
            after = plants[-1].slug

    def _forget(self, slug: str) -> None:
        if not self._retention_days or self._jobs.open_of(slug):
            return
        before = pd.Timestamp.now("UTC") - pd.Timedelta(days=self._retention_days)
        for twin in set(self._catalog.aliases(slug).values()):
            try:
                before = min(before, pd.Timestamp(self._registry.load(twin).card["data"]["start"]))
            except TwinError as error:  # it cannot be read: what it learned from is not known
                log.warning("retention put off", plant=slug, twin=twin, error=error.detail)
                return
        table = self._store.plant(slug)
        span = table.span
        if span is None or span[0] >= before:
            return
        self._catalog.note("telemetry.forget", slug, {"before": before.isoformat()})
        log.info("telemetry forgotten", plant=slug, before=before.isoformat(), rows=table.forget(before))

    def _tidy_checkpoints(self) -> None:
        for folder in self._checkpoints.glob("job-*"):
            try:
                ended = self._jobs.get(folder.name).state in ENDED
            except NotFoundError:
                ended = True
            if ended:
                shutil.rmtree(folder, ignore_errors=True)

    def _run(self) -> None:
        wait = FIRST_S
        while not self._stop.wait(wait):
            try:
                self.tidy()
                wait = EVERY_S
            except SQLAlchemyError as error:  # the database is away: soon again
                log.warning("not tidied", error=str(error))
                wait = FIRST_S
