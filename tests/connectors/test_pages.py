"""What a page of a Parquet file claims is known before it takes memory; files as writers write them pass."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.files import PARQUET, read_upload
from connectors.formats.footer import Chunk, row_groups
from connectors.formats.pages import Page, check, pages
from tests.connectors.test_formats import PLANT
from twin.errors import TelemetryError

START = np.datetime64("2026-01-01", "us").astype(np.int64)
MEASURED = """
import sys
from pathlib import Path
from connectors.formats.files import PARQUET, read_upload
from tests.connectors.test_formats import PLANT
from twin.errors import TelemetryError

def read(path):
    try:
        with open(path, "rb") as body:
            return sum(batch.received for batch in read_upload(body, PARQUET, None, PLANT))
    except TelemetryError as error:
        return error.detail

def peak():  # ru_maxrss would begin at that of the process which started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10

read(sys.argv[1])
before = peak()
print(read(sys.argv[2]))
print(peak() - before)
"""


def table(rows: int, **columns: Any) -> pa.Table:
    times = pa.array(np.arange(rows) * 1_000_000 + START, pa.timestamp("us", "UTC"))
    return pa.table({"time": times, **columns})


def written(given: pa.Table, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(given, file, **options)
    return file


def leaves(file: io.BytesIO) -> list[str]:
    schema = pq.ParquetFile(file).schema
    return [schema.column(i).path for i in range(len(schema))]


def measured(folder: Path, path: Path) -> tuple[str, int]:
    """What reading a file ends with, and the MiB that it took beyond those of a small one."""
    small = folder / "small.parquet"
    pq.write_table(table(10, u=np.arange(10.0)), small)
    command = [sys.executable, "-c", MEASURED, str(small), str(path)]
    said, mib = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return said, int(mib)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "lz4", "brotli", "none"])
def test_the_pages_add_up_to_what_the_footer_says(compression: str) -> None:
    """Arrow writes both; the sums hold only if every header is read to the byte."""
    rows = 60_000
    given = table(
        rows,
        **{"a.b": np.random.default_rng(0).normal(size=rows), "none": pa.nulls(rows, pa.float64())},
        text=[str(i % 97) for i in range(rows)],
        frames=pa.array([[1.0, float(i)] for i in range(rows)], pa.list_(pa.float32())),
    )
    count = 0
    for version, dictionary, more in itertools.product(("1.0", "2.0"), (True, False), (True, False)):
        options = {"data_page_version": version, "use_dictionary": dictionary, "row_group_size": 25_000}
        options |= {"write_page_index": more, "write_page_checksum": more, "data_page_size": 40_000}
        file = written(given, compression=compression, **options)
        meta = pq.read_metadata(file)
        groups = list(row_groups(file))
        assert len(groups) == meta.num_row_groups
        for group, column in itertools.product(range(meta.num_row_groups), range(meta.num_columns)):
            chunk, ours = meta.row_group(group).column(column), groups[group][column]
            assert ours == Chunk(
                chunk.num_values, chunk.total_compressed_size, chunk.data_page_offset, chunk.dictionary_page_offset or 0
            )
            found = list(pages(file, ours, "x"))
            count += len(found)
            assert sum(page.header + page.packed for page in found) == chunk.total_compressed_size
            assert sum(page.header + page.unpacked for page in found) == chunk.total_uncompressed_size
            assert sum(page.values for page in found) == chunk.num_values
        check(file, leaves(file), set(given.column_names), 1 << 30)
    assert count > 200


def test_a_large_file_takes_no_memory_for_what_its_headers_claim(tmp_path: Path) -> None:
    """Of a file that is read in pieces: a page that says it is of 2 GB packed, or unpacked."""
    path, rows = tmp_path / "large.parquet", 9_000_000
    pq.write_table(table(rows, u=np.random.default_rng(0).normal(size=rows)), path, use_dictionary=["time"])
    good = path.read_bytes()
    assert len(good) > 64 << 20  # of which pieces are read
    assert measured(tmp_path, path)[0] == str(rows)
    *_, last = row_groups(io.BytesIO(good))
    *before, page = pages(io.BytesIO(good), last[1], "u")
    at = last[1].data + sum(p.header + p.packed for p in before)
    most = 2**31 - 1
    for unpacked, packed, why in (
        (most, page.packed - 9, f"a page of {most} bytes in the column 'u'; at most {128 << 20} are accepted"),
        (page.unpacked, most, f"a page of {most} bytes in the column 'u'"),
    ):
        header = integers(0, unpacked, packed) + b"\x2c" + integers(page.values, 0, 3, 3) + b"\0" + b"\0"
        path.write_bytes(good[:at] + header + good[at + len(header) :])
        said, mib = measured(tmp_path, path)
        assert why in said
        assert mib < 160  # 68; 2082 where Arrow believes the packed size


def test_bombs_of_pages_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    """Files of some 100 kB, whose pages do unpack to what they say."""
    rows = 20_000_000
    whole = {"compression": "zstd", "use_dictionary": False, "data_page_size": 1 << 30, "max_rows_per_page": rows}
    bombs = {"one": table(rows, u=np.zeros(rows))}
    rows = 9_000_000
    bombs["many"] = table(rows, **{name: np.zeros(rows) for name in ("u", "y", "z")})
    for name, bomb in bombs.items():
        pq.write_table(bomb.drop_columns("time"), tmp_path / name, row_group_size=1 << 30, **whole)
        assert (tmp_path / name).stat().st_size < 1 << 17
    with (tmp_path / "one").open("rb") as file, pytest.raises(TelemetryError, match=r"page of 1600000\d\d bytes"):
        check(file, ["u"], {"u"}, 1 << 40)
    meta = ["u", "y", "z"]
    with (tmp_path / "many").open("rb") as file:
        check(file, meta, {"u", "y", "z"}, 1 << 40)
        with pytest.raises(TelemetryError, match=r"unpacks to 2160\d{5} bytes; at most 200000000"):
            check(file, meta, {"u", "y", "z"}, 200_000_000)
        check(file, meta, {"u", "y"}, 200_000_000)  # what is not read takes nothing


def test_pages_of_many_columns_are_in_memory_at_once() -> None:
    """Fifteen of 72 MB are more than 1 GiB; any number of the usual size is no matter."""
    rows = 9_000_000
    whole = {"compression": "zstd", "use_dictionary": False, "data_page_size": 1 << 30, "max_rows_per_page": rows}
    zeros, names = np.zeros(rows), [f"c{i}" for i in range(15)]
    file = written(pa.table(dict.fromkeys(names, zeros)), row_group_size=1 << 30, **whole)
    meta = leaves(file)
    check(file, meta, set(names[:14]), 1 << 40)
    with pytest.raises(TelemetryError, match=r"pages of 108000\d{4} bytes that must be read at once"):
        check(file, meta, set(names), 1 << 40)
    wide = {f"c{i}": np.zeros(140_000) for i in range(1_200)}  # pages of 1 MiB: 1.2 GiB together
    file = written(pa.table(wide), compression="zstd", use_dictionary=False, max_rows_per_page=1 << 30)
    check(file, leaves(file), set(wide), 1 << 40)


def integers(*values: int) -> bytes:
    """Fields 1, 2, … of a struct, 32-bit integers in Thrift's compact protocol."""
    return b"".join(b"\x15" + varint(value << 1 if value >= 0 else -2 * value - 1) for value in values)


def varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def only(header: bytes, values: int = 5) -> Page:
    """The one page of a column that begins with such a header."""
    length = len(header) + 200
    [page] = pages(io.BytesIO(b"PAR1" + header + bytes(length)), Chunk(values, length, 4, 0), "u")
    return page


def test_headers_are_read_as_thrift_reads_them() -> None:
    """What Arrow's parser takes for another number would be a way around."""
    counts = b"\x2c" + integers(5, 0, 3, 3) + b"\0"
    assert only(integers(0, 300, 200) + counts + b"\0") == Page(19, 300, 200, 5)
    wrapped = b"\x15" + varint(600 + (1 << 40))  # Thrift keeps 32 bits
    assert only(integers(0) + wrapped + integers(200) + counts + b"\0").unpacked == 300
    far = b"\x05" + varint(2 * (65536 + 2)) + varint(800)  # and 16 bits of a field's number
    assert only(integers(0, 300, 200) + counts + far + b"\0").unpacked == 400
    other = b"\x16" + varint(800)  # a number of 64 bits is no such field
    with pytest.raises(TelemetryError, match="header"):
        only(integers(0) + other + integers(200) + counts + b"\0")
    odd = b"\x0c\x00" + integers(5) + b"\0"  # field 0 of a dictionary's page does not count values
    with pytest.raises(TelemetryError, match="header"):
        only(integers(2, 300, 20) + odd + b"\0")
    for sizes in ((-1, 20), (20, -1)):
        with pytest.raises(TelemetryError, match="damaged"):
            only(integers(0, *sizes) + counts + b"\0")


@given(st.binary(max_size=400), st.integers(0, 1000))
def test_whatever_the_bytes_it_ends_with_pages_or_a_reason(body: bytes, values: int) -> None:
    try:
        found = list(pages(io.BytesIO(body), Chunk(values, len(body), 0, 0), "u"))
    except TelemetryError:
        return
    assert sum(page.header + page.packed for page in found) <= len(body) + 100


def test_an_upload_as_pandas_writes_it_is_read_whole(tmp_path: Path) -> None:
    rows = 1_500_000
    path = tmp_path / "pandas.parquet"
    table(rows, u=np.arange(rows) % 100 / 3, y=np.arange(rows) % 7.0).to_pandas().to_parquet(path)
    with path.open("rb") as body:
        assert sum(batch.received for batch in read_upload(body, PARQUET, None, PLANT)) == rows


DAMAGED = """
import io, sys
from connectors.formats.files import PARQUET, read_upload
from tests.connectors.test_formats import PLANT
from twin.errors import TelemetryError

good = open(sys.argv[1], "rb").read()
footer = int.from_bytes(good[-8:-4], "little")
refused = 0
for at in range(len(good) - 8 - footer, len(good) - 8):
    for other in (good[at] ^ 2, good[at] ^ 16, 0x7F):
        try:
            list(read_upload(io.BytesIO(good[:at] + bytes([other]) + good[at + 1 :]), PARQUET, None, PLANT))
        except TelemetryError:
            refused += 1
print(footer, refused)
"""


def test_no_byte_of_the_footer_ends_the_process(tmp_path: Path) -> None:
    """pyarrow's objects of a column chunk whose statistics of sizes do not fit end it."""
    path = tmp_path / "good.parquet"
    pq.write_table(table(20, u=np.arange(20.0), y=[f"{i % 3}" for i in range(20)]), path, compression="zstd")
    said = subprocess.run([sys.executable, "-c", DAMAGED, str(path)], check=True, capture_output=True, text=True).stdout
    footer, refused = map(int, said.split())
    assert 0.2 * footer < refused < 3 * footer


@pytest.mark.parametrize(
    "footer",
    [
        b"",
        b"\x49" + b"\x19" * 5000,  # lists in lists
        b"\x4c" * 5000,  # structs in structs
        b"\x49\xfc\xff\xff\xff\xff\x0f",  # a list longer than the file
        b"\x49\x1c\x00\x00",  # a row group without columns
        b"\x49\x16\x02\x00",  # row groups that are numbers
        b"\x49\x1c\x19\x1c\x00\x00\x00",  # a column without a place
    ],
)
def test_a_footer_that_is_none_is_refused(footer: bytes) -> None:
    body = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(TelemetryError, match="footer"):
        list(row_groups(io.BytesIO(body)))
