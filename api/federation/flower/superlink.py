"""Flower's SuperLink, open to other machines for what sites need and for nothing else.

One port serves the sites (Fleet API), whoever starts runs and registers sites (Control API), and apps (Runtime API).
Without an account service the Control API takes anybody for its owner: here it answers the loopback alone.
"""

from __future__ import annotations

import ipaddress

from flwr.superlink import extensions
from flwr.superlink.cli.flower_superlink import flower_superlink
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = ("/v1/fleet/", "/health")


class LoopbackOnly:
    """Refuses other machines all but `OPEN`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(OPEN) and not _local(scope):
            await PlainTextResponse("only from this machine", status_code=403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _local(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and ipaddress.ip_address(client[0]).is_loopback


if __name__ == "__main__":
    extensions.get_middleware = lambda: (Middleware(LoopbackOnly),)
    flower_superlink()
