"""Runs the application under uvicorn; open event streams end when the server is told to."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType

import uvicorn

from api.main import create_app
from api.service import Service
from api.settings import Settings

GRACE_S = 5


class Server(uvicorn.Server):
    """uvicorn's server, which tells where it listens, and the service when it is about to close."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"[{host}]" if ":" in host else host
            scheme = "https" if self.config.is_ssl else "http"
            print(f"Plant Twin at {scheme}://{address}:{port}", file=sys.stderr, flush=True)  # noqa: T201

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Close in order, and end with exit code 0 rather than by the signal; a second Ctrl-C does not wait."""
        self._service.closing.set()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        TwinError: the address is beyond this machine and nobody has chosen a key.
    """
    app = create_app(settings)
    service: Service = app.state.service
    generated = service.keys.bootstrap(settings)
    if generated:
        print(f"The admin key, shown this once: {generated}", file=sys.stderr, flush=True)  # noqa: T201
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    Server(config, service).run()
