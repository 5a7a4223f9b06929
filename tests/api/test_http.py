"""What holds for every route: keys and scopes, problems, media types, sizes, headers, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.http.examples import PLANT
from api.http.schemas import PlantBody


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance", "errors"} <= set(body)
    assert body["status"] == status
    return body


@pytest.fixture
def stranger(address: str) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=address) as client:
        yield client


def test_every_route_of_the_contract_needs_a_key(app: FastAPI, stranger: httpx.Client) -> None:
    fill = {"plant": "tank", "job": "job-1", "twin": "champion", "alias": "champion", "upload": "1", "key_id": "x"}
    fill |= {"recommendation": "1", "file": "0" * 32, "fleet": "tanks"}
    checked = 0
    for path, methods in app.openapi()["paths"].items():
        if path.startswith("/v1/"):
            for method in methods:
                answer = stranger.request(method, path.format(**fill), json={})
                assert answer.status_code == 401
                if method != "head":
                    problem(answer, 401)
                checked += 1
    assert checked > 20


def test_a_refused_key_says_how_to_present_one(stranger: httpx.Client) -> None:
    answer = stranger.get("/v1/plants")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in problem(answer, 401)["detail"]
    problem(stranger.get("/v1/plants", headers={"Authorization": "Bearer twin_wrong"}), 401)
    problem(stranger.get("/v1/plants", headers={"Authorization": "Basic dHdpbjp0d2lu"}), 401)


def test_a_key_may_only_what_its_scopes_say(client: httpx.Client, stranger: httpx.Client) -> None:
    made = client.post("/v1/keys", json={"name": "screen", "scopes": ["read"]})
    assert made.status_code == 201
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    assert stranger.get("/v1/plants", headers=headers).status_code == 200
    assert "'train'" in problem(stranger.put("/v1/plants/x", json=PLANT, headers=headers), 403)["detail"]
    problem(stranger.get("/v1/keys", headers=headers), 403)
    listed = client.get("/v1/keys").json()["items"]
    assert made.json()["key"] not in str(listed)
    assert client.delete(f"/v1/keys/{made.json()['id']}").status_code == 204
    problem(stranger.get("/v1/plants", headers=headers), 401)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/", "/docs", "/openapi.json"])
def test_what_needs_no_key(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code in (200, 503)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/plants", 404),
        ("GET", "/v1/plantz", 404),
        ("PATCH", "/v1/plants/tank", 405),
        ("POST", "/healthz", 405),
    ],
)
def test_unknown_routes_and_methods(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    problem(answer, status)
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize("text", ['{"name": "x"', "", "name=x", "[1, 2]", "null", '"text"', "{'name': 1}"])
def test_a_body_that_is_no_object(client: httpx.Client, text: str) -> None:
    answer = client.put("/v1/plants/x", content=text, headers={"Content-Type": "application/json"})
    problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_has_no_such_number(client: httpx.Client, number: str) -> None:
    text = f'{{"name": "x", "sample_period_s": {number}, "tags": []}}'
    answer = client.put("/v1/plants/x", content=text, headers={"Content-Type": "application/json"})
    assert problem(answer, 422)["errors"][0]["loc"] == ["sample_period_s"]


def test_another_content_type_is_refused(client: httpx.Client) -> None:
    answer = client.put("/v1/plants/x", content="a,b", headers={"Content-Type": "text/csv"})
    assert "application/json" in problem(answer, 415)["detail"]


def test_a_large_request_is_refused(client: httpx.Client) -> None:
    text = '{"name": "' + "x" * 1_100_000 + '"}'
    problem(client.put("/v1/plants/x", content=text, headers={"Content-Type": "application/json"}), 413)


def test_an_unknown_query_parameter_is_refused(client: httpx.Client) -> None:
    assert "did you mean limit" in problem(client.get("/v1/plants?limits=3"), 422)["detail"]
    for query in ("limit=0", "limit=x", "limit=1001"):
        problem(client.get(f"/v1/plants?{query}"), 422)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/plants/tank?version=99999999999999999999"),
        ("GET", "/v1/plants/tank?version=0"),
        ("GET", "/v1/plants/tank/recommendations?after=99999999999999999999"),
        ("GET", "/v1/plants/tank/telemetry?as_of=99999999999999999999"),
        ("GET", "/v1/plants/tank/telemetry?start=9999-12-31T00:00:00Z"),
        ("DELETE", "/v1/plants/tank/telemetry/uploads/99999999999999999999999"),
    ],
)
def test_numbers_beyond_any_column_are_refused(client: httpx.Client, tank: str, method: str, path: str) -> None:
    problem(client.request(method, path), 422)


def test_security_headers_are_everywhere(client: httpx.Client) -> None:
    for path in ("/", "/v1/plants", "/nothing"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_metrics_count_requests_by_route(client: httpx.Client) -> None:
    def count() -> float:
        text = client.get("/metrics").text
        found = re.search(
            r'^twin_requests_total\{method="GET",route="/v1/plants/\{plant\}",status="404"\} (\S+)', text, re.M
        )
        return float(found[1]) if found else 0.0

    before = count()
    client.get("/v1/plants/not-there")
    client.get("/v1/plants/nor-there")
    assert count() == before + 2


def test_strictness_is_part_of_the_document(app: FastAPI) -> None:
    assert PlantBody.model_json_schema()["additionalProperties"] is False
    assert app.openapi()["components"]["schemas"]["PlantBody"]["additionalProperties"] is False


def test_an_answer_bears_the_id_of_its_request(client: httpx.Client) -> None:
    mine = client.get("/v1/plants", headers={"X-Request-ID": "dcs-4711"})
    assert mine.headers["x-request-id"] == "dcs-4711"
    made = [client.get(path).headers["x-request-id"] for path in ("/v1/plants", "/v1/nothing", "/healthz")]
    assert len(set(made)) == 3
    assert client.get("/healthz", headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"
