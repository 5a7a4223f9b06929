"""The store against what was uploaded: receipts, reads, versions, take-backs, crashes, rivals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin import store
from twin.errors import NotFoundError, QuestionError, StoreError, TelemetryError
from twin.storage import delta, ingest
from twin.storage.batch import QUALITY, TIME, Batch, of_frame
from twin.storage.delta import Log
from twin.storage.merge import Rows
from twin.storage.recent import Recent
from twin.store import PlantTable, Store

T0 = pd.Timestamp("2026-01-01", tz="UTC")


def frame(seconds: list[float], **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=T0 + pd.to_timedelta(seconds, unit="s"), dtype=float)


def column(table: PlantTable, tag: str = "a", **how: object) -> dict[float, float]:
    """Seconds after T0 → value, without the missing ones."""
    read = table.read(tags=[tag], **how)[tag].dropna()
    return {(time - T0).total_seconds(): value for time, value in read.items()}


@pytest.fixture(params=["from memory", "from disk"])
def table(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PlantTable:
    """With small files read from memory where this process wrote them, and without."""
    if request.param == "from disk":
        monkeypatch.setattr("twin.storage.recent.FEW", 0)
    return Store(tmp_path).plant("unit-1")


def test_an_empty_plant_answers_nothing(table: PlantTable) -> None:
    assert (table.version, table.rows, table.span, table.uploads(), table.tags) == (0, 0, None, [], ())
    assert table.read().empty
    assert table.overview().empty
    assert list(table.last_rows(5, 1.0, tags=["a"]).columns) == ["a"]


def test_the_receipt_accounts_for_every_row(table: PlantTable) -> None:
    first = table.append(of_frame(frame([0, 1, 2], a=[1, 2, np.nan], b=[4, 5, 6])))
    assert (first.rows_received, first.rows_stored, first.rows_duplicate, first.rows_replaced) == (3, 3, 0, 0)
    assert (first.first_time, first.last_time) == ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:02+00:00")
    again = table.append(of_frame(frame([0, 1, 2, 2, 3], a=[1, 9, 3, 3, 7], b=[4, 5, 6, np.nan, 7])))
    # row 0 known; row 1 replaces a; row 2 adds a; its repetition is a duplicate; row 3 is new
    assert (again.rows_received, again.rows_stored, again.rows_duplicate, again.rows_replaced) == (5, 3, 2, 1)
    assert again.rows_late == 1  # the row of second 1 is older than second 2
    assert column(table) == {0: 1, 1: 9, 2: 3, 3: 7}


def test_the_same_upload_again_is_all_duplicates(table: PlantTable) -> None:
    rows = frame([0, 1, 2], a=[1, np.nan, 3])
    table.append(of_frame(rows))
    receipt = table.append(of_frame(rows))
    assert (receipt.rows_stored, receipt.rows_duplicate) == (0, 3)
    assert table.rows == 3


def test_a_late_tag_erases_no_other(table: PlantTable) -> None:
    table.append(of_frame(frame([0, 1], a=[1, 2])))
    table.append(of_frame(frame([0, 1], b=[3, 4])))
    assert table.tags == ("a", "b")
    assert table.read().to_numpy().tolist() == [[1, 3], [2, 4]]


def test_rows_of_one_upload_overrule_each_other_in_their_order(
    table: PlantTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "CELLS", 4)  # so that the rows lie in several files of one upload
    receipt = table.append(of_frame(frame([0, 1, 0, 1, 0, 0], a=[1, 2, 1, 5, 6, 1])))
    assert (receipt.rows_stored, receipt.rows_duplicate, receipt.rows_replaced) == (5, 1, 3)
    assert column(table) == {0: 1, 1: 5}


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 9), st.one_of(st.none(), st.integers(0, 2)), st.one_of(st.none(), st.integers(0, 2))
            ),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_uploads_read_as_a_dictionary_would(tmp_path_factory: pytest.TempPathFactory, uploads: list) -> None:
    """Row by row in Python: values, receipts and every earlier version."""
    table = Store(tmp_path_factory.mktemp("store")).plant("p")
    state: dict[int, dict[str, float]] = {}
    versions = []
    for upload in uploads:
        rows = frame(
            [u[0] for u in upload],
            **{tag: [np.nan if u[i] is None else u[i] for u in upload] for i, tag in ((1, "a"), (2, "b"))},
        )
        duplicates = replaced = 0
        for second, a, b in upload:
            seen, row = second in state, state.setdefault(second, {})
            given = {tag: value for tag, value in (("a", a), ("b", b)) if value is not None}
            duplicates += seen and all(row.get(tag) == value for tag, value in given.items())
            replaced += any(row.get(tag, value) != value for tag, value in given.items())
            row |= given
        receipt = table.append(of_frame(rows))
        assert (receipt.rows_duplicate, receipt.rows_replaced) == (duplicates, replaced)
        assert receipt.rows_stored + receipt.rows_duplicate == receipt.rows_received == len(upload)
        versions.append((receipt.version, {s: dict(row) for s, row in state.items()}))
    table.compact()
    for version, expected in versions:
        read = table.read(tags=["a", "b"], as_of=version)
        assert [(t - T0).total_seconds() for t in read.index] == sorted(expected)
        got = {
            (t - T0).total_seconds(): {k: v for k, v in row.items() if v == v}
            for t, row in read.to_dict("index").items()
        }
        assert got == expected


def test_reads_as_of_a_version_stay_whatever_comes_later(table: PlantTable) -> None:
    first = table.append(of_frame(frame([0, 1], a=[1, 2])))
    wrong = table.append(of_frame(frame([1, 2], a=[9, 9], c=[7, 7])))
    after = table.take_back(wrong.upload)
    table.compact()
    assert column(table) == {0: 1, 1: 2}
    assert column(table, as_of=first.version) == {0: 1, 1: 2}
    assert column(table, as_of=wrong.version) == {0: 1, 1: 9, 2: 9}
    assert after == table.version == wrong.version + 1
    assert table.span == (T0, T0 + pd.Timedelta("1s"))
    assert [u.taken_back for u in table.uploads()] == [True, False]
    with pytest.raises(NotFoundError, match="taken back"):
        table.take_back(wrong.upload)
    with pytest.raises(NotFoundError):
        table.take_back("nonsense")
    with pytest.raises(QuestionError, match="versions 0 to"):
        table.read(as_of=99)


def test_an_upload_taken_back_can_be_uploaded_again(table: PlantTable) -> None:
    rows = frame([0, 1], a=[1, 2])
    first = table.append(of_frame(rows), idempotency_key="k")
    table.take_back(first.upload)
    assert table.read(tags=["a"]).empty
    again = table.append(of_frame(rows), idempotency_key="k")
    assert (again.rows_stored, again.upload != first.upload) == (2, True)
    assert table.append(of_frame(rows), idempotency_key="k") == again


def test_a_repeated_key_answers_the_first_receipt(table: PlantTable) -> None:
    first = table.append(of_frame(frame([0], a=[1])), idempotency_key="k")
    second = table.append(of_frame(frame([5, 6], a=[1, 2])), idempotency_key="k")
    other = table.append(of_frame(frame([5], a=[1])), idempotency_key="l")
    assert second == first
    assert other.rows_stored == 1
    assert column(table) == {0: 1, 5: 1}


def test_commit_log_and_keys_do_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is cut at each of its checkpoints, one in 100 commits; a key is known for as long as was said."""
    monkeypatch.setitem(delta.CONFIGURATION, "delta.logRetentionDuration", "interval 1 milliseconds")
    monkeypatch.setitem(delta.CONFIGURATION, "delta.setTransactionRetentionDuration", "interval 1 seconds")
    table = Store(tmp_path).plant("demo")
    other = Store(tmp_path).plant("demo")
    first = table.append(of_frame(frame([0], a=[0])), idempotency_key="k0")
    assert other.append(of_frame(frame([0], a=[0])), idempotency_key="k0") == first  # knows a commit soon cut off
    time.sleep(1.1)
    for second in range(1, 220):
        table.append(of_frame(frame([second], a=[second])), idempotency_key=f"k{second}")
    commits = [path for path in (tmp_path / "demo/_delta_log").glob("*.json") if path.stem.isdecimal()]
    assert len(commits) < 150
    for known in (table, other, Store(tmp_path).plant("demo")):
        assert known.version == table.version
        assert column(known) == {second: second for second in range(220)}
        assert known._log.committed("k0") is None
        assert known._log.committed("k219") == table.version
    assert len(table.uploads()) == 220


def test_a_table_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(delta, "CONFIGURATION", {"delta.logRetentionDuration": "interval 1 days"})
        Store(tmp_path).plant("demo").append(of_frame(frame([0, 1], a=[7, 8])))
    table = Store(tmp_path).plant("demo")
    table.compact()
    found = DeltaTable(tmp_path / "demo").metadata().configuration
    assert found.items() >= delta.CONFIGURATION.items()
    assert column(table) == {0: 7, 1: 8}


@pytest.mark.parametrize("before", [False, True])
def test_a_kill_loses_nothing_and_doubles_nothing(tmp_path: Path, before: bool) -> None:
    """kill -9 just before, or just after, the commit and before the answer."""
    child = f"""
import os, signal
import pandas as pd
from twin.storage.batch import of_frame
from twin.storage.delta import Log
from twin.store import Store
commit = Log.commit
def deadly(self, *args, **kwargs):
    if not {before}:
        commit(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
Log.commit = deadly
index = pd.to_datetime(["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"])
rows = of_frame(pd.DataFrame({{"a": [1.0, 2.0]}}, index=index))
Store({str(tmp_path)!r}).plant("p").append(rows, idempotency_key="k")
"""
    killed = subprocess.run(
        [sys.executable, "-c", child], timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    assert killed.returncode == -signal.SIGKILL
    table = Store(tmp_path).plant("p")
    assert column(table) == ({} if before else {0: 1, 1: 2})
    receipt = table.append(of_frame(frame([0, 1], a=[1, 2])), idempotency_key="k")
    assert (receipt.rows_stored, receipt.rows_duplicate) == (2, 0)
    assert column(table) == {0: 1, 1: 2}
    assert table.rows == 2
    assert len(table.uploads()) == 1


def test_an_upload_that_breaks_off_stores_nothing(table: PlantTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "CELLS", 2)

    def broken() -> Iterator[Batch]:
        for second in range(5):
            yield from of_frame(frame([second], a=[second]))
        raise TelemetryError("cut off")

    table.append(of_frame(frame([100], a=[1])))
    with pytest.raises(TelemetryError, match="cut off"):
        table.append(broken(), idempotency_key="k")
    assert column(table) == {100: 1}
    files = {str(p) for p in Path(table._log.uri).rglob("*.parquet")}
    assert len(files) == 2  # the rows and the receipt of the first upload: nothing is left lying about
    assert table.append(of_frame(frame([0], a=[1])), idempotency_key="k").rows_stored == 1


def test_writers_in_threads_come_one_after_the_other(tmp_path: Path) -> None:
    plants = [Store(tmp_path).plant("p") for _ in range(3)]

    def write(i: int) -> None:
        for k in range(5):
            plants[i].append(of_frame(frame([10 * k + i], a=[i])))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert column(plants[0]) == {10 * k + i: i for k in range(5) for i in range(3)}
    assert len({u.receipt.upload for u in plants[1].uploads()}) == 15


def test_a_writer_without_the_lock_is_refused_not_mixed_in(tmp_path: Path) -> None:
    """Two machines on one bucket share no lock: the second commit of one sequence number fails."""
    table = Store(tmp_path).plant("p")
    table.append(of_frame(frame([0], a=[1])))
    rival = Store(tmp_path).plant("p")
    stale = rival._log.snapshot()
    table.append(of_frame(frame([1], a=[2])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Log, "snapshot", lambda self: stale)
        patch.setattr(Log, "_current", lambda self: self._table)
        with pytest.raises(StoreError):
            rival.append(of_frame(frame([2], a=[3])))
    assert column(table) == {0: 1, 1: 2}


def test_a_reader_elsewhere_sees_commits_deletion_and_a_new_start(tmp_path: Path) -> None:
    writer, reader = Store(tmp_path).plant("p"), Store(tmp_path).plant("p")
    writer.append(of_frame(frame([0], a=[1])))
    assert column(reader) == {0: 1}
    writer.append(of_frame(frame([1], a=[2])))
    assert column(reader) == {0: 1, 1: 2}
    writer.delete()
    assert reader.version == 0
    for second in range(4):
        writer.append(of_frame(frame([second], a=[7])))
    assert column(reader) == {0: 7, 1: 7, 2: 7, 3: 7}


def test_many_small_uploads_are_merged_and_stay_exact(table: PlantTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "TIER", 4)
    receipts = [table.append(of_frame(frame([second], a=[second]))) for second in range(40)]
    assert len(table._log.snapshot().files["rows"]) < 12
    assert column(table) == {second: second for second in range(40)}
    assert column(table, as_of=receipts[9].version) == {second: second for second in range(10)}
    assert [u.receipt for u in reversed(table.uploads())] == receipts
    table.compact()
    assert len(table._log.snapshot().files["rows"]) == 1
    assert column(table) == {second: second for second in range(40)}


def test_memory_answers_what_the_disk_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that come and go, qualities, late and overruled rows, take-backs, mergers: at every version."""
    monkeypatch.setattr(store, "TIER", 4)
    table, rng = Store(tmp_path / "memory").plant("p"), np.random.default_rng(0)
    without = Store(tmp_path / "disk")
    without._recent = Recent(0)
    plain, receipts = without.plant("p"), []
    for number in range(40):
        tags = [tag for tag in "abcd" if rng.random() < 0.6] or ["a"]
        seconds = np.sort(rng.choice(60, rng.integers(1, 6), replace=False)) + (0 if number % 5 else number)
        columns = {tag: pa.array(np.where(rng.random(len(seconds)) < 0.7, rng.integers(0, 9), np.nan)) for tag in tags}
        if rng.random() < 0.5:
            columns[tags[0] + QUALITY] = pa.array(rng.choice([0, 64, 192], len(seconds)), pa.int16())
        times = pa.array((T0 + pd.to_timedelta(seconds, unit="s")).as_unit("us").asi8)
        rows = pa.table({TIME: times.cast(pa.timestamp("us", "UTC")), **columns})
        given = [pc.if_else(pc.is_nan(c), None, c) if pa.types.is_floating(c.type) else c for c in rows.columns]
        batch = Batch(pa.table(given, names=rows.column_names), len(seconds))
        receipts.append(table.append([batch]))
        assert receipts[-1] == plain.append([batch])
        if number in (11, 29):
            assert table.take_back(receipts[-3].upload) == plain.take_back(receipts[-3].upload)
    recent = table._log.recent
    assert any(recent.get(path) is not None for path in table._log.snapshot().files["rows"].path)
    assert not any(plain._log.recent.get(path) for path in plain._log.snapshot().files["rows"].path)
    later = Store(tmp_path / "memory").plant("p")  # what was written by way of memory, read from the disk
    names = ["d", "b", "nowhere", "a", "c"]
    for version in range(table.version + 1):
        expected = plain.read(tags=names, as_of=version)
        pd.testing.assert_frame_equal(table.read(tags=names, as_of=version), expected)
        pd.testing.assert_frame_equal(later.read(tags=names, as_of=version), expected)
    few = (T0 + pd.Timedelta("7s"), T0 + pd.Timedelta("31s"))
    pd.testing.assert_frame_equal(table.read(*few, tags=["c"]), plain.read(*few, tags=["c"]))
    read = table.read(tags=names)
    read.loc[:] = -1.0  # it is the reader's own
    pd.testing.assert_frame_equal(table.read(tags=names), plain.read(tags=names))
    table.compact()
    pd.testing.assert_frame_equal(table.read(tags=names), plain.read(tags=names))


def test_what_is_kept_in_memory_is_bounded() -> None:
    recent = Recent(cells=10)
    for number in range(5):
        recent.keep(str(number), numbered(2))  # 4 cells each
    assert [recent.get(str(number)) is not None for number in range(5)] == [False, False, False, True, True]
    recent.drop(["3", "elsewhere"])
    recent.keep("5", numbered(3))  # 6 cells
    assert [recent.get(str(number)) is not None for number in range(6)] == [False] * 4 + [True, True]
    recent.keep("6", numbered(6))  # more than there is room for
    assert recent.get("6") is None
    assert recent.get("5") is not None


def numbered(rows: int) -> Rows:
    return Rows(("a", "b"), np.arange(rows), np.arange(rows), np.zeros((rows, 2)))


def test_a_few_rows_are_not_compressed_and_many_are(tmp_path: Path) -> None:
    table = Store(tmp_path).plant("p")
    for rows in (1, 127, 128):
        table.append(of_frame(frame(list(range(rows)), a=[rows + 0.5] * rows)))
    found = {}
    for path in (tmp_path / "p" / "_kind=rows").iterdir():
        meta = pq.read_metadata(path)
        found[meta.num_rows] = {meta.row_group(0).column(i).compression for i in range(meta.num_columns)}
    assert found == {1: {"UNCOMPRESSED"}, 127: {"UNCOMPRESSED"}, 128: {"ZSTD"}}


def test_a_frame_of_any_numbers_is_a_batch() -> None:
    index = pd.DatetimeIndex(["2026-01-01T01:00+01:00", "2026-01-01T02:00+01:00"])
    columns = {
        "whole": [1, 2],
        "nullable": pd.array([None, 3], "Int64"),
        "switch": [True, False],
        "float": [np.inf, 0.25],
        5: [np.nan, np.nan],
    }
    [batch] = of_frame(pd.DataFrame(columns, index=index))
    assert batch.table.to_pydict() == {
        "time": [T0.to_pydatetime(), (T0 + pd.Timedelta("1h")).to_pydatetime()],
        "whole": [1.0, 2.0],
        "nullable": [None, 3.0],
        "switch": [1.0, 0.0],
        "float": [None, 0.25],
        "5": [None, None],
    }
    [empty] = of_frame(pd.DataFrame(index=index))
    assert empty.table.column_names == ["time"]


def test_ranges_include_both_ends_and_need_a_zone(table: PlantTable) -> None:
    table.append(of_frame(frame([0, 1, 2, 3], a=[0, 1, 2, 3])))
    assert list(column(table, start=T0 + pd.Timedelta("1s"), end=T0 + pd.Timedelta("2s"))) == [1, 2]
    berlin = (T0 + pd.Timedelta("2s")).tz_convert("Europe/Berlin")
    assert list(column(table, start=berlin)) == [2, 3]
    with pytest.raises(QuestionError, match="time zone"):
        table.read(start=pd.Timestamp("2026-01-01"))


def test_the_last_rows_are_those_of_the_last_periods(table: PlantTable) -> None:
    table.append(of_frame(frame(range(100), a=range(100))))
    table.append(of_frame(frame([100.0004, 101], a=[100, 101])))
    assert table.last_rows(4, 1.0)["a"].tolist() == [98, 99, 100, 101]
    assert table.last_rows(1, 1.0)["a"].tolist() == [101]


def test_an_overview_keeps_extremes_and_gaps(table: PlantTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "CELLS", 3000)  # several spans
    n = 20_000
    seconds = np.r_[np.arange(n), np.arange(n) + 3 * n]
    a = np.sin(seconds / 500.0)
    a[[7, 12_345, 30_001]] = [50.0, -60.0, 70.0]
    table.append(of_frame(frame(list(seconds), a=list(a), b=list(np.cos(seconds / 300.0)))))
    thinned = table.overview(max_points=400)
    assert 200 < len(thinned) <= 400
    assert (thinned["a"].max(), thinned["a"].min()) == (70.0, -60.0)
    np.testing.assert_allclose([thinned["b"].min(), thinned["b"].max()], [-1, 1], atol=1e-6)
    assert thinned.index.is_monotonic_increasing
    empty = thinned[thinned["a"].isna()]
    assert len(empty) == 1
    assert T0 + pd.Timedelta(seconds=n - 1) < empty.index[0] < T0 + pd.Timedelta(seconds=3 * n)
    assert (
        abs((thinned["a"].idxmax() - (T0 + pd.Timedelta(seconds=float(seconds[30_001])))).total_seconds())
        <= 4 * n / 200
    )


def test_spans_of_bad_quality_are_told_and_not_those_of_good(
    table: PlantTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad at 10 to 12 s and, behind a better row, at 14 s; at 500 s on both sides of a cut between parts."""
    monkeypatch.setattr(ingest, "CELLS", 300)
    n = 1000
    codes = np.full(n, 192.0)
    codes[[10, 11, 12, 14, 499, 500, 501]] = 0
    codes[20] = 64  # uncertain is no refusal
    table.append(of_frame(frame(list(range(n)), a=[1.0] * n, b=[2.0] * n, a__quality=list(codes))))
    found = table.bad_spans(max_points=2000)
    seconds = {tag: [tuple((t - T0).total_seconds() for t in span) for span in spans] for tag, spans in found.items()}
    assert seconds == {"a": [(10, 12), (14, 14), (499, 501)]}
    coarse = table.bad_spans(max_points=400)  # 5 s apart is one
    assert [(b - a).total_seconds() for a, b in coarse["a"]] == [4, 2]
    assert table.bad_spans(tags=["b"]) == {}
    assert table.bad_spans(start=T0 + pd.Timedelta("600s")) == {}


def test_a_scan_is_a_read_in_parts(table: PlantTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append(of_frame(frame(range(0, 5000, 2), a=range(2500))))
    table.append(of_frame(frame(range(1, 5000, 3), a=range(1667))))
    whole = table.read()
    monkeypatch.setattr(ingest, "CELLS", 800)
    parts = list(table.scan())
    assert len(parts) > 5
    assert max(map(len, parts)) <= 800
    pd.testing.assert_frame_equal(pd.concat(parts), whole)


def test_few_rows_are_not_thinned(table: PlantTable) -> None:
    rows = frame([0, 1, 5], a=[1, 2, 3])
    table.append(of_frame(rows))
    np.testing.assert_array_equal(table.overview(max_points=10)["a"], rows["a"])


@pytest.mark.parametrize("slug", ["../x", "", "A", "a/b", ".hidden"])
def test_a_slug_cannot_leave_the_folder(tmp_path: Path, slug: str) -> None:
    with pytest.raises(QuestionError):
        Store(tmp_path).plant(slug)


def test_tags_of_any_name_are_columns(table: PlantTable) -> None:
    names = ["T1", "Δp", "reactor.temp /°C", "FIC-101.PV", "a,b;c", "x'y\"z"]
    rows = pd.DataFrame([range(len(names))], index=pd.DatetimeIndex([T0]), columns=names, dtype=float)
    table.append(of_frame(rows))
    table.append(of_frame(rows + 1))
    read = table.read(tags=names)
    assert read.iloc[0].tolist() == [1, 2, 3, 4, 5, 6]


def test_what_is_forgotten_is_gone_at_every_version_and_the_rest_stays(table: PlantTable, tmp_path: Path) -> None:
    table.append(of_frame(frame([0, 1, 2], a=[1, 2, 3])))
    pinned = table.append(of_frame(frame([2, 3, 4], a=[9, 4, 5], b=[1, 1, 1]))).version
    table.append(of_frame(frame([4, 5], a=[7, 6])))
    assert table.forget(T0 + pd.Timedelta(seconds=3)) == 4  # seconds 0, 1, 2 and 2 again
    assert column(table) == {3: 4, 4: 7, 5: 6}
    assert column(table, as_of=pinned) == {3: 4, 4: 5}  # what is kept is still exact
    assert table.span == (T0 + pd.Timedelta(seconds=3), T0 + pd.Timedelta(seconds=5))
    assert len(table.uploads()) == 3
    assert table.forget(T0 + pd.Timedelta(seconds=3)) == 0
    again = Store(tmp_path).plant("unit-1")
    assert column(again) == {3: 4, 4: 7, 5: 6}
    again.append(of_frame(frame([6], a=[8])))
    assert column(table) == {3: 4, 4: 7, 5: 6, 6: 8}


def test_all_can_be_forgotten(table: PlantTable) -> None:
    assert table.forget(T0) == 0
    table.append(of_frame(frame([0, 1], a=[1, 2])))
    version = table.version
    assert table.forget(T0 + pd.Timedelta(days=1)) == 2
    assert table.version > version  # whoever remembers what was there looks again
    assert table.span is None
    assert table.read().empty
    table.append(of_frame(frame([9], a=[3])))
    assert column(table) == {9: 3}


def test_what_cannot_be_written_is_not_forgotten(table: PlantTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append(of_frame(frame([0, 1, 2], a=[1, 2, 3])))

    def full(*_: object) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr(Log, "write", full)
    with pytest.raises(StoreError, match="no space"):
        table.forget(T0 + pd.Timedelta(seconds=1))
    assert column(table) == {0: 1, 1: 2, 2: 3}
