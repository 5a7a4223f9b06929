"""Each example of the OpenAPI document works on a running service, and the answers are what the document says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from api.http.answers import OptimizeAnswer, PredictAnswer

FILL = {"plant": "tank", "twin": "champion", "alias": "candidate", "fleet": "tanks"}


def operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def example(operation: dict[str, Any]) -> tuple[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {})
    found = [(kind, body["example"]) for kind, body in content.items() if "example" in body]
    return found[0] if found else None


def test_every_route_with_a_body_has_an_example(app: FastAPI) -> None:
    for method, path, operation in operations(app):
        if method in ("POST", "PUT") and not path.endswith("/files"):  # tus says all in headers
            assert example(operation) is not None, f"{method} {path}"


def test_every_route_is_described(app: FastAPI) -> None:
    for method, path, operation in operations(app):
        assert len(operation.get("description", "")) > 15, f"{method} {path}"
        for parameter in operation.get("parameters", []):
            assert parameter.get("schema"), f"{method} {path} {parameter['name']}"


def test_the_examples_work(app: FastAPI, client: httpx.Client, trained: dict[str, Any]) -> None:
    # The example plant and its rows go to a plant of their own; all others to the tank and its champion.
    own = {"/v1/plants/{plant}": "example", "/v1/plants/{plant}/telemetry": "example"}
    sent = []
    for method, path, operation in sorted(operations(app), key=lambda o: len(o[1])):
        found = example(operation)
        if found is None:
            continue
        kind, body = found
        fill = {**FILL, "plant": own.get(path, "tank")}
        if "{recommendation}" in path:
            fill["recommendation"] = client.get("/v1/plants/tank/recommendations").json()["items"][0]["id"]
        url = path.format(**fill)
        options = {"json": body} if kind == "application/json" else {"content": body}
        answer = client.request(method, url, headers={"Content-Type": kind}, **options)
        assert answer.status_code in (200, 201, 202), f"{method} {url}: {answer.text}"
        sent.append(f"{method} {path}")
        if path.endswith(("/twins", "/{fleet}")):
            client.delete(f"/v1/jobs/{answer.json()['job']}")
    assert len(sent) == 16


@pytest.mark.parametrize(("route", "answer"), [("predict", PredictAnswer), ("optimize", OptimizeAnswer)])
def test_answers_are_what_the_document_says(
    app: FastAPI, client: httpx.Client, trained: dict[str, Any], route: str, answer: type[Any]
) -> None:
    path = f"/v1/plants/{{plant}}/{route}"
    _, body = example(app.openapi()["paths"][path]["post"])
    text = client.post(path.format(**FILL), json=body).text
    TypeAdapter(answer).validate_json(text)
