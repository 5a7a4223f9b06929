"""The connection to an OPC UA server: login, life and death of it, and the services by node id."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState
from asyncua.crypto import security_policies
from asyncua.ua.uaerrors import UaError

from connectors import certificates
from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.opcua_units import NAME, unit_of
from connectors.protocol import Health
from twin.storage.batch import BAD, GOOD, UNCERTAIN

if TYPE_CHECKING:
    from connectors.opcua import SinkOptions

Stamp = Literal["source", "server"]
AT_ONCE = 500  # nodes of one request
AT_ONCE_HISTORY = 20  # nodes of one request for history
PER_NODE = 5_000  # values of a node that history is asked for at a time
PATIENCE_S = 5.0  # between two tries to reconnect, at most
SESSION_S = 3600.0  # that a server may keep a session, with what its subscription holds, while we are away
GONE = (  # answers that say that the connection or the session is no more
    ua.StatusCodes.BadConnectionClosed,
    ua.StatusCodes.BadCommunicationError,
    ua.StatusCodes.BadSecureChannelClosed,
    ua.StatusCodes.BadSecureChannelIdInvalid,
    ua.StatusCodes.BadServerNotConnected,
    ua.StatusCodes.BadSessionClosed,
    ua.StatusCodes.BadSessionIdInvalid,
    ua.StatusCodes.BadSessionNotActivated,
    ua.StatusCodes.BadShutdown,
    ua.StatusCodes.BadTimeout,
)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Link:
    """One connection; after it was lost it is brought back by asyncua.

    Attributes:
        losses: how often it was lost.
    """

    def __init__(self, options: SinkOptions, context: Context, health: Health) -> None:
        self._options = options
        self._password = context.secret(options.password_env)
        self._health = health
        self.client: Any = None
        self.losses = 0
        self._watch: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether there is a connection now."""
        return self.client is not None and self.client.state is UaClientState.CONNECTED

    async def open(self) -> None:
        """Connect and log in.

        Raises:
            ConnectorError: with the reason.
        """
        options = self._options
        client = Client(
            options.url,
            timeout=options.timeout_s,
            watchdog_intervall=min(2.0, options.timeout_s),
            auto_reconnect=True,
            reconnect_max_delay=PATIENCE_S,
            reconnect_request_timeout=options.timeout_s,
        )
        client.session_timeout = int(SESSION_S * 1000)
        client.name = "plant-twin"
        client.connection_lost_callback = self._lost
        if options.username:
            client.set_user(options.username)
            client.set_password(self._password or "")
        with self._telling():
            if options.security and options.certificate and options.private_key:
                policy, mode = options.security.split(",")
                client.application_uri = certificates.application_uri(options.certificate) or client.application_uri
                await client.set_security(
                    getattr(security_policies, f"SecurityPolicy{policy}"),
                    options.certificate,
                    options.private_key,
                    server_certificate=options.server_certificate,
                    mode=ua.MessageSecurityMode[mode],
                )
            await client.connect()
        self.client = client
        self._health.connected = True
        self._watch = asyncio.create_task(self._watched())

    async def close(self) -> None:
        """Log out, as far as there is still a server."""
        if self._watch is not None:
            self._watch.cancel()
        if self.client is not None:
            with suppress(OSError, UaError, TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(self.client.disconnect(), self._options.timeout_s)
        self._health.connected = False

    async def read(self, addresses: Sequence[str]) -> list[ua.DataValue]:
        """The present value of each node.

        Raises:
            ConnectorError: there is no connection.
        """
        values: list[ua.DataValue] = []
        with self._telling():
            for start in range(0, len(addresses), AT_ONCE):
                nodes = [self.client.get_node(address) for address in addresses[start : start + AT_ONCE]]
                values += await self.client.read_attributes(nodes)
        return values

    async def write(self, addresses: Sequence[str], values: Sequence[ua.DataValue]) -> list[ua.StatusCode]:
        """Write the value of each node; what the server said of each.

        Raises:
            ConnectorError: there is no connection.
        """
        nodes = [ua.NodeId.from_string(address) for address in addresses]
        with self._telling():
            return list(await self.client.uaclient.write_attributes(nodes, list(values), ua.AttributeIds.Value))

    async def references(self, addresses: Sequence[str]) -> list[list[ua.ReferenceDescription]]:
        """What each node has right below it.

        Raises:
            ConnectorError: there is no connection.
        """
        params = ua.BrowseParameters()
        params.View.Timestamp = ua.get_win_epoch()
        for address in addresses:
            wanted = ua.BrowseDescription()
            wanted.NodeId = ua.NodeId.from_string(address)
            wanted.BrowseDirection = ua.BrowseDirection.Forward
            wanted.ReferenceTypeId = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
            wanted.IncludeSubtypes = True
            wanted.NodeClassMask = ua.NodeClass.Object | ua.NodeClass.Variable
            wanted.ResultMask = ua.BrowseResultMask.All
            params.NodesToBrowse.append(wanted)
        with self._telling():
            found = []
            for result in await self.client.uaclient.browse(params):
                references = list(result.References or ())
                while result.ContinuationPoint:
                    more = ua.BrowseNextParameters()
                    more.ContinuationPoints = [result.ContinuationPoint]
                    (result,) = await self.client.uaclient.browse_next(more)
                    references += result.References or ()
                found.append(references)
            return found

    async def history(
        self, addresses: Sequence[str], start: int, end: int
    ) -> AsyncIterator[list[tuple[str, ua.DataValue]]]:
        """What the server kept between two times (ns), in parts; nothing of nodes that it keeps no history of.

        Raises:
            ConnectorError: the connection was lost on the way; all of it has to be asked for again.
        """
        details = ua.ReadRawModifiedDetails()
        details.IsReadModified = False
        details.StartTime, details.EndTime = moment(start), moment(end)
        details.NumValuesPerNode = PER_NODE
        details.ReturnBounds = False
        for i in range(0, len(addresses), AT_ONCE_HISTORY):
            left: dict[str, bytes | None] = dict.fromkeys(addresses[i : i + AT_ONCE_HISTORY])
            while left:
                results = await self._history(details, left)
                part, after = [], {}
                for address, result in zip(left, results, strict=True):
                    if result.StatusCode.is_bad() or result.HistoryData is None:
                        continue
                    data = result.HistoryData
                    values = getattr(data, "DataValues", None)
                    part += [(address, value) for value in values or ()]
                    if result.ContinuationPoint and result.ContinuationPoint != left[address]:
                        after[address] = result.ContinuationPoint
                if part:
                    yield part
                left = dict(after)

    async def faults(self, addresses: Mapping[str, str]) -> dict[str, str]:
        """What is wrong with each node, by tag."""
        values = await self.read(list(addresses.values()))
        found = {}
        for (tag, address), value in zip(addresses.items(), values, strict=True):
            kind = None if value.Value is None else value.Value.VariantType
            if value.StatusCode.value in (ua.StatusCodes.BadNodeIdUnknown, ua.StatusCodes.BadNodeIdInvalid):
                found[tag] = f"the server has no node {address}"
            elif value.StatusCode.value in (ua.StatusCodes.BadAttributeIdInvalid, ua.StatusCodes.BadNotReadable):
                found[tag] = f"{address} has no value to read"
            elif value.StatusCode.value in (ua.StatusCodes.BadUserAccessDenied, ua.StatusCodes.BadNotReadable):
                found[tag] = f"{address} may not be read: {value.StatusCode.name}"
            elif kind is not None and (value.Value.is_array or not numeric(kind)) and value.Value.Value is not None:
                found[tag] = f"{address} holds {'an array of ' if value.Value.is_array else ''}{kind.name}, no number"
        return found

    async def units(self, addresses: Mapping[str, str]) -> dict[str, str]:
        """The unit of each node, by tag, as far as the server states one."""
        found: dict[str, str] = {}
        tags, places = list(addresses), list(addresses.values())
        for start in range(0, len(tags), AT_ONCE):
            below = await self.references(places[start : start + AT_ONCE])
            told = {
                tag: reference.NodeId.to_string()
                for tag, references in zip(tags[start : start + AT_ONCE], below, strict=True)
                for reference in references
                if (reference.BrowseName.NamespaceIndex, reference.BrowseName.Name) == (0, NAME)
            }
            values = await self.read(list(told.values()))
            found |= {tag: unit_of(value) for tag, value in zip(told, values, strict=True)}
        return {tag: unit for tag, unit in found.items() if unit}

    async def unwritable(self, addresses: Mapping[str, str]) -> dict[str, str]:
        """The nodes that we may not write to, by tag."""
        nodes = [self.client.get_node(address) for address in addresses.values()]
        with self._telling():
            told = await self.client.read_attributes(nodes, ua.AttributeIds.UserAccessLevel) if nodes else []
        levels = [None if value.Value is None else value.Value.Value for value in told]
        return {
            tag: f"{address} may not be written by this user"
            for (tag, address), level in zip(addresses.items(), levels, strict=True)
            if isinstance(level, int) and not level & 1 << ua.AccessLevel.CurrentWrite
        }

    async def _history(self, details: Any, left: Mapping[str, bytes | None]) -> list[Any]:
        params = ua.HistoryReadParameters()
        params.HistoryReadDetails = details
        params.TimestampsToReturn = ua.TimestampsToReturn.Both
        params.ReleaseContinuationPoints = False
        for address, point in left.items():
            wanted = ua.HistoryReadValueId()
            wanted.NodeId = ua.NodeId.from_string(address)
            wanted.ContinuationPoint = point
            params.NodesToRead.append(wanted)
        try:
            with self._telling():
                return list(await self.client.uaclient.history_read(params))
        except ConnectorError as error:
            cause = error.__cause__
            if not isinstance(cause, UaError) or getattr(cause, "code", None) in GONE:
                raise
            self._health.last_error = f"history: {cause}"  # a server without history says so of the whole request
            return [ua.HistoryReadResult(StatusCode=ua.StatusCode(ua.StatusCodes.Bad)) for _ in left]

    async def _lost(self, error: Exception) -> None:
        self.losses += 1
        self._health.failed(f"{self._options.url}: {error}")

    async def _watched(self) -> None:
        """Note when a lost connection is back."""
        while True:
            await asyncio.sleep(0.2)
            if self.up and not self._health.connected:
                self._health.back()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What asyncua raises, as ours."""
        try:
            yield
        except (OSError, UaError, TimeoutError, ValueError, AttributeError) as error:
            why = str(error) or type(error).__name__
            self._health.last_error = why
            raise ConnectorError(f"no connection to {self._options.url}: {why}") from error


def row(tag: str, value: ua.DataValue, stamp: Stamp, now: int = 0) -> tuple[int, str, float, int]:
    """A value of the server as a row of samples.

    Args:
        now: ns, the time where the server gives none.
    """
    source, server = value.SourceTimestamp, value.ServerTimestamp
    first, second = (source, server) if stamp == "source" else (server, source)
    time = nanoseconds(first or second) if first or second else now
    raw = None if value.Value is None else value.Value.Value
    number = float(raw) if isinstance(raw, int | float | np.number) else float("nan")
    return time, tag, number, quality(value.StatusCode, number)


def quality(status: ua.StatusCode | None, number: float) -> int:
    """An OPC DA code of an OPC UA status: its two high bits are the quality in both."""
    if number != number:
        return BAD
    severity = 0 if status is None else status.value >> 30
    return (GOOD, UNCERTAIN, BAD, BAD)[severity]


def nanoseconds(time: dt.datetime) -> int:
    """Ns since 1970 of a time; one without a zone is UTC, as asyncua has it."""
    aware = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
    return (aware - EPOCH) // dt.timedelta(microseconds=1) * 1000


def moment(time: int) -> dt.datetime:
    """The time of ns since 1970."""
    return EPOCH + dt.timedelta(microseconds=max(time, 0) // 1000)


def numeric(kind: ua.VariantType) -> bool:
    """Whether a type holds a number; true and false are 1 and 0."""
    return bool(ua.VariantType.Boolean.value <= kind.value <= ua.VariantType.Double.value)
