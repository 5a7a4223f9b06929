"""A twin with a slow model over REST: trained from one call, forecasts of hours, plans at two time scales."""

from __future__ import annotations

from typing import Any

import httpx
import pandas as pd
import pytest

from twin.plants.simulator import Simulator
from twin.plants.surge_tank import SurgeTank

ROWS, STRIDE = 1500, 8
PERIOD_S = SurgeTank.plant.sample_period_s
START = pd.Timestamp("2026-01-01T00:00:00Z")
LONG_S = 3600.0


@pytest.fixture(scope="module")
def surge(client: httpx.Client, post_telemetry: Any) -> str:
    assert client.put("/v1/plants/surge", json=SurgeTank.plant.to_json()).status_code == 201
    assert post_telemetry("surge", Simulator(SurgeTank(), 5, START).excite(ROWS))["rows_stored"] == ROWS
    return "surge"


@pytest.fixture(scope="module")
def twin(client: httpx.Client, surge: str, ended: Any) -> str:
    order = {"budget_s": 2, "horizon_s": 300.0, "seed": 1, "options": {"slow_stride": STRIDE}}
    job = ended(client.post(f"/v1/plants/{surge}/twins", json=order).json()["job"])
    assert job["state"] == "succeeded", job
    found: str = job["result"]["twin"]
    return found


def test_its_summary_and_its_card_tell_of_the_slow_model(client: httpx.Client, surge: str, twin: str) -> None:
    summary = client.get(f"/v1/plants/{surge}/twins/{twin}").json()["slow"]
    card = client.get(f"/v1/plants/{surge}/twins/{twin}/report").json()["slow"]
    assert summary["period_s"] == card["period_s"] == STRIDE * PERIOD_S
    assert summary["horizon_s"] == card["horizon_s"] > 300.0
    assert card["stride"] == STRIDE


def test_hours_are_as_few_rows_as_minutes(client: httpx.Client, surge: str, twin: str) -> None:
    body = {"twin": twin, "horizon_s": LONG_S, "moves": {"outflow": [{"after_s": 0.0, "value": 31.0}]}}
    answer = client.post(f"/v1/plants/{surge}/predict", json=body).json()
    assert [part["scale"] for part in answer["scales"]] == ["fast", "slow"]
    assert [part["rows"] for part in answer["scales"]] == [30, 45 - 3]
    assert len(answer["times"]) == len(answer["scenarios"][0]["cvs"]["level"]["mean"]) == 72
    assert answer["times"] == sorted(answer["times"])
    only = client.post(f"/v1/plants/{surge}/predict", json={**body, "scale": "slow"}).json()
    assert [part["rows"] for part in only["scales"]] == [45]
    assert only["baseline"]["level"]["high"][-1] > only["baseline"]["level"]["mean"][-1]


def test_a_plan_at_two_scales_is_answered_logged_and_made_again(client: httpx.Client, surge: str, twin: str) -> None:
    row = client.get(f"/v1/plants/{surge}/telemetry").json()["values"]["outflow"][-1]
    rows = round(LONG_S / PERIOD_S)
    prices = [1.0] * 180 + [5.0] * (rows - 180)
    body = {"twin": twin, "horizon_s": LONG_S, "objective": {"prices": {"outflow": prices}}}
    answer = client.post(f"/v1/plants/{surge}/optimize", json=body).json()
    told = answer["hierarchy"]
    assert told["used"] in ("hierarchical", "flat")
    assert set(told["cost"]) <= {"hierarchical", "flat"}
    assert len(answer["times"]) == 30
    assert len(told["slow"]["times"]) == 45
    previous = row
    for value in answer["moves"]["outflow"]:
        assert 0.0 <= value <= 60.0
        assert abs(value - previous) / PERIOD_S <= 0.2
        previous = value
    logged = client.get(f"/v1/plants/{surge}/recommendations").json()["items"][0]
    assert logged["outcome"]["hierarchy"]["used"] == told["used"]
    again = client.post(f"/v1/plants/{surge}/recommendations/{logged['id']}/replay", json={}).json()
    assert again["same"], again["differences"]


def test_one_scale_on_request(client: httpx.Client, surge: str, twin: str) -> None:
    body = {"twin": twin, "horizon_s": 600.0, "objective": {"setpoints": {"level": {"value": 2.0}}}, "hierarchy": False}
    answer = client.post(f"/v1/plants/{surge}/optimize", json=body).json()
    assert answer["hierarchy"] is None
    assert len(answer["times"]) == 60


def test_bad_questions(client: httpx.Client, surge: str, twin: str, tank: str, trained: Any, ended: Any) -> None:
    job = ended(client.post(f"/v1/plants/{surge}/twins", json={"options": {"slow_stride": 300}}).json()["job"])
    assert job["state"] == "failed"
    assert "a slow stride of 300 rows leaves 5 averages" in job["error"]["detail"]
    body: dict[str, Any] = {"horizon_s": 100.0, "objective": {}, "hierarchy": True}
    answer = client.post(f"/v1/plants/{tank}/optimize", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["hierarchy"])
    assert "no slow model" in answer.json()["detail"]
    answer = client.post(f"/v1/plants/{tank}/predict", json={"horizon_s": 100.0, "scale": "slow"})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["scale"])
    unknown = {"twin": twin, "horizon_s": LONG_S, "objective": {"setpoints": {"purity": {"value": 1.0}}}}
    assert client.post(f"/v1/plants/{surge}/optimize", json=unknown).status_code == 422
