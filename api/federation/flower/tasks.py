"""Taking tasks from Flower's Runtime API, as its SuperExec does, to run them in this very process.

Flower would unpack the app that came with the run and start a process on it for each message. Here the app is what is
installed; whatever came with the run is left alone, so that no server can send a program to a site.
"""

from __future__ import annotations

import os
import queue
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import frames
import httpx
import numpy as np
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient

Frame = tuple[dict[str, Any], np.ndarray]
POLL_S = 0.5
RETRY_S = 60.0  # of one task
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}  # Flower would report home


class Ended(Exception):
    """Flower's own process ended."""


class Pipe:
    """The frames that our own process writes, read as they come, so that its end is noticed at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self.closed = threading.Event()
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def read(self) -> Frame | None:
        """The next frame; None once our process closed the pipe or ended."""
        return self._frames.get()

    def _read(self, stream: BinaryIO) -> None:
        found = None
        try:
            while (found := frames.read(stream)) is not None:
                self._frames.put(found)
        finally:
            self.closed.set()
            self._frames.put(None)


class Runtime:
    """The Runtime API of a SuperLink or SuperNode that this process started.

    Args:
        folder: private to this process: the secret, Flower's files and its log.
        address: host:port.
        root: the certificate authority of its certificate; None for plain HTTP on the loopback.
    """

    def __init__(self, folder: Path, address: str, root: bytes | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self.address, self.root = folder, address, root
        self._secret = secrets.token_bytes(32)
        self.secret_file = folder / "runtime.secret"
        self.secret_file.touch(mode=0o600)
        self.secret_file.write_bytes(self._secret)
        self.environment = {**os.environ, **QUIET, "FLWR_HOME": str(folder / "flwr")}

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start Flower's own process; what it says goes to a log in the folder."""
        with (self.folder / "flower.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)  # noqa: S603

    def said(self) -> str:
        """The end of the log."""
        return (self.folder / "flower.log").read_text(errors="replace")[-2000:]

    def client(self, *interceptors: Any, retry_s: float | None = None) -> RuntimeHttpClient:
        """A client that tries again for so long where the connection fails; by default not at all."""
        again = None
        if retry_s is not None:
            again = make_simple_http_retry_invoker()
            again.max_time = retry_s
        return RuntimeHttpClient.from_server_address(
            self.address,
            insecure=self.root is None,
            root_certificates=self.root,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperExec"), *interceptors],
            retry_invoker=again,
        )

    def tokens(self, kind: str, flower: subprocess.Popen[bytes], pipe: Pipe) -> Iterator[str]:
        """Tokens of tasks of that kind, one after another, until our process closes the pipe.

        Raises:
            Ended: Flower's process did; with the end of its log.
        """
        auth = SuperExecAuthHttpInterceptor(
            master_secret=self._secret, protected_methods=frozenset({"/flwr.proto.Runtime/AcquireTask"})
        )
        client = self.client(auth)
        while not pipe.closed.is_set():
            if flower.poll() is not None:
                raise Ended(f"Flower ended with exit code {flower.returncode}: {self.said()}")
            try:
                answer = client.AcquireTask(AcquireTaskRequest(supported_task_types=[kind]))
            except httpx.TransportError:
                answer = None  # it is starting
            if answer is not None and answer.token:
                yield str(answer.token)
            else:
                pipe.closed.wait(POLL_S)

    @contextmanager
    def task(self, token: str) -> Iterator[RuntimeHttpClient]:
        """The client of one task, kept alive by heartbeats."""
        client = self.client(RuntimeTokenHttpInterceptor(token), retry_s=RETRY_S)
        heart = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heart.start()
        try:
            yield client
        finally:
            if heart.is_running:
                heart.stop()
            client.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours, by force where it does not go by itself."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def leave() -> None:
    """End this process though a thread may wait for a pipe."""
    sys.stderr.flush()
    os._exit(0)
