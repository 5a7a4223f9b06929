"""Kafka, by aiokafka: JSON and Arrow messages; offsets are committed behind what is safe on disk."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context
from pydantic import Field, field_validator

from connectors import certificates
from connectors.base import BaseSink, LastValues, check_writable
from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.options import Mapped, Options
from connectors.payload import Fields, Row, quality, row_of, rows_of, stamp
from connectors.protocol import Samples
from connectors.stated import of_metadata
from twin.storage.batch import BAD, GOOD

WAIT_MS = 500
MESSAGES = 5_000  # of a batch
MS = 1_000_000
PATIENCE_S = 5.0
UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, RecursionError, pa.ArrowException)
LAST = 10  # messages of a partition that are looked at before anything is collected


class Message(Mapped):
    """A tag: its address is a topic.

    Args:
        field: where in a JSON message the value is, with dots; of long messages what their `tag` says; of Arrow
            tables the column. By default "value".
        time, quality: where they are; without them Kafka's time stamp, and good.
    """

    field: str = ""
    time: str = ""
    quality: str = ""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.address, self.field)


class SinkOptions(Options):
    """A cluster.

    Args:
        brokers: such as "broker-1:9092,broker-2:9092".
        format: "json" objects, "long" objects of tag, value, time and quality, or "arrow" streams, wide or long.
        tls: whether to use it; `ca`, `certificate` and `private_key` are files.
        username, password_env: for SASL, with `mechanism`.
    """

    kind: Literal["kafka"] = "kafka"
    brokers: str = Field(min_length=1)
    format: Literal["json", "long", "arrow"] = "json"
    tls: bool = False
    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    username: str | None = None
    password_env: str | None = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    tags: Mapping[str, Message] = Field(default_factory=dict)

    _valid = field_validator("certificate", "ca")(lambda path: path and certificates.checked(path))


class SourceOptions(SinkOptions):
    """Topics to read.

    Args:
        group: by which the cluster knows how far we are.
        start: where a group begins that has not read before.
    """

    group: str = "plant-twin"
    start: Literal["earliest", "latest"] = "earliest"


def source(options: SourceOptions, context: Context) -> KafkaSource:
    """The source of a configuration."""
    return KafkaSource(options, context)


def sink(options: SinkOptions, context: Context) -> KafkaSink:
    """The sink of a configuration."""
    return KafkaSink(options, context)


class KafkaSource(LastValues[SourceOptions]):
    """The topics of one cluster."""

    def __init__(self, options: SourceOptions, context: Context) -> None:
        super().__init__(options, context)
        self._consumer: AIOKafkaConsumer | None = None
        self._units: dict[str, str] = {}
        self._seen: set[str] = set()  # topics of which a message was looked at
        self._wanted: dict[str, list[Fields]] = {}
        for tag, m in options.tags.items():
            self._wanted.setdefault(m.address, []).append(Fields(tag, m.field, m.time, m.quality))

    async def __aenter__(self) -> Self:
        consumer = AIOKafkaConsumer(
            *self._wanted,
            **access(self._options, self._context),
            group_id=self._context.known_as(self._options.group),
            enable_auto_commit=False,
            auto_offset_reset="latest" if self._context.reader else self._options.start,
        )
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            await consumer.stop()
            raise ConnectorError(f"no connection to {self._options.brokers}: {error}") from error
        self._consumer = consumer
        self.health.connected = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            with suppress(KafkaError):
                await self._consumer.stop()
        self.health.connected = False

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        consumer = self._consumer
        if consumer is None:
            raise ConnectorError("not connected")
        while True:
            try:
                parts = await consumer.getmany(timeout_ms=WAIT_MS, max_records=MESSAGES)
            except KafkaError as error:
                self.health.failed(error)
                await asyncio.sleep(1.0)
                continue
            rows = [row for messages in parts.values() for message in messages for row in self._rows(message)]
            if rows:
                self._answered()
                yield self._arrived(Samples.of(rows))
            if parts:
                await self._commit(consumer)

    async def faults(self) -> Mapping[str, str]:
        if self._consumer is None:
            raise ConnectorError("not connected")
        topics = await self._consumer.topics()
        found = {
            tag: f"there is no topic '{m.address}'" for tag, m in self._options.tags.items() if m.address not in topics
        }
        unreadable: dict[str, str] = {}
        readable: set[str] = set()
        for message in await self._last_messages([topic for topic in self._wanted if topic in topics]):
            self._seen.add(message.topic)
            rows, why = self._read(message)
            self._latest |= Samples.of(rows).latest()
            unreadable |= {tag: f"the last messages of {message.topic}: {told}" for tag, told in why.items() if tag}
            readable |= {fields.tag for fields in self._wanted[message.topic]} - why.keys()
            self._units |= self._stated(message)
        return found | {tag: why for tag, why in unreadable.items() if tag not in readable}

    async def units(self) -> Mapping[str, str]:
        """What the fields of Arrow messages state (known behind `faults`); JSON has none."""
        return dict(self._units)

    async def unseen(self) -> Mapping[str, str]:
        waiting = [(topic, fields.tag) for topic, wanted in self._wanted.items() for fields in wanted]
        return {tag: f"no message of {topic} is held" for topic, tag in waiting if topic not in self._seen}

    async def _last_messages(self, topics: Sequence[str]) -> list[Any]:
        """The last messages of each partition, read beside the group; an empty topic has none.

        Raises:
            ConnectorError: the cluster does not answer.
        """
        if not topics:
            return []
        given = access(self._options, self._context)
        consumer = AIOKafkaConsumer(*topics, **given, group_id=None, enable_auto_commit=False)
        try:
            await consumer.start()
            parts = list(consumer.assignment())
            ends, begins = await consumer.end_offsets(parts), await consumer.beginning_offsets(parts)
            held = [part for part in parts if ends[part] > begins[part]]
            for part in held:
                consumer.seek(part, max(begins[part], ends[part] - LAST))
            found: list[Any] = []
            reached = dict.fromkeys(held, 0)
            until = asyncio.get_running_loop().time() + PATIENCE_S
            while any(reached[part] < ends[part] for part in held) and asyncio.get_running_loop().time() < until:
                for part, messages in (await consumer.getmany(timeout_ms=WAIT_MS)).items():
                    found += messages
                    reached[part] = messages[-1].offset + 1
            return found
        except (KafkaError, OSError) as error:
            raise ConnectorError(f"no connection to {self._options.brokers}: {error}") from error
        finally:
            await consumer.stop()

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        try:
            await consumer.commit()
        except KafkaError as error:  # they come again, and are stored once
            self.health.last_error = f"offsets not committed: {error}"

    def _rows(self, message: Any) -> list[Row]:
        """The rows of a message; what it does not hold is counted, and told where it is the first of its topic."""
        rows, faults = self._read(message)
        if faults:
            self.health.refused += 1
            self.health.last_error = f"{message.topic} at {message.offset}: {next(iter(faults.values()))}"
        if message.topic not in self._seen:
            told = {tag: f"the first message of {message.topic}: {why}" for tag, why in faults.items() if tag}
            self._context.look(told, self._stated(message))
            self._seen.add(message.topic)  # not before: where that raised, it is looked at again
        return rows

    def _read(self, message: Any) -> tuple[list[Row], dict[str, str]]:
        """The rows of a message, and by tag why it does not hold others as they are mapped; "" is all of it."""
        wanted, now, told = self._wanted.get(message.topic, []), message.timestamp * MS, message.value or b""
        if self._options.format == "json":
            return rows_of(told, wanted, now)
        try:
            if self._options.format == "arrow":
                return list(rows_of_table(told, wanted, now)), {}
            body = json.loads(told)
            by_name = {fields.value or fields.tag: fields.tag for fields in wanted}
            items = body if isinstance(body, list) else [body]
            long = [(by_name[item["tag"]], item) for item in items if item["tag"] in by_name]
            return [row_of(item, _long(tag, item), now) for tag, item in long], {}
        except UNREADABLE as error:
            return ([], {"": str(error)}) if self._options.format == "long" else _by_column(told, wanted, now)

    def _stated(self, message: Any) -> dict[str, str]:
        """The units that a message states; those of Arrow alone do."""
        return _stated(message.value or b"", self._wanted[message.topic]) if self._options.format == "arrow" else {}


class KafkaSink(BaseSink[SinkOptions]):
    """Produces JSON, and waits until all replicas have it."""

    def __init__(self, options: SinkOptions, context: Context) -> None:
        super().__init__(options, context)
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        producer = AIOKafkaProducer(**access(self._options, self._context), acks="all")
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise ConnectorError(f"no connection to {self._options.brokers}: {error}") from error
        self._producer = producer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            with suppress(KafkaError):
                await self._producer.stop()

    async def write(self, values: Mapping[str, float]) -> None:
        check_writable(self._options, values)
        for tag, value in values.items():
            mapped = self._options.tags[tag]
            body = (
                {"tag": mapped.field or tag, "value": value}
                if self._options.format == "long"
                else {mapped.field or "value": value}
            )
            try:
                if self._producer is None:
                    raise ConnectorError("not connected")
                await self._producer.send_and_wait(mapped.address, json.dumps(body).encode(), key=tag.encode())
            except (KafkaError, ConnectorError) as error:
                raise ConnectorError.of_tag(tag, f"the cluster did not take it: {error}") from error


def access(options: SinkOptions, context: Context) -> dict[str, Any]:
    """How to reach the cluster, as aiokafka wants it."""
    given: dict[str, Any] = {"bootstrap_servers": options.brokers}
    protocol = "SSL" if options.tls else "PLAINTEXT"
    if options.tls:
        given["ssl_context"] = create_ssl_context(
            cafile=options.ca, certfile=options.certificate, keyfile=options.private_key
        )
    if options.username:
        protocol = f"SASL_{protocol}"
        given |= {
            "sasl_mechanism": options.mechanism,
            "sasl_plain_username": options.username,
            "sasl_plain_password": context.secret(options.password_env),
        }
    return given | {"security_protocol": protocol}


def _by_column(body: bytes, wanted: Sequence[Fields], now: int) -> tuple[list[Row], dict[str, str]]:
    """The rows of the columns of an Arrow stream that can be read, and why the others cannot."""
    rows: list[Row] = []
    faults: dict[str, str] = {}
    for fields in wanted:
        try:
            rows += rows_of_table(body, [fields], now)
        except UNREADABLE as error:
            faults[fields.tag] = str(error)
    return rows, faults


def rows_of_table(body: bytes, wanted: Sequence[Fields], now: int) -> Iterator[Row]:
    """The rows of an Arrow stream: long with the columns tag and value, else wide.

    Raises:
        ValueError: a column is missing.
    """
    table = pa.ipc.open_stream(body).read_all()
    names = set(table.column_names)
    time = next((f.time for f in wanted if f.time), "time")
    times = _times(table[time]) if time in names else [now] * len(table)
    if {"tag", "value"} <= names:
        by_name = {fields.value or fields.tag: fields.tag for fields in wanted}
        codes = table["quality"].to_pylist() if "quality" in names else [GOOD] * len(table)
        for at, name, value, code in zip(
            times, table["tag"].to_pylist(), table["value"].to_pylist(), codes, strict=True
        ):
            if name in by_name:
                number = math.nan if value is None else float(value)
                yield at, by_name[name], number, BAD if math.isnan(number) else quality(code)
        return
    for fields in wanted:
        column = fields.value or fields.tag
        if column not in names:
            raise ValueError(f"there is no column '{column}'")
        for at, value in zip(times, table[column].to_pylist(), strict=True):
            if value is not None:
                yield at, fields.tag, float(value), GOOD


def _stated(body: bytes, wanted: Sequence[Fields]) -> dict[str, str]:
    """The units that the fields of an Arrow stream state, by tag."""
    try:
        schema = pa.ipc.open_stream(body).schema
    except pa.ArrowException:
        return {}
    held = [fields for fields in wanted if (fields.value or fields.tag) in schema.names]
    told = {fields.tag: of_metadata(schema.field(fields.value or fields.tag).metadata) for fields in held}
    return {tag: unit for tag, unit in told.items() if unit}


def _times(column: pa.ChunkedArray) -> list[int]:
    if pa.types.is_timestamp(column.type):
        times: list[int] = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist()
        return times
    return [stamp(told) for told in column.to_pylist()]


def _long(tag: str, item: Mapping[str, Any]) -> Fields:
    return Fields(tag, "value", "time" if "time" in item else "", "quality" if "quality" in item else "")
