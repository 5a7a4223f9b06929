"""SQL databases, by SQLAlchemy: rows since the last ones, wide or long, late rows too, and values written back.

The drivers are SQLAlchemy's: `sqlite` is there, `postgresql+psycopg` comes with the extra.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import sqlalchemy as sa
from pydantic import Field, model_validator
from sqlalchemy.exc import SQLAlchemyError

from connectors.base import BaseSink, BaseSource, check_mapped, check_writable
from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.options import Options
from connectors.payload import Row, quality, stamp
from connectors.protocol import NS, Health, Samples
from connectors.stated import of_name
from connectors.threads import whole
from connectors.ticks import Ticks
from twin.storage.batch import BAD, GOOD

ROWS = 10_000  # of a batch
EPOCHS = {"s": NS, "ms": 1_000_000, "us": 1_000, "ns": 1}
NUMBERS = (sa.Numeric, sa.Float, sa.Integer, sa.Boolean, sa.types.NullType)
R = TypeVar("R")


class SinkOptions(Options):
    """A table.

    Args:
        url_env, url: a SQLAlchemy URL; with a password in it, put it into the environment and name the variable.
        table: its name, with its schema before a dot where it has one.
        layout: "wide" has a column a tag, and the addresses are columns; "long" has a row a value, and the addresses
            are what the column `tag` holds.
        time, tag, value, quality: the columns; without `quality` all is good.
        unit: the column of long rows that names the unit. Of wide tables the columns state it themselves, by a bracket
            at the end of their name or comment: "level [cm]".
        epoch: what a time that is a number counts, since 1970.
    """

    kind: Literal["sql"] = "sql"
    url: str | None = None
    url_env: str | None = None
    table: str = Field(min_length=1)
    layout: Literal["wide", "long"] = "wide"
    time: str = "time"
    tag: str = "tag"
    value: str = "value"
    quality: str | None = None
    unit: str | None = None
    epoch: Literal["s", "ms", "us", "ns"] = "s"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give either url or url_env")
        return self

    @model_validator(mode="after")
    def _long_units(self) -> Self:
        if self.unit is not None and self.layout == "wide":
            raise ValueError("unit names a column of long rows; a wide table has none")
        return self


class SourceOptions(SinkOptions):
    """A table to read.

    Args:
        period_s: how often it is asked.
        late_s: rows that arrive so much later than rows of a later time are still found.
        history_s: how far back the very first question goes; None is to the beginning.
    """

    period_s: float = Field(default=5.0, gt=0)
    late_s: float = Field(default=300.0, ge=0)
    history_s: float | None = Field(default=None, ge=0)


def source(options: SourceOptions, context: Context) -> SqlSource:
    """The source of a configuration."""
    return SqlSource(options, context)


def sink(options: SinkOptions, context: Context) -> SqlSink:
    """The sink of a configuration."""
    return SqlSink(options, context)


class Database:
    """A table of a database, asked in threads: drivers block."""

    def __init__(self, options: SinkOptions, context: Context) -> None:
        self._options = options
        self._url = context.secret(options.url_env) or options.url or ""
        self._engine: sa.Engine | None = None
        self.table: sa.Table = sa.Table(options.table, sa.MetaData())

    async def open(self) -> None:
        """Connect and learn the columns.

        Raises:
            ConnectorError: there is no database or no such table.
        """
        schema, _, name = self._options.table.rpartition(".")

        def learn() -> sa.Table:
            self._engine = sa.create_engine(self._url, pool_pre_ping=True)
            return sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=self._engine)

        try:
            self.table = await self.run(learn)
        except sa.exc.NoSuchTableError:
            await self.close()
            raise ConnectorError(f"there is no table '{self._options.table}'") from None
        except ConnectorError:
            await self.close()
            raise
        for column in (self._options.time, *([self._options.unit] if self._options.unit else [])):
            if column not in self.table.c:
                await self.close()
                raise ConnectorError(f"'{self._options.table}' has no column '{column}'")

    async def close(self) -> None:
        if self._engine is not None:
            await asyncio.to_thread(self._engine.dispose)

    async def run(self, job: Callable[[], R]) -> R:
        """Run a job in a thread; one that is cancelled is waited for, since a thread cannot be stopped.

        Raises:
            ConnectorError: the database failed.
        """
        try:
            return await whole(asyncio.to_thread(job))
        except sa.exc.NoSuchTableError:
            raise
        except (SQLAlchemyError, OSError) as error:
            why = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise ConnectorError(f"the database failed: {why}") from error

    def connect(self) -> sa.Connection:
        if self._engine is None:
            raise ConnectorError("the database is not open")
        return self._engine.connect()

    def time(self, told: Any) -> int:
        """Ns of a time as the table has it; one without a zone is UTC."""
        if isinstance(told, dt.datetime):
            return stamp((told if told.tzinfo else told.replace(tzinfo=dt.UTC)).isoformat())
        if isinstance(told, str):
            return self.time(dt.datetime.fromisoformat(told))
        count = EPOCHS[self._options.epoch]
        return int(told) * count if told == int(told) else round(told * count)

    def moment(self, time: int) -> Any:
        """A time (ns) as the table has it."""
        kind = self.table.c[self._options.time].type
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=time // 1000)
        if isinstance(kind, sa.DateTime):
            return moment if kind.timezone else moment.replace(tzinfo=None)
        if isinstance(kind, sa.String):
            return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        count = time / EPOCHS[self._options.epoch]
        return int(count) if isinstance(kind, sa.Integer) else count


class SqlSource(BaseSource[SourceOptions]):
    """The rows of one table."""

    def __init__(self, options: SourceOptions, context: Context) -> None:
        super().__init__(options, context)
        self._db = Database(options, context)
        self._tags = {mapped.address: tag for tag, mapped in options.tags.items()}
        self._seen: dict[tuple[int, str], float] = {}  # what was handed out of the time in which rows may be late

    async def __aenter__(self) -> Self:
        await self._db.open()
        self.health.connected = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._db.close()
        self.health.connected = False

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        newest = int(position) if position else self._beginning()
        ticks = Ticks(self._options.period_s, self._clock, Health("", ""))
        while True:
            try:
                async for rows in self._since(newest):
                    self._answered()
                    fresh = [row for row in rows if not self._known(row)]
                    limit = self._clock.latest() + round(self._options.future_s * NS)
                    newest = max([newest, *(row[0] for row in fresh if row[0] <= limit)])
                    if fresh:
                        batch = Samples.of(fresh, str(newest))
                        self.health.count(batch, self._clock.now())
                        yield batch
                self._answered()
            except ConnectorError as error:
                self.health.failed(error.detail)
            self._forget(newest)
            await ticks.next()

    async def read(self, tags: Sequence[str]) -> Samples:
        check_mapped(self._options, tags)
        return Samples.of([await self._db.run(partial(self._last, tag)) for tag in tags])

    async def faults(self) -> Mapping[str, str]:
        table, options = self._db.table, self._options
        found = {}
        for tag, mapped in options.tags.items():
            name = mapped.address if options.layout == "wide" else options.value
            if name not in table.c:
                found[tag] = f"'{options.table}' has no column '{name}'"
            elif not isinstance(table.c[name].type, NUMBERS):
                found[tag] = f"the column '{name}' holds {table.c[name].type}, no numbers"
            elif options.layout == "long" and (await self.read([tag])).quality[0] == BAD:
                found[tag] = f"'{options.table}' has no value of '{mapped.address}'"
        return found

    async def units(self) -> Mapping[str, str]:
        if self._options.layout == "long":
            found = {tag: await self._db.run(partial(self._unit, tag)) for tag in self._options.tags}
        else:
            found = {}
            for tag, mapped in self._options.tags.items():
                column = self._db.table.c.get(mapped.address)
                found[tag] = of_name(mapped.address) or of_name(column.comment if column is not None else None)
        return {tag: unit for tag, unit in found.items() if unit}

    def _beginning(self) -> int:
        if self._options.history_s is None:
            return 0
        return self._clock.now() - round(self._options.history_s * NS)

    async def _since(self, newest: int) -> AsyncIterator[list[Row]]:
        """The rows that may be new, in the order of their times, in parts."""
        start = max(newest - round(self._options.late_s * NS), 0)
        time = self._db.table.c[self._options.time]
        question = sa.select(self._db.table).where(time >= self._db.moment(start)).order_by(time)
        if self._options.layout == "long":
            question = question.where(self._db.table.c[self._options.tag].in_(list(self._tags)))
        connection = await self._db.run(self._db.connect)
        try:
            streaming = connection.execution_options(yield_per=ROWS)
            opened: list[sa.CursorResult[Any]] = []  # also of a question that was cancelled while it was asked
            try:
                await self._db.run(lambda: opened.append(streaming.execute(question)))
                parts = opened[0].mappings().partitions()
                while (part := await self._db.run(lambda: next(parts, None))) is not None:
                    yield [row for record in part for row in self._rows(record)]
            finally:
                for result in opened:
                    await asyncio.to_thread(result.close)
        finally:
            await asyncio.to_thread(connection.close)

    def _rows(self, record: sa.RowMapping) -> Iterator[Row]:
        options = self._options
        try:
            time = self._db.time(record[options.time])
            code = quality(record[options.quality]) if options.quality and record[options.quality] is not None else GOOD
        except (ValueError, TypeError, KeyError) as error:
            self.health.refused += 1
            self.health.last_error = f"{options.table}: {error}"
            return
        if options.layout == "long":
            yield time, self._tags[record[options.tag]], _number(record[options.value]), code
            return
        for address, tag in self._tags.items():
            if record.get(address) is not None:
                yield time, tag, _number(record[address]), code

    def _known(self, row: Row) -> bool:
        """Whether the row was handed out before, as it is."""
        time, tag, value, _ = row
        known = self._seen.get((time, tag)) == value
        self._seen[time, tag] = value
        return known

    def _forget(self, newest: int) -> None:
        start = newest - round(self._options.late_s * NS)
        self._seen = {key: value for key, value in self._seen.items() if key[0] >= start}

    def _last(self, tag: str) -> Row:
        table, options = self._db.table, self._options
        address = options.tags[tag].address
        value = table.c[options.value if options.layout == "long" else address]
        question = sa.select(table.c[options.time], value).where(value.is_not(None))
        if options.layout == "long":
            question = question.where(table.c[options.tag] == address)
        with self._db.connect() as connection:
            found = connection.execute(question.order_by(table.c[options.time].desc()).limit(1)).first()
        if found is None:
            return self._clock.now(), tag, math.nan, BAD
        return self._db.time(found[0]), tag, _number(found[1]), GOOD

    def _unit(self, tag: str) -> str:
        """What the last row of a tag names as its unit."""
        table, options = self._db.table, self._options
        if options.unit is None:
            return ""
        question = sa.select(table.c[options.unit]).where(table.c[options.tag] == options.tags[tag].address)
        with self._db.connect() as connection:
            told = connection.execute(question.order_by(table.c[options.time].desc()).limit(1)).scalar()
        return str(told or "").strip()


class SqlSink(BaseSink[SinkOptions]):
    """Inserts a row (or a row a value) with our clock's time."""

    def __init__(self, options: SinkOptions, context: Context) -> None:
        super().__init__(options, context)
        self._db = Database(options, context)

    async def __aenter__(self) -> Self:
        await self._db.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._db.close()

    async def write(self, values: Mapping[str, float]) -> None:
        check_writable(self._options, values)
        options, time = self._options, self._db.moment(self._clock.now())
        named = {options.tags[tag].address: value for tag, value in values.items()}
        if options.layout == "wide":
            rows = [{options.time: time, **named}]
        else:
            rows = [{options.time: time, options.tag: address, options.value: v} for address, v in named.items()]

        def insert() -> None:
            with self._db.connect() as connection, connection.begin():
                connection.execute(sa.insert(self._db.table), rows)

        try:
            await self._db.run(insert)
        except ConnectorError as error:
            raise ConnectorError.of_tag(", ".join(values), error.detail) from error


def _number(value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError):
        return math.nan
