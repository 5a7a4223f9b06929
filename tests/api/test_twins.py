"""Training as a job, what it leaves, the report and the step responses; failure and cancellation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from api.http.answers import JobAnswer, StepResponsesAnswer, TwinAnswer
from api.jobs.training import beats_persistence
from api.settings import Settings
from twin import artifact
from twin.plants.quadruple_tank import QuadrupleTank
from twin.telemetry import Telemetry


def events(client: httpx.Client, job: str, after: int | None = None) -> list[dict[str, Any]]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    text = client.get(f"/v1/jobs/{job}/events", headers=headers).text
    blocks = [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in text.split("\n\n")]
    return [{**block, "data": json.loads(block["data"])} for block in blocks if "data" in block]


def test_a_job_tells_its_progress_and_its_twin(client: httpx.Client, trained: dict[str, Any]) -> None:
    JobAnswer.model_validate(trained)
    assert (trained["state"], trained["progress"], trained["attempts"], trained["error"]) == ("succeeded", 1.0, 1, None)
    told = events(client, trained["job"])
    assert [e["data"]["state"] for e in told if e["event"] == "state"] == ["queued", "running", "succeeded"]
    progress = [e["data"] for e in told if e["event"] == "progress"]
    assert len(progress) > 2
    assert [p["progress"] for p in progress] == sorted(p["progress"] for p in progress)
    assert all(p["eta_s"] >= 0 for p in progress)
    assert any(p["losses"] for p in progress)
    ids = [int(e["id"]) for e in told]
    assert ids == sorted(set(ids))
    assert [int(e["id"]) for e in events(client, trained["job"], ids[2])] == ids[3:]


def test_the_first_good_twin_is_champion(client: httpx.Client, trained: dict[str, Any]) -> None:
    twin = trained["result"]["twin"]
    assert client.get("/v1/plants/tank/aliases").json()["champion"] == twin
    found = client.get("/v1/plants/tank/twins/champion").json()
    TwinAnswer.model_validate(found)
    assert (found["twin"], found["plant_version"]) == (twin, 1)
    assert "champion" in found["aliases"]
    assert found["min_history_rows"] * 2 > found["horizon_s"] / found["sample_period_s"]
    assert [t["twin"] for t in client.get("/v1/plants/tank/twins").json()["items"]] == [twin]


def test_cvs_that_never_move_make_no_champion() -> None:
    def card(*errors: tuple[float, float]) -> dict[str, Any]:
        cvs = {f"cv{i}": {"rmse": {"twin": [a, a], "persistence": [b, b]}} for i, (a, b) in enumerate(errors)}
        return {"backtest": {"cvs": cvs}}

    assert beats_persistence(card((0.9, 1.0), (0.0, 0.0)))
    assert beats_persistence(card((9e-14, 1e-13)))  # in any unit
    assert not beats_persistence(card((2e-13, 1e-13)))
    assert not beats_persistence(card((1.2, 1.0), (0.0, 0.0)))
    assert not beats_persistence(card((0.0, 0.0)))


def test_the_report_is_json_or_a_page(client: httpx.Client, trained: dict[str, Any]) -> None:
    card = client.get("/v1/plants/tank/twins/champion/report").json()
    assert set(card["backtest"]["cvs"]) == {"level_1", "level_2", "level_3", "level_4"}
    for cv in card["backtest"]["cvs"].values():
        assert cv["rmse"]["twin"][-1] < cv["rmse"]["persistence"][-1]
    page = client.get("/v1/plants/tank/twins/champion/report", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "<svg" in page.text
    assert "script" not in page.headers["content-security-policy"]


def test_step_responses_show_the_physics(client: httpx.Client, trained: dict[str, Any]) -> None:
    found = client.get("/v1/plants/tank/twins/champion/step-responses").json()
    StepResponsesAnswer.model_validate(found)
    gains = found["gains"]
    # Pump 1 fills tanks 1 and 4, pump 2 tanks 2 and 3 (Johansson 2000).
    for pump, level in (("pump_1", "level_1"), ("pump_1", "level_4"), ("pump_2", "level_2"), ("pump_2", "level_3")):
        assert gains[pump][level]["mean"] > 0.1
    assert abs(gains["pump_1"]["level_3"]["mean"]) < 0.5 * gains["pump_2"]["level_3"]["mean"]


def test_promotion_is_explicit(client: httpx.Client, trained: dict[str, Any]) -> None:
    twin = trained["result"]["twin"]
    assert client.put("/v1/plants/tank/aliases/shadow", json={"twin": "champion"}).json()["twin"] == twin
    assert client.get("/v1/plants/tank/twins/shadow").json()["twin"] == twin
    wrong = client.put("/v1/plants/tank/aliases/shadow", json={"twin": "champoin"})
    assert (wrong.status_code, "champion" in wrong.json()["detail"]) == (404, True)
    assert client.put(f"/v1/plants/tank/aliases/{twin}", json={"twin": "champion"}).status_code == 409


def test_a_twin_loads_in_another_process_and_forecasts_the_same(
    client: httpx.Client, app: FastAPI, settings: Settings, measured: Telemetry, trained: dict[str, Any]
) -> None:
    """The worker trained it, the server answers with it, and this test loads it once more."""
    from twin.predict import Scenario, forecast
    from twin.timeline import Step

    twin = artifact.load(settings.twins / trained["result"]["twin"])
    history = measured.rows(slice(-200, None))
    expected = forecast(twin, history, 300.0, [Scenario("s", {"pump_1": [Step(0.0, 3.0)]})]).to_json()
    body = {
        "horizon_s": 300.0,
        "at": str(measured.at.isoformat()),
        "scenarios": [{"name": "s", "moves": {"pump_1": [{"after_s": 0, "value": 3.0}]}}],
    }
    answer = client.post("/v1/plants/tank/predict", json=body).json()
    assert answer["baseline"] == expected["baseline"]
    assert answer["scenarios"][0]["cvs"] == expected["scenarios"][0]["cvs"]


def test_too_little_telemetry_fails_with_the_reason(
    client: httpx.Client,
    measured: Telemetry,
    post_telemetry: Callable[[str, Telemetry], dict[str, Any]],
    ended: Callable[[str], dict[str, Any]],
) -> None:
    client.put("/v1/plants/young", json=QuadrupleTank.plant.to_json())
    post_telemetry("young", measured.rows(slice(0, 40)))
    job = ended(client.post("/v1/plants/young/twins", json={}).json()["job"])
    assert job["state"] == "failed"
    assert "40" in job["error"]["detail"]
    answer = client.post("/v1/plants/young/predict", json={"horizon_s": 60})
    assert answer.status_code == 404
    assert "no twin yet" in answer.json()["detail"]


def test_a_running_job_is_cancelled_and_leaves_nothing(
    client: httpx.Client,
    tank: str,
    settings: Settings,
    until: Callable[[Callable[[], bool], float], None],
    ended: Callable[[str], dict[str, Any]],
) -> None:
    before = {path.name for path in settings.twins.iterdir()}
    job = client.post(f"/v1/plants/{tank}/twins", json={"budget_s": 600}).json()["job"]
    until(lambda: client.get(f"/v1/jobs/{job}").json()["progress"] > 0, 120)
    assert client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    told = events(client, job)
    assert told[-1]["data"]["state"] == "cancelled"
    # The worker is free again: it takes the next job, and that one fails for want of rows.
    client.put("/v1/plants/bare", json=QuadrupleTank.plant.to_json())
    assert ended(client.post("/v1/plants/bare/twins", json={}).json()["job"])["state"] == "failed"
    assert {path.name for path in settings.twins.iterdir()} == before


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"budget": 3}, ["budget"]),
        ({"budget_s": 0}, ["budget_s"]),
        ({"start": "2026-01-01T00:00:00"}, ["start"]),
        ({"start": "yesterday"}, ["start"]),
        ({"start": 1767225600}, ["start"]),
        ({"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, ["end"]),
        ({"options": {"pure": "yes"}}, ["options", "pure"]),
        ({"options": {"gain_sign": {"pump_9": {"level_1": 1}}}}, ["options", "gain_sign", "pump_9"]),
        ({"options": {"gain_sign": {"pump_1": {"pump_2": 1}}}}, ["options", "gain_sign", "pump_1", "pump_2"]),
        ({"options": {"gain_sign": {"pump_1": {"level_1": 2}}}}, ["options", "gain_sign", "pump_1", "level_1"]),
        ({"options": {"gain_sign": {"pump_1": {"level_1": True}}}}, ["options", "gain_sign", "pump_1", "level_1"]),
        ({"seed": -1}, ["seed"]),
    ],
)
def test_a_malformed_order_is_refused(client: httpx.Client, tank: str, body: dict[str, Any], where: list[str]) -> None:
    answer = client.post(f"/v1/plants/{tank}/twins", json=body)
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [where]


def test_unknown_things_are_not_found(client: httpx.Client, tank: str) -> None:
    for path in (
        "/v1/plants/nowhere/twins",
        "/v1/plants/tank/twins/nobody",
        "/v1/plants/tank/twins/nobody/report",
        "/v1/jobs/job-nothing",
        "/v1/jobs/job-nothing/events",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert client.post("/v1/plants/nowhere/twins", json={}).status_code == 404
    answer = client.get("/v1/jobs/job-nothing/events", headers={"Last-Event-ID": "x"})
    assert answer.status_code in (404, 422)


def test_an_operating_point_is_that_of_the_telemetry_or_of_a_history(
    client: httpx.Client, trained: dict[str, Any], measured: Telemetry
) -> None:
    path = "/v1/plants/tank/twins/champion/step-responses"
    at = measured.frame().index[500].isoformat()
    stored = client.get(path, params={"at": at}).json()
    StepResponsesAnswer.model_validate(stored)
    assert stored["at"] == at
    rows = measured.rows(slice(400, 501)).frame()
    history = {"times": [t.isoformat() for t in rows.index], "values": {n: rows[n].tolist() for n in rows}}
    given = client.post(path, json={"history": history}).json()
    assert given["gains"] == stored["gains"]
    assert set(given["gain_map"]) == {"pump_1", "pump_2"}
    assert len(given["gain_map"]["pump_1"]["gains"]["level_1"]["mean"]) == 9


def test_the_report_tells_what_can_be_learnt_and_what_the_errors_tell(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    card = client.get("/v1/plants/tank/twins/champion/report").json()
    assert card["identifiability"]["effects"]["pump_1"]["level_1"]["verdict"] == "identifiable"
    assert len(card["diagnostics"]["cvs"]["level_1"]["autocorrelation"]) > 5
    assert set(card["gain_map"]["pump_1"]["gains"]) == {"level_1", "level_2", "level_3", "level_4"}
    page = client.get("/v1/plants/tank/twins/champion/report", headers={"Accept": "text/html"}).text
    for heading in ("What the telemetry can show", "Gains over the operating range", "What the errors still tell"):
        assert heading in page


def test_training_goes_on_from_an_earlier_twin_and_leaves_out_what_is_excluded(
    client: httpx.Client, trained: dict[str, Any], measured: Telemetry, ended: Callable[[str], dict[str, Any]]
) -> None:
    twins = "/v1/plants/tank/twins"
    assert client.post(twins, json={"from_twin": "nobody"}).status_code == 404
    span = {"start": measured.rows(slice(11)).at.isoformat(), "end": measured.rows(slice(31)).at.isoformat()}
    wrong = client.post(twins, json={"exclude": [span, {"tag": "pump_9", "below": 1.0}]})
    assert (wrong.status_code, "pump_1" in wrong.json()["detail"]) == (422, True)
    assert client.post(twins, json={"exclude": [{"tag": "pump_1"}]}).json()["errors"][0]["loc"] == ["exclude", 0]
    high = float(np.quantile(measured.frame()["level_1"], 0.95))
    exclude = [{**span, "note": "maintenance"}, {"tag": "level_1", "above": high}]
    order = {"from_twin": "champion", "budget_s": 1e-3, "exclude": exclude}
    job = ended(client.post(twins, json=order).json()["job"])
    residual = client.get(f"{twins}/champion").json()["residual"]
    if not residual:
        assert "no latent residual" in job["error"]["detail"]
        return
    assert job["state"] == "succeeded", job
    card = client.get(f"{twins}/{job['result']['twin']}/report").json()
    assert card["training"]["start"]["twin"] == trained["result"]["twin"]
    levels = measured.frame()["level_1"]
    assert [rule["rows"] for rule in card["data"]["excluded"]] == [21, int((levels > high).sum())]
    gone = (levels > high) | np.isin(np.arange(len(levels)), np.arange(10, 31))
    assert card["data"]["rows"] == int((~gone).sum())
    page = client.get(f"{twins}/{job['result']['twin']}/report", headers={"Accept": "text/html"}).text
    assert "maintenance" in page
