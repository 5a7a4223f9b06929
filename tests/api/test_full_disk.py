"""A full disk, or a database that cannot be written: optimize says so (507, 503) at once, nothing is kept by halves,
and all goes on when there is room."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.records.spool import Spool
from api.settings import Settings
from tests.api.disks import PAGE, fill
from tests.api.test_questions import GOAL
from tests.api.test_recorder import locked

pytestmark = pytest.mark.usefixtures("trained")


def logged(client: httpx.Client) -> list[dict[str, Any]]:
    answer = client.get("/v1/plants/tank/recommendations", params={"limit": 1000})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return found


@pytest.mark.parametrize("left", [0, 1])  # pages: no byte of a line fits, or the first ones
def test_optimize_on_a_full_disk(
    client: httpx.Client, app: FastAPI, small_disk: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    files = Spool(small_disk / "spool", 1 << 30)
    monkeypatch.setattr(app.state.service.recorder, "_spool", files)
    horizons = iter(range(60 + 100 * left, 160 + 100 * left))  # no two questions are alike

    def ask() -> httpx.Response:
        return client.post("/v1/plants/tank/optimize", json={**GOAL, "horizon_s": float(next(horizons))})

    assert ask().status_code == 200
    [spool] = (small_disk / "spool").iterdir()
    assert len(spool.read_bytes()) > PAGE  # a line is longer than a page
    fill(small_disk, left)
    while True:  # the last page that it has, and the one that is left, may take another line
        before, kept, refused = logged(client), spool.read_bytes(), ask()
        if refused.status_code != 200:
            break
    for _ in range(2):
        assert refused.status_code == 507
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["type"] == "urn:plant-twin:problem:insufficient-storage"
        assert "no space is left" in refused.json()["detail"]
        assert "moves" not in refused.json()  # no advice that is not in the log
        assert spool.read_bytes() == kept
        refused = ask()
    assert logged(client) == before
    assert client.post("/v1/plants/tank/predict", json={"horizon_s": 60.0}).status_code == 200  # keeps nothing
    (small_disk / "ballast").unlink()
    answer = ask()
    assert answer.status_code == 200
    [newest, *older] = logged(client)
    assert older == before
    assert newest["outcome"]["next"] == answer.json()["next"]
    assert client.get("/v1/audit/verify").json()["ok"]
    files.close()
    assert list((small_disk / "spool").iterdir()) == []


def test_optimize_while_the_database_cannot_be_written(
    client: httpx.Client, app: FastAPI, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered is in the log once the database is back, and what was not answered is not."""
    recorder = app.state.service.recorder
    before = logged(client)  # so that nothing waits
    monkeypatch.setattr(recorder, "_spool", Spool(tmp_path / "spool", 1 << 16))
    horizons = iter(range(260, 360))

    def ask() -> httpx.Response:
        return client.post("/v1/plants/tank/optimize", json={**GOAL, "horizon_s": float(next(horizons))})

    def waiting() -> int:
        return int(float(re.findall(r"^twin_recommendations_waiting (\S+)$", client.get("/metrics").text, re.M)[0]))

    answers = []
    with locked(settings.data_dir):
        while (answer := ask()).status_code == 200:
            answers.append(answer.json()["next"])
        assert len(answers) > 3
        for refused in (answer, ask()):
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["Retry-After"]) > 0
            assert refused.json()["type"] == "urn:plant-twin:problem:service-unavailable"
            assert "the database cannot be written" in refused.json()["detail"]
            assert "moves" not in refused.json()  # no advice that is not in the log
        assert waiting() == len(answers)
        assert client.post("/v1/plants/tank/predict", json={"horizon_s": 60.0}).status_code == 200  # keeps nothing
    assert [entry["outcome"]["next"] for entry in reversed(logged(client))] == [
        *(entry["outcome"]["next"] for entry in reversed(before)),
        *answers,
    ]
    assert waiting() == 0
    answer = ask()
    assert answer.status_code == 200
    assert logged(client)[0]["outcome"]["next"] == answer.json()["next"]
    assert client.get("/v1/audit/verify").json()["ok"]
