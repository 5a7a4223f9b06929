"""Migrations describe the tables that the code uses; a failed write leaves nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from api.db import Database
from api.tables import KeyRow, Table


@pytest.fixture
def db(tmp_path: Path) -> Database:
    db = Database(f"sqlite:///{tmp_path / 'deep' / 'twin.db'}")
    yield db
    db.close()


def test_migrations_make_the_tables_of_the_code(db: Database) -> None:
    assert not db.current()
    db.migrate()
    assert db.current()
    db.migrate()
    with db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_times_keep_their_instant(db: Database) -> None:
    db.migrate()
    there = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=5)))
    with db.write() as session:
        session.add(KeyRow(id="a", name="a", digest="d", scopes=["read"], created=there))
    with db.read() as session:
        found = session.get(KeyRow, "a").created
    assert found == there
    assert found.utcoffset() == timedelta(0)


def test_a_write_that_raises_leaves_nothing(db: Database) -> None:
    db.migrate()

    def add_and_break() -> None:
        with db.write() as session:
            session.add(KeyRow(id="a", name="a", digest="d", scopes=[]))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_break()
    with db.read() as session:
        assert session.get(KeyRow, "a") is None
