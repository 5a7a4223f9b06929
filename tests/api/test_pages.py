"""The README and the pages stay true: what they tell to type is typed, at a running service; links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI

from api.routes import pages
from api.settings import Settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
NAMED = [pages.FOLDER / f"{name}.md" for name in ("rest", "client", "operations")]
KEY = "the-key-of-these-tests"
ROWS, SINCE = 1500, 400  # of the first week, and of the second


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def feed_tank(rows: int = ROWS + SINCE) -> pd.DataFrame:
    """Two weeks of the README's plant: a tank of 5 m² that fills with the feed and drains through the valve."""
    rng = np.random.default_rng(0)
    valve = np.clip(np.repeat(rng.uniform(35, 65, rows // 30 + 1), 30), 0, 100)
    valve = np.concatenate([[50.0], valve])[:rows]
    for i in range(1, rows):
        valve[i] = np.clip(valve[i], valve[i - 1] - 10, valve[i - 1] + 10)  # the rate limit, 1 %/s
    feed = 20 + np.repeat(rng.normal(0, 1, rows // 50 + 1), 50)[:rows]
    level = np.empty(rows)
    height = 2.0
    for i in range(rows):
        height += 10 / 3600 / 5 * (feed[i] * 5 - 14.1 * 5 * valve[i] / 50 * np.sqrt(max(height, 0.05)))
        level[i] = height + rng.normal(0, 0.005)
    index = pd.date_range("2026-01-05", periods=rows, freq="10s", tz="UTC", name="time")
    return pd.DataFrame({"valve": valve, "feed": feed, "level": level}, index=index)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are typed: the files that they upload lie there, and `twin` is on the path."""
    folder = tmp_path_factory.mktemp("newcomer")
    feed_tank().iloc[:ROWS].to_csv(folder / "week-1.csv")
    feed_tank().iloc[ROWS:].to_csv(folder / "week-2.csv")
    twin = folder / "bin" / "twin"
    twin.parent.mkdir()
    twin.write_text(f"#!{sys.executable}\nfrom api.cli.main import main\nmain()\n")
    twin.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def typed(folder: Path, address: str, settings: Settings) -> Callable[[str], str]:
    """Types a block of a page into a shell that stops at the first failure; a training of the default length is cut."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TWIN_")}
    environment |= {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "KEY": KEY}
    environment |= {"TWIN_URL": address, "TWIN_KEY": KEY, "TWIN_DATA_DIR": str(settings.data_dir), "COLUMNS": "160"}

    def run(block: str) -> str:
        text = block.replace("localhost:8000", address.removeprefix("http://"))
        text = text.replace("-d '{}'", "-d '{\"budget_s\": 5}'")
        script = f'set -eu\ncurl() {{ command curl -sS --fail-with-body "$@"; echo; }}\n{text}'
        done = subprocess.run(["bash", "-c", script], env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def readme(typed: Callable[[str], str], client: httpx.Client) -> list[str]:
    """What the README's blocks answer, typed in order; a reader waits for the job between them."""
    said = []
    for block in blocks(README, "bash"):
        said.append(typed(block))
        until = time.monotonic() + 300
        while client.get("/v1/jobs", params={"plant": "feed-tank"}).json()["items"][0]["state"] in (
            "queued",
            "running",
        ):
            assert time.monotonic() < until
            time.sleep(0.3)
    return said


def test_the_readme_leads_to_a_forecast_and_a_plan(readme: list[str]) -> None:
    assert f'"rows_stored":{ROWS}' in readme[0]
    predicted, planned = (line for line in readme[1].splitlines() if line.startswith("{"))
    assert '"level":{"mean":[' in predicted
    assert re.search(r'"status":"(optimal|feasible|relaxed)"', planned), planned[:500]


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_the_commands_of_a_page_work(path: Path, readme: list[str], typed: Callable[[str], str]) -> None:
    assert blocks(path, "bash")
    for block in blocks(path, "bash"):
        assert typed(block)


def test_the_python_of_the_pages_works(readme: list[str], address: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = [block for path in pages.FOLDER.glob("*.md") for block in blocks(path, "python")]
    assert found
    for block in found:
        exec(block.replace("http://localhost:8000", address).replace("twin_…", KEY), {})  # noqa: S102
    assert "did you mean feed-tank" in capsys.readouterr().out


@pytest.mark.parametrize("path", [README, *pages.FOLDER.glob("*.md")], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert link.startswith("https://") or (path.parent / link).exists(), link


def test_the_tests_that_the_safety_case_names_exist() -> None:
    named = re.findall(r"`(tests/[^`]+)`", (pages.FOLDER / "safety.md").read_text())
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_is_served(app: FastAPI, client: httpx.Client) -> None:
    assert set(pages.TITLES) == {path.stem for path in pages.FOLDER.glob("*.md")}
    for name in pages.TITLES:
        answer = httpx.get(f"{client.base_url}/docs/{name}")  # without a key
        assert answer.status_code == 200
        assert "<h1>" in answer.text
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "<table>" in httpx.get(f"{client.base_url}/docs/safety.md").text
    assert httpx.get(f"{client.base_url}/docs/nix").status_code == 404
    routes = httpx.get(f"{client.base_url}/docs").text
    assert {f"/docs/{name}" for name in pages.TITLES} <= set(re.findall(r'href="([^"]+)"', routes))


def _training(client: httpx.Client) -> bool:
    jobs = client.get("/v1/jobs", params={"plant": "feed-tank"}).json()["items"]
    return any(job["state"] in ("queued", "running") for job in jobs)
