"""Every recommendation can be computed again to the same answer, whatever has changed since."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import httpx
import pandas as pd
import pytest
from fastapi import FastAPI

from api.records.tables import RecommendationRow
from tests.api.test_questions import GOAL, ask, history
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

pytestmark = pytest.mark.usefixtures("trained")

LIMITED = {**GOAL, "limits": {"level_1": {"high": 12.5}}, "coverage": 0.9}
PATH = "/v1/plants/tank/recommendations"


def logged(client: httpx.Client) -> dict[str, Any]:
    [row] = client.get(PATH, params={"limit": 1}).json()["items"]
    found: dict[str, Any] = client.get(f"{PATH}/{row['id']}").json()
    assert found == row
    return found


def replayed(client: httpx.Client, number: int) -> dict[str, Any]:
    answer = client.post(f"{PATH}/{number}/replay", json={})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_same_answer_whatever_has_changed_since(
    client: httpx.Client, measured: Telemetry, post_telemetry: Callable[..., dict[str, Any]]
) -> None:
    asked = [
        LIMITED,
        {**GOAL, "history": history(measured, 80), "deadline_ms": 1e4},
        {**GOAL, "at": (measured.at - pd.Timedelta(seconds=100)).isoformat()},
        {**GOAL, "deadline_ms": 1e-3},  # over before the solver has begun
        {**GOAL, "max_age_s": 60.0},  # of telemetry that is months old: the clock of then decides
    ]
    answers, numbers = [], []
    for body in asked:
        answers.append(ask(client, "optimize", body))
        numbers.append(logged(client)["id"])
    assert [a["status"] for a in answers[3:]] == ["abstained", "abstained"]
    plant = copy.deepcopy(QuadrupleTank.plant.to_json())
    plant["tags"][0]["high"] = 3.9
    assert client.put("/v1/plants/tank", json=plant).status_code == 200
    simulator = Simulator(QuadrupleTank(), 3, pd.Timestamp("2026-01-01T00:00:00Z"))
    simulator.excite(len(measured))
    upload = post_telemetry("tank", simulator.excite(30))["upload"]
    made = client.post("/v1/plants/tank/twins/champion/calibration", json={})
    assert made.status_code == 201, made.text
    assert made.json()["calibration"] != answers[0]["calibration"]
    before = len(client.get(PATH).json()["items"])
    for answer, number in zip(answers, numbers, strict=True):
        again = replayed(client, number)
        assert again["same"], again["differences"]
        assert again["answer"]["moves"] == answer["moves"]
        assert again["answer"]["calibration"] == answer["calibration"]
        assert again["software"]["logged"] == again["software"]["now"]
    assert len(client.get(PATH).json()["items"]) == before  # a replay is no recommendation
    assert client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json()).status_code == 200
    assert ask(client, "optimize", LIMITED)["at"] != answers[0]["at"]  # the new rows count now
    number = logged(client)["id"]
    assert client.delete(f"/v1/plants/tank/telemetry/uploads/{upload}").status_code < 300
    assert replayed(client, number)["same"]  # and did then, although they were taken back


def test_an_answer_that_was_not_what_the_log_says_differs(app: FastAPI, client: httpx.Client) -> None:
    ask(client, "optimize", LIMITED)
    row = logged(client)
    outcome = copy.deepcopy(row["outcome"])
    outcome["moves"]["pump_1"][0] += 0.01
    forged = RecommendationRow(
        plant="tank", twin=row["twin"], key="k", fingerprint="f", request=row["request"], outcome=outcome
    )
    app.state.service.recorder.add(forged)
    again = replayed(client, logged(client)["id"])
    assert not again["same"]
    [difference] = again["differences"]
    assert difference["field"] == "moves"
    assert difference["largest"] == pytest.approx(0.01)


def test_what_is_not_there_is_said(app: FastAPI, client: httpx.Client) -> None:
    assert client.get(f"{PATH}/999999").status_code == 404
    assert client.post(f"{PATH}/999999/replay", json={}).status_code == 404
    ask(client, "optimize", GOAL)
    row = logged(client)
    old = {name: value for name, value in row["request"].items() if name != "inputs"}
    app.state.service.recorder.add(
        RecommendationRow(plant="tank", twin=row["twin"], key="k", fingerprint="f", request=old, outcome=row["outcome"])
    )
    answer = client.post(f"{PATH}/{logged(client)['id']}/replay", json={})
    assert (answer.status_code, "logged by a version" in answer.text) == (409, True)


def test_a_calibration_comes_with_every_twin_and_tightens_its_plans(client: httpx.Client) -> None:
    told = client.get("/v1/plants/tank/twins/champion/calibration", params={"coverage": 0.9}).json()
    answer = ask(client, "optimize", LIMITED)
    assert answer["calibration"] == told["calibration"]
    band, margin = answer["cvs"]["level_1"], told["margins"]["level_1"]
    for k in range(60):
        assert band["high"][k] - band["mean"][k] == pytest.approx(margin["high"][k], abs=1e-9)
    assert margin["high"] == sorted(margin["high"])
    assert margin["unit"] == "cm"
    assert told["source"] == "training"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"start": "2026-01-01T00:00:00Z"}, "trained on rows up to"),
        ({"start": "2027-01-01T00:00:00Z"}, "100 are needed"),
        ({"begin": "2027-01-01T00:00:00Z"}, "begin"),
    ],
)
def test_a_calibration_on_what_cannot_be_used_is_refused(
    client: httpx.Client, body: dict[str, Any], where: str
) -> None:
    answer = client.post("/v1/plants/tank/twins/champion/calibration", json=body)
    assert answer.status_code == 422, answer.text
    assert where in answer.text
