"""MQTT, by aiomqtt: plain topics of numbers or JSON, and Sparkplug B.

The session stays with the broker while we are away, and a message is acknowledged only when it is safe on disk: with
QoS 1 the broker keeps and repeats what came in between, as far as its own limits go.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

import aiomqtt
from pydantic import Field, field_validator

from connectors import certificates, sparkplug
from connectors.base import BaseSink, LastValues, check_writable
from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.options import Mapped, Options
from connectors.payload import Fields, Row, rows_of
from connectors.protocol import Samples
from connectors.sparkplug_schema import DataType

PATIENCE_S = 5.0  # between two tries to reconnect, at most
QUEUE = 100_000  # messages without acknowledgement (QoS 0) that wait here
BATCH = 1_000  # messages of a batch
REBIRTH_S = 2.0  # between two requests for the same birth
BIRTHS_S = 5.0  # that births may take at the start
RETAINED_S = 1.0  # that a broker takes to send what it retains


class Topic(Mapped):
    """A tag: its address is a topic, or a metric of Sparkplug such as group/node/device:metric.

    Args:
        field: where in a JSON payload the value is, with dots; a number alone needs none.
        time, quality: where in the payload they are; the time of arrival, and good, without them.
    """

    field: str = ""
    time: str = ""
    quality: str = ""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.address, self.field)


class SinkOptions(Options):
    """A broker and how to log in to it.

    Args:
        format: "json" (numbers and objects) or "sparkplug".
        tls: whether to use it; `ca` is the file to trust, the system's by default; `certificate` and `private_key`
            are this client's.
        client_id: by which the broker knows us again.
        timeout_s: of a request.
    """

    kind: Literal["mqtt"] = "mqtt"
    host: str
    port: int = Field(default=1883, ge=1, le=65535)
    format: Literal["json", "sparkplug"] = "json"
    tls: bool = False
    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    username: str | None = None
    password_env: str | None = None
    client_id: str | None = Field(default=None, min_length=1)
    timeout_s: float = Field(default=10.0, gt=0)
    tags: Mapping[str, Topic] = Field(default_factory=dict)

    _valid = field_validator("certificate", "ca")(lambda path: path and certificates.checked(path))

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        for tag, topic in self.tags.items():
            if self.format == "sparkplug" and not _is_metric(topic.address):
                yield tag, f"'{topic.address}' is no metric; write group/node:metric or group/node/device:metric"
            if self.format == "json" and any(sign in topic.address for sign in "+#"):
                yield tag, f"'{topic.address}' has a wildcard; a tag has one topic"


class SourceOptions(SinkOptions):
    """A broker to listen to; `qos` of the subscriptions."""

    qos: Literal[0, 1] = 1


def source(options: SourceOptions, context: Context) -> MqttSource:
    """The source of a configuration."""
    return MqttSource(options, context)


def sink(options: SinkOptions, context: Context) -> MqttSink:
    """The sink of a configuration."""
    return MqttSink(options, context)


class MqttSource(LastValues[SourceOptions]):
    """The topics of one broker."""

    def __init__(self, options: SourceOptions, context: Context) -> None:
        super().__init__(options, context)
        self._topics: dict[str, list[Fields]] = {}
        for tag, topic in options.tags.items():
            self._topics.setdefault(topic.address, []).append(Fields(tag, topic.field, topic.time, topic.quality))
        addresses = {topic.address: tag for tag, topic in options.tags.items()}
        self._sparkplug = sparkplug.Decoder(addresses, self.health) if options.format == "sparkplug" else None
        self._queue: asyncio.Queue[aiomqtt.Message] = asyncio.Queue(QUEUE)
        self._client: aiomqtt.Client | None = None
        self._coming: asyncio.Task[aiomqtt.Message] | None = None  # the next message, while it is waited for
        self._asked: dict[str, float] = {}
        self._seen: set[str] = set()  # tags of which a message has shown whether it holds them

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        while True:
            if self._client is None:
                await self._reconnect()
            try:
                messages = await self._messages()
            except aiomqtt.MqttError as error:
                self.health.failed(error)
                await self._leave()
                continue
            rows = [row for message in messages for row in self._rows(message)]
            if rows:
                yield self._arrived(Samples.of(rows))
            self._acknowledge(messages)
            await self._ask_for_births()

    async def read(self, tags: Sequence[str]) -> Samples:
        """The last value that was published of each tag: MQTT has no other."""
        if self._client is None:
            raise ConnectorError(f"no connection to {self._options.host}:{self._options.port}")
        return await super().read(tags)

    async def faults(self) -> Mapping[str, str]:
        """What births, or the messages that the broker retains, say of the mapping.

        Nothing is acknowledged meanwhile: the broker sends it again to whoever collects. A topic without a retained
        message tells nothing (`unseen`); its first one tells.

        Raises:
            ConnectorError: the connection is lost, or an edge node sends no birth.
        """
        loop = asyncio.get_running_loop()
        found: dict[str, str] = {}
        until = loop.time() + (BIRTHS_S if self._sparkplug else RETAINED_S)
        while loop.time() < until and (self._sparkplug is None or self._sparkplug.unborn()):
            try:
                messages = await self._messages()
            except aiomqtt.MqttError as error:
                raise ConnectorError(f"no connection to {self._options.host}: {error}") from error
            for message in messages:
                rows, why = self._read(message)
                for fields in self._topics.get(str(message.topic), ()):
                    found.pop(fields.tag, None)  # the last message counts
                    self._seen.add(fields.tag)
                found |= why
                self._latest |= Samples.of(rows).latest()
            await self._ask_for_births()
        if self._sparkplug is None:
            return found
        told = self._sparkplug.faults()
        if not told and (unborn := self._sparkplug.unborn()):
            raise ConnectorError(f"no birth of {', '.join(unborn)} came within {BIRTHS_S:g} s")
        return told

    async def units(self) -> Mapping[str, str]:
        return self._sparkplug.units() if self._sparkplug else {}

    async def unseen(self) -> Mapping[str, str]:
        if self._sparkplug:
            return {}
        topics = {fields.tag: topic for topic, wanted in self._topics.items() for fields in wanted}
        return {tag: f"no message of {topic} is retained" for tag, topic in topics.items() if tag not in self._seen}

    async def _connect(self) -> None:
        client = made_client(self._options, self._context, self._queue)
        try:
            await client.__aenter__()
            topics: list[tuple[str, int]] = [(topic, self._options.qos) for topic in self._topics]
            if self._sparkplug:
                edges = [edge.split("/") for edge in sorted(self._sparkplug.edges)]
                topics = [(f"{sparkplug.NAMESPACE}/{g}/+/{e}/#", self._options.qos) for g, e in edges]
            if topics:
                await client.subscribe(topics)
        except (aiomqtt.MqttError, OSError) as error:
            self.health.failed(error)
            raise ConnectorError(f"no connection to {self._options.host}:{self._options.port}: {error}") from error
        self._client = client
        self.health.connected = True
        if self._sparkplug:
            self._sparkplug.rebirth |= self._sparkplug.edges
            self._asked.clear()
            await self._ask_for_births()

    async def _reconnect(self) -> None:
        delay = 0.2
        while self._client is None:
            try:
                await self._connect()
                self.health.back()
            except ConnectorError:
                await asyncio.sleep(delay)
                delay = min(2 * delay, PATIENCE_S)

    async def _leave(self) -> None:
        client, self._client = self._client, None
        self.health.connected = False
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait({self._coming})
            self._coming = None
        while not self._queue.empty():  # the broker repeats what was not acknowledged
            self._queue.get_nowait()
        if client is not None:
            with suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)

    async def _messages(self) -> list[aiomqtt.Message]:
        """What waits, or the next message of the next second.

        Raises:
            MqttError: the connection is lost, and all that came before is taken.
        """
        if self._client is None:
            raise aiomqtt.MqttError("not connected")
        messages = []
        if self._coming or self._queue.empty():
            # A wait that is cancelled could take a message along, which the broker would then not repeat before it has
            # lost us: so it is left, not cancelled, when a second is over and a birth may have to be asked for again.
            self._coming = self._coming or asyncio.create_task(self._client.messages.__anext__())
            await asyncio.wait({self._coming}, timeout=1.0)
            if not self._coming.done():
                return []
            done, self._coming = self._coming, None
            messages = [done.result()]
        while not self._queue.empty() and len(messages) < BATCH:
            messages.append(self._queue.get_nowait())
        return messages

    def _rows(self, message: aiomqtt.Message) -> list[Row]:
        """The rows of a message; what it does not hold is counted, and told where it is the first of its tag."""
        rows, faults = self._read(message)
        if faults:
            self.health.refused += 1
            self.health.last_error = next(iter(faults.values()))
        if self._sparkplug is None:
            tags = {fields.tag for fields in self._topics.get(str(message.topic), ())} - self._seen
            self._seen |= tags
            if first := {tag: why for tag, why in faults.items() if tag in tags}:
                self._context.look(first, {})
        return rows

    def _read(self, message: aiomqtt.Message) -> tuple[list[Row], dict[str, str]]:
        """The rows of a message, and what it does not hold as it is mapped, by tag; Sparkplug's "" is all of it."""
        now, topic, body = self._clock.now(), str(message.topic), bytes(message.payload)
        if self._sparkplug:
            try:
                return self._sparkplug.rows(topic, body, now), {}
            except ValueError as error:
                return [], {"": f"{topic}: {error}"}
        rows, faults = rows_of(body, self._topics.get(topic, ()), now)
        return rows, {tag: f"the message of {topic}: {why}" for tag, why in faults.items()}

    def _acknowledge(self, messages: Sequence[aiomqtt.Message]) -> None:
        if self._client is not None:
            for message in messages:
                if message.qos:
                    self._client._client.ack(message.mid, message.qos)

    async def _ask_for_births(self) -> None:
        if self._sparkplug is None or self._client is None:
            return
        now = asyncio.get_running_loop().time()
        for edge in [e for e in self._sparkplug.rebirth if now - self._asked.get(e, -math.inf) >= REBIRTH_S]:
            self._asked[edge] = now
            self._sparkplug.rebirth.discard(edge)
            topic, body = sparkplug.command(f"{edge}:{sparkplug.REBIRTH}", 1.0, DataType.Boolean)
            try:
                await self._client.publish(topic, body, qos=0)
            except aiomqtt.MqttError as error:
                self.health.last_error = str(error)


class MqttSink(BaseSink[SinkOptions]):
    """Publishes at QoS 1: plain numbers, `{"value": …}` where the tag has a field, or Sparkplug commands."""

    def __init__(self, options: SinkOptions, context: Context) -> None:
        super().__init__(options, context)
        self._client: aiomqtt.Client | None = None

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            with suppress(aiomqtt.MqttError):
                await self._client.__aexit__(None, None, None)
            self._client = None

    async def write(self, values: Mapping[str, float]) -> None:
        check_writable(self._options, values)
        for tag, value in values.items():
            mapped = self._options.tags[tag]
            if self._options.format == "sparkplug":
                topic, body = sparkplug.command(mapped.address, value)
            else:
                topic, body = mapped.address, _json(mapped.field, value)
            await self._publish(tag, topic, body)

    async def _publish(self, tag: str, topic: str, body: bytes) -> None:
        for last in (False, True):  # a connection that was lost since the last write is made again, once
            try:
                client = self._client or await self._connect()
                await client.publish(topic, body, qos=1, timeout=self._options.timeout_s)
                return
            except (aiomqtt.MqttError, ConnectorError) as error:
                self._client = None
                if last:
                    raise ConnectorError.of_tag(tag, f"the broker did not take {topic}: {error}") from error

    async def _connect(self) -> aiomqtt.Client:
        client = made_client(self._options, self._context, asyncio.Queue(), "-sink")
        try:
            await client.__aenter__()
        except (aiomqtt.MqttError, OSError) as error:
            raise ConnectorError(f"no connection to {self._options.host}:{self._options.port}: {error}") from error
        self._client = client
        return client


def made_client(
    options: SinkOptions, context: Context, queue: asyncio.Queue[aiomqtt.Message], suffix: str = ""
) -> aiomqtt.Client:
    """A client, not yet connected, that puts what arrives into the queue."""
    tls: ssl.SSLContext | None = None
    if options.tls:
        tls = ssl.create_default_context(cafile=options.ca)
        if options.certificate:
            tls.load_cert_chain(options.certificate, options.private_key)
    client = aiomqtt.Client(
        options.host,
        options.port,
        identifier=context.known_as(options.client_id or f"plant-twin-{options.title}{suffix}"),
        username=options.username,
        password=context.secret(options.password_env),
        clean_session=bool(suffix or context.reader),
        tls_context=tls,
        timeout=options.timeout_s,
        keepalive=15,
        queue_type=lambda maxsize: queue,  # type: ignore[arg-type]
    )
    client._client.manual_ack_set(not suffix)
    return client


def _json(field: str, value: float) -> bytes:
    body: Any = value
    for name in reversed(field.split(".") if field else ()):
        body = {name: body}
    return json.dumps(body).encode()


def _is_metric(address: str) -> bool:
    place, colon, metric = address.partition(":")
    return bool(colon and metric) and len(place.split("/")) in (2, 3) and all(place.split("/"))
