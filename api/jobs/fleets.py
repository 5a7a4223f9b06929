"""The job that learns a fleet: telemetry of many plants as of one version each in, a version of the fleet out."""

from __future__ import annotations

import threading
import time
from typing import Any

import pandas as pd

from api.jobs import compilation
from api.jobs.diary import Diary
from api.jobs.progress import teller
from api.jobs.queue import Jobs, LeaseLostError
from api.records.catalog import Catalog
from api.records.db import Database
from api.records.fleets import Fleets
from api.records.tables import JobRow
from api.settings import Settings
from twin.errors import QuestionError
from twin.fleet.fleet import Fleet
from twin.fleet.learn import Learning, Source, learn
from twin.store import Store
from twin.telemetry import Telemetry
from twin.training.pace import Progress


class FleetTraining:
    """Learns fleets for one worker."""

    def __init__(
        self, db: Database, jobs: Jobs, catalog: Catalog, store: Store, settings: Settings, worker: str
    ) -> None:
        self._db, self._jobs, self._catalog, self._store, self._worker = db, jobs, catalog, store, worker
        self._fleets = Fleets(settings.fleets)
        compilation.cache(settings.compilation_cache)

    def run(self, job: JobRow, lost: threading.Event, diary: Diary) -> None:
        """Learn and store; `lost` is set when the job is no longer this worker's.

        Raises:
            Cancelled, LeaseLostError: the job was taken away; nothing becomes current.
            TwinError: it cannot be done; it says why.
        """
        request, tell = job.request, teller(self._jobs, self._worker, job, lost)
        sources = {unit["plant"]: self._source(unit) for unit in request["units"]}
        diary.note(f"{len(sources)} units, {sum(len(s.telemetry) for s in sources.values())} rows of telemetry")
        options = Learning()
        horizon_s = request.get("horizon_s")
        period = next(iter(sources.values())).telemetry.plant.sample_period_s
        options = Learning(
            horizon=options.horizon if horizon_s is None else max(2, round(horizon_s / period)),
            budget_s=request.get("budget_s", options.budget_s),
            seed=request.get("seed", options.seed),
        )
        began = time.monotonic()

        def progress(fraction: float, losses: dict[str, float], alarms: tuple[str, ...]) -> None:
            left = max(options.budget_s - (time.monotonic() - began), 0.0)
            tell(Progress(0, 0, fraction, left, losses, alarms))

        fleet = learn(sources, options, progress)
        residual = fleet.card["residual"]
        diary.note(f"order {fleet.shape.lags}, {fleet.shape.input_rows}; of units held out the residual leaves "
                   f"{residual['out_of_unit']:.3f} of the linear part's error")  # fmt: skip
        self._store_fleet(job, fleet)

    def _store_fleet(self, job: JobRow, fleet: Fleet) -> None:
        """The version first; it becomes current with the end of the job, where that is still this worker's."""
        name = job.request["fleet"]
        self._fleets.keep(name, fleet)
        try:
            with self._db.write() as session:
                self._jobs.succeed(session, job.id, self._worker, {"fleet": name, "version": fleet.id})
                self._fleets.promote(name, fleet)
        except LeaseLostError:
            self._fleets.discard(name, fleet)
            raise

    def _source(self, unit: dict[str, Any]) -> Source:
        plant = self._catalog.plant(unit["plant"], unit["plant_version"]).plant
        start, end = (None if unit.get(name) is None else pd.Timestamp(unit[name]) for name in ("start", "end"))
        rows = self._store.plant(unit["plant"]).read(start, end, plant.names, unit["data_version"])
        telemetry = Telemetry.from_frame(plant, rows)
        if not len(telemetry):
            raise QuestionError.at(("units", unit["plant"]), "it has no telemetry: upload some, or leave it out")
        return Source(telemetry, unit.get("tags", {}))
