"""Historians over HTTP, in the manner of the PI Web API: recorded values by pages, backfill, present values, writes."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import httpx
from pydantic import Field, field_validator

from connectors import certificates
from connectors.base import BaseSink, BaseSource, check_mapped, check_writable
from connectors.errors import ConnectorError
from connectors.kinds import Context
from connectors.options import Options
from connectors.payload import Row, stamp
from connectors.protocol import NS, Health, Samples
from connectors.ticks import Ticks
from twin.storage.batch import BAD, GOOD, UNCERTAIN

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class SinkOptions(Options):
    """A service; the addresses of tags are its WebIds.

    Args:
        url: of the API, such as https://historian/piwebapi.
        username, password_env: basic authentication; `token_env` a bearer token instead.
        ca: a file to trust beside the system's certificates.
    """

    kind: Literal["rest"] = "rest"
    url: str = Field(pattern=r"^https?://.+")
    username: str | None = None
    password_env: str | None = None
    token_env: str | None = None
    ca: str | None = None
    timeout_s: float = Field(default=30.0, gt=0)

    _valid = field_validator("ca")(lambda path: path and certificates.checked(path))


class SourceOptions(SinkOptions):
    """A service to ask.

    Args:
        period_s: how often it is asked.
        page: values of one answer, at most.
        history_s: how far back the very first question goes.
    """

    period_s: float = Field(default=10.0, gt=0)
    page: int = Field(default=1000, ge=2, le=150_000)
    history_s: float = Field(default=0.0, ge=0)


def source(options: SourceOptions, context: Context) -> RestSource:
    """The source of a configuration."""
    return RestSource(options, context)


def sink(options: SinkOptions, context: Context) -> RestSink:
    """The sink of a configuration."""
    return RestSink(options, context)


class Api:
    """The service, with its refusals as ours."""

    def __init__(self, options: SinkOptions, context: Context) -> None:
        self._url = options.url.rstrip("/")
        token = context.secret(options.token_env)
        auth = (options.username, context.secret(options.password_env) or "") if options.username else None
        self._http = httpx.AsyncClient(
            auth=auth,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=options.timeout_s,
            verify=certificates.context(options.ca) if options.ca else True,
            follow_redirects=False,
        )

    async def asked(self, method: str, path: str, **given: Any) -> Any:
        """The JSON of an answer; None where it is empty.

        Raises:
            ConnectorError: no answer, or a refusal.
        """
        url = path if path.startswith("http") else self._url + path
        if not url.startswith(self._url):
            raise ConnectorError(f"{self._url} points to another place: {url}")
        try:
            answer = await self._http.request(method, url, **given)
        except httpx.HTTPError as error:
            raise ConnectorError(f"no answer from {self._url}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise ConnectorError(f"{url.partition('?')[0]} answers {answer.status_code} {answer.reason_phrase}")
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise ConnectorError(f"{url.partition('?')[0]} answers no JSON") from None

    async def close(self) -> None:
        await self._http.aclose()


class RestSource(BaseSource[SourceOptions]):
    """Recorded values since the last ones, tag by tag."""

    def __init__(self, options: SourceOptions, context: Context) -> None:
        super().__init__(options, context)
        self._api = Api(options, context)
        self._units: dict[str, str] = {}  # by tag, as the present values tell them

    async def __aenter__(self) -> Self:
        for mapped in list(self._options.tags.values())[:1]:
            await self._api.asked("GET", f"/streams/{mapped.address}/value")
        self.health.connected = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()
        self.health.connected = False

    async def batches(self, position: str | None = None) -> AsyncIterator[Samples]:
        first = self._clock.now() - round(self._options.history_s * NS)
        reached: dict[str, int] = dict.fromkeys(self._options.tags, first) | (json.loads(position) if position else {})
        ticks = Ticks(self._options.period_s, self._clock, Health("", ""))
        while True:
            for tag in self._options.tags:
                try:
                    async for rows in self._recorded(tag, reached[tag]):
                        self._answered()
                        reached[tag] = max(reached[tag], rows[-1][0])
                        batch = Samples.of(rows, json.dumps(reached))
                        self.health.count(batch, self._clock.now())
                        yield batch
                    self._answered()
                except ConnectorError as error:
                    self.health.failed(error.detail)
                    break
            await ticks.next()

    async def read(self, tags: Sequence[str]) -> Samples:
        check_mapped(self._options, tags)
        rows = []
        for tag in tags:
            item = await self._api.asked("GET", f"/streams/{self._options.tags[tag].address}/value")
            rows.append(row(tag, item))
        return Samples.of(rows)

    async def faults(self) -> Mapping[str, str]:
        found = {}
        for tag, mapped in self._options.tags.items():
            try:
                item = await self._api.asked("GET", f"/streams/{mapped.address}/value")
                row(tag, item)
                self._units[tag] = str(item.get("UnitsAbbreviation") or "")
            except (ConnectorError, ValueError) as error:
                found[tag] = str(error)
        return found

    async def units(self) -> Mapping[str, str]:
        return {tag: unit for tag, unit in self._units.items() if unit}

    async def _recorded(self, tag: str, since: int) -> AsyncIterator[list[Row]]:
        """What was recorded behind a time (ns), in pages."""
        path: str | None = f"/streams/{self._options.tags[tag].address}/recorded"
        start = (EPOCH + dt.timedelta(microseconds=since // 1000)).isoformat().replace("+00:00", "Z")
        params: dict[str, Any] | None = {
            "startTime": start,
            "endTime": "*",
            "boundaryType": "Inside",
            "maxCount": self._options.page,
        }
        last = since
        while path is not None:
            answer = await self._api.asked("GET", path, params=params)
            rows = [r for r in self._rows(tag, answer.get("Items", [])) if r[0] > last]
            if rows:
                yield rows
                last = rows[-1][0]
            path, params = (answer.get("Links") or {}).get("Next"), None
            if not rows:
                return

    def _rows(self, tag: str, items: Sequence[Mapping[str, Any]]) -> list[Row]:
        rows = []
        for item in items:
            try:
                rows.append(row(tag, item))
            except ValueError as error:
                self.health.refused += 1
                self.health.last_error = f"'{tag}': {error}"
        return sorted(rows)


class RestSink(BaseSink[SinkOptions]):
    """Writes the present value of streams."""

    def __init__(self, options: SinkOptions, context: Context) -> None:
        super().__init__(options, context)
        self._api = Api(options, context)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()

    async def write(self, values: Mapping[str, float]) -> None:
        check_writable(self._options, values)
        now = (EPOCH + dt.timedelta(microseconds=self._clock.now() // 1000)).isoformat().replace("+00:00", "Z")
        for tag, value in values.items():
            path = f"/streams/{self._options.tags[tag].address}/value"
            try:
                await self._api.asked("POST", path, json={"Timestamp": now, "Value": value})
            except ConnectorError as error:
                raise ConnectorError.of_tag(tag, error.detail) from error


def row(tag: str, item: Mapping[str, Any]) -> Row:
    """A timed value of the API; a system state such as "I/O Timeout" is a bad value.

    Raises:
        ValueError: it has no time, or holds text.
    """
    value = item.get("Value")
    time = stamp(_seventh(str(item.get("Timestamp", ""))))
    if isinstance(value, Mapping):  # a digital state
        value = None if value.get("IsSystem") else value.get("Value")
    if value is None or not item.get("Good", True):
        return time, tag, math.nan if value is None else float(value), BAD
    if isinstance(value, str):
        raise ValueError(f"'{value[:40]}' is no number")
    return time, tag, float(value), UNCERTAIN if item.get("Questionable") or item.get("Substituted") else GOOD


def _seventh(text: str) -> str:
    """The API writes seven decimals of a second; six can be read."""
    head, dot, rest = text.partition(".")
    digits = rest.rstrip("Z")
    return f"{head}.{digits[:6]}Z" if dot and rest.endswith("Z") else text
