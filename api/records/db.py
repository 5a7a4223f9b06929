"""The database: one engine, a session to read and one to write, and migrations that run by themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

POOL_S = 5.0  # that a request waits for a connection when all are in use
# Of libpq, each overridden by the URL's own: seconds to connect, milliseconds that sent data may stay unconfirmed,
# and the probing of connections on which nothing is sent.
PATIENCE = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
MIGRATIONS = Path(__file__).parents[1] / "migrations"


class Database:
    """SQLite in WAL mode, or Postgres.

    Args:
        url: a SQLAlchemy URL; the folder of a SQLite file is created.
    """

    def __init__(self, url: str) -> None:
        self.engine = _sqlite(url) if url.startswith("sqlite") else _server(url)
        self._writer = self.engine.execution_options(begin="BEGIN IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session to read in; what it loaded may be used after it is closed."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session to write in: committed at its end, undone if that raises."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self) -> None:
        """Bring the tables to the newest revision; a SQLite database of an older one is copied beside itself first."""
        old, path = self._revision(), self.engine.url.database
        if old not in (None, _newest()) and self.engine.dialect.name == "sqlite" and path:
            copy_sqlite(Path(path), Path(f"{path}.revision-{old}"))
        with self._writer.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def current(self) -> bool:
        """Whether the tables are of the newest revision."""
        return self._revision() == _newest()

    def _revision(self) -> str | None:
        with self.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


def copy_sqlite(source: Path, target: Path) -> None:
    """A copy of a SQLite database as it is at one instant, while others write to it."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _newest() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _server(url: str) -> Engine:
    """A server's database: one that answers nothing any more is given up in seconds, not in a TCP stack's minutes."""
    given = make_url(url)
    limits = PATIENCE if given.get_backend_name() == "postgresql" else {}
    mine = {name: value for name, value in limits.items() if name not in given.query}
    return create_engine(url, pool_pre_ping=True, pool_timeout=POOL_S, connect_args=mine)


def _sqlite(url: str) -> Engine:
    """SQLite whose transactions are ours: the driver's own begin lets a reader fail when it turns writer."""
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine
