"""Keys: hashed, scoped, expiring, revocable; the bootstrap key and addresses beyond this machine."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from api.access.security import Keys
from api.http.errors import ForbiddenError, UnauthorizedError
from api.records.db import Database
from api.records.tables import utc_now
from api.settings import Settings
from twin.errors import ConflictError, NotFoundError, TwinError


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "twin.db"


@pytest.fixture
def keys(database: Path) -> Keys:
    db = Database(f"sqlite:///{database}")
    db.migrate()
    yield Keys(db)
    db.close()


def test_a_key_is_known_by_its_text_and_stored_without_it(keys: Keys, database: Path) -> None:
    row, text = keys.create("historian", ["upload", "read"])
    key = keys.check(text)
    assert (key.id, key.scopes) == (row.id, {"upload", "read"})
    key.require("upload")
    with pytest.raises(ForbiddenError, match="lacks the scope 'train'"):
        key.require("train")
    stored = b"".join(path.read_bytes() for path in database.parent.iterdir())
    assert row.name.encode() in stored
    assert text.encode() not in stored
    assert text.removeprefix("twin_").encode() not in stored


def test_admin_may_everything(keys: Keys) -> None:
    _, text = keys.create("boss", ["admin"])
    for scope in ("read", "upload", "train", "predict", "optimize", "admin"):
        keys.check(text).require(scope)


def test_unknown_and_expired_keys_are_refused(keys: Keys) -> None:
    with pytest.raises(UnauthorizedError, match="unknown"):
        keys.check("twin_nonsense")
    _, text = keys.create("guest", ["read"], utc_now() - timedelta(seconds=1))
    with pytest.raises(UnauthorizedError, match="expired"):
        keys.check(text)


def test_a_key_is_not_remembered_beyond_its_expiry(keys: Keys) -> None:
    _, text = keys.create("guest", ["read"], utc_now() + timedelta(seconds=0.2))
    assert keys.remembered(text) is None
    keys.check(text)
    assert keys.remembered(text) is not None
    time.sleep(0.3)
    assert keys.remembered(text) is None


def test_a_revoked_key_is_refused_at_once(keys: Keys) -> None:
    keys.create("boss", ["admin"])
    row, text = keys.create("historian", ["upload"])
    keys.check(text)
    keys.revoke(row.id)
    assert keys.remembered(text) is None
    with pytest.raises(UnauthorizedError):
        keys.check(text)
    with pytest.raises(NotFoundError):
        keys.revoke(row.id)


def test_the_last_admin_key_stays(keys: Keys) -> None:
    row, _ = keys.create("boss", ["admin"])
    keys.create("historian", ["upload"])
    with pytest.raises(ConflictError):
        keys.revoke(row.id)


def test_a_bootstrap_key_is_generated_once(keys: Keys) -> None:
    settings = Settings(admin_key=None)
    text = keys.bootstrap(settings)
    keys.check(text).require("admin")
    assert keys.bootstrap(settings) is None


def test_a_changed_admin_key_replaces_the_one_before(keys: Keys) -> None:
    first, second = "first-long-enough-key", "second-long-enough-key"
    assert keys.bootstrap(Settings(admin_key=first)) is None
    keys.check(first).require("admin")
    keys.bootstrap(Settings(admin_key=second))
    keys.check(second).require("admin")
    with pytest.raises(UnauthorizedError):
        keys.check(first)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "plant.example"])  # noqa: S104
def test_other_machines_need_a_key_that_somebody_chose(keys: Keys, host: str) -> None:
    with pytest.raises(TwinError, match="TWIN_ADMIN_KEY"):
        keys.bootstrap(Settings(host=host, admin_key=None))
    assert keys.bootstrap(Settings(host=host, admin_key="long-enough-admin-key")) is None
    assert keys.bootstrap(Settings(host=host, admin_key=None)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_is_served_with_a_generated_key(keys: Keys, host: str) -> None:
    assert keys.bootstrap(Settings(host=host, admin_key=None)).startswith("twin_")
