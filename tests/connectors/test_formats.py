"""Uploads as people send them: what is read, what is refused, and how that is said."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import connectors.formats.csv
from connectors.formats.files import ARROW, CSV, PARQUET, read_upload
from connectors.formats.survey import survey
from twin.errors import TelemetryError
from twin.plant import Plant, Role, Tag
from twin.storage.batch import NAMED, Batch, Receipt, Rejection
from twin.store import Store

PLANT = Plant("p", 1.0, (Tag("u", Role.MV), Tag("y", Role.CV), Tag("temp °C.1", Role.CV)))
DAMAGED = Path(__file__).parent / "damaged"
Z = [f"2026-01-01T00:00:{second:02d}Z" for second in range(60)]


def read(body: bytes | str, kind: str = CSV, encoding: str | None = None, **how: object) -> list[Batch]:
    stream = io.BytesIO(body.encode() if isinstance(body, str) else body)
    return list(read_upload(stream, kind, encoding, PLANT, **how))


def one(body: bytes | str, kind: str = CSV, **how: object) -> Batch:
    (batch,) = read(body, kind, **how)
    return batch


def cells(batch: Batch, tag: str) -> dict[str, float | None]:
    """Time → value."""
    times = [pd.Timestamp(t).strftime("%H:%M:%S") for t in batch.table["time"].to_pylist()]
    return dict(zip(times, batch.table[tag].to_pylist(), strict=True))


def refused(batch: Batch) -> list[tuple[int, str | None]]:
    return [(r.row, r.tag) for r in batch.rejected]


def as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def as_stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


# What is read


def test_a_wide_csv() -> None:
    batch = one(f"time,u,y\n{Z[0]},1,2.5\n{Z[1]},-1e-3,\n")
    assert cells(batch, "u") == {"00:00:00": 1.0, "00:00:01": -0.001}
    assert cells(batch, "y") == {"00:00:00": 2.5, "00:00:01": None}
    assert (batch.received, batch.rows_rejected, batch.unknown_tags, batch.rejected) == (2, 0, (), ())


@pytest.mark.parametrize(
    "body",
    [
        f"\ufefftime,u\n{Z[0]},1.5\n",
        f"time,u\r\n{Z[0]},1.5\r\n",
        f'"time","u"\n"{Z[0]}","1.5"',
        f"time;u\n{Z[0]};1,5\n",
        f"time\tu\n{Z[0]}\t1.5\n",
        f"time|u\n{Z[0]}|1.5\n\n\n",
        f" time , u \n {Z[0]} , 1.5 \n",
    ],
)
def test_the_dialects_of_csv(body: str) -> None:
    assert cells(one(body), "u") == {"00:00:00": 1.5}


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T00:00:07Z",
        "2026-01-01 00:00:07+00:00",
        "2026-01-01T02:00:07+0200",
        "2025-12-31T19:00:07.000000000-05",
        "2026-01-01T00:00:07 +00:00",
        "2026-01-01t00:00:07,0z",
    ],
)
def test_the_spellings_of_a_time(time: str) -> None:
    assert list(cells(one(f'time,u\n"{time}",1\n{Z[9]},2\n'), "u")) == ["00:00:07", "00:00:09"]


def test_mixed_offsets_go_to_utc() -> None:
    batch = one("time,u\n2026-06-01T12:00:00+02:00,1\n2026-06-01T12:00:00-07:00,2\n")
    assert cells(batch, "u") == {"10:00:00": 1, "19:00:00": 2}


@pytest.mark.parametrize("encode", [as_parquet, as_stream])
def test_parquet_and_arrow_streams(encode: Callable[[pa.Table], bytes]) -> None:
    kind = PARQUET if encode is as_parquet else ARROW
    times = pa.array([0, 10**9, 2 * 10**9], pa.timestamp("ns", "Europe/Berlin"))
    strings = pa.array(["1.5", "x", None]).dictionary_encode()
    table = pa.table(
        {"time": times, "u": pa.array([1, 2, 3], pa.int16()), "y": strings, "temp °C.1": [0.5, np.inf, np.nan]}
    )
    batches = read(encode(table), kind)
    joined = pa.concat_tables([b.table for b in batches])
    assert joined["u"].to_pylist() == [1, 2, 3]
    assert joined["y"].to_pylist() == [1.5, None, None]
    assert joined["temp °C.1"].to_pylist() == [0.5, None, None]
    assert [t.timestamp() for t in joined["time"].to_pylist()] == [0, 1, 2]
    assert sorted((r.row, r.tag) for b in batches for r in b.rejected) == [(2, "temp °C.1"), (2, "y")]


def test_gzip() -> None:
    assert cells(one(gzip.compress(f"time,u\n{Z[0]},1\n".encode()), encoding="gzip"), "u") == {"00:00:00": 1}


def test_a_long_csv() -> None:
    rows = ["u,1,good", "y,2,", "u,3,good", "q,4,good", "y,,bad", "y,hot,good", "u,5,bad", "u,6,strange", ",1,"]
    times = [Z[0], Z[0], Z[0], Z[1], Z[1], Z[1], Z[2], Z[3], Z[3]]
    body = "\n".join(f"{t},{r}" for t, r in zip(times, rows, strict=True))
    batch = one(f"time,tag,value,quality\n{body}\n{Z[4]},q,1,\n")
    table = batch.table.to_pydict()
    assert [t.second for t in table["time"]] == [0, 0, 2]
    assert (table["u"], table["y"], table["u__quality"]) == ([1, 3, 5], [2, None, None], [None, None, 0])
    assert (batch.received, batch.rows_rejected, batch.rows_empty) == (10, 5, 1)
    assert batch.unknown_tags == ("q",)
    assert refused(batch) == [(4, "q"), (6, "y"), (8, "u"), (9, None)]  # an unknown tag is named once


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("good", None),
        ("Good", None),
        ("", None),
        ("192", None),
        ("BAD", 0),
        ("0", 0),
        ("24", 24),
        ("uncertain", 64),
        ("64.0", 64),
        ("255", 255),
    ],
)
def test_qualities(word: str, code: int | None) -> None:
    table = one(f"time,u,u__quality\n{Z[0]},1,{word}\n{Z[1]},1,bad\n").table
    assert table["u__quality"].to_pylist() == [code, 0]


def test_a_bad_value_is_stored_with_its_quality_and_read_as_missing(tmp_path: Path) -> None:
    table = Store(tmp_path).plant("p")
    body = f"time,u,u__quality,y\n{Z[0]},1,good,5\n{Z[1]},2,bad,6\n{Z[2]},3,uncertain,7\n"
    first = table.append(iter(read(body)))
    again = table.append(iter(read(body)))
    worse = table.append(iter(read(f"time,u,u__quality\n{Z[0]},1,bad\n")))
    assert (first.rows_stored, again.rows_duplicate, worse.rows_replaced) == (3, 3, 1)
    np.testing.assert_array_equal(table.read()["u"], [np.nan, np.nan, 3])
    np.testing.assert_array_equal(table.read(as_of=first.version)["u"], [1, np.nan, 3])
    np.testing.assert_array_equal(table.read()["y"], [5, 6, 7])


def test_values_outside_the_limits_are_data() -> None:
    plant = Plant("p", 1.0, (Tag("u", Role.MV, low=0, high=1), Tag("y", Role.CV)))
    (batch,) = read_upload(io.BytesIO(f"time,u\n{Z[0]},99\n".encode()), CSV, None, plant)
    assert batch.table["u"].to_pylist() == [99]


# What is refused cell by cell and row by row


def test_one_broken_row_costs_no_other() -> None:
    rows = [
        f"{Z[0]},1,2",
        f"{Z[1]},1",
        f"{Z[2]},x,2",
        "never,1,2",
        ",1,2",
        f"{Z[5]},inf,1e999",
        f"{Z[6]},1,NaN",
        "",
        f"{Z[7]},1,2,3",
    ]
    batch = one("time,u,y\n" + "\n".join(rows) + "\n")
    assert cells(batch, "u") == {"00:00:00": 1, "00:00:02": None, "00:00:06": 1}
    assert cells(batch, "y") == {"00:00:00": 2, "00:00:02": 2, "00:00:06": None}
    assert refused(batch) == [(2, None), (3, "u"), (4, None), (5, None), (6, "u"), (6, "y"), (8, None)]
    assert (batch.received, batch.rows_rejected, batch.cells_rejected) == (8, 5, 1)
    reasons = {(r.row, r.tag): r.reason for r in batch.rejected}
    assert reasons[2, None] == "2 columns, where the header has 3"
    assert reasons[3, "u"] == "'x' is no number"
    assert "'never'" in reasons[4, None]
    assert reasons[5, None] == "the time is missing"
    assert reasons[6, "u"] == "'inf' is not finite"
    assert reasons[8, None] == "4 columns, where the header has 3"


def test_row_numbers_are_exact_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectors.formats.csv, "BLOCK", 200)
    broken, texts = {1, 2, 37, 38, 90, 200}, {5, 64, 199}
    rows = [f"{Z[i % 60]},7" if i in broken else f"{Z[i % 60]},{'x' if i in texts else i},1" for i in range(1, 201)]
    batches = read("time,u,y\n" + "\n".join(rows) + "\n")
    assert len(batches) > 10
    found = {(r.row, r.tag) for b in batches for r in b.rejected}
    assert found == {(i, None) for i in broken} | {(i, "u") for i in texts}
    assert sum(b.received for b in batches) == 200
    assert sum(b.rows_rejected for b in batches) == len(broken)
    stored = [v for b in batches for v in b.table["u"].to_pylist()]
    assert stored == [None if i in texts else i for i in range(1, 201) if i not in broken]


@given(st.lists(st.sampled_from(["good", "short", "text", "late"]), min_size=1, max_size=300))
@settings(max_examples=25, deadline=None)
def test_every_row_is_accounted_for(kinds: list[str]) -> None:
    line = {"good": f"{Z[0]},1,2", "short": f"{Z[0]},1", "text": f"{Z[0]},a,b", "late": "later,1,2"}
    receipt = Receipt()
    for batch in read("time,u,y\n" + "\n".join(line[k] for k in kinds) + "\n"):
        receipt.count(batch)
        assert batch.table.num_rows == batch.received - batch.rows_rejected
    lost = [i for i, kind in enumerate(kinds, 1) if kind != "good"]
    assert (receipt.rows_received, receipt.rows_rejected) == (len(kinds), len(lost))
    assert sorted({r.row for r in receipt.rejected}) == lost[: len({r.row for r in receipt.rejected})]
    assert len(receipt.rejected) == min(NAMED, sum(2 if kind == "text" else kind != "good" for kind in kinds))


def test_times_that_cannot_be_meant_are_refused() -> None:
    body = f"time,u\n9999-12-31T23:59:59Z,1\n0001-01-01T00:00:00Z,2\n2026-02-30T00:00:00Z,3\n1700000000,4\n{Z[0]},5\n"
    batch = one(body)
    assert (cells(batch, "u"), refused(batch)) == ({"00:00:00": 5}, [(i, None) for i in (1, 2, 3, 4)])
    assert "1900 to 2199" in batch.rejected[0].reason
    with pytest.raises(TelemetryError, match="out of range"):
        read(as_stream(pa.table({"time": pa.array([2**62], pa.timestamp("s", "UTC")), "u": [1.0]})), ARROW)


@pytest.mark.parametrize(
    "text", [pa.string_view(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_of_any_arrow_type(text: pa.DataType) -> None:
    times, values = pa.array(Z[:2]), pa.array(["1", "x"])
    if pa.types.is_dictionary(text):
        table = pa.table({"time": times.dictionary_encode(), "u": values.dictionary_encode(), "y": [1, 2]})
    else:
        table = pa.table({"time": times.cast(text), "u": values.cast(text), "y": [1, 2]})
    batch = one(as_stream(table), ARROW)
    assert (batch.table["u"].to_pylist(), refused(batch)) == ([1.0, None], [(2, "u")])


def test_offsets_that_point_out_of_an_arrow_stream_are_refused() -> None:
    times = pa.array(Z[:4])
    table = pa.table({"time": times, "tag": ["u", "y", "u", "y"], "value": [1.0, 2.0, 3.0, 4.0]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue()
    offsets = np.arange(5, dtype="<i4").tobytes()
    assert body.count(offsets) == 1
    wild = np.array([0, 1, 2, 1 << 30, 4], "<i4").tobytes()
    with pytest.raises(TelemetryError, match="damaged"):
        one(body.replace(offsets, wild), ARROW)


def test_times_beyond_those_of_python_are_refused_row_by_row() -> None:
    times = pa.array([10**15, 2**62], pa.timestamp("us", "UTC"))
    batch = one(as_stream(pa.table({"time": times, "u": [1.0, 2.0]})), ARROW)
    assert refused(batch) == [(2, None)]
    assert f"'{2**62}' lies outside the years" in batch.rejected[0].reason


def test_a_zone_that_nobody_knows_does_not_matter_where_times_are_stored_in_utc() -> None:
    body = as_stream(pa.table({"time": pa.array([10**15], pa.timestamp("us", "UTC")), "u": [1.0]}))
    for name in (b"UPC", b"U\x94C"):
        batch = one(body.replace(b"UTC", name), ARROW)
        assert batch.table["time"].cast(pa.int64()).to_pylist() == [10**15]


def test_names_of_an_arrow_stream_that_are_no_text_are_refused() -> None:
    body = as_stream(pa.table({"time": pa.array(Z[:2]), "uuuu": [1.0, 2.0]}))
    with pytest.raises(TelemetryError, match="damaged"):
        one(body.replace(b"uuuu", b"u\xe9\x00\xff"), ARROW)


def test_broken_rows_with_bytes_that_are_no_text_are_counted() -> None:
    rows = [f"{time},1,2\n".encode() for time in Z[:4]]
    rows[1] = b"\xff\xfe,\x8b\n"
    rows[2] = f"{Z[2]},\xb0,2\n".encode("latin-1")
    batch = one(b"time,u,y\n" + b"".join(rows))
    assert batch.received == 4
    assert refused(batch) == [(2, None), (3, "u")]
    assert batch.table["y"].to_pylist() == [2.0, 2.0, 2.0]


def test_an_arrow_file_is_read_like_a_stream() -> None:
    table = pa.table({"time": pa.array([0, 1_000_000, 2_000_000], pa.timestamp("us", "UTC")), "u": [1.0, 2.0, 3.0]})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    batches = read(sink.getvalue(), ARROW)
    assert [value for batch in batches for value in batch.table["u"].to_pylist()] == [1.0, 2.0, 3.0]
    for cut in (9, 100, 20 + len(sink.getvalue()) // 2, len(sink.getvalue()) - 1):
        with pytest.raises(TelemetryError, match="cut off"):
            read(sink.getvalue()[:cut], ARROW)


def test_a_header_of_windows_1252_is_read() -> None:
    """What a spreadsheet saves as CSV; values and quality stand beside it as ever."""
    batch = one(f"time;u;temp °C.1\n{Z[0]};1,5;2\n{Z[1]};ü;3\n".encode("cp1252"))
    assert cells(batch, "temp °C.1") == {"00:00:00": 2, "00:00:01": 3}
    assert batch.table["u"].to_pylist() == [1.5, None]
    assert [r.reason for r in batch.rejected] == ["'ü' is no number"]
    assert batch.unknown_tags == ()


def test_local_times_need_a_zone_and_must_be_told_apart() -> None:
    body = "time,u\n2026-03-29T02:30:00,1\n2026-07-01 12:00:00,2\n2026-10-25T02:30:00,3\n2026-10-25T12:00:00Z,4\n"
    batch = one(body, timezone="Europe/Berlin")
    assert cells(batch, "u") == {"10:00:00": 2, "12:00:00": 4}
    assert refused(batch) == [(1, None), (3, None)]
    assert "does not exist" in batch.rejected[0].reason
    assert "came twice in Europe/Berlin; write it with its offset, such as +01:00" in batch.rejected[1].reason
    with pytest.raises(TelemetryError, match=r"no offset.*timezone"):
        one("time,u\n2026-03-29T02:30:00,1\n")
    assert refused(one(f"time,u\n{Z[0]},1\n2026-03-29T02:30:00,1\n")) == [(2, None)]
    with pytest.raises(TelemetryError, match="did you mean Europe/Berlin"):
        one(body, timezone="Europe/Berln")
    naive = pa.table({"time": pa.array([0], pa.timestamp("us")), "u": [1.0]})
    with pytest.raises(TelemetryError, match="no offset"):
        read(as_parquet(naive), PARQUET)
    (batch,) = read(as_parquet(naive), PARQUET, timezone="Asia/Tokyo")
    assert batch.table["time"].to_pylist()[0].timestamp() == -9 * 3600


@pytest.mark.parametrize(
    ("cell", "hint"),
    [('"3,5"', "decimal commas"), ("3.5 bar", "is no number"), ("0x1F", "is no number"), ("-inf", "not finite")],
)
def test_a_cell_that_is_no_number_says_why(cell: str, hint: str) -> None:
    batch = one(f"time,u,y\n{Z[0]},{cell},1\n")
    assert (refused(batch), batch.cells_rejected) == ([(1, "u")], 1)
    assert hint in batch.rejected[0].reason


def test_a_point_in_a_file_of_decimal_commas_is_not_guessed_at() -> None:
    batch = one(f"time;u;y\n{Z[0]};1,5;1.234\n")
    assert (batch.table["u"].to_pylist(), refused(batch)) == ([1.5], [(1, "y")])


def test_bytes_that_are_no_text_cost_one_cell() -> None:
    batch = one(f"time,u,y\n{Z[0]},1".encode() + b"\xb0" + f",2\n{Z[1]},3,4\n".encode())
    assert cells(batch, "u") == {"00:00:00": None, "00:00:01": 3}
    assert refused(batch) == [(1, "u")]


def test_unknown_columns_are_named_and_left_out() -> None:
    batch = one(f"time,u,colour,batch no\n{Z[0]},1,red,7\n")
    assert batch.unknown_tags == ("colour", "batch no")
    assert batch.table.column_names == ["time", "u"]


# What is refused as a whole


STREAM = as_stream(pa.table({"time": pa.array([0, 1, 2], pa.timestamp("us", "UTC")), "u": [1.0, 2.0, 3.0]}))
FILE = as_parquet(pa.table({"time": pa.array([0, 1, 2], pa.timestamp("us", "UTC")), "u": [1.0, 2.0, 3.0]}))
ZIPPED = gzip.compress(b"time,u\n" + b"2026-01-01T00:00:00Z,1\n" * 1000)


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "says"),
    [
        (b"", CSV, None, "empty"),
        (b" \n\n", CSV, None, "empty"),
        (b"time,u\n", CSV, None, "no rows"),
        (b"a,b\n1,2\n", CSV, None, "first line must name the columns"),
        (b"Time,u\n1,2\n", CSV, None, "first line must name the columns"),
        (b"time,foo\n2026-01-01T00:00:00Z,1\n", CSV, None, "no column is a tag"),
        (b"time,u,u\n2026-01-01T00:00:00Z,1,2\n", CSV, None, "two columns have the name 'u'"),
        (b'{"time": 1}', CSV, None, "looks like JSON"),
        (b"time,u\n", "application/json", None, "application/vnd.apache.parquet"),
        (b"\xff\xfet\0i\0", CSV, None, "UTF-16"),
        (b"PK\x03\x04xxxx", CSV, None, "Excel"),
        (ZIPPED, CSV, None, "Content-Encoding: gzip"),
        (ZIPPED[:-20], CSV, "gzip", "cut off"),
        (ZIPPED[:40] + b"xxxx" + ZIPPED[44:], CSV, "gzip", "damaged"),
        (ZIPPED, CSV, "br", "Content-Encoding 'br'"),
        (FILE, CSV, None, "looks like Parquet"),
        (FILE[:-30], PARQUET, None, "damaged or cut off"),
        (FILE[:12] + b"\xff" * 40 + FILE[52:], PARQUET, None, "damaged or cut off"),
        (STREAM, PARQUET, None, "looks like an Arrow stream"),
        (STREAM[:100], ARROW, None, "damaged or cut off"),
        (STREAM[:-8], ARROW, None, "cut off"),
        (b"ARROW1\0\0", ARROW, None, "damaged or cut off"),
    ],
)
def test_an_upload_that_cannot_be_read_says_why_and_stores_nothing(
    tmp_path: Path, body: bytes, kind: str, encoding: str | None, says: str
) -> None:
    table = Store(tmp_path).plant("p")
    with pytest.raises(TelemetryError, match=says):
        table.append(read_upload(io.BytesIO(body), kind, encoding, PLANT))
    assert table.version == 0


def test_types_that_hold_no_numbers_or_times() -> None:
    times = pa.array([0], pa.timestamp("us", "UTC"))
    with pytest.raises(TelemetryError, match=r"column 'u'.*list"):
        read(as_parquet(pa.table({"time": times, "u": [[1.0]]})), PARQUET)
    with pytest.raises(TelemetryError, match=r"column 'time' has the type int64"):
        read(as_parquet(pa.table({"time": [1], "u": [1.0]})), PARQUET)


def test_a_bomb_is_stopped_while_it_unpacks() -> None:
    bomb = gzip.compress(b"time,u\n" + b"2026-01-01T00:00:00Z,1\n" * 500_000)
    assert len(bomb) < 100_000
    with pytest.raises(TelemetryError, match="more than 5000000 bytes"):
        read(bomb, encoding="gzip", max_bytes=5_000_000)
    flat = pa.table({"time": pa.array(np.zeros(400_000, np.int64), pa.timestamp("us", "UTC")), "u": np.zeros(400_000)})
    with pytest.raises(TelemetryError, match="unpacks to"):
        read(as_stream(flat.slice(0, 100)), ARROW, max_bytes=1000)


def test_a_small_file_takes_no_memory_for_what_its_header_claims() -> None:
    """A page header says that 1.6 GB follow."""
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(TelemetryError, match=r"a page of \d+ bytes in the column"):
        read((DAMAGED / "page_of_1.6_GB.parquet").read_bytes(), PARQUET)
    assert pa.default_memory_pool().max_memory() - before < 1 << 26


def test_bodies_that_once_ended_in_an_error_of_the_service() -> None:
    """Found by `tests/benchmarks/fuzz_uploads.py`."""
    with pytest.raises(TelemetryError, match="first line must name the columns"):
        read("\ufeff")
    with pytest.raises(TelemetryError, match=r"column 'time' is of a type that holds neither"):
        read((DAMAGED / "interval_of_months.arrow").read_bytes(), ARROW)
    with pytest.raises(TelemetryError, match="too large"):
        read((DAMAGED / "too_large.arrow").read_bytes(), ARROW)
    with pytest.raises(TelemetryError, match=r"month_interval.*holds no text"):
        read((DAMAGED / "dictionary_of_months.arrow").read_bytes(), ARROW)
    decimals = read((DAMAGED / "scale_of_minus_1.9e9.arrow").read_bytes(), ARROW, timezone="Europe/Berlin")
    assert [(r.row, r.reason) for batch in decimals for r in batch.rejected] == [
        (row, "'?' is not finite") for row in range(2, 7)
    ]
    odd = pa.array([{}], pa.struct([]))
    times = pa.array([0], pa.timestamp("us", "UTC"))
    with pytest.raises(TelemetryError, match=r"column 'u__quality'.*struct"):
        read(as_stream(pa.table({"time": times, "u": [1.0], "u__quality": odd})), ARROW)
    with pytest.raises(TelemetryError, match=r"column 'tag'.*struct"):
        read(as_stream(pa.table({"time": times, "value": [1.0], "tag": odd})), ARROW)
    untimed = survey(io.BytesIO(f"time,u\n,1\n{Z[0]},2\n".encode()), CSV, None, PLANT)
    assert (untimed.rows_rejected, untimed.first_written) == (1, "''")
    body = f"time,u\n2026-03-01 12:00:00,1\n{Z[0]},2\n".encode()
    turned = survey(io.BytesIO(body), CSV, None, PLANT, "Europe/Berlin")
    assert (turned.first_written, turned.first_read) == ("'2026-03-01 12:00:00'", "2026-03-01T11:00:00+00:00")
    assert turned.first_time == "2026-01-01T00:00:00+00:00"
    far = np.array(["2026-01-01", "9999-01-01"], "M8[us]")
    naive = one(as_stream(pa.table({"time": far, "u": [1.0, 2.0]})), ARROW, timezone="Europe/Berlin")
    assert naive.table["time"].to_pylist() == [pd.Timestamp("2025-12-31T23:00Z")]
    far = pa.array(far.astype(np.int64), pa.timestamp("us", "Nowhere/Land"))  # what is stored is UTC, whatever the name
    for body, kind in ((as_parquet, PARQUET), (as_stream, ARROW)):
        made = body(pa.table({"time": far, "u": [1.0, 2.0]}))
        batch = one(made, kind)
        assert batch.table["time"].to_pylist() == [pd.Timestamp("2026-01-01T00:00Z")]
        assert refused(batch) == [(2, None)]
        assert "1900 to 2199" in batch.rejected[0].reason
        assert survey(io.BytesIO(made), kind, None, PLANT).rows_rejected == 1


def test_a_refusal_names_at_most_a_hundred_and_counts_all() -> None:
    batch = one("time,u\n" + f"{Z[0]},bad\n" * 500)
    assert (len(batch.rejected), batch.rows_rejected) == (NAMED, 500)
    assert batch.rejected[0] == Rejection(1, "u", "'bad' is no number")


def test_a_long_upload_is_counted_by_value(tmp_path: Path) -> None:
    table = Store(tmp_path).plant("p")
    body = f"time,tag,value\n{Z[0]},u,1\n{Z[0]},y,2\n{Z[1]},u,3\n{Z[1]},y,\n{Z[1]},u,3\n{Z[1]},z,3\n"
    first = table.append(iter(read(body)))
    assert (first.rows_received, first.rows_stored, first.rows_duplicate, first.rows_rejected) == (6, 3, 2, 1)
    second = table.append(iter(read(f"time,tag,value\n{Z[0]},u,1\n{Z[0]},y,5\n{Z[2]},y,5\n")))
    assert (second.rows_stored, second.rows_duplicate, second.rows_replaced) == (2, 1, 1)
    assert table.read(tags=["u", "y"]).fillna(-1).to_numpy().tolist() == [[1, 5], [3, -1], [-1, 5]]
