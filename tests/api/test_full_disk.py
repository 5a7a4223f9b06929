"""A disk that is full: optimize says so (507), nothing is kept by halves, and all goes on when there is room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.records.spool import Spool
from tests.api.disks import PAGE, fill
from tests.api.test_questions import GOAL

pytestmark = pytest.mark.usefixtures("trained")


def logged(client: httpx.Client) -> list[dict[str, Any]]:
    answer = client.get("/v1/plants/tank/recommendations", params={"limit": 1000})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return found


@pytest.mark.parametrize("left", [0, 1])  # pages: no byte of a line fits, or the first ones
def test_optimize_on_a_full_disk(
    client: httpx.Client, app: FastAPI, small_disk: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    files = Spool(small_disk / "spool")
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
