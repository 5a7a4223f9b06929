"""node-opcua as a process, for the tests of OPC UA and of what is told at start."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from tests.connectors.conftest import NODE
from tests.connectors.support import free_port, needed, process


class Node:
    """node-opcua in a process of its own."""

    def __init__(self, running: subprocess.Popen[str] | None, port: int) -> None:
        self._running = running
        self.port = port
        self.url = f"opc.tcp://127.0.0.1:{port}"

    def set(self, tag: str, value: float, status: str = "Good") -> int:
        """A new value; the ms of its source time stamp."""
        return self.set_all({tag: value}, time.time_ns() // 1_000_000, status)

    def set_all(self, values: dict[str, float], ms: int, status: str = "Good") -> int:
        asked = [{"tag": tag, "value": value, "time": ms, "status": status} for tag, value in values.items()]
        self._running.stdin.write(json.dumps({"set": asked}) + "\n")
        self._running.stdin.flush()
        while self._running.stdout.readline() != "set\n":
            assert self._running.poll() is None
        return ms


class started:
    """A node-opcua server, until the end of the block."""

    def __init__(self, folder: Path, count: int, *login: str, port: int | None = None) -> None:
        self.port = port or free_port()
        command = (needed("node"), NODE / "opcua.mjs", str(self.port), folder, str(count), *login)
        self._process = process(*command)

    def __enter__(self) -> Node:
        running = self._process.__enter__()
        while not (line := running.stdout.readline()).startswith("listening"):
            assert line, "node-opcua did not start"
        return Node(running, self.port)

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)
