"""What an OPC UA server has to offer: its variables that hold numbers, as lines for the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from asyncua import ua

from connectors.opcua_link import Link, numeric

AT_ONCE = 200  # nodes of one request
MOST = 200_000  # nodes that are looked at
SERVER = "i=2253"  # the server's own diagnostics
OBJECTS = "i=85"
BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Variable:
    """A node with a number: where it is, its names from the top down, and its type."""

    address: str
    path: tuple[str, ...]
    type: str


async def browse(link: Link, start: str = OBJECTS) -> list[Variable]:
    """All variables below a node that hold one number, in the order of their paths.

    Raises:
        ConnectorError: there is no connection.
    """
    found: dict[str, tuple[str, ...]] = {}
    seen = {SERVER, start}
    level: dict[str, tuple[str, ...]] = {start: ()}
    while level and len(seen) < MOST:
        below: dict[str, tuple[str, ...]] = {}
        for address, path, kind in await _children(link, level):
            if address in seen:
                continue
            seen.add(address)
            below[address] = path
            if kind is ua.NodeClass.Variable:
                found[address] = path
        level = below
    values = await link.read(list(found))
    variables = [
        Variable(address, path, value.Value.VariantType.name)
        for (address, path), value in zip(found.items(), values, strict=True)
        if value.Value is not None and numeric(value.Value.VariantType) and not value.Value.is_array
    ]
    return sorted(variables, key=lambda variable: variable.path)


def lines(variables: list[Variable]) -> Iterator[str]:
    """A table of tags for the file; where two would have the same name, the path tells them apart."""
    taken: set[str] = set()
    for variable in variables:
        name = variable.path[-1]
        if name in taken:
            name = ".".join(variable.path)
        taken.add(name)
        key = name if BARE.fullmatch(name) else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        yield f'{key} = "{variable.address}"  # {variable.type}, {"/".join(variable.path)}'


async def _children(link: Link, parents: dict[str, tuple[str, ...]]) -> list[tuple[str, tuple[str, ...], ua.NodeClass]]:
    """The address, path and class of all nodes right below these."""
    made = []
    addresses = list(parents)
    for start in range(0, len(addresses), AT_ONCE):
        some = addresses[start : start + AT_ONCE]
        for parent, references in zip(some, await link.references(some), strict=True):
            for reference in references:
                path = (*parents[parent], str(reference.BrowseName.Name))
                made.append((reference.NodeId.to_string(), path, reference.NodeClass))
    return made
