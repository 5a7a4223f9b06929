"""OPC UA (IEC 62541), by asyncua: subscriptions with the server's qualities and time stamps, history, writes.

After a lost connection the session is taken up again, what its subscription still holds is republished, and where the
server keeps history the gap is read from there. A sample that comes both ways is stored once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from asyncua import ua
from asyncua.common.subscription import DataChangeEvent, OverflowPolicy, Subscription
from asyncua.ua.uaerrors import UaError
from pydantic import Field, field_validator, model_validator

from connectors import certificates
from connectors.base import BaseSink, BaseSource, check_mapped, check_writable
from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.opcua_browse import browse, lines
from connectors.opcua_link import AT_ONCE, Link, Stamp, numeric, row
from connectors.options import Mapped, Options
from connectors.protocol import NS, Health, Samples

WAIT_S = 0.2  # for more notifications, before a batch goes on
BATCH = 20_000  # samples at most of a batch
SETTLED_S = (2.0, 15.0)  # after a loss, when the subscription is surely back: the gap is read then, and once more
QUEUE = 200_000  # notifications that wait here; more than that, and the server's queue has to hold them
Row = tuple[int, str, float, int]  # time (ns), tag, value, quality


class Node(Mapped):
    """A tag: its address is a node id, such as ns=2;s=Level."""

    @field_validator("address")
    @classmethod
    def _readable(cls, address: str) -> str:
        try:
            ua.NodeId.from_string(address)
        except UaError:
            raise ValueError(f"'{address}' is no node id; write such as ns=2;s=Level") from None
        return address


class SinkOptions(Options):
    """A server and how to log in to it.

    Args:
        url: such as opc.tcp://plc:4840.
        security: policy and mode, such as "Basic256Sha256,SignAndEncrypt"; needs certificate and private_key.
        certificate, private_key: files of this client (PEM or DER).
        server_certificate: the file of the one that the server must show; asked from the server where it is left out.
        username, password_env: the user, and the environment variable with its password.
        timeout_s: of a request.
    """

    kind: Literal["opcua"] = "opcua"
    url: str = Field(pattern=r"^opc\.tcp://.+")
    security: str | None = Field(
        default=None, pattern=r"^(Basic256Sha256|Aes128Sha256RsaOaep|Aes256Sha256RsaPss),(Sign|SignAndEncrypt)$"
    )
    certificate: str | None = None
    private_key: str | None = None
    server_certificate: str | None = None
    username: str | None = None
    password_env: str | None = None
    timeout_s: float = Field(default=10.0, gt=0)
    tags: Mapping[str, Node] = Field(default_factory=dict)

    _valid = field_validator("certificate", "server_certificate")(lambda path: path and certificates.checked(path))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.security and not (self.certificate and self.private_key):
            raise ValueError("security needs a certificate and a private_key")
        return self


class SourceOptions(SinkOptions):
    """A server to read.

    Args:
        sampling_ms: how often the server looks at each node.
        publishing_ms: how often it tells what it saw.
        queue: samples of a node that the server holds between two publishings, and while the link is down.
        history_s: at the very first start, read so much of the past; later only what was missed.
        overlap_s: the gap is read from so long before the last sample, for tags that lag behind others.
        refresh_s: a node without news is read again after so long, so that a value at rest is known to be at rest.
        stamp: "source", or "server" where the source's clock cannot be trusted.
    """

    sampling_ms: float = Field(default=500.0, ge=0)
    publishing_ms: float = Field(default=500.0, ge=10)
    queue: int = Field(default=1000, ge=1)
    history_s: float = Field(default=0.0, ge=0)
    overlap_s: float = Field(default=10.0, ge=0)
    refresh_s: float = Field(default=60.0, gt=0)
    stamp: Stamp = "source"


def source(options: SourceOptions, context: Context) -> OpcUaSource:
    """The source of a configuration."""
    return OpcUaSource(options, context)


def sink(options: SinkOptions, context: Context) -> OpcUaSink:
    """The sink of a configuration."""
    return OpcUaSink(options, context)


class OpcUaSource(BaseSource[SourceOptions]):
    """The nodes of one server, subscribed to."""

    def __init__(self, options: SourceOptions, context: Context) -> None:
        super().__init__(options, context)
        self._link = Link(options, context, self.health)
        self._tags = {mapped.address: tag for tag, mapped in options.tags.items()}
        self._newest = 0  # ns, of what was handed out
        self._news: dict[str, int] = {}  # by tag, when (ns, our clock) it was last heard of

    async def __aenter__(self) -> Self:
        await self._link.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.close()

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        subscription = await self._subscribe()
        self._newest = int(position or 0)
        start = self._newest - round(self._options.overlap_s * NS)
        if not self._newest:
            start = self._clock.now() - round(self._options.history_s * NS)
        losses = self._link.losses
        if self._newest or self._options.history_s:
            async for batch in self._history(start):
                yield batch
        due: list[float] = []  # when to read the gap of a loss; until then the position stays before it
        while True:
            event = await self._next(subscription)
            now = asyncio.get_running_loop().time()
            if self._link.losses != losses and self._link.up:
                losses = self._link.losses
                start = start if due else self._newest - round(self._options.overlap_s * NS)
                due = [now + settle for settle in SETTLED_S]
            if due and due[0] <= now and self._link.up:
                try:
                    async for batch in self._history(start):
                        yield batch
                    due.pop(0)
                except ConnectorError as error:  # lost once more on the way: it is read when the link is back
                    self.health.last_error = error.detail
            rows = [] if event is None else await self._gathered(subscription, event)
            rows += await self._refreshed()
            if rows:
                yield self._told(Samples.of(rows), moves=not due)

    async def read(self, tags: Sequence[str]) -> Samples:
        check_mapped(self._options, tags)
        nodes = [self._node(tag) for tag in tags]
        values = await self._link.read(nodes)
        return Samples.of(row(tag, value, self._options.stamp) for tag, value in zip(tags, values, strict=True))

    async def faults(self) -> Mapping[str, str]:
        return await self._link.faults({tag: mapped.address for tag, mapped in self._options.tags.items()})

    async def units(self) -> Mapping[str, str]:
        return await self._link.units({tag: mapped.address for tag, mapped in self._options.tags.items()})

    async def offers(self) -> list[str]:
        """Lines for the file: every node of the server that holds a number."""
        return list(lines(await browse(self._link)))

    async def _subscribe(self) -> Subscription:
        options = self._options
        subscription: Subscription = await self._link.client.create_subscription(
            options.publishing_ms, None, queue_maxsize=QUEUE, overflow=OverflowPolicy.DISCONNECT
        )
        nodes = [self._link.client.get_node(address) for address in self._tags]
        for start in range(0, len(nodes), AT_ONCE):
            some = nodes[start : start + AT_ONCE]
            results = await subscription.subscribe_data_change(
                some, queuesize=options.queue, sampling_interval=options.sampling_ms
            )
            for node, result in zip(some, results if isinstance(results, list) else [results], strict=True):
                if isinstance(result, ua.StatusCode):  # a node that is missing stops none of the others
                    self.health.last_error = f"'{self._tags[node.nodeid.to_string()]}': {result.name}"
        return subscription

    async def _next(self, subscription: Subscription) -> Any:
        """The next notification; None when there is something else to look after."""
        try:
            return await subscription.next_event(timeout=1.0)
        except StopAsyncIteration:
            raise ConnectorError(f"{self._options.url}: the subscription ended") from None

    async def _gathered(self, subscription: Subscription, event: Any) -> list[Row]:
        """The notification with those that follow at once."""
        rows: list[Row] = []
        until = asyncio.get_running_loop().time() + WAIT_S
        while event is not None and len(rows) < BATCH:
            if isinstance(event, DataChangeEvent):
                tag = self._tags.get(event.node.nodeid.to_string())
                if tag is not None:
                    rows.append(row(tag, event.data.monitored_item.Value, self._options.stamp))
            left = until - asyncio.get_running_loop().time()
            event = await subscription.next_event(timeout=left) if left > 0 else None
        now = self._clock.now()
        self._news |= {tag: now for _, tag, _, _ in rows}
        return rows

    async def _refreshed(self) -> list[Row]:
        """Tags without news for a while, as they stand now by the server's clock."""
        now = self._clock.now()
        old = now - round(self._options.refresh_s * NS)
        quiet = [tag for tag in self._tags.values() if self._news.setdefault(tag, now) <= old]
        if not quiet or not self._link.up:
            return []
        self._news |= dict.fromkeys(quiet, now)
        try:
            values = await self._link.read([self._node(tag) for tag in quiet])
        except ConnectorError:
            return []
        return [row(tag, value, "server", now) for tag, value in zip(quiet, values, strict=True)]

    async def _history(self, start: int) -> AsyncIterator[Samples]:
        """What the server kept since then; the position moves only behind all of it."""
        addresses = list(self._tags)
        end = self._clock.now()
        async for part in self._link.history(addresses, start, end):
            rows = [row(self._tags[address], value, self._options.stamp) for address, value in part]
            yield self._told(Samples.of(rows), moves=False)

    def _told(self, samples: Samples, moves: bool) -> Samples:
        self.health.count(samples, self._clock.now())
        good = samples.times[samples.times <= self._clock.now() + round(self._options.future_s * NS)]
        if moves and len(good):
            self._newest = max(self._newest, int(good.max()))
        position = str(self._newest) if moves else None
        return Samples(samples.times, samples.tags, samples.values, samples.quality, position)

    def _node(self, tag: str) -> str:
        return self._options.tags[tag].address


class OpcUaSink(BaseSink[SinkOptions]):
    """The nodes of one server, written to with the type that each has; without time stamps, which are the server's."""

    def __init__(self, options: SinkOptions, context: Context) -> None:
        super().__init__(options, context)
        self._link = Link(options, context, Health(options.title, "opcua"))
        self._types: dict[str, ua.VariantType] = {}

    async def __aenter__(self) -> Self:
        await self._link.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.close()

    async def write(self, values: Mapping[str, float]) -> None:
        check_writable(self._options, values)
        addresses = {tag: self._options.tags[tag].address for tag in values}
        await self._know(addresses)
        data = [self._variant(tag, value) for tag, value in values.items()]
        results = await self._link.write(list(addresses.values()), data)
        for tag, result in zip(values, results, strict=True):
            if result.is_bad():
                raise ConnectorError.of_tag(tag, f"the server refused {values[tag]:g}: {result.name}")

    async def faults(self) -> Mapping[str, str]:
        mine = {tag: mapped.address for tag, mapped in self._options.tags.items()}
        found = await self._link.faults(mine)
        return found | await self._link.unwritable({tag: a for tag, a in mine.items() if tag not in found})

    async def _know(self, addresses: Mapping[str, str]) -> None:
        """Learn the types of nodes that were not written to before."""
        missing = [tag for tag in addresses if tag not in self._types]
        values = await self._link.read([addresses[tag] for tag in missing]) if missing else []
        for tag, value in zip(missing, values, strict=True):
            if value.Value is None or not numeric(value.Value.VariantType):
                cause = value.StatusCode.name if value.StatusCode.is_bad() else "it holds no number"
                raise ConnectorError.of_tag(tag, f"cannot be written: {cause}")
            self._types[tag] = value.Value.VariantType

    def _variant(self, tag: str, value: float) -> ua.DataValue:
        """The value in the node's type, where that can hold it.

        Raises:
            ConnectorError: an integer node is given a fraction.
        """
        kind = self._types[tag]
        if kind in (ua.VariantType.Double, ua.VariantType.Float):
            return ua.DataValue(ua.Variant(float(value), kind))
        if value != int(value):
            raise ConnectorError.of_tag(tag, f"{value:g} cannot be written: the node holds whole numbers ({kind.name})")
        return ua.DataValue(ua.Variant(bool(value) if kind is ua.VariantType.Boolean else int(value), kind))
