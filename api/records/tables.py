"""The tables: plants and their versions, twins, aliases, jobs, keys, recommendations and the audit log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, TypeDecorator, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def utc_now() -> datetime:
    """Now, time-zone aware."""
    return datetime.now(UTC)


class Utc(TypeDecorator[datetime]):
    """A time-zone-aware time; SQLite stores none, so it is put back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """The base of every table."""

    type_annotation_map = {datetime: Utc, dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012


class PlantRow(Table):
    """A plant; `version` is its current one."""

    __tablename__ = "plants"

    slug: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class PlantVersionRow(Table):
    """What a plant was at each of its versions: the body of the PUT."""

    __tablename__ = "plant_versions"

    slug: Mapped[str] = mapped_column(ForeignKey("plants.slug", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class TwinRow(Table):
    """A trained twin; its weights and card lie in the folder `twins/<id>`."""

    __tablename__ = "twins"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    plant: Mapped[str] = mapped_column(ForeignKey("plants.slug", ondelete="CASCADE"), index=True)
    plant_version: Mapped[int]
    data_version: Mapped[int]
    job: Mapped[str] = mapped_column(String(64))
    summary: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class CalibrationRow(Table):
    """A calibration of a twin's closed loop; the newest counts."""

    __tablename__ = "calibrations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    twin: Mapped[str] = mapped_column(ForeignKey("twins.id", ondelete="CASCADE"), index=True)
    record: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class AliasRow(Table):
    """A name for a twin, such as `champion`."""

    __tablename__ = "aliases"

    plant: Mapped[str] = mapped_column(ForeignKey("plants.slug", ondelete="CASCADE"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    twin: Mapped[str] = mapped_column(ForeignKey("twins.id", ondelete="CASCADE"))
    changed: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)


class JobRow(Table):
    """Work for a worker; held by one while its lease lasts, and one at a time of each plant."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("jobs_by_state", "state", "created"),
        Index(
            "one_running_job_a_plant",
            "plant",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    plant: Mapped[str] = mapped_column(String(64), index=True)
    request: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default="queued")
    progress: Mapped[float] = mapped_column(default=0.0)
    eta_s: Mapped[float | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[datetime | None] = mapped_column(Utc)
    created: Mapped[datetime] = mapped_column(default=utc_now)
    started: Mapped[datetime | None] = mapped_column(Utc)
    finished: Mapped[datetime | None] = mapped_column(Utc)


class EventRow(Table):
    """Something that happened to a job; the id is the one of the event stream."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=utc_now)


class KeyRow(Table):
    """An API key: the SHA-256 of its text, never the text."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    plants: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    created: Mapped[datetime] = mapped_column(default=utc_now)
    expires: Mapped[datetime | None] = mapped_column(Utc)


class RecommendationRow(Table):
    """An answer of optimize, with what is needed to compute it again."""

    __tablename__ = "recommendations"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    plant: Mapped[str] = mapped_column(String(64), index=True)
    twin: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64))
    request: Mapped[dict[str, Any]]
    outcome: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=utc_now)


class ControllerRow(Table):
    """The controller of a plant: what it last said of itself, and what is wanted of it; `request` counts the wishes."""

    __tablename__ = "controllers"

    plant: Mapped[str] = mapped_column(ForeignKey("plants.slug", ondelete="CASCADE"), primary_key=True)
    state: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    seen: Mapped[datetime | None] = mapped_column(Utc)
    request: Mapped[int] = mapped_column(default=0)
    wanted: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    wanted_at: Mapped[datetime | None] = mapped_column(Utc)


class ControllerRecordRow(Table):
    """A cycle or a change of mode, as the controller reported it; numbered within its run."""

    __tablename__ = "controller_records"
    __table_args__ = (
        UniqueConstraint("plant", "run", "number"),
        Index("controller_records_by_time", "plant", "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    plant: Mapped[str] = mapped_column(ForeignKey("plants.slug", ondelete="CASCADE"))
    run: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    record: Mapped[dict[str, Any]]


class AuditRow(Table):
    """A change that somebody made, or a recommendation; `digest` chains it to the entry before (`audit.py`)."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(200))
    detail: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=utc_now)
    digest: Mapped[str | None] = mapped_column(String(64))


class AuditHeadRow(Table):
    """The end of the audit log: one row, locked while an entry is added."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    entries: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
