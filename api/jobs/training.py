"""The training job: telemetry as of one version in, a twin in its folder and in the catalog out."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import structlog
from sqlalchemy.exc import OperationalError

from api.jobs import compilation
from api.jobs.diary import Diary
from api.jobs.progress import teller
from api.jobs.queue import Jobs, LeaseLostError
from api.records import calibrations
from api.records.audit import audit
from api.records.catalog import CHAMPION, Catalog
from api.records.db import Database
from api.records.fleets import Fleets
from api.records.tables import AliasRow, JobRow, TwinRow
from api.settings import Settings
from twin import artifact
from twin.artifact import Twin
from twin.calibrate import calibrate
from twin.evaluate import report
from twin.exclusions import learnt_from
from twin.fleet.start import Joining
from twin.hierarchy.training import fit
from twin.planning.backoff import BackOff
from twin.store import Store
from twin.telemetry import Telemetry
from twin.train import Options
from twin.train import fit as fit_one
from twin.training.checkpoint import Checkpoint

log = structlog.get_logger()

CHECKPOINT = "checkpoint.safetensors"
OF_SCALES = ("hierarchy", "slow_stride")  # options that are not those of one twin
CHECKPOINT_S = 5.0  # between two of a job
OUTAGE_S = 600.0  # how long a trained twin waits for the database to come back
RETRY_S = 1.0


class Training:
    """Trains for one worker."""

    def __init__(
        self, db: Database, jobs: Jobs, catalog: Catalog, store: Store, settings: Settings, worker: str
    ) -> None:
        self._db = db
        self._jobs = jobs
        self._catalog = catalog
        self._store = store
        self._folder, self._kept = settings.twins, settings.jobs
        self._fleets = Fleets(settings.fleets)
        self._worker = worker
        compilation.cache(settings.compilation_cache)

    def run(self, job: JobRow, lost: threading.Event, diary: Diary) -> None:
        """Train from where the job stood, report, store; `lost` is set when the job is no longer this worker's.

        Raises:
            Cancelled, LeaseLostError: the job was taken away; nothing is stored.
            TwinError: training cannot be done; it says why.
        """
        telemetry, excluded = learnt_from(self._telemetry(job), job.request.get("exclude", []))
        diary.note(f"{len(telemetry)} rows of telemetry as of version {job.request['data_version']}")
        checkpoint = Checkpoint(
            self._kept / job.id / CHECKPOINT,
            CHECKPOINT_S,
            lambda step: diary.note(f"taken up at step {step}, where the attempt before stood"),
        )
        before = job.request.get("from_twin")
        start = None if before is None else artifact.load(self._folder / before)
        options, slow = _options(job.request), _slow(job.request, start)
        told = teller(self._jobs, self._worker, job, lost)
        if slow:
            twin = fit(telemetry, options, slow["stride"], told, checkpoint=checkpoint, start=start)
            diary.note(twin.card["slow"]["why"])
        else:
            twin = fit_one(telemetry, options, told, checkpoint=checkpoint, start=start, fleet=self._joining(job))
        telemetry = twin.reads(telemetry)
        trained = twin.card["training"]
        diary.note(f"backbone {trained['backbone']['name']}. {trained['residual']['why']}")
        diary.note(trained["polynomial"]["why"])
        if "common" in trained:
            diary.note(trained["common"]["why"])
        diary.note(f"stopped by {trained['stopped_by']}; {trained['peak_memory_mib']:.0f} MiB at most")
        data = {"plant": job.plant, "plant_version": job.request["plant_version"]}
        data["data_version"] = job.request["data_version"]
        card = report(twin, telemetry)
        card["data"] |= {"excluded": excluded}
        twin = replace(twin, card={**twin.card, **card, "trained_on": data})
        self._store_twin(job, twin, calibrate(twin, telemetry), lost)
        diary.note(f"twin {twin.id} is stored")

    def _telemetry(self, job: JobRow) -> Telemetry:
        plant = self._catalog.plant(job.plant, job.request["plant_version"]).plant
        start, end = (_stamp(job.request.get(name)) for name in ("start", "end"))
        table = self._store.plant(job.plant)
        return Telemetry.from_frame(plant, table.read(start, end, plant.names, job.request["data_version"]))

    def _joining(self, job: JobRow) -> Joining | None:
        of = job.request.get("from_fleet")
        if of is None:
            return None
        fleet = self._fleets.get(of["name"], of["version"])
        return Joining(fleet, job.request.get("fleet_tags", {}), job.plant)

    def _store_twin(self, job: JobRow, twin: Twin, back_off: BackOff, lost: threading.Event) -> None:
        """The folder first, then at once the row, its calibration, the alias and the end of the job.

        A database that is away is waited for. Where it went away in the middle, only it knows whether the twin is
        there: the folder is removed only when it is known that nothing names it.
        """
        folder = self._folder / twin.id
        artifact.save(twin, folder)
        until = time.monotonic() + OUTAGE_S
        try:
            while not self._published(job, twin, back_off):
                if lost.wait(RETRY_S):
                    raise LeaseLostError(job.id)
                if time.monotonic() > until:
                    raise TimeoutError(f"the database was away for {OUTAGE_S:g} s")
        except TimeoutError:
            raise  # the folder stays: nobody knows
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _published(self, job: JobRow, twin: Twin, back_off: BackOff) -> bool:
        """Whether the twin is in the catalog now; False where the database is away."""
        try:
            with self._db.read() as session:
                if session.get(TwinRow, twin.id) is not None:  # the answer to the commit before was lost
                    return True
            with self._db.write() as session:
                self._jobs.succeed(session, job.id, self._worker, {"twin": twin.id})
                session.add(_row(job, twin))
                session.flush()
                calibrations.add(session, back_off)
                if beats_persistence(twin.card) and session.get(AliasRow, (job.plant, CHAMPION)) is None:
                    session.add(AliasRow(plant=job.plant, alias=CHAMPION, twin=twin.id))
                    audit(session, "worker", "alias.put", f"{job.plant}/{CHAMPION}", {"twin": twin.id})
        except OperationalError as error:
            log.warning("twin not stored yet", job=job.id, error=str(error))
            return False
        return True


def beats_persistence(card: dict[str, Any]) -> bool:
    """Whether a twin is good enough to become champion by itself: the median CV errs less than its last value would,
    of those that this is not right about throughout."""
    errors = [cv["rmse"] for cv in card["backtest"]["cvs"].values()]
    ratios = [np.mean(e["twin"]) / np.mean(e["persistence"]) for e in errors if np.mean(e["persistence"]) > 0]
    return bool(ratios and np.median(ratios) < 1)


def _options(request: dict[str, Any]) -> Options:
    given = {name: request[name] for name in ("horizon_s", "budget_s", "seed") if name in request}
    options = {name: value for name, value in request.get("options", {}).items() if name not in OF_SCALES}
    return Options(**given, **options)


def _slow(request: dict[str, Any], start: Twin | None) -> dict[str, Any]:
    """What is asked of a slow twin; nothing where none is. With an earlier twin to start from, as that one."""
    options = request.get("options", {})
    stride = options.get("slow_stride")
    if stride is None and start is not None and options.get("hierarchy") is None:
        return {"stride": start.stride} if start.slow is not None else {}
    wanted = options.get("hierarchy")
    return {"stride": stride} if wanted or (wanted is None and stride is not None) else {}


def _stamp(time: str | None) -> pd.Timestamp | None:
    return None if time is None else pd.Timestamp(time)


def _row(job: JobRow, twin: Twin) -> TwinRow:
    summary = {
        "min_history_rows": twin.min_history_rows,
        "horizon_s": twin.horizon_s,
        "sample_period_s": twin.plant.sample_period_s,
        "residual": twin.card["training"]["residual"]["ships"],
    }
    if twin.slow is not None:
        summary["slow"] = {"period_s": twin.slow.plant.sample_period_s, "horizon_s": twin.slow.horizon_s}
    return TwinRow(
        id=twin.id,
        plant=job.plant,
        plant_version=job.request["plant_version"],
        data_version=job.request["data_version"],
        job=job.id,
        summary=summary,
    )
