"""What a call wants done, as data: a call is a generator that yields commands and knows no input or output.

So each call is written once, its retries and paging included, and runs under both clients. A command's outcome is sent
back into the flow; an `httpx.TransportError` is thrown into it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """A body that can be sent more than once.

    Attributes:
        chunks: opens it anew.
        size: bytes, where known.
    """

    chunks: Callable[[], Iterator[bytes]]
    size: int | None = None


@dataclass(frozen=True)
class Request:
    """One request; `repeatable` where sending it twice does no more than sending it once."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    content: Content | None = None
    repeatable: bool = True


@dataclass(frozen=True)
class Send:
    """Send it once; the outcome is the answer, read to its end."""

    request: Request


@dataclass(frozen=True)
class Open:
    """Send it once and leave the answer open; the outcome is the answer, read to its end where it is an error."""

    request: Request


@dataclass(frozen=True)
class Line:
    """The next line of the open answer; None at its end."""


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Give:
    """Hand an item to the caller of a listing."""

    item: Any


Command = Send | Open | Line | Pause | Give
Flow = Generator[Command, Any, T]
