"""One service for the session, with a real twin that its own worker trained on a simulated quadruple tank."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pandas as pd
import pytest
import uvicorn
from fastapi import FastAPI

from api.main import create_app
from api.settings import Settings
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

KEY = "the-key-of-these-tests"
START = pd.Timestamp("2026-01-01T00:00:00Z")
ROWS = 900


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        data_dir=tmp_path_factory.mktemp("service"),
        admin_key=KEY,
        log_level="error",
        lease_s=5.0,
        max_upload_bytes=30_000_000,
        max_unpacked_bytes=60_000_000,
        max_request_bytes=1_000_000,
    )


@pytest.fixture(scope="session")
def app(settings: Settings) -> FastAPI:
    app = create_app(settings)
    app.state.service.keys.bootstrap(settings)
    return app


@pytest.fixture(scope="session")
def address(app: FastAPI) -> Iterator[str]:
    """The service, listening on this machine."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, 60)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx.Client]:
    """A client with the admin key."""
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {KEY}"}, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def measured() -> Telemetry:
    """What the tank's historian holds: an identification experiment."""
    return Simulator(QuadrupleTank(), 3, START).excite(ROWS)


@pytest.fixture(scope="session")
def tank(client: httpx.Client, measured: Telemetry) -> str:
    """A plant with telemetry and no twin."""
    assert client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json()).status_code == 201
    receipt = client.post("/v1/plants/tank/telemetry", content=csv(measured), headers={"Content-Type": "text/csv"})
    assert receipt.json()["rows_stored"] == ROWS
    return "tank"


@pytest.fixture(scope="session")
def trained(client: httpx.Client, tank: str) -> dict[str, Any]:
    """The job that trained the champion of `tank`, when everything is ready."""
    job = wait(client, client.post(f"/v1/plants/{tank}/twins", json={"budget_s": 5, "seed": 1}).json()["job"])
    assert job["state"] == "succeeded", job
    until(lambda: client.get("/readyz").status_code == 200, 120)
    return job


def csv(telemetry: Telemetry) -> bytes:
    """Wide CSV."""
    return telemetry.frame().to_csv(date_format="%Y-%m-%dT%H:%M:%S%z").encode()


def wait(client: httpx.Client, job: str, seconds: float = 180) -> dict[str, Any]:
    """The job when it has ended."""
    ended = ("succeeded", "failed", "cancelled")
    until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] in ended, seconds)
    found: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
    return found


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something that must come; a hang becomes a failure."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
