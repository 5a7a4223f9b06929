"""Bodies of uploads, good ones of every kind, and what breaks them: cheap, since millions are made."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.formats.files import ARROW, CSV, PARQUET
from twin.plant import Plant

PLANT = Plant.from_json(
    {
        "name": "p",
        "sample_period_s": 1.0,
        "tags": [
            {"name": "u", "role": "mv"},
            {"name": "camera", "role": "ov", "shape": [2, 2]},
            {"name": "y", "role": "cv", "low": 0.0, "high": 100.0},
        ],
    }
)
KINDS = {CSV: "CSV", PARQUET: "Parquet", ARROW: "Arrow stream"}
SHAPES = ("wide", "long")
NOISE = 0.01  # of bodies are nothing but noise
HALF_IN_PLACE = 0.6  # of changes keep the length, so that what offsets point at stays where it was
WORDS = [b",", b"\n", b'"', b";", b"\t", b"\r\n", b"nan", b"-inf", b"1e999", b"1,5", b"time", b"tag", b"value"]
WORDS += [
    b"quality",
    b"__quality",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"2026-01-01T00:00:00Z",
    b"2026-03-29T02:30:00",
]
WORDS += [b"2026-10-25 02:30", b"PAR1", b"ARROW1", b"\x1f\x8b", b"9" * 400, b"0000-00-00", b"u", b"y", b"camera[0]"]
WORDS += [
    b"camera",
    b"+14:00",
    b"-00:60",
    b"\xff\xff\xff\xff",
    b"Z",
    b"good",
    b"bad",
    b"256",
    b"-1",
    b"\xf0\x9f\x98\x80",
]
EDGES = (0, 1, -1, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))
NUMBERS = [
    int(n).to_bytes(size, "little", signed=True)
    for n in EDGES
    for size in (1, 2, 4, 8)
    if -(1 << 8 * size - 1) <= n < 1 << 8 * size - 1
]


@dataclass(frozen=True)
class Sample:
    """A body that may be broken, its content type, and whether it was wide or long."""

    body: bytes
    kind: str
    shape: str


def samples(rows: int = 6) -> list[Sample]:
    """Good bodies: formats, layouts, types, encodings and compressions as they come."""
    times = pa.array(np.arange(rows) * 1_000_000 + 1_767_225_600_000_000, pa.timestamp("us", "UTC"))
    u, y = np.arange(rows) / 3, np.arange(rows, dtype=float)
    codes = pa.array(np.resize([192, 0, 192, 64], rows), pa.int16())
    flat = pa.array([[float(i), 1.0, 2.0, None] for i in range(rows)], pa.list_(pa.float32()))
    nested = pa.array([[[1.0, 2.0], [3.0, float(i)]] for i in range(rows)], pa.list_(pa.list_(pa.float64(), 2)))
    text = pa.array([f"{i},5" if i % 2 else "n/a" for i in range(rows)])
    tags = pa.array((["u", "y", "z"] * rows)[:rows])
    words = pa.array((["good", "bad", None, "0"] * rows)[:rows])
    wide = [
        {"time": times, "u": u, "y": y, "y__quality": codes},
        {"time": times.cast(pa.timestamp("ns", "Europe/Berlin")), "u": pa.array(u, pa.float32()), "camera": flat},
        {"time": times.cast(pa.timestamp("ms")), "y": pa.array(y).cast(pa.decimal128(12, 3)), "camera": nested},
        {"time": times, "u": text, "y": pa.array(y > 2), "u__quality": words.dictionary_encode()},
        {
            "time": pa.array([str(t) for t in times.to_pylist()]),
            "y": pa.nulls(rows),
            "u": pa.array(y % 100, pa.int8()),
            "odd": text,
        },
    ]
    long = [
        {"time": times, "tag": tags, "value": y, "quality": words},
        {"time": times.cast(pa.timestamp("s", "+02:00")), "tag": tags.dictionary_encode(), "value": text},
        {"time": times, "tag": tags.cast(pa.binary()), "value": pa.array(y.astype(np.float16)), "quality": codes},
    ]
    made = [
        Sample(body, kind, shape)
        for shape, tables in (("wide", wide), ("long", long))
        for columns in tables
        for body, kind in _binary(pa.table(columns))
    ]
    return made + [Sample(body, CSV, shape) for body, shape in _texts(rows)]


def _binary(table: pa.Table) -> list[tuple[bytes, str]]:
    made = []
    for options in (
        {},
        {"compression": "zstd", "data_page_version": "2.0"},
        {"compression": "none", "use_dictionary": False, "row_group_size": 2},
    ):
        sink = io.BytesIO()
        pq.write_table(table, sink, **options)
        made.append((sink.getvalue(), PARQUET))
    for compression in (None, "lz4", "zstd"):
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table, max_chunksize=4 if len(table) < 100 else None)
        made.append((sink.getvalue(), ARROW))
    return made


def _texts(rows: int) -> list[tuple[bytes, str]]:
    stamps = [f"2026-10-25T{i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02}" for i in range(rows)]
    words = ["good", "bad", "", "192"] * (rows // 4 + 1)
    wide = [
        "time,u,y,y__quality\n" + "".join(f"{t}Z,{i / 3:.3f},{i},{words[i]}\n" for i, t in enumerate(stamps)),
        "time;u;y\r\n" + "".join(f"{t}+02:00;{i},5;\r\n" for i, t in enumerate(stamps)),
        '﻿"time"\t"y"\t"odd one"\n'
        + "".join(f'"{t[:10]} {t[11:]}"\t{i}e-3\t"a, ""b"" {i}"\n' for i, t in enumerate(stamps)),
        "time|u|camera[0]|camera[1]\n" + "".join(f"{t}.125 +01:00|NaN|{i}|-{i}.\n" for i, t in enumerate(stamps)),
    ]
    long = [
        "time,tag,value,quality\n" + "".join(f"{t}Z,{'uyz'[i % 3]},{i},{words[i]}\n" for i, t in enumerate(stamps)),
        "tag;time;value\n" + "".join(f"y;{t.replace('T', ' ')};{i},25\n" for i, t in enumerate(stamps)),
    ]
    return [(text.encode(), shape) for shape, texts in (("wide", wide), ("long", long)) for text in texts]


def packed_bombs() -> list[Sample]:
    """Small bodies that unpack to 8 MiB of rows, or of nothing: to be sent as gzip."""
    row = b"2026-01-01T00:00:00Z,1,2\n"
    good = b"time,u,y\n" + row * ((8 << 20) // len(row))
    return [
        Sample(gzip.compress(body, 6), CSV, "wide") for body in (good, bytes(8 << 20), b"time,u,y\n" + b"," * (8 << 20))
    ]


def broken(body: bytes, others: Sequence[Sample], rng: random.Random) -> bytes:
    """The body with one to eight changes (one in half of the cases), or noise."""
    r = rng.random
    if r() < NOISE:
        return rng.randbytes(int(r() * 300))
    changed = bytearray(body)
    count = 1
    while count < 8 and r() < 0.5:
        count += 1
    for _ in range(count):
        length = len(changed)
        if length and r() < HALF_IN_PLACE:
            _in_place(changed, int(r() * length), others, rng)
        else:
            _resized(changed, int(r() * (length + 1)), others, rng)
    return bytes(changed)


def _in_place(changed: bytearray, at: int, others: Sequence[Sample], rng: random.Random) -> None:
    r = rng.random
    kind, length = r(), len(changed)
    if kind < 0.35:
        changed[at] ^= 1 << int(r() * 8)
    elif kind < 0.55:
        changed[at] = int(r() * 256)
    elif kind < 0.75:
        number = NUMBERS[int(r() * len(NUMBERS))]
        at = min(at, max(length - len(number), 0))
        changed[at : at + len(number)] = number[: length - at]
    elif kind < 0.85:  # digits stay digits
        if 48 <= changed[at] < 58:
            changed[at] = 48 + int(r() * 10)
        else:
            changed[at] = (changed[at] + 1) & 255
    else:  # a piece of it, or of another, laid over
        source = changed if kind < 0.93 else others[int(r() * len(others))].body
        start = int(r() * len(source))
        piece = bytes(source[start : start + 1 + int(r() * 24)])[: length - at]
        changed[at : at + len(piece)] = piece


def _resized(changed: bytearray, at: int, others: Sequence[Sample], rng: random.Random) -> None:
    r = rng.random
    kind = r()
    end = at + 1 + int(r() * 20)
    if kind < 0.2:
        del changed[at:end]
    elif kind < 0.35:
        changed[at:at] = changed[at:end] * (1 + int(r() * 3))
    elif kind < 0.38:
        changed[at:at] = changed[at : at + 40] * int(r() * 60)
    elif kind < 0.6:
        changed[at:end] = WORDS[int(r() * len(WORDS))]
    elif kind < 0.85:
        changed[at:at] = WORDS[int(r() * len(WORDS))]
    elif kind < 0.92:
        del changed[at:]
    else:  # the end of another
        other = others[int(r() * len(others))].body
        changed[at:] = other[int(r() * len(other)) :]
