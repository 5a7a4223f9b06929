"""A call as a method of a client: blocking or awaiting, with a result or with items one by one."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import httpx

from api.client.calls import Calls, Items
from api.client.flow import Flow
from api.client.wires import AsyncWire, Wire, perform, perform_async

P = ParamSpec("P")
T = TypeVar("T")


class Blocking(Protocol):
    """What a blocking method needs of its client."""

    calls: Calls
    http: httpx.Client


class Awaiting(Protocol):
    """What an awaiting method needs of its client."""

    calls: Calls
    http: httpx.AsyncClient


class Method(Generic[P, T]):
    """Blocks until the call has its result."""

    def __init__(self, call: Callable[Concatenate[Calls, P], Flow[T]]) -> None:
        self.call = call

    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]:
        call = _bound(self.call, client.calls)

        @functools.wraps(call)
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            items = perform(call(*args, **kwargs), Wire(client.http))
            while True:
                try:
                    next(items)
                except StopIteration as end:
                    result: T = end.value
                    return result

        return method


class Listing(Generic[P, T]):
    """Iterates over what the call gives."""

    def __init__(self, call: Callable[Concatenate[Calls, P], Flow[Items[T]]]) -> None:
        self.call = call

    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[T]]:
        call = _bound(self.call, client.calls)

        @functools.wraps(call)
        def method(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            return perform(call(*args, **kwargs), Wire(client.http))

        return method


class AsyncMethod(Generic[P, T]):
    """Awaits the result of the call."""

    def __init__(self, call: Callable[Concatenate[Calls, P], Flow[T]]) -> None:
        self.call = call

    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]:
        call = _bound(self.call, client.calls)

        @functools.wraps(call)
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            results: list[T] = []
            async for _ in perform_async(call(*args, **kwargs), AsyncWire(client.http), results):
                pass
            return results[0]

        return method


class AsyncListing(Generic[P, T]):
    """Iterates, awaiting, over what the call gives."""

    def __init__(self, call: Callable[Concatenate[Calls, P], Flow[Items[T]]]) -> None:
        self.call = call

    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]:
        call = _bound(self.call, client.calls)

        @functools.wraps(call)
        def method(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
            return perform_async(call(*args, **kwargs), AsyncWire(client.http), [])

        return method


def _bound(call: Callable[Concatenate[Calls, P], Flow[T]], calls: Calls) -> Callable[P, Flow[T]]:
    """The call of these calls, with its own signature and docstring."""
    bound: Callable[P, Flow[T]] = call.__get__(calls)
    return bound
