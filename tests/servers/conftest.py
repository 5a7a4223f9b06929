"""Real servers, started where they are installed: PostgreSQL, and an S3 that moto serves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

SUPERUSER = "postgres"  # PostgreSQL refuses to run as root
BUCKET = "telemetry"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    programs = found[-1].parent if found else Path(shutil.which("postgres") or "").parent
    if not (programs / "initdb").exists():
        pytest.skip("PostgreSQL is not installed: the database was not tested on it")
    user = ["runuser", "-u", SUPERUSER, "--"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        if user:
            shutil.chown(name, SUPERUSER)
        yield from _serve(programs, user, Path(name))


def _serve(programs: Path, user: list[str], folder: Path) -> Iterator[str]:
    port = _free_port()
    data = folder / "data"
    make = [*user, str(programs / "initdb"), "-D", str(data), "-U", SUPERUSER, "--auth=trust", "--no-sync"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    serve = ["-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
    with subprocess.Popen([*user, str(programs / "postgres"), *serve], stderr=subprocess.DEVNULL, cwd=folder) as server:
        try:
            _until_ready([str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)])
            yield f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{port}/{SUPERUSER}"
        finally:
            subprocess.run(
                [*user, str(programs / "pg_ctl"), "-D", str(data), "-m", "fast", "stop"], check=True, cwd=folder
            )
            server.wait(30)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of an S3 server with an empty bucket; the environment names it and its credentials."""
    pytest.importorskip("moto", reason="moto is not installed: S3 was not tested")
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    told = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in told.items():
                patch.setenv(name, value)
            _until_up(url)
            signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"
            httpx.put(f"{url}/{BUCKET}", headers={"Authorization": signed}).raise_for_status()
            yield f"s3://{BUCKET}"
        server.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until_ready(command: list[str]) -> None:
    until = time.monotonic() + 60
    while subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        assert time.monotonic() < until, "PostgreSQL did not start"
        time.sleep(0.1)


def _until_up(url: str) -> None:
    until = time.monotonic() + 90
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError:
            assert time.monotonic() < until, "moto did not start"
            time.sleep(0.1)
        else:
            return
