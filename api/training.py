"""The training job: telemetry as of one version in, a twin in its folder and in the catalog out."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from api import calibrations, compilation
from api.audit import audit
from api.catalog import CHAMPION, Catalog
from api.db import Database
from api.jobs import Jobs
from api.settings import Settings
from api.tables import AliasRow, JobRow, TwinRow
from twin import artifact
from twin.artifact import Twin
from twin.calibrate import calibrate
from twin.errors import Cancelled
from twin.evaluate import report
from twin.planning.backoff import BackOff
from twin.store import Store
from twin.telemetry import Telemetry
from twin.train import Options, Progress, fit

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
        data = {"plant": job.plant, "plant_version": job.request["plant_version"]}
        data["data_version"] = job.request["data_version"]
        twin = replace(twin, card={**twin.card, **report(twin, telemetry), "trained_on": data})
        self._store_twin(job, twin, calibrate(twin, telemetry))

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
            data = {"progress": fraction, "eta_s": progress.eta_s, "step": progress.step, "losses": progress.losses}
            self._jobs.report(job.id, self._worker, "progress", data, fraction, progress.eta_s)
            for alarm in progress.alarms:
                self._jobs.report(job.id, self._worker, "alarm", {"detail": alarm}, fraction, progress.eta_s)

        return tell

    def _store_twin(self, job: JobRow, twin: Twin, back_off: BackOff) -> None:
        """The folder first, then at once the row, its calibration, the alias and the end of the job."""
        folder = self._folder / twin.id
        artifact.save(twin, folder)
        try:
            with self._db.write() as session:
                self._jobs.succeed(session, job.id, self._worker, {"twin": twin.id})
                session.add(_row(job, twin))
                session.flush()
                calibrations.add(session, back_off)
                if beats_persistence(twin.card) and session.get(AliasRow, (job.plant, CHAMPION)) is None:
                    session.add(AliasRow(plant=job.plant, alias=CHAMPION, twin=twin.id))
                    audit(session, "worker", "alias.put", f"{job.plant}/{CHAMPION}", {"twin": twin.id})
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def beats_persistence(card: dict[str, Any]) -> bool:
    """Whether a twin is good enough to become champion by itself: the median CV errs less than its last value would."""
    errors = [cv["rmse"] for cv in card["backtest"]["cvs"].values()]
    return bool(np.median([np.mean(e["twin"]) / max(np.mean(e["persistence"]), 1e-12) for e in errors]) < 1)


def _options(request: dict[str, Any]) -> Options:
    given = {name: request[name] for name in ("horizon_s", "budget_s", "seed") if name in request}
    return Options(**given, **request.get("options", {}))


def _stamp(time: str | None) -> pd.Timestamp | None:
    return None if time is None else pd.Timestamp(time)


def _row(job: JobRow, twin: Twin) -> TwinRow:
    summary = {
        "min_history_rows": twin.min_history_rows,
        "horizon_s": twin.horizon_s,
        "sample_period_s": twin.plant.sample_period_s,
        "residual": twin.card["training"]["residual"]["ships"],
    }
    return TwinRow(
        id=twin.id,
        plant=job.plant,
        plant_version=job.request["plant_version"],
        data_version=job.request["data_version"],
        job=job.id,
        summary=summary,
    )
