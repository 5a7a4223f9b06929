"""The service as the controller sees it: the plant, the planner, and where it reports and hears what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import httpx

from api.control.rows import ROWS, iso
from twin.plant import Plant

CONNECT_S = 2.0


class LinkError(Exception):
    """The service did not answer, refused, or was late; `code` says which."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Planner(Protocol):
    """Whatever answers optimize; the service is the only one outside of tests."""

    async def ask(self, question: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer of optimize.

        Raises:
            LinkError: there is none within `timeout_s` seconds of the wall clock.
        """
        ...


class ServiceLink:
    """Talks to one service about one plant.

    Args:
        url, key: of the service.
        slug: of the plant.
        transport: another way there, for tests.
    """

    def __init__(self, url: str, key: str | None, slug: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url, self._slug = url.rstrip("/"), slug
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers, transport=transport)

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def ask(self, question: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        return await self._send("POST", "/optimize", question, timeout_s)

    async def exchange(self, report: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        """Report state and records; what is wanted."""
        return await self._send("POST", "/controller/cycles", report, timeout_s)

    async def plant(self, timeout_s: float = 30.0) -> Plant:
        """The plant as it is described now."""
        body = await self._send("GET", "", None, timeout_s)
        return Plant.from_json({field: body[field] for field in ("name", "sample_period_s", "tags")})

    async def rows_before(self, now: int, period_s: float) -> dict[str, Any]:
        """The collected telemetry up to now (ns), as far as a question may look back: times, and values by tag."""
        start = iso(now - round(ROWS * period_s * 1e9))
        query = httpx.QueryParams({"start": start, "end": iso(now), "max_points": 100_000})
        return await self._send("GET", f"/telemetry?{query}", None, 30.0)

    async def _send(self, method: str, path: str, body: Any, timeout_s: float) -> dict[str, Any]:
        timeout = httpx.Timeout(max(timeout_s, 1e-3), connect=min(CONNECT_S, max(timeout_s, 1e-3)))
        try:
            answer = await self._http.request(method, f"/v1/plants/{self._slug}{path}", json=body, timeout=timeout)
        except httpx.TimeoutException:
            raise LinkError("late", f"no answer from {self.url} within {timeout_s:.2f} s") from None
        except httpx.TransportError as error:
            raise LinkError("service_lost", f"no answer from {self.url}: {error}") from None
        try:
            told = answer.json()
        except ValueError:
            told = {}
        if answer.is_error or not isinstance(told, dict):
            detail = told.get("detail", answer.reason_phrase) if isinstance(told, dict) else answer.reason_phrase
            raise LinkError("refused" if answer.status_code < 500 else "service_failed", str(detail))
        return told
