"""The REST face of a controller: what it reports, what is wanted of it, who may ask, and the audit of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from api.records.tables import AuditRow
from twin.plants.quadruple_tank import QuadrupleTank

URL = "/v1/plants/steered/controller"
STATE = {
    "mode": "shadow",
    "closed_loop_allowed": True,
    "ready": True,
    "period_s": 5.0,
    "setpoints": {"level_1": {"value": 12.0, "weight": 1.0, "low": 5.0, "high": 15.0}},
}


@pytest.fixture
def steered(client: httpx.Client) -> Iterator[str]:
    """A plant whose controller has not been heard of yet."""
    assert client.put("/v1/plants/steered", json=QuadrupleTank.plant.to_json()).status_code == 201
    yield "steered"
    client.delete("/v1/plants/steered")


def cycle(n: int, **fields: Any) -> dict[str, Any]:
    return {"run": "r1", "n": n, "kind": "cycle", "at": f"2026-01-01T00:00:{n:02d}Z", "mode": "shadow", **fields}


def report(client: httpx.Client, *records: dict[str, Any], **state: Any) -> dict[str, Any] | None:
    body = {"run": "r1", "state": {**STATE, **state}, "records": list(records)}
    answer = client.post(f"{URL}/cycles", json=body)
    assert answer.status_code == 200, answer.text
    wanted: dict[str, Any] | None = answer.json()["wanted"]
    return wanted


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    detail: str = answer.json()["detail"]
    return detail


def test_a_plant_without_a_controller(client: httpx.Client, steered: str) -> None:
    assert client.get(URL).json() == {
        "plant": "steered",
        "running": False,
        "seen": None,
        "state": None,
        "wanted": None,
    }
    assert client.get(f"{URL}/cycles").json() == {"items": [], "next": None}
    assert client.get(f"{URL}/report").json()["cycles"] == 0
    assert "no controller" in refused(client.put(URL, json={"mode": "closed", "confirm": "steered"}), 409)
    assert client.get("/v1/plants/nowhere/controller").status_code == 404


def test_records_are_kept_once_and_come_newest_first(client: httpx.Client, steered: str) -> None:
    assert report(client, cycle(1), cycle(2)) is None
    report(client, cycle(2), cycle(3))
    assert [item["n"] for item in client.get(f"{URL}/cycles").json()["items"]] == [3, 2, 1]
    page = client.get(f"{URL}/cycles", params={"limit": 2}).json()
    rest = client.get(f"{URL}/cycles", params={"limit": 2, "after": page["next"]}).json()
    assert [item["n"] for item in page["items"] + rest["items"]] == [3, 2, 1]
    found = client.get(URL).json()
    assert found["running"] is True
    assert found["state"] == STATE


def test_what_is_asked_for_reaches_the_controller_with_its_age(client: httpx.Client, steered: str) -> None:
    report(client)
    answer = client.put(URL, json={"mode": "advisory", "setpoints": {"level_1": 14.0}, "reason": "feed changed"})
    assert answer.status_code == 202
    wanted = report(client)
    assert wanted is not None
    assert wanted["mode"] == "advisory"
    assert wanted["setpoints"] == {"level_1": 14.0}
    assert wanted["reason"] == "feed changed"
    assert wanted["confirmed"] is False
    assert 0 <= wanted["age_s"] < 60
    client.put(URL, json={"setpoints": {"level_1": 13.0}})
    following = report(client)
    assert following is not None
    assert following["id"] == wanted["id"] + 1
    assert (following["mode"], following["last_mode"]) == (None, "advisory")


def test_closed_is_refused_at_once_where_the_controller_would_refuse_it(client: httpx.Client, steered: str) -> None:
    closed = {"mode": "closed", "confirm": "steered"}
    report(client)
    assert 'confirm": "steered"' in refused(client.put(URL, json={"mode": "closed"}), 409)
    assert 'confirm": "steered"' in refused(client.put(URL, json={"mode": "closed", "confirm": "tank"}), 409)
    report(client, closed_loop_allowed=False)
    assert "closed_loop_allowed is false" in refused(client.put(URL, json=closed), 409)
    report(client, ready=False, last={"fault": {"code": "stale", "detail": "level_1 is 40 s old"}})
    assert "level_1 is 40 s old" in refused(client.put(URL, json=closed), 409)
    report(client, ready=False, why="critical_input: level_1 has no value", last={"ok": True, "fault": None})
    told = refused(client.put(URL, json={"mode": "closed", "confirm": "steered"}), 409)
    assert "gave up (critical_input: level_1 has no value): it needs some good cycles in a row" in told
    report(client)
    assert client.put(URL, json=closed).status_code == 202
    wanted = report(client)
    assert wanted is not None
    assert (wanted["mode"], wanted["confirmed"]) == ("closed", True)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 422, "nothing is asked for"),
        ({"mode": "auto"}, 422, "mode"),
        ({"setpoints": {"level_2": 12.0}}, 422, "no setpoint of this controller; did you mean level_1"),
        ({"setpoints": {"level_1": 15.1}}, 422, "outside what may be asked, 5.0 to 15.0"),
        ({"setpoint": {}}, 422, "unknown field; did you mean setpoints"),
    ],
)
def test_a_wrong_wish(client: httpx.Client, steered: str, body: dict[str, Any], status: int, told: str) -> None:
    report(client)
    assert told in refused(client.put(URL, json=body), status)


def test_a_wrong_record(client: httpx.Client, steered: str) -> None:
    for record in ({"kind": "cycle"}, {"n": 1, "kind": "cycle", "at": "yesterday"}, {"n": True, "kind": "cycle"}):
        body = {"run": "r1", "state": STATE, "records": [record]}
        assert "records.0" in refused(client.post(f"{URL}/cycles", json=body), 422)


def test_only_the_scope_control_may_ask_and_report(client: httpx.Client, address: str, steered: str) -> None:
    scopes = {"operator": ["control"], "planner": ["read", "optimize"]}
    keys = {name: client.post("/v1/keys", json={"name": name, "scopes": of}).json() for name, of in scopes.items()}
    try:
        for name, status in (("operator", 202), ("planner", 403)):
            headers = {"Authorization": f"Bearer {keys[name]['key']}"}
            assert httpx.put(address + URL, json={"mode": "off"}, headers=headers).status_code == status
        headers = {"Authorization": f"Bearer {keys['planner']['key']}"}
        assert httpx.post(f"{address}{URL}/cycles", json={"run": "r1", "state": {}}, headers=headers).status_code == 403
        assert httpx.get(address + URL, headers=headers).status_code == 200
    finally:
        for key in keys.values():
            client.delete(f"/v1/keys/{key['id']}")


def test_every_wish_and_every_change_is_in_the_audit_log(client: httpx.Client, app: FastAPI, steered: str) -> None:
    change = {"from": "closed", "to": "shadow", "event": "shed", "by": "the controller", "reason": "late"}
    report(client, cycle(1))
    client.put(URL, json={"mode": "off", "reason": "maintenance"})
    report(client, {**cycle(2), "kind": "mode", **change})
    with app.state.service.db.read() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.subject == "steered").order_by(AuditRow.id)).all()
    told = [(row.action, row.detail) for row in rows if row.action.startswith("controller")]
    assert [action for action, _ in told][-2:] == ["controller.request", "controller.mode"]
    assert told[-2][1]["reason"] == "maintenance"
    assert told[-1][1]["reason"] == "late"


def test_a_deleted_plant_leaves_no_records(client: httpx.Client, steered: str) -> None:
    report(client, cycle(1))
    assert client.delete("/v1/plants/steered").status_code == 204
    assert client.put("/v1/plants/steered", json=QuadrupleTank.plant.to_json()).status_code == 201
    assert client.get(URL).json()["state"] is None
    assert client.get(f"{URL}/cycles").json()["items"] == []
