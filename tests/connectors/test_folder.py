"""Files in folders and on an S3 server: each read once, damaged ones told, and replayed as if they were live."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors import folder, replay
from connectors.clock import Clock, ManualClock, SystemClock
from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.protocol import NS, Samples
from tests.connectors.support import Taken, at_start, of_tag, watched
from twin.plant import Plant, Role, Tag
from twin.storage.batch import GOOD, UNCERTAIN

NS0 = 1_777_593_600 * NS  # 2026-05-01T00:00:00Z
WIDE = "time,LI,FI\n2026-05-01T00:00:00Z,1.0,10\n2026-05-01T00:00:10Z,2.0,\n"
LONG = "time,tag,value,quality\n2026-05-01T00:00:20Z,LI,3.0,uncertain\n2026-05-01T00:00:20Z,XX,9.0,good\n"


def options(path: object, **given: object) -> folder.SourceOptions:
    body = {"kind": "files", "path": str(path), "tags": {"level": "LI", "flow": "FI"}, "period_s": 0.1, "settle_s": 0.0}
    return folder.SourceOptions.model_validate(body | given)


def parquet(value: float) -> bytes:
    out = io.BytesIO()
    times = pa.array([NS0 // 1000 + 30_000_000], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"time": times, "LI": [value]}), out)
    return out.getvalue()


async def test_each_file_is_read_once_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(WIDE)
    async with folder.source(options(tmp_path), Context()) as plant, Taken(plant.batches()) as taken:
        got = await taken.until(lambda got: len(got) == 3)
        assert got.latest() == {"level": (NS0 + 10 * NS, 2.0, GOOD), "flow": (NS0, 10.0, GOOD)}
        (tmp_path / "b.csv.gz").write_bytes(gzip.compress(LONG.encode()))
        (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
        (tmp_path / "notes.doc").write_text("words")
        (tmp_path / "c.parquet").write_bytes(parquet(4.0))
        got = await taken.until(lambda got: 4.0 in got.values and plant.health.refused >= 2)
        assert of_tag(got, "level") == [1.0, 2.0, 3.0, 4.0]
        assert got.latest()["level"] == (NS0 + 30 * NS, 4.0, GOOD)
        assert UNCERTAIN in got.quality
        position = (await taken.until(lambda got: got.position is not None and "c.parquet" in got.position)).position
    (tmp_path / "d.parquet").write_bytes(parquet(5.0))
    async with folder.source(options(tmp_path), Context()) as plant, Taken(plant.batches(position)) as taken:
        assert (await taken.until(len)).values.tolist() == [5.0]


async def test_a_file_is_left_alone_while_it_is_written(tmp_path: Path) -> None:
    mine = options(tmp_path, settle_s=1.0)
    async with folder.source(mine, Context()) as plant, Taken(plant.batches()) as taken:
        with (tmp_path / "a.csv").open("w") as file:
            for part in WIDE.splitlines(keepends=True):
                file.write(part)
                file.flush()
                await asyncio.sleep(0.4)
        got = await taken.until(len)
        assert len(got) == 3
        assert plant.health.refused == 0


async def test_files_under_a_prefix_of_s3(s3: str) -> None:
    endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
    bucket = s3.removeprefix("s3://")

    def put(name: str, body: bytes) -> None:
        httpx.put(f"http://{endpoint}/{bucket}/plant/{name}", content=body, headers=signed).raise_for_status()

    await asyncio.to_thread(put, "a.csv", WIDE.encode())
    mine = options(f"{s3}/plant?endpoint_override={endpoint}&scheme=http&region=us-east-1")
    async with folder.source(mine, Context()) as plant, Taken(plant.batches()) as taken:
        await taken.until(lambda got: len(got) == 3)
        await asyncio.to_thread(put, "b.parquet", parquet(4.0))
        got = await taken.until(lambda got: 4.0 in got.values)
        assert of_tag(got, "level") == [1.0, 2.0, 4.0]


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="there is no folder"):
        await folder.source(options(tmp_path / "gone"), Context()).__aenter__()


async def _replayed(mine: replay.SourceOptions, clock: Clock, position: str | None = None) -> list[Samples]:
    async with replay.source(mine, Context(clock)) as plant:
        return [batch async for batch in plant.batches(position)]


def history(tmp_path: Path) -> Path:
    file = tmp_path / "h.csv"
    rows = [f"2026-05-01T00:{m:02}:00Z,{m}.5,{m}" for m in range(4)]
    file.write_text("time,LI,FI\n" + "\n".join(rows) + "\n")
    return file


async def test_replay_keeps_the_rhythm_at_its_speed(tmp_path: Path) -> None:
    body = {"kind": "replay", "file": str(history(tmp_path)), "tags": {"level": "LI"}, "speed": 6.0}
    mine = replay.SourceOptions.model_validate(body)
    start = 2_000_000_000 * NS
    clock = ManualClock(start)
    running = asyncio.create_task(_replayed(mine, clock))
    for _ in range(31):
        await asyncio.sleep(0.02)  # its thread reads the file
        await clock.advance(1.0)
    got = await asyncio.wait_for(running, 20)
    assert [batch.values.tolist() for batch in got] == [[0.5], [1.5], [2.5], [3.5]]
    assert [int(batch.times[0] - start) / NS for batch in got] == [0.0, 10.0, 20.0, 30.0]  # a minute in ten seconds


async def test_replay_with_its_own_times_goes_on_behind_a_position(tmp_path: Path) -> None:
    body = {"kind": "replay", "file": str(history(tmp_path)), "tags": {"level": "LI"}, "speed": 1e6, "restamp": False}
    mine = replay.SourceOptions.model_validate(body)
    whole = Samples.joined(await _replayed(mine, SystemClock()))
    assert (whole.times - NS0).tolist() == [0, 60 * NS, 120 * NS, 180 * NS]
    after = await _replayed(mine, SystemClock(), str(NS0 + 60 * NS))
    assert Samples.joined(after).values.tolist() == [2.5, 3.5]


def test_a_replay_of_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        replay.SourceOptions(file=str(tmp_path / "gone.csv"))


PLANT = Plant("Tank", 10.0, (Tag("level", Role.CV, "m"), Tag("flow", Role.MV, "m3/h", 0.0, 10.0)))
FILE = """plant = "tank"
[[sources]]
kind = "files"
path = "{path}"
settle_s = 0.0
[sources.tags]
level = {level}
flow = "FI"
"""


def written(path: Path, unit: bytes | None, **columns: pa.Array) -> None:
    """A Parquet file, or an Arrow stream, whose column LI states a unit."""
    times = pa.array([NS0 // 1000], pa.timestamp("us", "UTC"))
    table = pa.table({"time": times} | columns)
    where = table.schema.get_field_index("LI")
    if unit is not None:
        stated = table.schema.field(where).with_metadata({b"unit": unit})
        table = table.cast(table.schema.set(where, stated))
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
async def test_what_the_newest_files_show_is_told_at_start(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "files"
    folder.mkdir()

    async def told(level: str = '"LI"') -> list[tuple[int, str, str]]:
        found = await at_start(tmp_path, PLANT, FILE.format(path=folder, level=level))
        return [fault for fault in found if fault[1] != "doubt" or "newest value" not in fault[2]]  # files are old

    later = "there is no file yet: whether it is right is told with the first"
    assert await told() == [(7, "later", later), (8, "later", later)]
    written(folder / name, b"cm", LI=pa.array([150.0]), FI=pa.array([2.0]))
    wrong = "the source states the unit 'cm', the plant has 'm': write unit = \"cm\" beside it"
    assert await told() == [(7, "wrong", wrong)]
    assert await told('{address = "LI", unit = "cm"}') == []
    doubt = (7, "doubt", "the file reads it as 'mm', the source states 'cm'")
    assert await told('{address = "LI", unit = "mm"}') == [doubt]
    written(folder / name, None, LI=pa.array([150.0]), FF=pa.array([2.0]))
    assert await told() == [
        (8, "missing", "none of the newest files has a column 'FI'"),
    ]
    written(folder / name, None, LI=pa.array([1], pa.date32()), FI=pa.array([2.0]))
    assert await told() == [(7, "missing", f"the column 'LI' of {name} holds date32[day], no numbers")]


async def test_words_the_future_and_units_of_a_csv_are_told_at_start(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text("time,level [cm],FI\n2190-01-01T00:00:00Z,150,open\n")
    found = await at_start(tmp_path, PLANT, FILE.format(path=folder, level='"level [cm]"'))
    (ahead, unit, words) = found
    assert ahead[:2] == (3, "doubt")
    assert "its clock runs" in ahead[2]
    assert "ahead of ours ('level')" in ahead[2]
    assert unit[:2] == (7, "wrong")
    assert "states the unit 'cm', the plant has 'm'" in unit[2]
    assert words[:2] == (8, "missing")
    assert "row 1 of a.csv: " in words[2]
    assert "open" in words[2]


LONG_FILE = "time,tag,value,eu\n" + "".join(
    f"2026-05-01T00:00:{s:02}Z,{tag},{value},{unit}\n"
    for s, (tag, value, unit) in enumerate(
        [("LI", 150, "cm"), ("LI", 151, ""), ("Flow1", 2, "m3/h"), ("FX", "open", "")]
    )
)


async def test_what_the_rows_of_long_files_show_is_told_at_start(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text(LONG_FILE)

    async def told(level: str, flow: str) -> list[tuple[int, str, str]]:
        text = FILE.format(path=folder, level=level).replace('"FI"', flow)
        return [fault for fault in await at_start(tmp_path, PLANT, text) if fault[0] > 3]  # files are old

    assert await told('{address = "LI", unit = "cm"}', '"Flow1"') == []
    unit = (7, "wrong", "the source states the unit 'cm', the plant has 'm': write unit = \"cm\" beside it")
    gone = (8, "missing", "no row of the newest files has the tag 'Flow2'; did you mean Flow1?")
    assert await told('"LI"', '"Flow2"') == [unit, gone]
    words = (8, "missing", "row 4 of a.csv: 'open' is no number")
    assert await told('{address = "LI", unit = "cm"}', '"FX"') == [words]
    (folder / "b.csv").write_text("time,tag,value,eu\n2026-05-01T00:01:00Z,LI,1.5,m\n")
    mixed = (7, "missing", "the rows of 'LI' state the units 'm' and 'cm'")
    assert (await told('{address = "LI", unit = "m"}', '"Flow1"'))[0] == mixed
    # A wide file beside it has the tag that no long one has.
    (folder / "b.csv").write_text("time,FI\n2026-05-01T00:01:00Z,2.0\n")
    assert await told('{address = "LI", unit = "cm"}', '"FI"') == []


async def test_a_long_file_that_is_not_looked_at_to_its_end_blames_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "LOOK", 1)
    monkeypatch.setattr("connectors.formats.csv.BLOCK", 200)
    rows = [f"2026-05-01T00:{s // 60:02}:{s % 60:02}Z,LI,{s}\n" for s in range(100)]
    (tmp_path / "a.csv").write_text("time,tag,value\n" + "".join(rows) + "2026-05-01T01:00:00Z,FI,2.0\n")
    async with folder.source(options(tmp_path), Context()) as source:
        assert await source.faults() == {}
        assert await source.unseen() == {"flow": "the newest long files have no row of it so far"}


async def test_an_empty_folder_is_told_with_its_first_file(tmp_path: Path) -> None:
    path = tmp_path / "files"
    path.mkdir()
    text = FILE.format(path=path, level='"LI"').replace("settle_s = 0.0", "settle_s = 0.0\nperiod_s = 0.05")
    later = "there is no file yet: whether it is right is told with the first"
    assert await at_start(tmp_path, PLANT, text) == [(8, "later", later), (9, "later", later)]
    told: list[tuple[int, str, str]] = []
    async with watched(tmp_path, PLANT, text, told) as plant, Taken(plant.batches()) as taken:
        (path / "a.csv").write_text("time,LI,FX\n2026-05-01T00:00:00Z,1.0,2.0\n")
        assert (await taken.until(len)).values.tolist() == [1.0]
    assert told == [(9, "missing", "none of the newest files has a column 'FI'")]
    # A unit that contradicts the plant's is not collected, however often it is tried.
    (path / "a.csv").unlink()
    written(path / "b.parquet", b"cm", LI=pa.array([150.0]), FI=pa.array([2.0]))
    async with watched(tmp_path, PLANT, text, told) as plant:
        for _ in range(2):
            with pytest.raises(ConnectorError, match=r"plant.toml:8: .*write unit = \"cm\" beside it"):
                await anext(plant.batches())
