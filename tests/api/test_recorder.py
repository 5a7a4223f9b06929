"""A recommendation that was acknowledged is in the log, whatever happens to the process or the database behind it."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DataError, OperationalError

from api.records.audit import audit_recommendations, verify
from api.records.db import Database
from api.records.recorder import Recorder
from api.records.spool import Spool, SpoolFullError
from api.records.tables import RecommendationRow
from tests.api.disks import fill
from twin.errors import StoreError

ROOM = 1 << 30
ANSWERS = """
import sys
from pathlib import Path
from api.records.db import Database
from api.records.recorder import Recorder
from tests.api.test_recorder import recommendation
folder = Path(sys.argv[1])
recorder = Recorder(Database(f"sqlite:///{folder / 'twin.db'}"), folder / "spool", 1 << 30)
recorder.start()
for number in range(int(sys.argv[2])):
    recorder.add(recommendation(number))
    print(number, flush=True)
import time
time.sleep(600)
"""


def recommendation(number: int) -> RecommendationRow:
    return RecommendationRow(
        plant="tank",
        twin="t1",
        key="dcs",
        fingerprint="f" * 64,
        request={"horizon_s": 60.0},
        outcome={"u": [number / 3]},
    )


def stored(db: Database) -> list[float]:
    with db.read() as session:
        return [
            row.outcome["u"][0] for row in session.scalars(select(RecommendationRow).order_by(RecommendationRow.id))
        ]


def entries(spool: Spool) -> list[dict[str, Any]]:
    """What processes that are gone left there."""
    found = [spool.read(line) for lines in spool.left() for line in lines]
    return [entry for entry in found if entry is not None]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = Database(f"sqlite:///{tmp_path / 'twin.db'}")
    db.migrate()
    yield db
    db.close()


@contextmanager
def answering(folder: Path, count: int) -> Iterator[None]:
    """A process that has acknowledged so many recommendations, killed (-9) at the end of the block."""
    command = [sys.executable, "-c", ANSWERS, str(folder), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(count)] == [f"{n}\n" for n in range(count)]
            yield
        finally:
            process.kill()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else writes to the database meanwhile, so that everything waits."""
    with closing(sqlite3.connect(folder / "twin.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_kill_takes_nothing_that_was_acknowledged(tmp_path: Path, db: Database) -> None:
    with locked(tmp_path), answering(tmp_path, 25):
        pass
    assert stored(db) == []
    for _ in range(2):  # they are stored once, however often there is a start
        recorder = Recorder(db, tmp_path / "spool", ROOM)
        recorder.start()
        recorder.add(recommendation(100))
        recorder.stop()
        assert stored(db)[:26] == [n / 3 for n in (*range(25), 100)]
        assert list((tmp_path / "spool").iterdir()) == []
    assert len(stored(db)) == 27
    verdict = verify(db)
    assert (verdict.entries, verdict.problems) == (27, ())


def test_a_kill_behind_the_commit_stores_nothing_twice(tmp_path: Path, db: Database) -> None:
    with answering(tmp_path, 25):
        until = time.monotonic() + 60
        while len(stored(db)) < 25 and time.monotonic() < until:
            time.sleep(0.02)
    assert len(list((tmp_path / "spool").iterdir())) == 1
    recorder = Recorder(db, tmp_path / "spool", ROOM)
    recorder.start()
    recorder.stop()
    assert stored(db) == [n / 3 for n in range(25)]
    assert list((tmp_path / "spool").iterdir()) == []


def test_nothing_is_taken_from_a_process_that_lives(tmp_path: Path, db: Database) -> None:
    with locked(tmp_path), answering(tmp_path, 3):
        assert list(Spool(tmp_path / "spool", ROOM).left()) == []
    spool = Spool(tmp_path / "spool", ROOM)
    assert [entry["outcome"]["u"][0] for entry in entries(spool)] == [0.0, 1 / 3, 2 / 3]


def test_many_threads_and_files(tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.records.spool.FULL", 1_000)  # a file takes three or four
    recorder = Recorder(db, tmp_path / "spool", ROOM)
    recorder.start()
    threads = [
        threading.Thread(target=lambda first=first: [recorder.add(recommendation(first + i)) for i in range(25)])
        for first in range(0, 100, 25)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.flush()
    assert sorted(stored(db)) == sorted(n / 3 for n in range(100))
    assert len(list((tmp_path / "spool").iterdir())) <= 1  # what is stored is gone, but for the last
    recorder.stop()


def test_a_torn_line_and_a_damaged_one_take_no_other_with_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ROOM)
    [part] = {id(line.part): line.part for line in [spool.add({"n": n}) for n in range(4)]}.values()
    spool.close()
    body = part.path.read_bytes()
    lines = body.split(b"\n")
    lines[1] = lines[1].replace(b"1", b"7")
    part.path.write_bytes(b"\n".join(lines)[:-3])
    assert [entry["n"] for entry in entries(Spool(tmp_path, ROOM))] == [0, 2]


def test_a_disk_that_is_full_takes_nothing_and_is_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ROOM)
    part = spool.add({"n": 0}).part
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (part.size + 10, hard))
    try:
        with pytest.raises(OSError, match="File too large") as refused:
            spool.add({"n": 1})
        assert refused.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    spool.add({"n": 2})
    spool.close()
    assert [entry["n"] for entry in entries(Spool(tmp_path, ROOM))] == [0, 2]


def test_a_full_disk_under_database_and_spool_loses_nothing(small_disk: Path) -> None:
    """What was acknowledged before the disk was full is stored once when there is room; nothing is by halves."""
    db = Database(f"sqlite:///{small_disk / 'twin.db'}")
    db.migrate()
    recorder = Recorder(db, small_disk / "spool", ROOM)
    recorder.start()
    with locked(small_disk):  # nothing gets into the database before the disk is full
        recorder.add(recommendation(0))
        fill(small_disk, left=1)
        acknowledged = [0]
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012
            for number in range(1, 200):
                recorder.add(recommendation(number))
                acknowledged.append(number)
        assert 1 < len(acknowledged) < 190  # of a page of 4 KiB
        for number in (500, 501):
            with pytest.raises(OSError, match="No space left"):
                recorder.add(recommendation(number))
    [part] = (small_disk / "spool").iterdir()
    lines = part.read_bytes().split(b"\n")
    assert (len(lines), lines[-1]) == (len(acknowledged) + 1, b"")  # whole lines only
    (small_disk / "ballast").unlink()
    recorder.add(recommendation(1_000))
    recorder.flush()
    assert stored(db) == [n / 3 for n in (*acknowledged, 1_000)]
    recorder.stop()
    assert list((small_disk / "spool").iterdir()) == []
    verdict = verify(db)
    assert (verdict.entries, verdict.problems) == (len(acknowledged) + 1, ())
    db.close()


def test_who_asks_for_the_log_does_not_wait_for_ever(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.records.recorder.FLUSH_S", 0.2)
    monkeypatch.setattr("api.records.recorder.RETRY_S", 0.05)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recorder = Recorder(db, tmp_path / "spool", ROOM)
    recorder.start()
    monkeypatch.setattr(db, "write", lambda: (_ for _ in ()).throw(OperationalError("", {}, Exception("full"))))
    with monkeypatch.context() as disk:
        disk.setattr("os.fdatasync", full)  # the thread that stores lives on
        recorder.add(recommendation(0))
        for _ in range(3):
            with pytest.raises(StoreError, match="wait on disk"):
                recorder.flush()
    monkeypatch.undo()
    recorder.flush()
    assert stored(db) == [0.0]
    recorder.stop()


def size_of(folder: Path) -> int:
    """Bytes of a line as `recommendation` makes it."""
    spool = Spool(folder, ROOM)
    size = spool.add({"created": "2026-01-01T00:00:00.000001+00:00", "n": 0}).size
    spool.close()
    return size


def test_what_waits_is_bounded_and_room_comes_back_line_by_line(tmp_path: Path) -> None:
    size = size_of(tmp_path / "other")
    spool = Spool(tmp_path / "spool", 3 * size + size // 2)
    entry = {"created": "2026-01-01T00:00:00.000001+00:00"}
    lines = [spool.add({**entry, "n": n}) for n in range(3)]
    for _ in range(2):
        with pytest.raises(SpoolFullError):
            spool.check()
        with pytest.raises(SpoolFullError):
            spool.add({**entry, "n": 9})
    spool.done(lines[1])
    spool.check()
    lines.append(spool.add({**entry, "n": 3}))
    with pytest.raises(SpoolFullError):
        spool.add({**entry, "n": 9})
    assert [spool.read(line) for line in lines] == [{**entry, "n": n} for n in range(4)]
    spool.close()
    left = Spool(tmp_path / "spool", 3 * size + size // 2)  # what an earlier process left takes room, too
    assert [entry["n"] for entry in entries(left)] == [0, 1, 2, 3]
    with pytest.raises(SpoolFullError):
        left.check()


def test_an_answer_is_refused_at_once_where_too_much_waits_for_the_database(tmp_path: Path, db: Database) -> None:
    """Nobody waits, nothing acknowledged is lost, and it recovers by itself."""
    recorder = Recorder(db, tmp_path / "spool", 1 << 20)
    recorder.start()
    acknowledged = []
    with locked(tmp_path):
        recorder.check()
        for number in range(5_000):  # of about 230 bytes: 1 MiB takes some 4,500
            try:
                recorder.add(recommendation(number))
            except StoreError as error:
                assert "TWIN_SPOOL_MIB" in error.detail  # noqa: PT017
                break
            acknowledged.append(number)
        assert 3_000 < len(acknowledged) < 5_000
        assert recorder.waiting == len(acknowledged)
        for _ in range(2):
            with pytest.raises(StoreError, match=rf"{len(acknowledged)} recommendations .* used up the 1 MiB"):
                recorder.check()
            with pytest.raises(StoreError):
                recorder.add(recommendation(6_000))
    recorder.flush()
    recorder.check()
    recorder.add(recommendation(7_000))
    recorder.stop()
    assert stored(db) == [n / 3 for n in (*acknowledged, 7_000)]
    assert list((tmp_path / "spool").iterdir()) == []
    assert verify(db).problems == ()


def test_a_start_does_not_wait_for_a_database_that_cannot_be_written(tmp_path: Path, db: Database) -> None:
    with locked(tmp_path):
        with answering(tmp_path, 3):
            pass
        recorder = Recorder(db, tmp_path / "spool", ROOM)
        recorder.start()
        recorder.add(recommendation(100))
        assert stored(db) == []
    recorder.flush()
    recorder.stop()
    assert stored(db) == [n / 3 for n in (0, 1, 2, 100)]


def test_the_end_waits_only_so_long_and_loses_nothing(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many batches each was waited for, and a database that does not even refuse held the end up for ever."""
    monkeypatch.setattr("api.records.recorder.LEAVING_S", 0.5)
    monkeypatch.setattr("api.records.recorder.RETRY_S", 0.05)
    monkeypatch.setattr("api.records.recorder.BATCH", 2)
    with monkeypatch.context() as away:
        away.setattr(db, "write", lambda: (_ for _ in ()).throw(OperationalError("", {}, Exception("away"))))
        recorder = Recorder(db, tmp_path / "spool", ROOM)
        recorder.start()
        for number in range(100):
            recorder.add(recommendation(number))
        recorder.stop()
    assert recorder.waiting == 101  # with the end itself
    with locked(tmp_path):  # SQLite waits for 30 s before it refuses
        silent = Recorder(db, tmp_path / "spool", ROOM)
        silent.start()
        silent.stop()
        assert list(Spool(tmp_path / "spool", ROOM).left()) == []  # nobody takes it over from a process that lives
    silent._thread.join(60)
    assert not silent._thread.is_alive()
    last = Recorder(db, tmp_path / "spool", ROOM)
    last.start()
    last.flush()
    last.stop()
    assert stored(db) == [n / 3 for n in range(100)]


def test_one_that_the_database_refuses_takes_no_other_with_it(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(session: Any, rows: Any) -> None:
        if any(row.outcome["u"] == [2 / 3] for row in rows):
            raise DataError("", {}, Exception("a character that it does not take"))
        audit_recommendations(session, rows)

    monkeypatch.setattr("api.records.recorder.audit_recommendations", picky)
    recorder = Recorder(db, tmp_path / "spool", ROOM)
    with locked(tmp_path):
        recorder.start()
        for number in range(5):
            recorder.add(recommendation(number))
    recorder.flush()
    recorder.stop()
    assert stored(db) == [n / 3 for n in (0, 1, 3, 4)]
    monkeypatch.undo()
    again = Recorder(db, tmp_path / "spool", ROOM)
    again.start()
    again.stop()
    assert sorted(stored(db)) == [n / 3 for n in range(5)]
    assert list((tmp_path / "spool").iterdir()) == []
