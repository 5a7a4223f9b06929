"""Units that names and metadata state: the bracket behind a column's name, and fields of Arrow and Parquet."""

from __future__ import annotations

import re
from collections.abc import Mapping

BRACKET = re.compile(r"\S\s*\[([^\[\]]+)\]\s*$")
KEYS = ("unit", "units", "eu", "engunit", "engunits", "engineeringunit", "engineeringunits")


def of_name(name: str | None) -> str:
    """The unit in the bracket that ends a name, such as "level [cm]"; "" where there is none."""
    found = BRACKET.search(name or "")
    return found[1].strip() if found else ""


def of_metadata(told: Mapping[bytes, bytes] | None) -> str:
    """The unit that a field's metadata state, by one of the usual keys; "" where they state none."""
    for key, value in (told or {}).items():
        if is_unit(key.decode("utf-8", "replace")):
            return value.decode("utf-8", "replace").strip()
    return ""


def is_unit(key: str) -> bool:
    """Whether a property of such a name is a unit: `engUnit`, `unit`, `Engineering Units` and the like."""
    return key.lower().replace("_", "").replace(" ", "") in KEYS
