"""The audit log: what changes is noted, and tampering with the database shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from api.records.audit import START, audit, audit_recommendations, verify
from api.records.db import Database
from api.records.tables import RecommendationRow


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = Database(f"sqlite:///{tmp_path / 'twin.db'}")
    db.migrate()
    yield db
    db.close()


@pytest.fixture
def noted(db: Database) -> Database:
    """Five changes and a recommendation."""
    with db.write() as session:
        for version in range(1, 6):
            audit(session, "boss", "plant.put", "tank", {"version": version, "half": version / 3})
        row = RecommendationRow(
            plant="tank", twin="t1", key="dcs", fingerprint="f" * 64, request={"horizon_s": 60.0}, outcome={"u": [0.1]}
        )
        session.add(row)
        session.flush()
        audit_recommendations(session, [row])
    return db


def test_an_untouched_log_verifies(noted: Database) -> None:
    verdict = verify(noted)
    assert (verdict.entries, verdict.problems) == (6, ())
    assert verdict.head != START
    assert verify(noted, [verdict.head]).problems == ()


def test_an_empty_log_verifies(db: Database) -> None:
    assert (verify(db).entries, verify(db).head, verify(db).problems) == (0, START, ())


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("UPDATE audit SET key = 'somebody' WHERE id = 3", "entry 3"),
        ("UPDATE audit SET detail = '{\"version\": 9}' WHERE id = 2", "entry 2"),
        ("DELETE FROM audit WHERE id = 4", "entry 5"),
        ("DELETE FROM audit WHERE id = 6", "cut off"),
        ("DELETE FROM audit", "cut off"),
        ("UPDATE audit SET digest = NULL WHERE id = 1", "entry 2"),
        ("UPDATE recommendations SET outcome = '{\"u\": [0.2]}'", "recommendation 1"),
        ("UPDATE recommendations SET request = '{}'", "recommendation 1"),
    ],
)
def test_tampering_shows(noted: Database, tampering: str, said: str) -> None:
    with noted.write() as session:
        session.execute(text(tampering))
    assert any(said in problem for problem in verify(noted).problems)


def test_a_chain_written_anew_does_not_hold_a_head_noted_before(noted: Database, tmp_path: Path) -> None:
    head = verify(noted).head
    forged = Database(f"sqlite:///{tmp_path / 'forged.db'}")
    forged.migrate()
    with forged.write() as session:
        audit(session, "boss", "plant.put", "tank", {"version": 1})
    assert verify(forged).problems == ()
    assert any(head in problem for problem in verify(forged, [head]).problems)
    forged.close()


def test_changes_over_rest_are_noted_with_the_key_that_made_them(client: httpx.Client) -> None:
    made = client.post("/v1/keys", json={"name": "dcs", "scopes": ["read"], "plants": ["tank"]}).json()
    assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
    entries = client.get("/v1/audit", params={"limit": 2}).json()["items"]
    assert [(e["key"], e["action"], e["subject"]) for e in entries] == [
        ("bootstrap", "key.revoke", made["id"]),
        ("bootstrap", "key.create", made["id"]),
    ]
    verdict = client.get("/v1/audit/verify").json()
    assert verdict["ok"]
    assert verdict["head"] == entries[0]["digest"]
    assert client.get("/v1/audit/verify", params={"head": "0" * 63 + "1"}).json()["ok"] is False
