"""Migrations describe the tables that the code uses; a failed write leaves nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from api.jobs.queue import Jobs
from api.records.db import MIGRATIONS, Database
from api.records.tables import KeyRow, Table


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


def test_jobs_of_one_plant_that_run_side_by_side_are_put_in_order_by_the_upgrade(db: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with db.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for number, (plant, state) in enumerate(
            [("a", "running"), ("a", "running"), ("a", "queued"), ("b", "running")]
        ):
            connection.execute(
                text(
                    "INSERT INTO jobs (id, plant, request, state, progress, attempts, created) "
                    "VALUES (:id, :plant, '{}', :state, 0, 1, :created)"
                ),
                {"id": f"j{number}", "plant": plant, "state": state, "created": f"2026-01-01 00:00:0{number}.000000"},
            )
    db.migrate()
    jobs = Jobs(db, lease_s=60)
    assert [jobs.get(f"j{i}").state for i in range(4)] == ["running", "queued", "queued", "running"]
    assert list(Path(db.engine.url.database).parent.glob("*.revision-0004"))  # the copy from before


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
