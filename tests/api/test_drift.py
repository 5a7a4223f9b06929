"""Upkeep over REST, client, command line and Prometheus, on the rows since the champion's training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import delete
from typer.testing import CliRunner

from api.cli.main import app as cli
from api.client.clients import Client
from api.http.answers import BacktestAnswer, DriftAnswer
from api.records.tables import TwinRow
from tests.api.conftest import KEY, TRAINED
from twin import artifact
from twin.exported import Exported
from twin.telemetry import Telemetry

TWINS = "/v1/plants/tank/twins"


@pytest.fixture
def plain(app: FastAPI, trained: dict[str, Any]) -> Iterator[str]:
    """A second twin: the champion's linear backbones alone."""
    service = app.state.service
    champion = service.registry.load(trained["result"]["twin"])
    dynamics = replace(champion.dynamics, residuals=None, noise=None)
    artifact.save(replace(champion, id="plain", dynamics=dynamics), service.registry.path("plain"))
    with service.db.write() as session:
        row = session.get(TwinRow, champion.id)
        known = {c.name: getattr(row, c.name) for c in TwinRow.__table__.columns}
        session.add(TwinRow(**{**known, "id": "plain"}))
    yield "plain"
    with service.db.write() as session:
        session.execute(delete(TwinRow).where(TwinRow.id == "plain"))
    service.registry.forget(["plain"])


def test_a_backtest_is_on_rows_that_nobody_trained_on(
    client: httpx.Client, trained: dict[str, Any], measured: Telemetry, plain: str
) -> None:
    answer = client.post(f"{TWINS}/champion/backtest", json={"against": [plain]})
    found = answer.json()
    BacktestAnswer.model_validate_json(answer.text)
    twin = trained["result"]["twin"]
    assert list(found["twins"]) == [twin, "plain"]
    assert found["twins"][twin]["aliases"][0] == "champion"
    assert found["twins"][twin]["trained_until"] == measured.rows(slice(TRAINED)).at.isoformat()
    assert found["start"] == measured.rows(slice(TRAINED + 1)).at.isoformat()
    assert found["end"] == measured.at.isoformat()
    for cv in found["twins"][twin]["cvs"].values():
        assert cv["rmse"]["twin"][-1] < cv["rmse"]["persistence"][-1]
    assert found["comparisons"][0]["twin"] == "plain"
    early = {"start": measured.rows(slice(100)).at.isoformat()}
    assert client.post(f"{TWINS}/champion/backtest", json=early).status_code == 422
    later = {"start": measured.rows(slice(TRAINED + 100)).at.isoformat()}
    refused = client.post(f"{TWINS}/champion/backtest", json=later)
    assert (refused.status_code, "24 are needed" in refused.json()["detail"]) == (422, True)


def test_the_drift_of_a_plant_that_has_not_changed(
    client: httpx.Client, app: FastAPI, trained: dict[str, Any], address: str
) -> None:
    answer = client.get(f"{TWINS}/champion/drift")
    DriftAnswer.model_validate_json(answer.text)
    found = answer.json()
    assert found["status"] in ("stable", "watch"), found["detail"]
    assert set(found["cvs"]) == {"level_1", "level_2", "level_3", "level_4"}
    with Client(address, KEY) as twin:
        assert twin.drift("tank") == found
        assert twin.backtest("tank")["comparisons"] == []
    app.state.service.drifts.look()
    told = client.get("/metrics").text
    assert f'twin_drift{{plant="tank"}} {float(found["status"] == "watch")}' in told
    assert f'twin_drift_error_ratio{{cv="level_1",plant="tank"}} {found["cvs"]["level_1"]["ratio"]["mean"]}' in told


def test_the_commands(
    client: httpx.Client,
    trained: dict[str, Any],
    measured: Telemetry,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    plain: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TWIN_URL", address)
    monkeypatch.setenv("TWIN_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")
    run = CliRunner()
    shown = run.invoke(cli, ["drift", "tank"])
    assert shown.exit_code == 0, shown.output
    assert "level_4" in shown.output
    told = run.invoke(cli, ["backtest", "tank", "--against", plain])
    assert told.exit_code == 0, told.output
    assert "of that of" in told.output
    assert json.loads(run.invoke(cli, ["drift", "tank", "--json"]).stdout)["plant"] == "tank"
    with monkeypatch.context() as here:
        here.chdir(tmp_path)
        written = run.invoke(cli, ["export", "tank"])
    assert written.exit_code == 0, written.output
    exported = Exported.load(tmp_path / "tank.zip")
    assert exported.manifest["twin"] == trained["result"]["twin"]
    history = measured.frame().iloc[-60:]
    ahead = exported.forecast({tag: history[tag].to_numpy() for tag in history}, rows=60)
    answer = client.post("/v1/plants/tank/predict", json={"horizon_s": 300.0}).json()["baseline"]
    for tag, band in answer.items():
        np.testing.assert_allclose(ahead[tag], band["mean"], rtol=1e-4)
