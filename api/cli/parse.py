"""What is written on the command line as the service wants it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer


def steps(texts: Iterable[str]) -> dict[str, list[dict[str, float]]]:
    """`tag=value` or `tag=value@seconds`, to the steps of each tag."""
    found: dict[str, list[dict[str, float]]] = {}
    for text in texts:
        tag, value = _pair(text)
        amount, _, after = value.partition("@")
        found.setdefault(tag, []).append({"after_s": number(after or "0", text), "value": number(amount, text)})
    return found


def numbers(texts: Iterable[str]) -> dict[str, float]:
    """`tag=value`, to the value of each tag."""
    return {tag: number(value, text) for text in texts for tag, value in [_pair(text)]}


def ranges(texts: Iterable[str]) -> dict[str, dict[str, float]]:
    """`tag=low:high` (either may be empty), to the limits of each tag."""
    found: dict[str, dict[str, float]] = {}
    for text in texts:
        tag, value = _pair(text)
        low, colon, high = value.partition(":")
        if not colon:
            raise typer.BadParameter(f"'{text}' is not tag=low:high")
        found[tag] = {k: number(v, text) for k, v in (("low", low), ("high", high)) if v}
    return found


def signs(texts: Iterable[str]) -> dict[str, dict[str, int]]:
    """`MV:CV=sign`, to the signs of gains."""
    found: dict[str, dict[str, int]] = {}
    for text in texts:
        tags, value = _pair(text)
        mv, colon, cv = tags.partition(":")
        if not colon or value not in ("1", "+1", "-1", "0"):
            raise typer.BadParameter(f"'{text}' is not MV:CV=+1, -1 or 0", param_hint="--gain-sign")
        found.setdefault(mv, {})[cv] = int(value)
    return found


def number(text: str, where: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' in '{where}' is no number") from None


def question(path: Path | None) -> dict[str, Any]:
    """The JSON object of a file."""
    if path is None:
        return {}
    try:
        body = json.loads(path.read_text())
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise typer.BadParameter(f"{path} holds no JSON object")
    return body


def _pair(text: str) -> tuple[str, str]:
    tag, equals, value = text.rpartition("=")
    if not equals or not tag:
        raise typer.BadParameter(f"'{text}' is not tag=value")
    return tag, value


def renamed(texts: Iterable[str]) -> dict[str, str]:
    """`FLEET=OWN`, to a plant's tags by a fleet's."""
    found = {}
    for text in texts:
        fleets, sign, own = text.rpartition("=")
        if not (fleets and sign and own):
            raise typer.BadParameter(f"'{text}' is not FLEET=OWN", param_hint="--fleet-tag")
        found[fleets] = own
    return found
