"""Calibrations of the closed loop: the newest of each twin tightens the limits of CVs; the earlier ones stay, so that
an answer can be computed again."""

from __future__ import annotations

import threading
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.records.audit import audit
from api.records.catalog import Catalog
from api.records.db import Database
from api.records.registry import Registry
from api.records.tables import CalibrationRow, JobRow, TwinRow
from twin.artifact import Twin
from twin.calibrate import calibrate, renew
from twin.errors import NotFoundError, QuestionError, TrainingError
from twin.exclusions import learnt_from
from twin.planning.backoff import BackOff
from twin.store import Store
from twin.telemetry import Telemetry

KEPT = 64


class Calibrations:
    """Reads and renews calibrations."""

    def __init__(self, db: Database, catalog: Catalog, store: Store, registry: Registry) -> None:
        self._db = db
        self._catalog = catalog
        self._store = store
        self._registry = registry
        self._guard = threading.Lock()
        self._kept: dict[str, BackOff] = {}

    def latest(self, twin_id: str) -> BackOff | None:
        """The newest of a twin; none where it was trained before there were any and was not calibrated since."""
        newest = CalibrationRow.created.desc(), CalibrationRow.id
        with self._db.read() as session:
            query = select(CalibrationRow.id).where(CalibrationRow.twin == twin_id).order_by(*newest).limit(1)
            found = session.scalar(query)
        return None if found is None else self.get(found)

    def get(self, calibration: str) -> BackOff:
        """The one of that id.

        Raises:
            NotFoundError: there is none.
        """
        with self._guard:
            if calibration in self._kept:
                return self._kept[calibration]
        with self._db.read() as session:
            row = session.get(CalibrationRow, calibration)
        if row is None:
            raise NotFoundError(f"no calibration '{calibration}'")
        with self._guard:
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            return self._kept.setdefault(calibration, BackOff.from_json(row.record))

    def renew(self, key: str, slug: str, name: str, start: pd.Timestamp | None, end: pd.Timestamp | None) -> BackOff:
        """Calibrate a twin on telemetry it was not trained on; by default on all since its training, and where that
        is too little, on its training telemetry.

        Raises:
            QuestionError: the span asked begins before the training telemetry ends.
            TrainingError: the span asked is too short.
        """
        row = self._catalog.twin(slug, name)
        twin = self._registry.load(row.id)
        trained = pd.Timestamp(twin.card["data"]["end"])
        if start is not None and start <= trained:
            raise QuestionError.at(("start",), f"the twin was trained on rows up to {trained.isoformat()}: begin later")
        before = self.latest(row.id)
        if before is None or before.surprise is None:  # of before it was kept
            before = calibrate(twin, self._training(row, twin))
        begin = start or trained + pd.Timedelta(seconds=twin.plant.sample_period_s)
        try:
            made = renew(twin, before, self._rows(slug, twin, begin, end, None))
        except TrainingError:
            if start is not None or end is not None:
                raise
            made = calibrate(twin, self._training(row, twin))
        with self._db.write() as session:
            add(session, made)
            audit(session, key, "calibration.post", f"{slug}/{row.id}", {"calibration": made.id})
        return made

    def _training(self, row: TwinRow, twin: Twin) -> Telemetry:
        with self._db.read() as session:
            job = session.get(JobRow, row.job)
        request = job.request if job is not None else {}
        start, end = (request.get(name) and pd.Timestamp(request[name]) for name in ("start", "end"))
        return learnt_from(self._rows(row.plant, twin, start, end, row.data_version), request.get("exclude", []))[0]

    def _rows(
        self, slug: str, twin: Twin, start: pd.Timestamp | None, end: pd.Timestamp | None, version: int | None
    ) -> Telemetry:
        table = self._store.plant(slug)
        return Telemetry.from_frame(twin.plant, table.read(start, end, twin.plant.names, version))


def add(session: Session, made: BackOff) -> None:
    """Keep a calibration; from then on it is the newest of its twin."""
    created = made.created.to_pydatetime()
    session.add(CalibrationRow(id=made.id, twin=made.twin, record=made.to_json(), created=created))


def answer(made: BackOff, twin: Twin, coverage: float) -> dict[str, Any]:
    """A calibration as the service tells it: the margins of each CV at a coverage, engineering units."""
    rows, bands = twin.horizon, twin.calibration.bands_for(unannounced=True)
    low, high = made.margins(coverage, rows)
    open_low, open_high = -bands.at(1 - coverage, rows), bands.at(coverage, rows)
    scale, period = twin.scaler.y_scale, twin.plant.sample_period_s
    return {
        "calibration": made.id,
        "twin": made.twin,
        "source": made.source,
        "windows": made.windows,
        "start": made.start.to_pydatetime(),
        "end": made.end.to_pydatetime(),
        "created": made.created.to_pydatetime(),
        "coverage": coverage,
        "times_s": [period * k for k in range(1, rows + 1)],
        "margins": {
            tag.name: {
                "unit": tag.unit,
                "reaction_s": float(made.reaction[i] * period),
                "low": (low[:, i] * scale[i]).tolist(),
                "high": (high[:, i] * scale[i]).tolist(),
                "open_loop_low": (open_low[:, i] * scale[i]).tolist(),
                "open_loop_high": (open_high[:, i] * scale[i]).tolist(),
            }
            for i, tag in enumerate(twin.plant.cvs)
        },
    }
