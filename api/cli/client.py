"""The service as the command line sees it: requests, refusals and event streams."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from api.settings import ClientSettings

CONNECT_S = 5.0
RETRIES = 20  # of an event stream that broke off


class RefusedError(Exception):
    """The service answered with a problem."""

    def __init__(self, status: int, detail: str, errors: list[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors


class UnreachableError(Exception):
    """No service answers."""


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    id: str
    kind: str
    data: dict[str, Any]


class Client:
    """Talks to one service.

    Args:
        url, key: by default those of the environment (`TWIN_URL`, `TWIN_KEY`).
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        settings = ClientSettings()
        self.url = (url or settings.url).rstrip("/")
        key = key or (settings.key.get_secret_value() if settings.key else None)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=httpx.Timeout(None, connect=CONNECT_S))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON at a path; parameters that are None are left out."""
        return self.request("GET", path, params={k: v for k, v in params.items() if v is not None}).json()

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON; what is answered, None where that is empty."""
        answer = self.request(method, path, json=body) if body is not None else self.request(method, path)
        return answer.json() if answer.content else None

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request.

        Raises:
            RefusedError: the answer is a problem.
            UnreachableError: there is no answer.
        """
        with self._reaching():
            answer = self._http.request(method, path, **options)
            _check(answer)
        return answer

    def upload(self, plant: str, content: Iterable[bytes], headers: Mapping[str, str], timezone: str | None) -> Any:
        """Upload telemetry; the receipt."""
        params = {"timezone": timezone} if timezone else {}
        path = f"/v1/plants/{plant}/telemetry"
        return self.request("POST", path, content=content, headers=dict(headers), params=params).json()

    def events(self, job: str) -> Iterator[Event]:
        """The events of a job until it ends; a stream that breaks off is resumed."""
        last = "0"
        for _ in range(RETRIES):
            try:
                for event in self._stream(job, last):
                    last = event.id
                    yield event
                    if event.data.get("state") in ("succeeded", "failed", "cancelled"):
                        return
            except UnreachableError:
                continue
        raise UnreachableError(f"the events of {job} break off again and again")

    def _stream(self, job: str, last: str) -> Iterator[Event]:
        headers = {"Last-Event-ID": last}
        with self._reaching(), self._http.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
            if answer.is_error:
                answer.read()
            _check(answer)
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if not line and "data" in fields:
                    yield Event(fields.get("id", last), fields.get("event", ""), json.loads(fields["data"]))
                    fields = {}
                elif name:
                    fields[name] = value

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise UnreachableError(f"no answer from {self.url}: {error}; is `twin serve` running?") from error


def _check(answer: httpx.Response) -> None:
    if answer.is_error:
        try:
            body = answer.json()
        except ValueError:
            body = {}
        raise RefusedError(answer.status_code, body.get("detail", answer.reason_phrase), body.get("errors", []))
