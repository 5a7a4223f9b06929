"""One service for the session, with a real twin that its own worker trained on a simulated quadruple tank."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import uvicorn
from fastapi import FastAPI

from api.main import create_app
from api.settings import Settings
from tests.api.disks import small
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

KEY = "the-key-of-these-tests"
START = pd.Timestamp("2026-01-01T00:00:00Z")
ROWS, TRAINED = 1060, 900  # the champion is trained on the first ones


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
    _until(lambda: server.started, 60)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(300)  # a compilation under way is finished first
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
def tank(client: httpx.Client, measured: Telemetry, post_telemetry: Callable[..., dict[str, Any]]) -> str:
    """A plant with telemetry and no twin."""
    assert client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json()).status_code == 201
    assert post_telemetry("tank", measured)["rows_stored"] == ROWS
    return "tank"


@pytest.fixture(scope="session")
def trained(
    client: httpx.Client, tank: str, measured: Telemetry, ended: Callable[[str], dict[str, Any]]
) -> dict[str, Any]:
    """The job that trained the champion of `tank`, when everything is ready."""
    order = {"budget_s": 5, "seed": 1, "end": measured.rows(slice(TRAINED)).at.isoformat()}
    job = ended(client.post(f"/v1/plants/{tank}/twins", json=order).json()["job"])
    assert job["state"] == "succeeded", job
    _until(lambda: client.get("/readyz").status_code == 200, 600)
    return job


@pytest.fixture(scope="session")
def post_telemetry(client: httpx.Client) -> Callable[[str, Telemetry], dict[str, Any]]:
    """Uploads telemetry as wide CSV; the receipt."""

    def post(plant: str, telemetry: Telemetry) -> dict[str, Any]:
        headers = {"Content-Type": "text/csv"}
        answer = client.post(f"/v1/plants/{plant}/telemetry", content=_csv(telemetry), headers=headers)
        assert answer.status_code == 200, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    return post


@pytest.fixture(scope="session")
def ended(client: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Waits for a job to end; the job."""

    def wait(job: str) -> dict[str, Any]:
        _until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] in ("succeeded", "failed", "cancelled"), 900)
        found: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
        return found

    return wait


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool], float], None]:
    """Waits for a condition that must come true within so many seconds."""
    return _until


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB, to run full."""
    with small(tmp_path / "disk", 4096) as folder:
        yield folder


def _csv(telemetry: Telemetry) -> bytes:
    return telemetry.frame().to_csv(date_format="%Y-%m-%dT%H:%M:%S%z").encode()


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
