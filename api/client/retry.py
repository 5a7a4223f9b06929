"""Requests that are sent again: after 429, 503 and broken connections, where sending twice does no harm."""

from __future__ import annotations

import random
from dataclasses import dataclass

import httpx

from api.client.errors import UnreachableError
from api.client.flow import Flow, Pause, Request, Send

LATER = (429, 503)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)  # so that any request may be sent again
BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)  # a time-out is none: the service is slow, not gone


@dataclass(frozen=True)
class Retry:
    """How often, and after how long: exponential back-off with jitter, or what `Retry-After` asks for.

    Attributes:
        times: how often a request is sent again at most; 0 switches retries off.
        first_s, longest_s: the back-off before the first retry, and the bound of all.
    """

    times: int = 4
    first_s: float = 0.25
    longest_s: float = 10.0

    def pause(self, attempt: int, answer: httpx.Response | None = None) -> Pause:
        """Before attempt 1, 2, …"""
        asked = "" if answer is None else answer.headers.get("Retry-After", "")
        if asked.isascii() and asked.isdigit():
            return Pause(min(float(asked), self.longest_s))
        return Pause(random.uniform(0.5, 1.0) * min(self.first_s * 2 ** (attempt - 1), self.longest_s))  # noqa: S311


def send(request: Request, retry: Retry) -> Flow[httpx.Response]:
    """The answer to a request, whatever its status.

    Raises:
        UnreachableError: there is none, after the last retry.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            answer: httpx.Response = yield Send(request)
        except httpx.TransportError as error:
            again = isinstance(error, NOT_SENT) or (request.repeatable and isinstance(error, BROKEN))
            if not again or attempt > retry.times:
                raise UnreachableError(f"no answer to {request.method} {request.path}: {said(error)}") from error
            yield retry.pause(attempt)
        else:
            if answer.status_code not in LATER or not request.repeatable or attempt > retry.times:
                return answer
            yield retry.pause(attempt, answer)


def said(error: httpx.TransportError) -> str:
    """An error of the connection in words; some have no text."""
    return str(error) or type(error).__name__
