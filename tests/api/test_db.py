"""Migrations describe the tables that the code uses; a failed write leaves nothing."""

from __future__ import annotations

import socket
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

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


def test_a_database_server_that_has_fallen_silent_is_given_up() -> None:
    """It takes the connection and says nothing: psycopg alone would wait for 130 s."""
    pytest.importorskip("psycopg", reason="NO PSYCOPG: the extra `postgres` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        db = Database(f"postgresql+psycopg://twin@127.0.0.1:{silent.getsockname()[1]}/twin?connect_timeout=1")
        told: list[BaseException] = []

        def ask() -> None:
            try:
                with db.read() as session:
                    session.execute(text("SELECT 1"))
            except OperationalError as error:
                told.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(60)
        assert "timeout" in str(told[0])
        db.close()


def test_limits_of_a_server_s_connections_give_way_to_those_of_the_url() -> None:
    pytest.importorskip("psycopg", reason="NO PSYCOPG: the extra `postgres` is not installed")
    asked: list[dict[str, object]] = []

    def connect(_dialect: object, _record: object, _args: object, given: dict[str, object]) -> None:
        asked.append(dict(given))
        raise OSError("no server")

    for query in ("", "?connect_timeout=60&tcp_user_timeout=1"):
        db = Database(f"postgresql+psycopg://twin@db.invalid/twin{query}")
        event.listen(db.engine, "do_connect", connect)
        with pytest.raises(OSError, match="no server"), db.read() as session:
            session.execute(text("SELECT 1"))
    names = ("connect_timeout", "tcp_user_timeout", "keepalives_idle")
    assert [[str(given[name]) for name in names] for given in asked] == [["5", "10000", "5"], ["60", "1", "5"]]
