"""Modbus TCP, by pymodbus: a register map, polled at a steady rate, and written to.

Modbus knows no time stamps and no quality: samples carry our clock, half way through their request.
"""

from __future__ import annotations

import asyncio
import math
import re
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from connectors.base import BaseSink, BaseSource, check_mapped, check_writable
from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.options import Mapped, Options
from connectors.protocol import Samples
from connectors.ticks import Ticks
from twin.storage.batch import BAD, GOOD

TYPES = {  # struct's letter, registers
    "int16": ("h", 1),
    "uint16": ("H", 1),
    "int32": ("i", 2),
    "uint32": ("I", 2),
    "float32": ("f", 2),
    "int64": ("q", 4),
    "uint64": ("Q", 4),
    "float64": ("d", 4),
}
ADDRESS = re.compile(r"(holding|input|coil|discrete):(\d{1,5})")
MOST = {"holding": 120, "input": 120, "coil": 1900, "discrete": 1900}  # of one request
APART = 16  # registers between two tags that are read along, rather than in a request of their own
PATIENCE_S = 5.0  # between two tries to reconnect, at most
Type = Literal["int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64"]


class Register(Mapped):
    """A tag: its address is a table and a number from 0, such as "holding:100", "input:7", "coil:3", "discrete:0".

    Args:
        type: of its registers; coils and discrete inputs are 0 or 1.
        order: of the bytes of two registers: "ABCD" is big-endian as the standard has it, "CDAB" swaps the words,
            "BADC" the bytes of each word, "DCBA" both.
        device: the unit behind a gateway.
    """

    type: Type = "int16"
    order: Literal["ABCD", "CDAB", "BADC", "DCBA"] = "ABCD"
    device: int = Field(default=1, ge=0, le=255)

    @field_validator("address")
    @classmethod
    def _register(cls, address: str) -> str:
        found = ADDRESS.fullmatch(address)
        if not found or int(found[2]) > 65535:
            raise ValueError(f"'{address}' is no register; write such as holding:100, input:7, coil:3 or discrete:0")
        return address

    @model_validator(mode="after")
    def _bit(self) -> Self:
        if self.table in ("coil", "discrete") and self.model_fields_set & {"type", "order"}:
            raise ValueError(f"{self.address} is one bit: it has no type and no order")
        return self

    @property
    def place(self) -> tuple[str, ...]:
        return (self.address, str(self.device))

    @property
    def table(self) -> str:
        return self.address.partition(":")[0]

    @property
    def first(self) -> int:
        return int(self.address.partition(":")[2])

    @property
    def size(self) -> int:
        """How many registers or bits."""
        return TYPES[self.type][1] if self.table in ("holding", "input") else 1

    def decoded(self, cells: Sequence[int | bool]) -> float:
        """The number in its registers or its bit."""
        if self.table in ("coil", "discrete"):
            return float(cells[0])
        body = self._ordered(struct.pack(f">{len(cells)}H", *cells))
        return float(struct.unpack(f">{TYPES[self.type][0]}", body)[0])

    def encoded(self, value: float) -> list[int]:
        """The registers of a number.

        Raises:
            ValueError: the type cannot hold it.
        """
        letter, count = TYPES[self.type]
        number: float | int = value
        if letter not in "fd":
            if value != int(value):
                raise ValueError(f"{value:g} is no whole number, and the register is {self.type}")
            number = int(value)
        try:
            body = struct.pack(f">{letter}", number)
        except (struct.error, OverflowError):
            raise ValueError(f"{value:g} does not fit into {self.type}") from None
        return list(struct.unpack(f">{count}H", self._ordered(body)))

    def _ordered(self, body: bytes) -> bytes:
        words = [body[i : i + 2] for i in range(0, len(body), 2)]
        if self.order in ("CDAB", "DCBA"):
            words.reverse()
        if self.order in ("BADC", "DCBA"):
            words = [word[::-1] for word in words]
        return b"".join(words)


class SinkOptions(Options):
    """A device, or a gateway to several.

    Args:
        timeout_s: of a request.
    """

    kind: Literal["modbus"] = "modbus"
    host: str
    port: int = Field(default=502, ge=1, le=65535)
    timeout_s: float = Field(default=3.0, gt=0)
    tags: Mapping[str, Register] = Field(default_factory=dict)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        taken: dict[tuple[str, int, int], str] = {}
        for tag, register in self.tags.items():
            for cell in range(register.first, register.first + register.size):
                other = taken.setdefault((register.table, register.device, cell), tag)
                if other != tag and self.tags[other].place != register.place:
                    yield tag, f"{register.table} {cell} belongs to '{other}' already: the register map overlaps"
                    break

    def unwritable(self) -> Iterator[tuple[str, str]]:
        """Tags of registers that can only be read."""
        for tag, register in self.tags.items():
            if register.table in ("input", "discrete"):
                yield tag, f"{register.address} can only be read; holding registers and coils can be written"


class SourceOptions(SinkOptions):
    """A device to poll, every `period_s`."""

    period_s: float = Field(default=1.0, gt=0)


def source(options: SourceOptions, context: Context) -> ModbusSource:
    """The source of a configuration."""
    return ModbusSource(options, context)


def sink(options: SinkOptions, context: Context) -> ModbusSink:
    """The sink of a configuration."""
    return ModbusSink(options, context)


@dataclass(frozen=True)
class Block:
    """What one request reads: cells of one table of one device, and the tags in it."""

    device: int
    table: str
    first: int
    count: int
    tags: tuple[str, ...]


def blocks(registers: Mapping[str, Register]) -> list[Block]:
    """As few requests as read all of them."""
    made: list[Block] = []
    for tag, r in sorted(registers.items(), key=lambda item: (item[1].device, item[1].table, item[1].first)):
        last = made[-1] if made else None
        if last and (last.device, last.table) == (r.device, r.table):
            count = max(last.count, r.first + r.size - last.first)
            if r.first <= last.first + last.count + APART and count <= MOST[r.table]:
                made[-1] = Block(last.device, last.table, last.first, count, (*last.tags, tag))
                continue
        made.append(Block(r.device, r.table, r.first, r.size, (tag,)))
    return made


class ModbusSource(BaseSource[SourceOptions]):
    """The registers of one device, polled."""

    def __init__(self, options: SourceOptions, context: Context) -> None:
        super().__init__(options, context)
        self._blocks = blocks(options.tags)
        self._client: AsyncModbusTcpClient | None = None

    async def __aenter__(self) -> Self:
        self._client = await connected(self._options)
        self.health.connected = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        self.health.connected = False

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        ticks = Ticks(self._options.period_s, self._clock, self.health)
        while True:
            await ticks.next()
            try:
                batch = await self._poll(self._blocks)
            except ConnectorError as error:
                self.health.failed(error.detail)
                await self._reconnect()
                continue
            self.health.count(batch, self._clock.now())
            yield batch

    async def read(self, tags: Sequence[str]) -> Samples:
        check_mapped(self._options, tags)
        found = (await self._poll(blocks({tag: self._options.tags[tag] for tag in tags}))).latest()
        return Samples.of((found[tag][0], tag, found[tag][1], found[tag][2]) for tag in tags)

    async def faults(self) -> Mapping[str, str]:
        found = {}
        for tag, register in self._options.tags.items():
            alone = blocks({tag: register})[0]
            _, why = await self._cells(alone)
            if why:
                found[tag] = f"the device does not answer for {register.address}: {why}"
        return found

    async def _poll(self, wanted: Iterable[Block]) -> Samples:
        rows = []
        for block in wanted:
            before = self._clock.now()
            cells, why = await self._cells(block)
            time = (before + self._clock.now()) // 2
            if why:
                self.health.last_error = f"{block.table} {block.first}: {why}"
            for tag in block.tags:
                register = self._options.tags[tag]
                at = register.first - block.first
                mine = cells[at : at + register.size]
                value = register.decoded(mine) if len(mine) == register.size else math.nan
                rows.append((time, tag, value, GOOD if math.isfinite(value) else BAD))
        return Samples.of(rows)

    async def _cells(self, block: Block) -> tuple[list[Any], str]:
        """The cells of a block, or none and what the device said.

        Raises:
            ConnectorError: there is no connection.
        """
        if self._client is None or not self._client.connected:
            raise ConnectorError(f"no connection to {self._options.host}:{self._options.port}")
        ask = {
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
        }[block.table]
        try:
            answer = await ask(block.first, count=block.count, device_id=block.device)
        except (ModbusException, OSError) as error:
            raise ConnectorError(f"no answer from {self._options.host}:{self._options.port}: {error}") from error
        if answer.isError():
            return [], refusal(answer)
        return list(answer.bits[: block.count] if block.table in ("coil", "discrete") else answer.registers), ""

    async def _reconnect(self) -> None:
        delay = 0.2
        while True:
            if self._client is not None:
                self._client.close()
            try:
                self._client = await connected(self._options)
            except ConnectorError as error:
                self.health.last_error = error.detail
                await asyncio.sleep(delay)
                delay = min(2 * delay, PATIENCE_S)
            else:
                self.health.back()
                return


class ModbusSink(BaseSink[SinkOptions]):
    """Holding registers and coils, written to one by one."""

    def __init__(self, options: SinkOptions, context: Context) -> None:
        super().__init__(options, context)
        self._client: AsyncModbusTcpClient | None = None

    async def __aenter__(self) -> Self:
        self._client = await connected(self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    async def write(self, values: Mapping[str, float]) -> None:
        check_writable(self._options, values)
        for tag, value in values.items():
            register = self._options.tags[tag]
            try:
                answer = await self._send(register, value)
            except (ModbusException, OSError, ValueError) as error:
                raise ConnectorError.of_tag(tag, str(error)) from error
            if answer.isError():
                raise ConnectorError.of_tag(tag, f"the device refused {value:g}: {refusal(answer)}")

    async def faults(self) -> Mapping[str, str]:
        return dict(self._options.unwritable())

    async def _send(self, register: Register, value: float) -> Any:
        if self._client is None or not self._client.connected:
            self._client = await connected(self._options)
        if register.table == "coil":
            return await self._client.write_coil(register.first, bool(value), device_id=register.device)
        if register.table != "holding":
            raise ValueError(f"{register.address} can only be read")
        return await self._client.write_registers(register.first, register.encoded(value), device_id=register.device)


async def connected(options: SinkOptions) -> AsyncModbusTcpClient:
    """A client with a connection.

    Raises:
        ConnectorError: there is none.
    """
    client = AsyncModbusTcpClient(
        options.host, port=options.port, timeout=options.timeout_s, retries=1, reconnect_delay=0
    )
    if not await client.connect():
        raise ConnectorError(f"no connection to {options.host}:{options.port}")
    return client


def refusal(answer: Any) -> str:
    """What a device's exception code says."""
    codes = {
        1: "it does not know this function",
        2: "it has no such address",
        3: "it does not accept the value",
        4: "it failed",
        6: "it is busy",
        10: "the gateway has no path to it",
        11: "it does not answer the gateway",
    }
    code = getattr(answer, "exception_code", None)
    return codes.get(code, f"exception {code}")  # type: ignore[arg-type]
