"""Sparkplug B as its messages come: births name the metrics and their aliases, deaths end them, numbers show gaps.

An address is `group/node:metric` or `group/node/device:metric`; metric names may have slashes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.protocol import NS, Health
from connectors.sparkplug_schema import DataType, Payload
from connectors.stated import is_unit
from twin.plant import near
from twin.storage.batch import BAD, GOOD, UNCERTAIN

NAMESPACE = "spBv1.0"
KINDS = ("NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA")
REBIRTH = "Node Control/Rebirth"
MS = NS // 1000
STALE = 500  # Sparkplug's quality of a value that was good
SIGNED = {DataType.Int8: 8, DataType.Int16: 16, DataType.Int32: 32, DataType.Int64: 64}
Row = tuple[int, str, float, int]


@dataclass
class Node:
    """What is known of one edge node.

    Attributes:
        next: the sequence number that must come next; None before its birth.
        birth: bdSeq of its birth, which its death must repeat.
        names: alias to (device, metric), and `types` and `units` of each metric, the latter where its birth states one.
        twice: (device, metric) → the alias that it shares with another.
    """

    next: int | None = None
    birth: float | None = None
    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    types: dict[tuple[str, str], int] = field(default_factory=dict)
    units: dict[tuple[str, str], str] = field(default_factory=dict)
    twice: dict[tuple[str, str], int] = field(default_factory=dict)


class Decoder:
    """Turns messages into rows.

    Attributes:
        rebirth: edge nodes, as group/node, that must be asked for a new birth; whoever asks clears it.

    Args:
        tags: by address.
    """

    def __init__(self, tags: Mapping[str, str], health: Health) -> None:
        self._tags = dict(tags)
        self._health = health
        self._nodes: dict[str, Node] = {}
        self.rebirth: set[str] = set()

    @property
    def edges(self) -> set[str]:
        """The edge nodes of all tags, as group/node."""
        return {"/".join(address.partition(":")[0].split("/")[:2]) for address in self._tags}

    def unborn(self) -> list[str]:
        """Edge nodes and devices of tags whose birth has not come, as group/node or group/node/device."""
        missing = []
        for place in sorted({address.partition(":")[0] for address in self._tags}):
            node, device = self._place(place)
            born = node is not None and node.next is not None
            if not born or (device and not any(owner == device for owner, _ in node.types)):
                missing.append(place)
        return missing

    def faults(self) -> dict[str, str]:
        """Tags whose metric a birth lacks, or whose metric holds no number, or shares its alias."""
        found, unborn = {}, set(self.unborn())
        for address, tag in self._tags.items():
            place, _, name = address.partition(":")
            if place in unborn:
                continue
            node, device = self._place(place)
            kind = node.types.get((device, name))
            if kind is None:
                names = [metric for owner, metric in node.types if owner == device]
                found[tag] = f"the birth of {place} has no metric '{name}'{near(name, names)}"
            elif kind not in set(DataType):
                found[tag] = f"{address} is of Sparkplug's type {kind}, no number"
            elif (alias := node.twice.get((device, name))) is not None:
                others = [metric for (_, metric), a in node.twice.items() if a == alias and metric != name]
                found[tag] = f"the alias {alias} is of '{name}' and of '{others[0] if others else name}'"
        return found

    def units(self) -> dict[str, str]:
        """The units that births state, by tag."""
        found = {}
        for address, tag in self._tags.items():
            place, _, name = address.partition(":")
            node, device = self._place(place)
            if node is not None and (unit := node.units.get((device, name))):
                found[tag] = unit
        return found

    def _place(self, place: str) -> tuple[Any, str]:
        """The node of group/node or group/node/device, None where nothing of it came, and the device."""
        group, edge, *device = place.split("/")
        return self._nodes.get(f"{group}/{edge}"), device[0] if device else ""

    def rows(self, topic: str, body: bytes, now: int) -> list[Row]:
        """The rows of one message; `now` (ns) is when it arrived.

        Raises:
            ValueError: it is no Sparkplug message.
        """
        parts = topic.split("/")
        if (
            len(parts) < 4
            or parts[0] != NAMESPACE
            or parts[2]
            not in ("NBIRTH", "NDEATH", "NDATA")
            + (
                "DBIRTH",
                "DDEATH",
                "DDATA",
            )
        ):
            return []
        _, group, kind, edge, *rest = parts
        device = rest[0] if rest else ""
        payload = Payload()
        try:
            payload.ParseFromString(body)
        except Exception as error:  # protobuf's DecodeError, of one of two implementations
            raise ValueError(f"{topic}: no Sparkplug payload: {error}") from None
        key = f"{group}/{edge}"
        node = self._nodes.setdefault(key, Node())
        if kind == "NDEATH":
            return self._died(key, node, payload, now)
        if kind == "NBIRTH":
            self._born(node, payload)
        elif not self._follows(key, node, payload):
            return []
        if kind == "DDEATH":
            return self._bad(f"{key}/{device}:", now)
        if kind in ("NBIRTH", "DBIRTH"):
            self._learn(key, node, device, payload)
        return list(self._values(key, node, device, payload, now))

    def _born(self, node: Node, payload: Any) -> None:
        node.next = (payload.seq + 1) % 256
        node.birth = next((_number(m, DataType.Int64) for m in payload.metrics if m.name == "bdSeq"), None)
        for learned in (node.names, node.types, node.units, node.twice):
            learned.clear()

    def _follows(self, key: str, node: Node, payload: Any) -> bool:
        """Whether the message is the next of its node; if not, a birth must come first."""
        if node.next is None:
            self.rebirth.add(key)
            return False
        if payload.seq != node.next:
            self._health.gaps += 1
            self._health.last_error = f"{key}: message {node.next} is missing, {payload.seq} came"
            self.rebirth.add(key)
        node.next = (payload.seq + 1) % 256
        return True

    def _learn(self, key: str, node: Node, device: str, payload: Any) -> None:
        """The aliases of a birth; one that two metrics have is worth nothing."""
        twice: set[int] = set()
        for metric in payload.metrics:
            node.types[device, metric.name] = metric.datatype
            if unit := _unit(metric):
                node.units[device, metric.name] = unit
            if metric.HasField("alias"):
                before = node.names.setdefault(metric.alias, (device, metric.name))
                if before != (device, metric.name):
                    twice.add(metric.alias)
                    node.twice |= {before: metric.alias, (device, metric.name): metric.alias}
                    self._health.last_error = (
                        f"{key}: the alias {metric.alias} is of '{before[1]}' and of '{metric.name}'; both are left out"
                    )
        for alias in twice:
            node.names[alias] = (device, "")

    def _values(self, key: str, node: Node, device: str, payload: Any, now: int) -> Iterator[Row]:
        for metric in payload.metrics:
            name = metric.name
            if not name:
                if metric.alias not in node.names:
                    self._health.refused += 1
                    self.rebirth.add(key)
                    continue
                device, name = node.names[metric.alias]
            tag = self._tags.get(f"{key}/{device}:{name}" if device else f"{key}:{name}")
            if tag is None:
                continue
            kind = metric.datatype or node.types.get((device, name), 0)
            time = (metric.timestamp or payload.timestamp) * MS or now
            value = None if metric.is_null else _number(metric, kind)
            yield time, tag, float("nan") if value is None else float(value), _quality(metric, value)

    def _died(self, key: str, node: Node, payload: Any, now: int) -> list[Row]:
        """All of a node that died go bad; the death of an earlier life is none."""
        last = next((_number(m, DataType.Int64) for m in payload.metrics if m.name == "bdSeq"), None)
        if node.next is None or (node.birth is not None and last is not None and last != node.birth):
            return []
        node.next = None
        return [*self._bad(f"{key}:", now), *self._bad(f"{key}/", now)]

    def _bad(self, prefix: str, now: int) -> list[Row]:
        return [(now, tag, float("nan"), BAD) for address, tag in self._tags.items() if address.startswith(prefix)]


def command(address: str, value: float, kind: DataType = DataType.Double) -> tuple[str, bytes]:
    """The topic and payload that ask an edge node to set a metric."""
    place, _, metric = address.partition(":")
    group, edge, *device = place.split("/")
    topic = "/".join([NAMESPACE, group, "DCMD" if device else "NCMD", edge, *device])
    payload = Payload()
    made = payload.metrics.add(name=metric, datatype=int(kind))
    if kind is DataType.Boolean:
        made.boolean_value = bool(value)
    else:
        made.double_value = float(value)
    return topic, payload.SerializeToString()


def _number(metric: Any, kind: int) -> float | None:
    """The number in a metric; None where it holds none."""
    which = metric.WhichOneof("value")
    if which is None or which in ("string_value", "bytes_value"):
        return None
    value = getattr(metric, which)
    bits = SIGNED.get(kind)  # type: ignore[call-overload]
    if bits and which in ("int_value", "long_value"):
        value &= (1 << bits) - 1
        return int(value - (1 << bits)) if value >> (bits - 1) else int(value)
    if which == "int_value" and kind == DataType.Float:  # some encoders put its bits there
        return float(struct.unpack("<f", struct.pack("<I", value))[0])
    return float(value)


def _unit(metric: Any) -> str:
    """The unit among a metric's properties (`engUnit`, as Ignition and others name it)."""
    for key, told in zip(metric.properties.keys, metric.properties.values, strict=False):
        if is_unit(key) and told.WhichOneof("value") == "string_value":
            return str(told.string_value).strip()
    return ""


def _quality(metric: Any, value: float | None) -> int:
    if value is None or value != value:
        return BAD
    for key, told in zip(metric.properties.keys, metric.properties.values, strict=False):
        if key == "Quality":
            code = told.int_value if told.WhichOneof("value") == "int_value" else told.long_value
            return UNCERTAIN if code == STALE else int(code) if code <= 255 else BAD
    return GOOD
