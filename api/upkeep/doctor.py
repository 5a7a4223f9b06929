"""`twin doctor`: is everything that the service keeps whole, and is there room for more?

It only looks, and can look while the service runs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from api.records.audit import verify
from api.records.db import Database
from api.records.tables import AliasRow, JobRow, PlantRow, TwinRow, utc_now
from api.settings import GIB, Settings
from twin import artifact
from twin.errors import TwinError
from twin.store import Store

ROOM = 2 * GIB  # of free disk: with less, uploads and training are at risk


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, and what there is to say."""

    subject: str
    ok: bool
    detail: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at the data folder, the database, the telemetry, the twins and the audit log, in this order."""
    yield _folder(settings)
    yield _room(settings)
    db = Database(settings.database)
    try:
        with db.read() as session:
            session.execute(text("SELECT 1"))
        yield _schema(db)
        if not db.current():
            return
        if db.engine.dialect.name == "sqlite":
            yield _integrity(db)
        yield _audit(db)
        yield _jobs(db)
        yield from _telemetry(db, settings)
        yield from _twins(db, settings)
    except SQLAlchemyError as error:
        yield Finding("database", False, f"cannot be used: {error.__cause__ or error}")
    finally:
        db.close()


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return Finding("data folder", False, f"{folder} cannot be written: {error.strerror}")
    return Finding("data folder", True, str(folder))


def _room(settings: Settings) -> Finding:
    folder = next(path for path in (settings.data_dir.resolve(), *settings.data_dir.resolve().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    return Finding("disk", free > ROOM, f"{free / GIB:.1f} GiB free" + ("" if free > ROOM else ": make room"))


def _schema(db: Database) -> Finding:
    if db.current():
        return Finding("database", True, "answers, and is of the newest revision")
    return Finding("database", False, "is of another revision than this version: start the service once to migrate it")


def _integrity(db: Database) -> Finding:
    with db.read() as session:
        said = session.execute(text("PRAGMA integrity_check")).scalars().all()
    return Finding(
        "database file", said == ["ok"], "is whole" if said == ["ok"] else f"is damaged: {'; '.join(said[:3])}"
    )


def _audit(db: Database) -> Finding:
    verdict = verify(db)
    detail = (
        "; ".join(verdict.problems) or f"{verdict.entries} entries follow from each other, the last is {verdict.head}"
    )
    return Finding("audit log", not verdict.problems, detail)


def _jobs(db: Database) -> Finding:
    with db.read() as session:
        waiting = session.scalars(select(JobRow).where(JobRow.state.in_(("queued", "running")))).all()
    silent = [job.id for job in waiting if job.lease_until and job.lease_until < utc_now()]
    detail = f"{len(waiting)} wait or run" + (f"; the workers of {', '.join(silent)} are silent" if silent else "")
    return Finding("jobs", not silent, detail)


def _telemetry(db: Database, settings: Settings) -> Iterator[Finding]:
    store = Store(settings.telemetry)
    for plant in _all(db, select(PlantRow.slug)):
        subject = f"telemetry of {plant}"
        yield _tried(subject, lambda plant=plant: store.plant(plant).check())  # type: ignore[misc]


def _twins(db: Database, settings: Settings) -> Iterator[Finding]:
    for twin in _all(db, select(TwinRow.id)):
        yield _tried(f"twin {twin}", lambda twin=twin: _loaded(settings.twins / twin))  # type: ignore[misc]
    known = set(_all(db, select(TwinRow.id)))
    lost = [path.name for path in settings.twins.glob("*") if path.name not in known]
    if lost:
        yield Finding("twins", True, f"{len(lost)} folders are named by no twin, left by a training that was killed")
    with db.read() as session:
        for alias in session.scalars(select(AliasRow)):
            if alias.twin not in known:
                yield Finding(f"alias {alias.alias} of {alias.plant}", False, f"names {alias.twin}, which is no twin")


def _loaded(folder: Path) -> str:
    twin = artifact.load(folder)
    return f"is whole; {len(twin.plant.tags)} tags, {twin.horizon} rows ahead"


def _tried(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, look())
    except TwinError as error:
        return Finding(subject, False, error.detail)


def _all(db: Database, query: object) -> list[str]:
    with db.read() as session:
        return list(session.scalars(query))  # type: ignore[call-overload]
