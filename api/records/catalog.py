"""Plants, twins and aliases, as the database keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from api.http.errors import PreconditionError
from api.records.audit import audit
from api.records.db import Database
from api.records.tables import (
    AliasRow,
    ControllerRecordRow,
    ControllerRow,
    PlantRow,
    PlantVersionRow,
    RecommendationRow,
    TwinRow,
    utc_now,
)
from twin.errors import ConflictError, NotFoundError
from twin.plant import Plant, near

CHAMPION = "champion"
SERVICE = "service"  # stands for a key in the audit log
KNOWN = 1_000  # descriptions of plants that are kept at hand


@dataclass(frozen=True)
class PlantVersion:
    """A plant as it was at one version."""

    slug: str
    version: int
    plant: Plant
    body: dict[str, Any]
    created: datetime
    changed: datetime

    @property
    def etag(self) -> str:
        """Changes with every version, and differs between two plants that bore one slug in turn."""
        digest = hashlib.sha256(json.dumps([self.body, self.created.isoformat()], sort_keys=True).encode())
        return f'"{self.version}-{digest.hexdigest()[:12]}"'


# Built once: what an expression costs to build is more than what the database takes to answer it.
SERVING = (
    select(PlantRow.version, PlantRow.created, TwinRow.id)
    .join(TwinRow, TwinRow.plant == PlantRow.slug)
    .outerjoin(AliasRow, (AliasRow.plant == PlantRow.slug) & (AliasRow.alias == bindparam("name")))
    .where(PlantRow.slug == bindparam("slug"), TwinRow.id == func.coalesce(AliasRow.twin, bindparam("name")))
)


class Catalog:
    """What there is."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._described: dict[tuple[str, int, datetime], PlantVersion] = {}

    def plant(self, slug: str, version: int | None = None) -> PlantVersion:
        """A plant, by default at its current version.

        Raises:
            NotFoundError: there is no such plant; near matches are named.
        """
        with self._db.read() as session:
            row = session.execute(select(PlantRow.version, PlantRow.created).where(PlantRow.slug == slug)).first()
            known = row and (slug, version or row.version, row.created)  # what a plant was at a version never changes
            if known in self._described:
                return self._described[known]
            found = _plant(session, slug, version)
        if len(self._described) >= KNOWN:
            self._described.clear()
        self._described[slug, found.version, found.created] = found
        return found

    def serving(self, slug: str, name: str) -> tuple[str, PlantVersion]:
        """The id of the twin that answers under a name, and the plant as it is now; one look for every question.

        Raises:
            NotFoundError: there is no such plant or twin.
        """
        with self._db.engine.connect() as connection:
            row = connection.execute(SERVING, {"slug": slug, "name": name}).first()
        if row is None:
            return self.twin(slug, name).id, self.plant(slug)
        known = self._described.get((slug, row.version, row.created))
        return row.id, known or self.plant(slug, row.version)

    def plants(self, limit: int, after: str | None, among: Collection[str] | None = None) -> list[PlantVersion]:
        """Plants by slug, those behind `after`; only those `among` these, where given."""
        query = select(PlantRow.slug).where(PlantRow.slug > (after or "")).order_by(PlantRow.slug).limit(limit)
        if among is not None:
            query = query.where(PlantRow.slug.in_(among))
        with self._db.read() as session:
            slugs = session.scalars(query)
            return [_plant(session, slug) for slug in slugs]

    def put_plant(
        self, key: str, slug: str, plant: Plant, if_match: str | None, if_none_match: str | None
    ) -> tuple[PlantVersion, bool]:
        """Create a plant or add a version to it; the same description again changes nothing.

        Returns:
            The plant, and whether it is new.

        Raises:
            PreconditionError: the plant is not what `if_match` or `if_none_match` says.
        """
        body = plant.to_json()
        with self._db.write() as session:
            row = session.get(PlantRow, slug)
            present = _plant(session, slug) if row else None
            _require(present, if_match, if_none_match)
            if row and present and present.body == body:
                return present, False
            if row:
                row.version += 1
            else:
                row = PlantRow(slug=slug, version=1)
                session.add(row)
            session.flush()
            session.add(PlantVersionRow(slug=slug, version=row.version, body=body))
            audit(session, key, "plant.put", slug, {"version": row.version})
            session.flush()
            return _plant(session, slug), row.version == 1

    def delete_plant(self, key: str, slug: str, if_match: str | None) -> list[str]:
        """Forget a plant with its versions, twins, aliases and recommendations; the ids of its twins."""
        with self._db.write() as session:
            _require(_plant(session, slug), if_match, None)
            twins = list(session.scalars(select(TwinRow.id).where(TwinRow.plant == slug)))
            for table in (AliasRow, TwinRow, RecommendationRow, ControllerRecordRow, ControllerRow):
                session.execute(delete(table).where(table.plant == slug))
            session.execute(delete(PlantVersionRow).where(PlantVersionRow.slug == slug))
            session.execute(delete(PlantRow).where(PlantRow.slug == slug))
            audit(session, key, "plant.delete", slug, {"twins": twins})
            return twins

    def note(self, action: str, subject: str, detail: dict[str, Any]) -> None:
        """Put what the service does by itself into the audit log."""
        with self._db.write() as session:
            audit(session, SERVICE, action, subject, detail)

    def twin(self, slug: str, name: str) -> TwinRow:
        """A twin of a plant by its id or by an alias.

        Raises:
            NotFoundError: there is no such plant or twin.
        """
        with self._db.read() as session:
            query = select(AliasRow.twin).where(AliasRow.plant == slug, AliasRow.alias == name)
            row = session.get(TwinRow, session.scalar(query) or name)
            if row is not None and row.plant == slug:
                return row
            _plant(session, slug)
            aliases = session.scalars(select(AliasRow.alias).where(AliasRow.plant == slug))
            twins = session.scalars(select(TwinRow.id).where(TwinRow.plant == slug))
            known = [*aliases, *twins]
        if not known:
            raise NotFoundError(f"plant '{slug}' has no twin yet: POST /v1/plants/{slug}/twins trains one")
        raise NotFoundError(f"plant '{slug}' has no twin '{name}'{near(name, known)}")

    def twins(self, slug: str, limit: int, after: str | None) -> Sequence[TwinRow]:
        """The twins of a plant, newest first, those behind the twin `after`."""
        query = select(TwinRow).where(TwinRow.plant == slug)
        if after is not None:
            last = self.twin(slug, after)
            older = (TwinRow.created == last.created) & (TwinRow.id < last.id)
            query = query.where((TwinRow.created < last.created) | older)
        with self._db.read() as session:
            _plant(session, slug)
            return session.scalars(query.order_by(TwinRow.created.desc(), TwinRow.id.desc()).limit(limit)).all()

    def aliases(self, slug: str) -> dict[str, str]:
        """The aliases of a plant and the twins that they name."""
        with self._db.read() as session:
            rows = session.scalars(select(AliasRow).where(AliasRow.plant == slug).order_by(AliasRow.alias))
            return {row.alias: row.twin for row in rows}

    def champions(self) -> list[tuple[str, str]]:
        """(plant, twin) of every champion."""
        with self._db.read() as session:
            rows = session.scalars(select(AliasRow).where(AliasRow.alias == CHAMPION))
            return [(row.plant, row.twin) for row in rows]

    def set_alias(self, key: str, slug: str, alias: str, twin: str) -> AliasRow:
        """Have an alias name a twin.

        Raises:
            NotFoundError: there is no such plant or twin.
            ConflictError: the alias is the id of a twin.
        """
        target = self.twin(slug, twin).id
        with self._db.write() as session:
            if session.get(TwinRow, alias) is not None:
                raise ConflictError(f"'{alias}' is the id of a twin; choose another alias")
            row = session.get(AliasRow, (slug, alias)) or AliasRow(plant=slug, alias=alias)
            row.twin, row.changed = target, utc_now()
            session.add(row)
            audit(session, key, "alias.put", f"{slug}/{alias}", {"twin": target})
            return row


def _plant(session: Session, slug: str, version: int | None = None) -> PlantVersion:
    row = session.get(PlantRow, slug)
    if row is None:
        known = session.scalars(select(PlantRow.slug).limit(1000))
        raise NotFoundError(f"no plant '{slug}'{near(slug, known)}")
    told = session.get(PlantVersionRow, (slug, version or row.version))
    if told is None:
        raise NotFoundError(f"plant '{slug}' has no version {version}; its current one is {row.version}")
    plant = Plant.from_json(told.body)
    return PlantVersion(slug, told.version, plant, told.body, row.created, told.created)


def _require(present: PlantVersion | None, if_match: str | None, if_none_match: str | None) -> None:
    tags = [tag.strip() for tag in (if_match or "").split(",")]
    if if_match is not None and (present is None or ("*" not in tags and present.etag not in tags)):
        now = f"its ETag is {present.etag}" if present else "there is none"
        raise PreconditionError(f"the plant is not the one of If-Match: {now}; read it again and repeat the change")
    if if_none_match == "*" and present is not None:
        raise PreconditionError("the plant exists already (If-None-Match: *)")
