"""Around every request: the size limit of its body, its id, security headers, the latency metric, a line of log."""

from __future__ import annotations

import re
import secrets
import time

import anyio
import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics

log = structlog.get_logger()

REQUEST_ID = b"x-request-id"
CLEAN = re.compile(r"[A-Za-z0-9._-]{1,64}")

HEADERS = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class BodyLimit:
    """Refuses bodies over a limit, which is larger for uploads of telemetry, before they are in memory."""

    def __init__(self, app: ASGIApp, request_bytes: int, upload_bytes: int) -> None:
        self._app = app
        self._request_bytes = request_bytes
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        of_telemetry = scope["path"].endswith("/telemetry") or "/telemetry/files/" in scope["path"]
        limit = self._upload_bytes if of_telemetry else self._request_bytes
        announced = next((int(v) for k, v in scope["headers"] if k == b"content-length" and v.isdigit()), 0)
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if max(received, announced) > limit:
                raise HTTPException(413, f"the body is over {limit} bytes; send it in parts")
            return message

        await self._app(scope, limited, send)


class Around:
    """ASGI middleware; an answer's own header of the same name stays."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        request_id = _request_id(scope)

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name.lower() for name, _ in message["headers"]}
                more = [*HEADERS, (REQUEST_ID, request_id.encode())]
                message["headers"] = [*message["headers"], *(h for h in more if h[0] not in own)]
            await send(message)

        structlog.contextvars.bind_contextvars(request=request_id)

        try:
            await self._app(scope, receive, with_headers)
        except* anyio.BrokenResourceError:  # an event stream whose reader has gone
            log.debug("reader gone", path=scope["path"])
        finally:
            took = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.requests.labels(scope["method"], route, status).inc()
            self._metrics.latency.labels(scope["method"], route).observe(took)
            log.debug("request", method=scope["method"], path=scope["path"], status=status, ms=round(took * 1e3, 1))
            structlog.contextvars.unbind_contextvars("request")


def _request_id(scope: Scope) -> str:
    """The caller's X-Request-ID, where it is one that a log can hold, or a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == REQUEST_ID), "")
    return given if CLEAN.fullmatch(given) else secrets.token_hex(8)
