"""Predict and optimize over REST: conventions, limits that hold, abstention, refusals, the log."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from api.http.examples import OPTIMIZE, PREDICT
from twin.plants.quadruple_tank import PERIOD_S, QuadrupleTank
from twin.telemetry import Telemetry

pytestmark = pytest.mark.usefixtures("trained")

PLANT = QuadrupleTank.plant
GOAL = {"horizon_s": 300.0, "objective": {"setpoints": {"level_1": {"value": 13.0}, "level_2": {"value": 12.0}}}}


def ask(client: httpx.Client, verb: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = client.post(f"/v1/plants/tank/{verb}", json=body)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def history(measured: Telemetry, rows: int) -> dict[str, Any]:
    frame = measured.frame().iloc[-rows:]
    return {
        "times": [t.isoformat() for t in frame.index],
        "values": {tag: frame[tag].tolist() for tag in frame.columns},
    }


def test_a_forecast_starts_a_period_after_the_last_row(client: httpx.Client, measured: Telemetry) -> None:
    answer = ask(client, "predict", {"horizon_s": 300.0, "moves": {"pump_1": [{"after_s": 30.0, "value": 3.0}]}})
    assert pd.Timestamp(answer["at"]) == measured.at
    times = [pd.Timestamp(t) for t in answer["times"]]
    assert times == [measured.at + pd.Timedelta(seconds=PERIOD_S * k) for k in range(1, 61)]
    for cv in answer["baseline"].values():
        assert np.all(np.array(cv["low"]) < cv["mean"])
        assert np.all(np.array(cv["mean"]) < cv["high"])
    [scenario] = answer["scenarios"]
    change = np.array(scenario["change"]["level_1"])
    difference = np.array(scenario["cvs"]["level_1"]["mean"]) - answer["baseline"]["level_1"]["mean"]
    np.testing.assert_allclose(change, difference, atol=1e-9)
    # In force from the first row k with (k - 1) T >= 30 s, which is k = 7; ramped at 0.05 V/s from there.
    present = float(measured.frame()["pump_1"].iloc[-1])
    moves = np.array(scenario["moves"]["pump_1"])
    assert np.all(moves[:6] == present)
    assert moves[6] != present
    assert np.all(np.abs(np.diff(np.r_[present, moves])) <= 0.05 * PERIOD_S)
    assert scenario["clipped"][0]["tag"] == "pump_1"


def test_history_may_come_with_the_question(client: httpx.Client, measured: Telemetry) -> None:
    stored = ask(client, "predict", {"horizon_s": 300.0})
    given = ask(client, "predict", {"horizon_s": 300.0, "history": history(measured, 200)})
    assert given["at"] == stored["at"]
    for name, cv in stored["baseline"].items():
        np.testing.assert_allclose(given["baseline"][name]["mean"], cv["mean"], rtol=1e-6)


def test_at_asks_from_an_earlier_row(client: httpx.Client, measured: Telemetry) -> None:
    at = measured.at - pd.Timedelta(seconds=100 * PERIOD_S)
    answer = ask(client, "predict", {"horizon_s": 300.0, "at": at.isoformat()})
    assert pd.Timestamp(answer["at"]) == at
    same = ask(client, "predict", {"horizon_s": 300.0, "history": history(measured, 300), "at": at.isoformat()})
    np.testing.assert_allclose(same["baseline"]["level_1"]["mean"], answer["baseline"]["level_1"]["mean"], rtol=1e-6)


@pytest.mark.parametrize("late_s", [0.1, 1.0, 2.4, 2.6, 4.1, 4.9])
def test_the_last_row_counts_whatever_its_phase_on_the_grid(
    client: httpx.Client, measured: Telemetry, late_s: float
) -> None:
    """A controller that starts between two stored rows: its own lie anywhere on their grid."""
    given = history(measured, 200)
    own = [pd.Timestamp(time) + pd.Timedelta(seconds=late_s) for time in given["times"][-60:]]
    given["times"][-60:] = [time.isoformat() for time in own]
    for at in (own[-1], own[-1] + pd.Timedelta(seconds=0.2)):
        plan = ask(client, "optimize", GOAL | {"history": given, "at": at.isoformat()})
        assert abs((pd.Timestamp(plan["at"]) - own[-1]).total_seconds()) <= PERIOD_S / 2
    earlier = ask(client, "optimize", GOAL | {"history": given, "at": own[-2].isoformat()})
    assert pd.Timestamp(plan["at"]) - pd.Timestamp(earlier["at"]) == pd.Timedelta(seconds=PERIOD_S)


def test_moves_hold_every_limit_of_the_plant_exactly(client: httpx.Client, measured: Telemetry) -> None:
    for target in (0.5, 6.0, 19.5):
        body = {"horizon_s": 300.0, "objective": {"setpoints": {"level_1": {"value": target}}}}
        answer = ask(client, "optimize", body | {"beyond_trained_range": True})
        assert answer["status"] in ("optimal", "feasible", "relaxed", "abstained")
        for tag in PLANT.mvs:
            moves = np.array(answer["moves"][tag.name])
            present = measured.frame()[tag.name].iloc[-1]
            assert np.all(moves >= tag.low)
            assert np.all(moves <= tag.high)
            assert np.all(np.abs(np.diff(np.r_[present, moves])) <= tag.rate_limit_per_s * PERIOD_S)
            assert answer["next"][tag.name] == moves[0]


def test_a_plan_moves_towards_its_setpoints(client: httpx.Client) -> None:
    answer = ask(client, "optimize", GOAL)
    assert answer["status"] in ("optimal", "feasible")
    held = ask(client, "predict", {"horizon_s": 300.0})
    for cv, target in (("level_1", 13.0), ("level_2", 12.0)):
        planned = np.mean((np.array(answer["cvs"][cv]["mean"]) - target) ** 2)
        free = np.mean((np.array(held["baseline"][cv]["mean"]) - target) ** 2)
        assert planned < free
    assert {line["tag"] for line in answer["certificate"]} >= {"level_1", "level_2", "level_3", "level_4"}
    assert answer["solve_ms"] > 0


def test_limits_that_cross_are_a_status(client: httpx.Client) -> None:
    limits = {"level_1": {"low": 12.0, "high": 4.0}}
    answer = ask(client, "optimize", GOAL | {"limits": limits})
    assert answer["status"] == "relaxed"
    assert [line["kept"] for line in answer["certificate"] if line["tag"] == "level_1"].count(False) >= 1
    (widen, *_) = (r for r in answer["remedies"] if r["kind"] == "limit")
    assert widen["of"] == "level_1"
    assert {"low": widen["to"] < 12.0, "high": widen["to"] > 4.0}[widen["side"]]


def test_a_stale_history_makes_optimize_abstain(client: httpx.Client, measured: Telemetry) -> None:
    answer = ask(client, "optimize", GOAL | {"max_age_s": 60.0})
    assert answer["status"] == "abstained"
    assert "old" in str(answer["trust"]["reasons"]) + answer["status_detail"]
    present = measured.frame().iloc[-1]
    for tag in PLANT.mvs:
        assert set(answer["moves"][tag.name]) == {present[tag.name]}


def test_too_little_history_refuses_predict_and_abstains_from_optimize(
    client: httpx.Client, measured: Telemetry
) -> None:
    short = {"history": history(measured, 5)}
    answer = ask(client, "predict", {"horizon_s": 300.0, **short}, 422)
    assert "rows" in answer["detail"]
    assert ask(client, "optimize", GOAL | short)["status"] == "abstained"
    holes = history(measured, 200)
    holes["values"]["level_1"] = [None] * 200
    assert "level_1" in ask(client, "predict", {"horizon_s": 300.0, "history": holes}, 422)["detail"]
    assert ask(client, "optimize", GOAL | {"history": holes})["status"] == "abstained"


def test_limits_that_the_plant_was_given_since_hold(client: httpx.Client, measured: Telemetry) -> None:
    """The twin keeps the plant that it was trained on, but never a limit that has been tightened since."""
    body = PLANT.to_json()
    body["tags"][0] |= {"low": 1.0, "high": 3.25, "rate_limit_per_s": 0.01}
    assert client.put("/v1/plants/tank", json=body).status_code == 200
    try:
        answer = ask(client, "optimize", GOAL)
        present = measured.frame()["pump_1"].iloc[-1]
        moves = np.array(answer["moves"]["pump_1"])
        assert np.all(np.abs(np.diff(np.r_[present, moves])) <= 0.01 * PERIOD_S)
        body["tags"][3]["unit"] = "m"
        client.put("/v1/plants/tank", json=body)
        assert "level_1" in ask(client, "optimize", GOAL, 409)["detail"]
    finally:
        assert client.put("/v1/plants/tank", json=PLANT.to_json()).status_code == 200


def wrong(verb: str, where: str, **fields: Any) -> tuple[str, str, dict[str, Any]]:
    return verb, where, {**(GOAL if verb == "optimize" else PREDICT), **fields}


@pytest.mark.parametrize(
    ("verb", "where", "body"),
    [
        wrong("predict", "horizon_s", horizon_s=0.0),
        wrong("predict", "horizon_s", horizon_s=31_536_000.0),
        wrong("predict", "horizon_s", horizon_s="300"),
        wrong("predict", "coverage", coverage=1.5),
        wrong("predict", "level_1", moves={"level_1": [{"after_s": 0.0, "value": 1.0}]}),
        wrong("predict", "inflow_3", moves={"inflow_3": [{"after_s": 0.0, "value": 1.0}]}),
        wrong("predict", "pump_1", disturbances={"pump_1": [{"after_s": 0.0, "value": 1.0}]}),
        wrong("predict", "pump_3", moves={"pump_3": [{"after_s": 0.0, "value": 1.0}]}),
        wrong("predict", "after_s", moves={"pump_1": [{"after_s": -1.0, "value": 1.0}]}),
        wrong("predict", "scenario", scenario=[]),
        wrong("predict", "scenarios", scenarios=[{"name": "a"}, {"name": "a"}]),
        wrong("predict", "at", at="2026-01-01T00:00:00"),
        wrong("predict", "at", at="9999-12-31T00:00:00Z"),
        wrong("optimize", "at", at="0001-01-01T00:00:00+10:00"),
        wrong("predict", "level_1", history={"times": ["2026-01-01T00:00:00Z"], "values": {"level_1": [1.0, 2.0]}}),
        wrong("predict", "values", history={"times": ["2026-01-01T00:00:00Z"], "values": {"level_1": [True]}}),
        wrong("optimize", "horizon_s", horizon_s=-5.0),
        wrong("optimize", "pump_1", limits={"pump_1": {"high": 9.0}}),
        wrong("optimize", "pump_1", limits={"pump_1": {"rate_per_s": 1.0}}),
        wrong("optimize", "level_9", limits={"level_9": {"high": 9.0}}),
        wrong("optimize", "hihg", limits={"level_1": {"hihg": 9.0}}),
        wrong("optimize", "level_9", objective={"setpoints": {"level_9": {"value": 9.0}}}),
        wrong("optimize", "level_1", objective={"setpoints": {"level_1": {}}}),
        wrong("optimize", "weight", objective={"setpoints": {"level_1": {"value": 9.0, "weight": -1.0}}}),
        wrong("optimize", "hold_mvs", hold_mvs=["level_1"]),
        wrong("optimize", "solver", solver="magic"),
        wrong("optimize", "deadline_ms", deadline_ms=0),
        wrong("optimize", "twin", twin="nobody"),
    ],
)
def test_a_question_that_no_twin_could_answer(
    client: httpx.Client, verb: str, where: str, body: dict[str, Any]
) -> None:
    answer = client.post(f"/v1/plants/tank/{verb}", json=body)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert where in answer.text


def test_every_plan_is_logged_with_what_it_takes_to_repeat_it(client: httpx.Client, trained: dict[str, Any]) -> None:
    first, second = ask(client, "optimize", GOAL), ask(client, "optimize", OPTIMIZE)
    path = "/v1/plants/tank/recommendations"
    newest, before = client.get(path, params={"limit": 2}).json()["items"]
    assert (newest["outcome"]["next"], before["outcome"]["next"]) == (second["next"], first["next"])
    assert before["twin"] == trained["result"]["twin"]
    assert before["request"]["objective"] == GOAL["objective"]
    assert before["request"]["data_version"] == first["data_version"]
    assert newest["fingerprint"] != before["fingerprint"]
    again = ask(client, "optimize", GOAL)
    repeated = client.get(path, params={"limit": 1}).json()
    assert repeated["items"][0]["fingerprint"] == before["fingerprint"]
    assert again["next"] == first["next"]
    following = client.get(path, params={"limit": 1, "after": repeated["next"]}).json()["items"]
    assert following[0]["id"] == newest["id"]
    assert 'twin_solves_total{plant="tank"' in client.get("/metrics").text
