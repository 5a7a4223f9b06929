"""Thrift's compact protocol, as far as Parquet uses it: structs of integers, texts, lists and structs.

Arrow reads the same bytes; what it would take for another number must be that number here too, so integers wrap and
the last of two fields counts, as in Apache Thrift (thrift-compact-protocol.md).
"""

from __future__ import annotations

from typing import Any

BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 3, 4, 5, 6, 7, 8, 9, 10, 12
BOOLEANS = (1, 2)
DEEPEST = 16  # of structs and lists in each other
BITS = {I16: 16, I32: 32, I64: 64}
LONG = 15  # elements of a list from which on their number stands apart

Fields = dict[tuple[int, int], Any]  # (number, kind) → value


def struct(data: bytes, at: int, depth: int = 1) -> tuple[Fields, int]:
    """A struct that begins there, and its end: integers, structs and lists of structs; of others only their room.

    Raises:
        IndexError, ValueError: the data end first, or hold what Parquet never has.
    """
    found: Fields = {}
    number, kind, at = field(data, at, 0)
    while kind:
        found[number, kind], at = value(data, at, kind, depth)
        number, kind, at = field(data, at, number)
    return found, at


def field(data: bytes, at: int, before: int) -> tuple[int, int, int]:
    """Number and kind of the next field of a struct, kind 0 at its end, and where its value begins."""
    head = data[at]
    at += 1
    kind = head & 15
    if head >> 4:
        number = before + (head >> 4)
    elif kind:
        number, at = varint(data, at)
        number = signed(number)
    else:
        return 0, 0, at
    return (number + 0x8000 & 0xFFFF) - 0x8000, kind, at


def value(data: bytes, at: int, kind: int, depth: int, apart: bool = False) -> tuple[Any, int]:
    """A value of a kind that begins there, and its end.

    Args:
        apart: whether it is an element of a list: there booleans take a byte.
    """
    if depth > DEEPEST:
        raise ValueError(depth)
    if kind in BITS:
        number, at = varint(data, at)
        return signed(number & (1 << BITS[kind]) - 1), at
    if kind == BINARY:
        number, at = varint(data, at)
        return None, at + number
    if kind == STRUCT:
        return struct(data, at, depth + 1)
    if kind in (LIST, SET):
        size, kind, at = listed(data, at)
        found = []
        for _ in range(size):
            one, at = value(data, at, kind, depth + 1, apart=True)
            found.append(one)
        return found, at
    if kind in BOOLEANS:
        return None, at + apart
    if kind in (BYTE, DOUBLE):
        return None, at + (8 if kind == DOUBLE else 1)
    raise ValueError(kind)


def listed(data: bytes, at: int) -> tuple[int, int, int]:
    """How many elements a list has, of which kind, and where they begin.

    Raises:
        IndexError: more than the data have room for.
    """
    head = data[at]
    at += 1
    size, kind = head >> 4, head & 15
    if size == LONG:
        size, at = varint(data, at)
    if size > len(data) - at:
        raise IndexError(size)
    return size, kind, at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer, seven bits a byte, the low ones first; and its end."""
    number, shift = 0, 0
    while (byte := data[at]) > 127:
        number |= (byte & 127) << shift
        shift += 7
        at += 1
        if shift > 63:
            raise ValueError(shift)
    return number | byte << shift, at + 1


def signed(number: int) -> int:
    """Of a zigzag encoding: 0, -1, 1, -2, …"""
    return number >> 1 ^ -(number & 1)
