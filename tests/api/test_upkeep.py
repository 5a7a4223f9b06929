"""Backup, restore, doctor, migration and housekeeping, on a data folder with telemetry, a twin and an audit log."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from alembic import command
from alembic.config import Config
from deltalake import DeltaTable
from fastapi import FastAPI
from sqlalchemy import select, text
from typer.testing import CliRunner

from api.cli import main
from api.records.db import MIGRATIONS, Database
from api.records.recorder import FIELDS
from api.records.spool import Spool
from api.records.tables import AuditRow, utc_now
from api.service import Service
from api.settings import Settings
from api.upkeep.backup import MANIFEST, backup, restore
from api.upkeep.doctor import examine
from connectors.formats.files import read_upload
from tests.api.test_recorder import recommendation, stored
from twin.errors import ConflictError, TwinError
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.storage.batch import of_frame

START = pd.Timestamp("2026-01-01T00:00:00Z")


@pytest.fixture
def kept(app: FastAPI, trained: dict[str, Any]) -> Service:
    """The service of the session, which runs meanwhile: plants, telemetry, a twin."""
    service: Service = app.state.service
    return service


@pytest.fixture
def archive(kept: Service, tmp_path: Path) -> Path:
    backup(kept.settings, tmp_path / "all.tar.gz")
    return tmp_path / "all.tar.gz"


@pytest.fixture
def copy(kept: Service, tmp_path: Path) -> Settings:
    """A folder like it, to break."""
    backup(kept.settings, tmp_path / "copy.tar")
    restore(tmp_path / "copy.tar", tmp_path / "copy")
    return Settings(data_dir=tmp_path / "copy")


def test_what_was_backed_up_is_restored(kept: Service, archive: Path, tmp_path: Path) -> None:
    manifest = restore(archive, tmp_path / "new")
    assert manifest["elsewhere"] == []
    again = Service.open(Settings(data_dir=tmp_path / "new"))
    try:
        pd.testing.assert_frame_equal(again.store.plant("tank").read(), kept.store.plant("tank").read())
        assert again.catalog.plant("tank").etag == kept.catalog.plant("tank").etag
        assert [row.id for row in again.catalog.twins("tank", 9, None)] == [
            r.id for r in kept.catalog.twins("tank", 9, None)
        ]
        assert all(finding.ok for finding in examine(again.settings) if finding.subject not in ("disk", "jobs"))
    finally:
        again.close()


def test_recommendations_that_wait_for_the_database_are_restored_and_stored_once(tmp_path: Path) -> None:
    """Two wait as the service was killed; the database has taken one of them. The service may run meanwhile."""
    settings = Settings(data_dir=tmp_path / "old")
    db = Database(settings.database)
    db.migrate()
    earlier = Spool(settings.spool, 1 << 20)
    rows = [recommendation(number) for number in (3, 6)]
    made = [utc_now() + timedelta(seconds=k) for k in range(2)]
    for row, created in zip(rows, made, strict=True):
        earlier.add({"created": created.isoformat()} | {name: getattr(row, name) for name in FIELDS})
    with db.write() as session:
        rows[0].created = made[0]
        session.add(rows[0])
    manifest = backup(settings, tmp_path / "all.tar")
    assert sum(name.startswith("spool/") for name in manifest["files"]) == 1
    restore(tmp_path / "all.tar", tmp_path / "new")
    again = Service.open(Settings(data_dir=tmp_path / "new"))
    again.recorder.flush()
    assert stored(again.db) == [1.0, 2.0]
    again.close()
    db.close()


def test_nothing_is_overwritten(kept: Service, archive: Path) -> None:
    with pytest.raises(ConflictError, match="exists already"):
        backup(kept.settings, archive)
    with pytest.raises(ConflictError, match="not empty"):
        restore(archive, kept.settings.data_dir)


def test_a_damaged_archive_leaves_the_folder_as_it_was(archive: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tar"
    with tarfile.open(archive) as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    victim = next(name for name in content if name.endswith(".parquet"))
    for change in ({victim: content[victim][:-1] + b"x"}, {victim: None}, {"twin.db": None}, {"../outside": b"x"}):
        _pack(plain, {name: part for name, part in (content | change).items() if part is not None})
        with pytest.raises(TwinError, match="cannot be restored"):
            restore(plain, tmp_path / "new")
        assert not (tmp_path / "new").exists()
        assert not (tmp_path / "outside").exists()
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(TwinError, match="cannot be restored"):
        restore(archive, tmp_path / "new")
    foreign = json.dumps({"format": 99, "files": {}}).encode()
    _pack(plain, {MANIFEST: foreign})
    with pytest.raises(TwinError, match="format 99"):
        restore(plain, tmp_path / "new")
    assert [path.name for path in tmp_path.glob("new*")] == []


def _pack(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def test_the_doctor_finds_nothing_wrong_where_nothing_is(kept: Service) -> None:
    findings = {finding.subject: finding for finding in examine(kept.settings)}
    assert [f for f in findings.values() if not f.ok and f.subject not in ("disk", "jobs")] == []
    table = kept.store.plant("tank")
    assert findings["telemetry of tank"].detail == f"is whole; version {table.version}, {table.rows} rows"


def test_the_doctor_names_what_is_broken(copy: Settings) -> None:
    table = copy.data_dir / "telemetry" / "tank"
    # one of today's: those of before a compaction lie there too, and nobody misses them
    parquet = next(Path(uri) for uri in DeltaTable(table).file_uris() if "_kind=rows/" in uri)
    parquet.write_bytes(parquet.read_bytes()[:-1])
    weights = next(copy.twins.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    database = Database(copy.database)
    with database.write() as session:
        session.execute(text("UPDATE audit SET key = 'somebody'"))
    database.close()
    broken = {finding.subject: finding.detail for finding in examine(copy) if not finding.ok}
    assert set(broken) - {"disk", "jobs"} == {"audit log", "telemetry of tank", f"twin {weights.parent.name}"}
    assert parquet.name in broken["telemetry of tank"]


def test_the_doctor_says_that_a_database_is_of_another_revision(copy: Settings) -> None:
    with sqlite3.connect(copy.database.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert any(not f.ok and "migrate" in f.detail for f in examine(copy))


def test_an_old_database_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'twin.db'}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with db.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    db.migrate()
    assert db.current()
    db.migrate()
    db.close()
    assert [path.name for path in tmp_path.glob("*revision*")] == ["twin.db.revision-0001"]
    copied = sqlite3.connect(tmp_path / "twin.db.revision-0001")
    assert copied.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    copied.close()


def test_housekeeping_merges_small_files_and_changes_no_answer(tmp_path: Path) -> None:
    service = Service.open(Settings(data_dir=tmp_path / "data"))
    plant, source = QuadrupleTank.plant, Simulator(QuadrupleTank(), 3, START)
    service.catalog.put_plant("boss", "tank", plant, None, None)
    table = service.store.plant("tank")
    for _ in range(3):
        csv = source.excite(50).frame().to_csv(date_format="%Y-%m-%dT%H:%M:%S%z").encode()
        table.append(read_upload(io.BytesIO(csv), "text/csv", None, plant))
    rows = tmp_path / "data" / "telemetry" / "tank" / "_kind=rows"
    before, files = table.read(), set(rows.iterdir())
    assert len(files) == 3
    service.housekeeper.tidy()
    pd.testing.assert_frame_equal(table.read(), before)
    assert len(set(rows.iterdir()) - files) == 1
    service.close()


def test_old_telemetry_goes_but_for_what_a_serving_twin_learned_from(copy: Settings) -> None:
    service = Service.open(Settings(data_dir=copy.data_dir, retention_days=30))
    plant, now = QuadrupleTank.plant, pd.Timestamp.now("UTC").floor("s")
    service.catalog.put_plant("boss", "spare", plant, None, None)
    tank, spare = service.store.plant("tank"), service.store.plant("spare")
    days = [60, 31, 29, 0]
    frame = pd.DataFrame(1.0, index=[now - pd.Timedelta(days=d) for d in days], columns=list(plant.names))
    spare.append(of_frame(frame))
    pinned = tank.read()
    assert pinned.index[0] < now - pd.Timedelta(days=30)
    service.housekeeper.tidy()
    pd.testing.assert_frame_equal(tank.read(), pinned)
    assert list(spare.read().index) == [now - pd.Timedelta(days=d) for d in days[2:]]
    with service.db.read() as session:
        noted = session.scalars(select(AuditRow).where(AuditRow.action == "telemetry.forget")).all()
        assert [row.key for row in noted if row.subject == "spare"] == ["service"]
        assert "tank" not in {row.subject for row in noted}
    service.close()


def test_the_commands_do_it_too(kept: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    monkeypatch.setenv("TWIN_DATA_DIR", str(kept.settings.data_dir))
    made = runner.invoke(main.app, ["backup", str(tmp_path / "all.tar")])
    assert made.exit_code == 0, made.output
    assert runner.invoke(main.app, ["backup", str(tmp_path / "all.tar")]).exit_code == 1
    monkeypatch.setenv("TWIN_DATA_DIR", str(tmp_path / "new"))
    assert runner.invoke(main.app, ["restore", str(tmp_path / "all.tar")]).exit_code == 0
    whole = runner.invoke(main.app, ["audit", "verify", "--json"])
    assert (whole.exit_code, json.loads(whole.stdout)["ok"]) == (0, True)
    with sqlite3.connect(tmp_path / "new" / "twin.db") as connection:
        connection.execute("UPDATE audit SET subject = 'another' WHERE id = 1")
    broken = runner.invoke(main.app, ["audit", "verify"])
    assert broken.exit_code == 1
    assert "entry 1" in broken.output
    examined = runner.invoke(main.app, ["doctor", "--json"])
    assert examined.exit_code == 1
    assert {f["subject"] for f in json.loads(examined.stdout) if not f["ok"]} - {"disk", "jobs"} == {"audit log"}
