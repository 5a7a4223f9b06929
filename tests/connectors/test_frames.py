"""Uploads whose cells are frames of a vector tag."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.formats.files import ARROW, CSV, PARQUET, read_upload
from twin.errors import TelemetryError
from twin.plant import Plant
from twin.storage.batch import Batch

PLANT = Plant.from_json(
    {
        "name": "p",
        "sample_period_s": 1.0,
        "tags": [
            {"name": "u", "role": "mv"},
            {"name": "camera", "role": "ov", "shape": [2, 3]},
            {"name": "y", "role": "cv"},
        ],
    }
)
TIMES = pa.array(pd.date_range("2026-01-01", periods=4, freq="s", tz="UTC"))
NAMES = [f"camera[{i}]" for i in range(6)]
FRAMES = [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], None, [6.0, None, 8.0, 9.0, float("inf"), 11.0], [0.5] * 6]
NESTED = [None if f is None else [f[:3], f[3:]] for f in FRAMES]
FLAT = pa.list_(pa.float32())
KINDS = [
    (FRAMES, FLAT),
    (FRAMES, pa.list_(pa.float64(), 6)),
    (FRAMES, pa.large_list(pa.float64())),
    (NESTED, pa.list_(pa.list_(pa.float64()))),
    (NESTED, pa.list_(pa.list_(pa.float64(), 3), 2)),
]


def as_parquet(table: pa.Table) -> tuple[bytes, str]:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue(), PARQUET


def as_stream(table: pa.Table) -> tuple[bytes, str]:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue(), ARROW


def read(body: bytes, kind: str) -> list[Batch]:
    return list(read_upload(io.BytesIO(body), kind, None, PLANT))


def grid(batches: list[Batch]) -> np.ndarray:
    table = pa.concat_tables([batch.table for batch in batches], promote_options="default")
    return np.column_stack([table[name].to_numpy() for name in NAMES])


@pytest.mark.parametrize("encode", [as_parquet, as_stream])
@pytest.mark.parametrize(("frames", "kind"), KINDS)
def test_a_column_of_frames_is_a_column_for_each_element(
    encode: Callable[[pa.Table], tuple[bytes, str]], frames: list, kind: pa.DataType
) -> None:
    table = pa.table({"time": TIMES, "u": [1.0, 2.0, 3.0, 4.0], "camera": pa.array(frames, kind)})
    batches = read(*encode(table))
    expected = np.array([FRAMES[0], [np.nan] * 6, [6.0, np.nan, 8.0, 9.0, np.nan, 11.0], [0.5] * 6])
    np.testing.assert_array_equal(grid(batches), expected)
    assert sum(batch.received for batch in batches) == 4
    assert [(r.row, r.tag) for batch in batches for r in batch.rejected] == [(3, "camera[4]")]  # not finite
    assert all(batch.unknown_tags == () for batch in batches)


@pytest.mark.parametrize("encode", [as_parquet, as_stream])
def test_a_frame_of_another_size_is_refused_with_its_row(encode: Callable[[pa.Table], tuple[bytes, str]]) -> None:
    frames = [[1.0] * 6, [1.0] * 6, None, [1.0] * 5]
    with pytest.raises(TelemetryError, match="row 4: 'camera' has 5 elements; the plant describes 6"):
        read(*encode(pa.table({"time": TIMES, "camera": pa.array(frames, FLAT)})))


def test_frames_of_text_are_refused() -> None:
    table = pa.table({"time": TIMES, "camera": pa.array([["a"] * 6] * 4)})
    with pytest.raises(TelemetryError, match="'camera': its frames hold no numbers"):
        read(*as_stream(table))


@pytest.mark.parametrize("encode", [as_parquet, as_stream])
def test_frames_that_come_late_are_not_lost(encode: Callable[[pa.Table], tuple[bytes, str]]) -> None:
    frames = [None, None, None, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    found = grid(read(*encode(pa.table({"time": TIMES, "u": [1.0] * 4, "camera": pa.array(frames, FLAT)}))))
    assert np.isnan(found[:3]).all()
    assert found[3].tolist() == frames[3]


@pytest.mark.parametrize("encode", [as_parquet, as_stream])
def test_frames_of_an_unknown_vector_are_told_by_its_name(encode: Callable[[pa.Table], tuple[bytes, str]]) -> None:
    table = pa.table({"time": TIMES, "u": [1.0] * 4, "nir": pa.array([[1.0] * 7] * 4, FLAT)})
    assert {batch.unknown_tags for batch in read(*encode(table))} == {("nir",)}


def test_a_csv_has_a_column_for_each_element() -> None:
    rows = "\n".join(f"2026-01-01T00:00:0{i}Z,{i},{10 * i}" for i in range(3))
    (batch,) = read(f"time,camera[0],camera[5]\n{rows}\n".encode(), CSV)
    assert batch.table["camera[5]"].to_pylist() == [0.0, 10.0, 20.0]
