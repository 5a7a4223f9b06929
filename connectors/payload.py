"""Values in JSON payloads: where they are, and when they were measured."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from connectors.protocol import NS
from twin.storage.batch import BAD, GOOD, UNCERTAIN

Row = tuple[int, str, float, int]
QUALITIES = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}
LATEST = np.iinfo(np.int64)
UNITS = ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000))  # from so large on: ns, us, ms of the epoch; below: s


@dataclass(frozen=True)
class Fields:
    """Where a tag is in a payload; names with dots reach into objects, "" is the payload or nothing."""

    tag: str
    value: str
    time: str
    quality: str


def rows_of(body: bytes, wanted: Sequence[Fields], now: int) -> tuple[list[Row], dict[str, str]]:
    """The rows of a payload (an object, a list of objects, or a number alone) as far as they can be read.

    Args:
        now: ns, the time of what has none.

    Returns:
        The rows, and why others cannot be read, by tag: it is no JSON, a field is missing, a value is no number.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        return [], {fields.tag: str(error) for fields in wanted}
    rows: list[Row] = []
    faults: dict[str, str] = {}
    for item in told if isinstance(told, list) else [told]:
        for fields in wanted:
            try:
                rows.append(row_of(item, fields, now))
            except ValueError as error:
                faults[fields.tag] = str(error)
    return rows, faults


def row_of(item: Any, fields: Fields, now: int) -> Row:
    """The row of one object.

    Raises:
        ValueError: a field is missing, or a value is no number.
    """
    value = _at(item, fields.value or ("value" if isinstance(item, dict) else ""))
    time = stamp(_at(item, fields.time)) if fields.time else now
    number = math.nan if value is None else _number(value)
    code = quality(_at(item, fields.quality)) if fields.quality else GOOD
    return time, fields.tag, number, BAD if math.isnan(number) else code


def stamp(told: Any) -> int:
    """Ns of a time: ISO 8601 with an offset, or s, ms, us or ns since 1970.

    Raises:
        ValueError: it is none, or one beyond the years 1678 to 2261.
    """
    if isinstance(told, str):
        time = dt.datetime.fromisoformat(told)
        if time.tzinfo is None:
            raise ValueError(f"the time {told} has no offset")
        ns = (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1) * 1000
    elif isinstance(told, bool) or not isinstance(told, int | float) or not abs(told) < math.inf:
        raise ValueError(f"{told!r} is no time")
    else:
        factor = next((factor for size, factor in UNITS if abs(told) >= size), NS)
        ns = told * factor if isinstance(told, int) else round(told * factor)
    if not LATEST.min <= ns <= LATEST.max:
        raise ValueError(f"{str(told)[:30]} is no time")
    return ns


def quality(told: Any) -> int:
    """An OPC DA code of a code or a word.

    Raises:
        ValueError: it is none.
    """
    if isinstance(told, bool):
        return GOOD if told else BAD
    if isinstance(told, int) and 0 <= told <= 255:
        return told
    if isinstance(told, str) and told.lower() in QUALITIES:
        return QUALITIES[told.lower()]
    raise ValueError(f"{told!r} is no quality")


def _at(item: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        if not isinstance(item, dict) or name not in item:
            raise ValueError(f"there is no field '{path}'")
        item = item[name]
    return item


def _number(value: Any) -> float:
    if isinstance(value, bool | int | float | str):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("an integer beyond all numbers") from None
    raise ValueError(f"{str(value)[:60]!r} is no number")
