"""SQL against SQLite and a PostgreSQL server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.protocol import NS
from connectors.sql import SinkOptions, SourceOptions, sink, source
from tests.connectors.support import Taken, at_start, of_tag
from twin.plant import Plant, Role, Tag
from twin.storage.batch import BAD, GOOD

T0 = dt.datetime(2026, 5, 1, 8, tzinfo=dt.UTC)
NS0 = int(T0.timestamp()) * NS


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'plant.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")


@contextlib.contextmanager
def table(url: str, columns: dict[str, sa.types.TypeEngine]) -> Iterator[sa.Engine]:
    engine, meta = sa.create_engine(url), sa.MetaData()
    sa.Table("history", meta, *(sa.Column(name, kind) for name, kind in columns.items()))
    meta.drop_all(engine)
    meta.create_all(engine)
    yield engine
    meta.drop_all(engine)
    engine.dispose()


def insert(engine: sa.Engine, *rows: dict) -> None:
    history = sa.Table("history", sa.MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(history), list(rows))


def at(seconds: float) -> dt.datetime:
    return T0 + dt.timedelta(seconds=seconds)


WIDE = {"time": sa.DateTime(timezone=True), "lvl": sa.Float(), "flw": sa.Numeric(), "note": sa.Text()}
LONG = {"time": sa.DateTime(timezone=True), "tag": sa.Text(), "value": sa.Float(), "quality": sa.Text()}


def options(url: str, tags: dict, **given: object) -> SourceOptions:
    body = {"kind": "sql", "url": url, "table": "history", "tags": tags, "period_s": 0.1, "late_s": 60.0}
    return SourceOptions.model_validate(body | given)


async def test_wide_rows_come_once_late_ones_too_and_from_a_position(url: str) -> None:
    mine = options(url, {"level": "lvl", "flow": "flw"})
    with table(url, WIDE) as engine:
        insert(engine, {"time": at(0), "lvl": 1.0, "flw": 10}, {"time": at(10), "lvl": 2.0, "flw": None})
        async with source(mine, Context()) as plant, Taken(plant.batches()) as taken:
            got = await taken.until(lambda got: len(got) == 3)
            assert got.latest()["flow"] == (NS0, 10.0, GOOD)
            insert(engine, {"time": at(20), "lvl": 3.0, "flw": None})
            await taken.until(lambda got: 3.0 in got.values)
            insert(engine, {"time": at(5), "lvl": 1.5, "flw": None})  # late, but within a minute
            got = await taken.until(lambda got: 1.5 in got.values)
            assert of_tag(got, "level") == [1.0, 1.5, 2.0, 3.0]
            assert len(got) == 5  # each once
            assert int(got.position) == NS0 + 20 * NS
            assert (await plant.read(["level", "flow"])).latest() == {
                "level": (NS0 + 20 * NS, 3.0, GOOD),
                "flow": (NS0, 10.0, GOOD),
            }
        insert(engine, {"time": at(100), "lvl": 4.0, "flw": None})
        later = mine.model_copy(update={"late_s": 0.0})
        async with source(later, Context()) as plant, Taken(plant.batches(got.position)) as taken:
            got = await taken.until(lambda got: 4.0 in got.values)
            assert set(got.values) == {3.0, 4.0}


async def test_long_rows_with_quality(url: str) -> None:
    mine = options(url, {"level": "LI-1", "flow": "FI-1", "gone": "XX"}, layout="long", quality="quality")
    with table(url, LONG) as engine:
        insert(
            engine,
            {"time": at(0), "tag": "LI-1", "value": 1.0, "quality": "good"},
            {"time": at(0), "tag": "FI-1", "value": 2.0, "quality": "bad"},
            {"time": at(0), "tag": "other", "value": 9.0, "quality": "good"},
            {"time": at(1), "tag": "LI-1", "value": 3.0, "quality": "no such"},
        )
        async with source(mine, Context()) as plant, Taken(plant.batches()) as taken:
            got = (await taken.until(lambda got: len(got) == 2)).latest()
            assert got == {"level": (NS0, 1.0, GOOD), "flow": (NS0, 2.0, BAD)}
            assert plant.health.refused >= 1
            assert await plant.faults() == {"gone": "'history' has no value of 'XX'"}


@pytest.mark.parametrize("layout", ["wide", "long"])
async def test_values_are_written_back(url: str, layout: str) -> None:
    tags = {"level": "lvl", "flow": "flw"}
    with table(url, WIDE if layout == "wide" else LONG):
        target = SinkOptions(url=url, table="history", layout=layout, tags=tags)
        async with sink(target, Context()) as out, source(options(url, tags, layout=layout), Context()) as plant:
            await out.write({"level": 2.5, "flow": 7.0})
            assert [row[1:] for row in (await plant.read(["level", "flow"])).latest().values()] == [
                (2.5, GOOD),
                (7.0, GOOD),
            ]
            with pytest.raises(ConnectorError, match="'gone': is not mapped"):
                await out.write({"gone": 1.0})


async def test_what_is_wrong_is_told(url: str) -> None:
    with table(url, WIDE):
        async with source(options(url, {"a": "lvl", "b": "note", "c": "gone"}), Context()) as plant:
            assert await plant.faults() == {
                "b": "the column 'note' holds TEXT, no numbers",
                "c": "'history' has no column 'gone'",
            }
        with pytest.raises(ConnectorError, match="there is no table 'other'"):
            await source(options(url, {}, table="other"), Context()).__aenter__()
        with pytest.raises(ConnectorError, match="has no column 'when'"):
            await source(options(url, {}, time="when"), Context()).__aenter__()


PLANT = Plant("Tank", 10.0, (Tag("level", Role.CV, "m"), Tag("flow", Role.MV, "m3/h", 0.0, 10.0)))
FILE = """plant = "tank"
[[sources]]
kind = "sql"
url = "{url}"
table = "history"
{more}
[sources.tags]
level = "{level}"
flow = "flw"
"""


async def test_units_of_long_rows_and_of_columns_are_told_at_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plant.db'}"
    wrong = "the source states the unit 'cm', the plant has 'm': write unit = \"cm\" beside it"
    with table(url, LONG | {"eu": sa.Text()}) as engine:
        now = dt.datetime.now(dt.UTC)
        for tag, unit, seconds in (("lvl", "m", 1), ("lvl", "cm", 0), ("flw", None, 0)):
            row = {"time": now - dt.timedelta(seconds=seconds), "tag": tag, "value": 1.0, "quality": "good"}
            insert(engine, row | {"eu": unit})
        text = FILE.format(url=url, more='layout = "long"\nunit = "eu"', level="lvl")
        assert await at_start(tmp_path, PLANT, text) == [(9, "wrong", wrong)]  # the last row counts
        ((line, grave, msg),) = await at_start(tmp_path, PLANT, text.replace('"eu"', '"ue"'))
        assert (line, grave, msg) == (3, "away", "'history' has no column 'ue'")
    with table(url, {"time": sa.DateTime(timezone=True), "level [cm]": sa.Float(), "flw": sa.Float()}) as engine:
        insert(engine, {"time": now + dt.timedelta(hours=1), "level [cm]": 150.0, "flw": 1.0})
        ahead, unit = await at_start(tmp_path, PLANT, FILE.format(url=url, more="", level="level [cm]"))
        assert ahead[:2] == (3, "doubt")
        assert "ahead of ours" in ahead[2]
        assert unit == (8, "wrong", wrong)


async def test_the_comment_of_a_column_states_its_unit(postgres: str) -> None:
    engine = sa.create_engine(postgres)
    kinds = {"time": sa.DateTime(timezone=True), "lvl": sa.Float(), "flw": sa.Float()}
    with table(postgres, kinds):
        with engine.begin() as connection:
            connection.execute(sa.text("COMMENT ON COLUMN history.lvl IS 'Depth of the tank [cm]'"))
        async with source(options(postgres, {"level": "lvl", "flow": "flw"}), Context()) as plant:
            assert await plant.units() == {"level": "cm"}
    engine.dispose()


async def test_times_that_are_numbers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'n.db'}"
    with table(url, {"time": sa.BigInteger(), "lvl": sa.Float()}) as engine:
        insert(engine, {"time": NS0 // 1_000_000, "lvl": 1.0})
        mine = options(url, {"level": "lvl"}, epoch="ms")
        async with source(mine, Context()) as plant, Taken(plant.batches(str(NS0 - NS))) as taken:
            got = await taken.until(len)
            assert got.times.tolist() == [NS0]


async def test_a_database_that_goes_away_is_asked_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'n.db'}"
    with table(url, WIDE) as engine:
        insert(engine, {"time": at(0), "lvl": 1.0, "flw": None})
        async with source(options(url, {"level": "lvl"}), Context()) as plant, Taken(plant.batches()) as taken:
            await taken.until(len)
            with engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE history RENAME TO away"))
            while plant.health.connected:
                await asyncio.sleep(0.02)
            assert "no such table" in plant.health.last_error
            with engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE away RENAME TO history"))
            insert(engine, {"time": at(1), "lvl": 2.0, "flw": None})
            got = await taken.until(lambda got: 2.0 in got.values)
            assert of_tag(got, "level") == [1.0, 2.0]
            assert plant.health.reconnects == 1
