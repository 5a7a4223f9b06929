"""Sending segments to the service, again and again until it has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import httpx

from connectors.errors import ConnectorError
from twin.plant import Plant

ARROW_TYPE = "application/vnd.apache.arrow.stream"
HOPELESS = (400, 409, 413, 415, 422)  # the body itself is refused: sending it again would not help


class SegmentRefused(ConnectorError):
    """The service will not take this segment, now or later."""


class Sender(Protocol):
    """Where segments go."""

    async def send(self, body: bytes, key: str) -> Mapping[str, Any]:
        """Hand over one segment; the receipt.

        Raises:
            SegmentRefused: it will never be taken.
            ConnectorError: not now; try again.
        """
        ...

    async def report(self, sources: Sequence[Mapping[str, Any]]) -> None:
        """Tell how the sources fare.

        Raises:
            ConnectorError: it did not arrive.
        """
        ...


class ServiceSender:
    """The telemetry upload of a service.

    Args:
        transport: another way to it than the network, for tests.
    """

    def __init__(
        self, url: str, key: str | None, plant: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(60.0, connect=5.0)
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, transport=transport)
        self._path = f"/v1/plants/{plant}"
        self._url = url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def plant(self) -> Plant:
        """The plant as the service describes it.

        Raises:
            ConnectorError: it does not answer, or has no such plant.
        """
        body = (await self._asked("GET", self._path)).json()
        return Plant.from_json({name: body[name] for name in ("name", "sample_period_s", "tags")})

    async def send(self, body: bytes, key: str) -> Mapping[str, Any]:
        headers = {"Content-Type": ARROW_TYPE, "Idempotency-Key": key}
        receipt: dict[str, Any] = (
            await self._asked("POST", f"{self._path}/telemetry", content=body, headers=headers)
        ).json()
        return receipt

    async def report(self, sources: Sequence[Mapping[str, Any]]) -> None:
        await self._asked("PUT", f"{self._path}/sources", json={"sources": list(sources)})

    async def _asked(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            raise ConnectorError(f"no answer from {self._url}: {error or type(error).__name__}") from error
        if answer.is_success:
            return answer
        try:
            detail = answer.json().get("detail", answer.reason_phrase)
        except ValueError:
            detail = answer.reason_phrase
        kind = SegmentRefused if answer.status_code in HOPELESS else ConnectorError
        raise kind(f"{self._url}{path} answers {answer.status_code}: {detail}")
