"""Several services on one PostgreSQL and one S3: they see each other's work, and share it without doing it twice."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from api.jobs.queue import Jobs
from api.main import create_app
from api.records.audit import audit, verify
from api.records.catalog import Catalog
from api.records.db import Database
from api.records.tables import AliasRow, Table
from api.settings import Settings
from connectors.formats.files import read_upload
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.store import Store

KEY = "the-key-of-the-cluster-tests"
START = pd.Timestamp("2026-01-01T00:00:00Z")


@pytest.fixture
def database(postgres: str) -> Iterator[Database]:
    """PostgreSQL, its schema as new."""
    db = Database(postgres)
    with db.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    db.migrate()
    yield db
    db.close()


@pytest.fixture
def pair(database: Database, postgres: str, s3: str, tmp_path: Path) -> Iterator[tuple[TestClient, TestClient]]:
    """Two services with nothing in common but PostgreSQL and S3."""
    clients = []
    for name in ("a", "b"):
        settings = Settings(
            data_dir=tmp_path / name,
            admin_key=KEY,
            database_url=postgres,
            telemetry_url=f"{s3}/{tmp_path.name}",
            workers=0,
            log_level="error",
        )
        app = create_app(settings)
        app.state.service.keys.bootstrap(settings)
        clients.append(TestClient(app, headers={"Authorization": f"Bearer {KEY}"}))
    with clients[0] as one, clients[1] as two:
        yield one, two


def _csv(rows: int, seed: int = 3) -> bytes:
    frame = Simulator(QuadrupleTank(), seed, START).excite(rows).frame()
    return frame.to_csv(date_format="%Y-%m-%dT%H:%M:%S%z").encode()


def _post(client: TestClient, body: bytes, **headers: str) -> dict[str, Any]:
    answer = client.post("/v1/plants/tank/telemetry", content=body, headers={"Content-Type": "text/csv", **headers})
    assert answer.status_code == 200, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


def test_migrations_make_the_tables_of_the_code_on_postgres(database: Database) -> None:
    assert database.current()
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_two_services_agree(pair: tuple[TestClient, TestClient]) -> None:
    one, two = pair
    assert one.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json()).status_code == 201
    assert two.get("/v1/plants/tank").headers["etag"] == one.get("/v1/plants/tank").headers["etag"]
    first = _post(one, _csv(60), **{"Idempotency-Key": "week-1"})
    assert first["rows_stored"] == 60
    assert _post(two, _csv(60), **{"Idempotency-Key": "week-1"}) == first
    assert _post(two, _csv(60))["rows_duplicate"] == 60
    rows = [client.get("/v1/plants/tank/telemetry").json() for client in pair]
    assert rows[0] == rows[1]
    assert len(rows[0]["times"]) == 60
    assert two.delete(f"/v1/plants/tank/telemetry/uploads/{first['upload']}").status_code == 200
    assert one.get("/v1/plants/tank/telemetry").json()["times"] == []  # the second upload had stored nothing new
    made = one.post("/v1/keys", json={"name": "dcs", "scopes": ["read"]}).json()
    assert two.get("/v1/plants", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 200
    assert two.get("/v1/audit/verify").json()["ok"]


def test_audit_entries_of_many_writers_form_one_chain(database: Database) -> None:
    def note(writer: int) -> None:
        for i in range(10):
            with database.write() as session:
                audit(session, f"writer-{writer}", "test", str(i), {})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(note, range(6)))
    verdict = verify(database)
    assert (verdict.entries, verdict.problems) == (60, ())


def test_each_job_is_leased_once_on_postgres(database: Database) -> None:
    jobs = Jobs(database, lease_s=60)
    expected = {jobs.submit(f"plant-{i}", {}, "boss").id for i in range(12)}
    taken: list[str] = []
    lock = threading.Lock()

    def work(name: int) -> None:
        while job := jobs.lease(f"worker-{name}"):
            with lock:
                taken.append(job.id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(taken) == sorted(expected)


def test_a_plant_has_one_running_job_however_many_workers_ask_postgres(database: Database) -> None:
    jobs = Jobs(database, lease_s=60)
    for _ in range(6):
        jobs.submit("a", {}, "boss")
    for round_ in range(6):
        with ThreadPoolExecutor(6) as pool:
            taken = [job for job in pool.map(jobs.lease, [f"w{round_}-{i}" for i in range(6)]) if job]
        assert len(taken) == 1
        jobs.cancel(taken[0].id, "boss")
    assert jobs.count()["cancelled"] == 6


def test_writers_of_one_plant_on_s3_lose_nothing(s3: str, tmp_path: Path) -> None:
    """Two stores that know nothing of each other's locks: each commit stands, or is refused as a whole."""
    plant = QuadrupleTank.plant
    stores = [Store(f"{s3}/{tmp_path.name}") for _ in range(2)]
    stored = 0
    for i in range(4):
        body = _csv(30, seed=10 + i).replace(b"2026-01-01", f"2026-01-0{i + 1}".encode())
        receipt = stores[i % 2].plant("tank").append(read_upload(io.BytesIO(body), "text/csv", None, plant))
        stored += receipt.rows_stored
    frames = [store.plant("tank").read() for store in stores]
    pd.testing.assert_frame_equal(*frames)
    assert len(frames[0]) == stored == 120
    stores[0].plant("tank").compact()
    pd.testing.assert_frame_equal(stores[1].plant("tank").read(), frames[0])
    assert stores[1].plant("tank").check().endswith("120 rows")


def test_an_alias_that_names_no_twin_is_refused_on_postgres_too(database: Database) -> None:
    Catalog(database).put_plant("boss", "tank", QuadrupleTank.plant, None, None)
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(AliasRow(plant="tank", alias="champion", twin="none"))
