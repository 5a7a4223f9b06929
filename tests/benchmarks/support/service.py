"""Starts the real service on a free port with a folder of its own, and asks it over HTTP as any client would."""

from __future__ import annotations

import io
import math
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from twin.plant import Plant
from twin.telemetry import Telemetry

PATIENCE_S = 1800.0


class Service:
    """A running service."""

    def __init__(self, client: httpx.Client, pid: int) -> None:
        self._client, self._pid = client, pid
        self.url = str(client.base_url)
        self.key = client.headers["Authorization"].removeprefix("Bearer ")

    def cpu_s(self) -> float:
        """CPU time of the serving process so far, s, from /proc (Linux); NaN elsewhere."""
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return math.nan
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """What the serving process holds in memory, MiB, from /proc (Linux); NaN elsewhere."""
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
        except OSError:
            return math.nan
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def put_plant(self, slug: str, plant: Plant) -> None:
        """Register a plant."""
        self._answer(self._client.put(f"/v1/plants/{slug}", json=plant.to_json()))

    def upload(self, slug: str, telemetry: Telemetry) -> dict[str, Any]:
        """Store telemetry; the receipt."""
        body = io.BytesIO()
        telemetry.frame().reset_index().to_parquet(body, index=False)
        headers = {"Content-Type": "application/vnd.apache.parquet"}
        return self._answer(self._client.post(f"/v1/plants/{slug}/telemetry", content=body.getvalue(), headers=headers))

    def train(self, slug: str, **options: Any) -> tuple[str, float]:
        """Train a twin, by defaults where no option is given: its id and how long it took, s."""
        begin = time.perf_counter()
        job = self._answer(self._client.post(f"/v1/plants/{slug}/twins", json=options))
        while job["state"] in ("queued", "running"):
            time.sleep(0.5)
            job = self._answer(self._client.get(f"/v1/jobs/{job['job']}"))
        if job["state"] != "succeeded":
            raise RuntimeError(f"training {job['state']}: {job.get('error')}")
        self._ready()
        return job["result"]["twin"], time.perf_counter() - begin

    def ask(self, slug: str, verb: str, question: dict[str, Any]) -> dict[str, Any]:
        """`predict` or `optimize`."""
        return self._answer(self._client.post(f"/v1/plants/{slug}/{verb}", json=question))

    def _ready(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while self._client.get("/readyz").status_code != 200:
            if time.monotonic() > end:
                raise TimeoutError("the service does not become ready")
            time.sleep(0.5)

    @staticmethod
    def _answer(response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            raise RuntimeError(f"{response.request.method} {response.request.url}: {response.text}")
        return response.json()


@contextmanager
def running() -> Iterator[Service]:
    """The service, until the block ends."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port, key = probe.getsockname()[1], secrets.token_urlsafe(24)
        probe.close()
        settings = {"TWIN_DATA_DIR": folder, "TWIN_PORT": str(port), "TWIN_ADMIN_KEY": key}
        command = [str(Path(sys.executable).with_name("twin")), "serve"]
        process = subprocess.Popen(command, env={**os.environ, **settings})
        url, headers = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {key}"}
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S) as client:
                _wait(client, process)
                yield Service(client, process.pid)
        finally:
            process.terminate()
            process.wait(300)  # a busy machine


def history(telemetry: Telemetry) -> dict[str, Any]:
    """Telemetry as the `history` of a question."""
    times = [time.isoformat() for time in telemetry.frame().index]
    columns = zip(telemetry.plant.names, telemetry.values.T.tolist(), strict=True)
    return {"times": times, "values": dict(columns)}


def _wait(client: httpx.Client, process: subprocess.Popen) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}")
        try:
            client.get("/healthz").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the service does not answer")
