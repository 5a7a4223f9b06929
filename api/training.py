"""The training job: telemetry as of one version in, a twin in its folder and in the catalog out."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import Any

from api import compilation
from api.catalog import CHAMPION, Catalog, audit
from api.db import Database
from api.jobs import Jobs
from api.settings import Settings
from api.tables import AliasRow, JobRow
from twin import artifact
from twin.artifact import Twin
from twin.errors import Cancelled
from twin.evaluate import good, report
from twin.store import Store
from twin.telemetry import Telemetry
from twin.train import Progress, fit

EVERY_S = 0.5  # between progress events
FITTED = 0.95  # of the progress; the rest is the report


class Training:
    """Trains for one worker."""

    def __init__(
        self, db: Database, jobs: Jobs, catalog: Catalog, store: Store, settings: Settings, worker: str
    ) -> None:
        self._db = db
        self._jobs = jobs
        self._catalog = catalog
        self._store = store
        self._folder = settings.twins
        self._worker = worker
        compilation.cache(settings.compilation_cache)

    def run(self, job: JobRow, lost: threading.Event) -> None:
        """Train, report, store; `lost` is set when the job is no longer this worker's.

        Raises:
            Cancelled, LeaseLostError: the job was taken away; nothing is stored.
            TwinError: training cannot be done; it says why.
        """
        telemetry = self._telemetry(job)
        twin = fit(telemetry, _options(job.request), self._progress(job, lost))
        card = report(twin, telemetry)
        self._jobs.report(job.id, self._worker, "progress", {"stage": "storing"}, 0.99, 0.0)
        self._store_twin(job, twin, card)

    def _telemetry(self, job: JobRow) -> Telemetry:
        plant = self._catalog.plant(job.plant, job.request["plant_version"]).plant
        start, end = (_stamp(job.request.get(name)) for name in ("start", "end"))
        table = self._store.plant(job.plant)
        return Telemetry.from_frame(plant, table.read(start, end, plant.names, job.request["data_version"]))

    def _progress(self, job: JobRow, lost: threading.Event) -> Any:
        told = 0.0

        def tell(progress: Progress) -> None:
            nonlocal told
            if lost.is_set():
                raise Cancelled("the job was cancelled")
            if not progress.alarms and time.monotonic() - told < EVERY_S:
                return
            told = time.monotonic()
            fraction = FITTED * progress.fraction
            data = {"progress": fraction, "eta_s": progress.eta_s, **_detail(progress)}
            self._jobs.report(job.id, self._worker, "progress", data, fraction, progress.eta_s)
            for alarm in progress.alarms:
                self._jobs.report(job.id, self._worker, "alarm", {"detail": alarm}, fraction, progress.eta_s)

        return tell

    def _store_twin(self, job: JobRow, twin: Twin, card: dict[str, Any]) -> None:
        """The folder first, under another name until it is complete; then the row and the end of the job at once."""
        unfinished = self._folder / f".{twin.id}-{self._worker}"
        artifact.save(twin, unfinished)
        os.replace(unfinished, self._folder / twin.id)
        try:
            with self._db.write() as session:
                self._jobs.succeed(session, job.id, self._worker, {"twin": twin.id})
                session.add(_row(job, twin))
                session.flush()
                if good(card) and session.get(AliasRow, (job.plant, CHAMPION)) is None:
                    session.add(AliasRow(plant=job.plant, alias=CHAMPION, twin=twin.id))
                    audit(session, "worker", "alias.put", f"{job.plant}/{CHAMPION}", {"twin": twin.id})
        except BaseException:
            shutil.rmtree(self._folder / twin.id, ignore_errors=True)
            raise
