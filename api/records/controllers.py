"""The running controllers as the database keeps them: state, wishes and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from api.http.schemas import ControllerBody, Time
from api.records.audit import audit
from api.records.db import Database
from api.records.tables import ControllerRecordRow, ControllerRow, PlantRow, utc_now
from twin.errors import ConflictError, NotFoundError, Problem, QuestionError
from twin.plant import near

KEPT = 500_000  # records of a plant; a month of cycles of 5 s
TRIM_EVERY = 1_000  # records between two looks at that
SILENT_PERIODS = 5  # a controller that has not reported for so long does not run
SILENT_S = 15.0  # nor for so long, where its periods are short
CHANGES = ("mode", "setpoints")  # kinds of records that the audit log has too

_time = TypeAdapter(Time)


class Controllers:
    """What controllers report, and what is wanted of them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, slug: str) -> dict[str, Any]:
        """The controller of a plant; with nulls where none ever ran."""
        with self._db.read() as session:
            _plant(session, slug)
            return _answer(slug, session.get(ControllerRow, slug))

    def want(self, key: str, slug: str, body: ControllerBody) -> dict[str, Any]:
        """Ask something of the controller; it takes it up by its next report.

        Raises:
            ConflictError: `closed` is asked for without confirmation, or of a controller that cannot go there.
        """
        with self._db.write() as session:
            _plant(session, slug)
            row = session.get(ControllerRow, slug) or ControllerRow(plant=slug, request=0)
            if body.mode == "closed":
                _permit_closed(slug, row, body)
            if not body.mode and not body.setpoints:
                raise QuestionError("nothing is asked for: give a mode, setpoints or both", [Problem((), "is empty")])
            _known_setpoints(row, body)
            before = row.wanted or {}
            row.request += 1
            row.wanted_at = utc_now()
            row.wanted = {
                "id": row.request,
                "mode": body.mode,
                "last_mode": body.mode or before.get("last_mode"),
                "confirmed": body.mode == "closed",
                "setpoints": {**before.get("setpoints", {}), **body.setpoints},
                "reason": body.reason,
                "by": key,
            }
            session.add(row)
            audit(session, key, "controller.request", slug, row.wanted)
            session.flush()
            return _answer(slug, row)

    def report(
        self, key: str, slug: str, run: str, state: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Take what a controller reports; what is wanted of it. A record that is known already is left out.

        Raises:
            QuestionError: a record lacks its number, kind or time.
        """
        rows = [_record(slug, run, i, record) for i, record in enumerate(records)]
        with self._db.write() as session:
            _plant(session, slug)
            row = session.get(ControllerRow, slug) or ControllerRow(plant=slug, request=0)
            row.state, row.seen = dict(state), utc_now()
            session.add(row)
            known = select(ControllerRecordRow.number).where(
                ControllerRecordRow.plant == slug,
                ControllerRecordRow.run == run,
                ControllerRecordRow.number.in_([new.number for new in rows]),
            )
            there = set(session.scalars(known))
            fresh = [new for new in rows if new.number not in there]
            session.add_all(fresh)
            for new in fresh:
                if new.kind in CHANGES:
                    audit(session, key, f"controller.{new.kind}", slug, new.record)
            session.flush()
            if any(new.id % TRIM_EVERY == 0 for new in fresh):
                _trim(session, slug)
            return _wanted(row)

    def records(
        self, slug: str, limit: int, before: int | None = None, kind: str | None = None
    ) -> list[dict[str, Any]]:
        """The last records, newest first."""
        query = select(ControllerRecordRow).where(ControllerRecordRow.plant == slug)
        if before is not None:
            query = query.where(ControllerRecordRow.id < before)
        if kind is not None:
            query = query.where(ControllerRecordRow.kind == kind)
        with self._db.read() as session:
            _plant(session, slug)
            rows = session.scalars(query.order_by(ControllerRecordRow.id.desc()).limit(limit)).all()
        return [{"id": row.id, **row.record} for row in rows]

    def between(self, slug: str, start: datetime | None, end: datetime | None) -> list[dict[str, Any]]:
        """The records of a span, oldest first."""
        query = select(ControllerRecordRow.record).where(ControllerRecordRow.plant == slug)
        if start is not None:
            query = query.where(ControllerRecordRow.at >= start)
        if end is not None:
            query = query.where(ControllerRecordRow.at <= end)
        with self._db.read() as session:
            _plant(session, slug)
            return list(session.scalars(query.order_by(ControllerRecordRow.id)))


def _permit_closed(slug: str, row: ControllerRow, body: ControllerBody) -> None:
    """Refuse at once what the controller would refuse."""
    if body.confirm != slug:
        raise ConflictError(f'closed writes to the plant: confirm it with "confirm": "{slug}"')
    if not _running(row) or row.state is None:
        raise ConflictError(f"no controller of '{slug}' runs now: start `twin control`, and let it watch first")
    if not row.state.get("closed_loop_allowed"):
        raise ConflictError("the controller's configuration does not allow it: closed_loop_allowed is false")
    if not row.state.get("ready"):
        raise ConflictError(_unready(row.state))


def _unready(state: Mapping[str, Any]) -> str:
    """Why a controller cannot go into closed loop now."""
    last = state.get("last") or {}
    if fault := last.get("fault"):
        return f"the controller's last cycle was not good: {fault.get('detail')}"
    if last.get("ok") and state.get("mode") in ("shadow", "advisory"):
        return f"the controller gave up ({state.get('why')}): it needs some good cycles in a row first; ask again soon"
    return "the controller's last cycle was not good: it computes nothing"


def _known_setpoints(row: ControllerRow, body: ControllerBody) -> None:
    """Refuse setpoints that the controller said it does not have."""
    known = (row.state or {}).get("setpoints")
    if not isinstance(known, dict):
        return
    for name, value in body.setpoints.items():
        item = known.get(name)
        if item is None:
            msg = f"is no setpoint of this controller{near(name, known)}"
            raise QuestionError(f"setpoints.{name}: {msg}", [Problem(("setpoints", name), msg)])
        low, high = item.get("low"), item.get("high")
        if (low is not None and value < low) or (high is not None and value > high):
            msg = f"{value:g} is outside what may be asked, {low} to {high}"
            raise QuestionError(f"setpoints.{name}: {msg}", [Problem(("setpoints", name), msg)])


def _plant(session: Session, slug: str) -> None:
    if session.get(PlantRow, slug) is None:
        raise NotFoundError(f"no plant '{slug}'")


def _record(slug: str, run: str, i: int, record: Mapping[str, Any]) -> ControllerRecordRow:
    number, kind = record.get("n"), record.get("kind")
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(kind, str) or len(kind) > 16:
        raise QuestionError(f"records.{i}: needs a number n and a kind", [Problem(("records", i), "n, kind")])
    try:
        at = _time.validate_python(record.get("at"))
    except ValidationError as error:
        msg = error.errors()[0]["msg"]
        raise QuestionError(f"records.{i}.at: {msg}", [Problem(("records", i, "at"), msg)]) from None
    return ControllerRecordRow(plant=slug, run=run, number=number, kind=kind, at=at, record=dict(record))


def _trim(session: Session, slug: str) -> None:
    query = select(ControllerRecordRow.id).where(ControllerRecordRow.plant == slug)
    last = session.scalar(query.order_by(ControllerRecordRow.id.desc()).offset(KEPT).limit(1))
    if last is not None:
        session.execute(
            delete(ControllerRecordRow).where(ControllerRecordRow.plant == slug, ControllerRecordRow.id <= last)
        )


def _running(row: ControllerRow) -> bool:
    if row.seen is None:
        return False
    period_s = (row.state or {}).get("period_s")
    silent_s = max(SILENT_S, SILENT_PERIODS * period_s if isinstance(period_s, int | float) else 0.0)
    return utc_now() - row.seen < timedelta(seconds=silent_s)


def _wanted(row: ControllerRow) -> dict[str, Any] | None:
    if row.wanted is None or row.wanted_at is None:
        return None
    return {**row.wanted, "age_s": (utc_now() - row.wanted_at).total_seconds()}


def _answer(slug: str, row: ControllerRow | None) -> dict[str, Any]:
    if row is None:
        return {"plant": slug, "running": False, "seen": None, "state": None, "wanted": None}
    return {"plant": slug, "running": _running(row), "seen": row.seen, "state": row.state, "wanted": _wanted(row)}
