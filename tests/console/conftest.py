"""A real service in its own process with a trained twin, and a real browser that must stay silent.

Without a Chromium the tests are skipped, and say so. Screenshots are kept under `tests/artefacts/console`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

KEY = "the-key-of-the-console-tests"
START = pd.Timestamp("2026-01-01T00:00:00Z")
ROWS = 900
SIZE = {"width": 1280, "height": 720}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SHOTS = Path(__file__).parents[1] / "artefacts" / "console"


@dataclass
class Rig:
    """The service as a test sees it."""

    url: str
    client: httpx.Client
    measured: Telemetry
    twin: str = ""

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()


@dataclass
class Seen:
    """What the browser said and asked for while a test ran."""

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM FOUND: the console is not tested here; on Debian: apt-get install chromium")
    return CHROMIUM


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One a module: Playwright keeps an event loop running, in which no other test could start its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service of its own. (It asks for the browser first, which may skip.)"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"TWIN_DATA_DIR": str(tmp_path_factory.mktemp("console")), "TWIN_PORT": str(port)}
    settings |= {"TWIN_ADMIN_KEY": KEY, "TWIN_LOG_LEVEL": "error"}
    process = subprocess.Popen([sys.executable, "-m", "api.cli.main", "serve"], env=os.environ | settings)
    url = f"http://127.0.0.1:{port}"
    until(lambda: process.poll() is not None or _answers(url), 300)
    assert process.poll() is None
    yield url
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="session")
def rig(service: str) -> Iterator[Rig]:
    """A quadruple tank with telemetry and a champion whose programs are compiled."""
    measured = Simulator(QuadrupleTank(), 3, START).excite(ROWS)
    with httpx.Client(base_url=service, headers={"Authorization": f"Bearer {KEY}"}, timeout=120) as client:
        rig = Rig(service, client, measured)
        client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json()).raise_for_status()
        text = measured.frame().to_csv(date_format="%Y-%m-%dT%H:%M:%SZ")
        headers = {"Content-Type": "text/csv"}
        client.post("/v1/plants/tank/telemetry", content=text, headers=headers).raise_for_status()
        job = rig.post("/v1/plants/tank/twins", {"budget_s": 2, "seed": 1})["job"]
        until(lambda: rig.get(f"/v1/jobs/{job}")["state"] not in ("queued", "running"), 900)
        done = rig.get(f"/v1/jobs/{job}")
        assert done["state"] == "succeeded", done
        rig.twin = done["result"]["twin"]
        until(lambda: client.get("/readyz").status_code == 200, 900)
        yield rig


@pytest.fixture
def expected() -> list[str]:
    """Texts that the browser may log as an error: refusals that a test provokes."""
    return []


@pytest.fixture
def page(browser: Browser, service: str, expected: list[str], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh tab in UTC. Afterwards: no error of a script or the policy, nothing from another host, a screenshot."""
    context = browser.new_context(viewport=SIZE, timezone_id="UTC", base_url=service, accept_downloads=True)
    page = context.new_page()
    seen = Seen()
    page.on("pageerror", lambda error: seen.errors.append(str(error)))

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            seen.errors.append(f"{message.text} {message.location['url']}")

    page.on("console", note)
    page.on("request", lambda asked: seen.hosts.add(asked.url.split("/")[2]) if asked.url.startswith("http") else None)
    page.set_default_timeout(20_000)
    yield page
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{request.node.name.removeprefix('test_')}.png", full_page=True)
    context.close()
    assert seen.hosts <= {service.removeprefix("http://")}
    assert [error for error in seen.errors if not any(text in error for text in expected)] == []


@pytest.fixture
def console(page: Page, rig: Rig) -> Page:
    """The console, opened with the key on the tank."""
    page.goto("/#/tank/overview")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Open").click()
    page.get_by_role("navigation").wait_for()
    return page


def until(condition: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False
