"""Requests that schemathesis makes up from the OpenAPI document: no error of the service, no undocumented answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import hypothesis
import pytest
import schemathesis
from fastapi.testclient import TestClient
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.main import create_app
from api.settings import Settings
from twin.plants.quadruple_tank import QuadrupleTank

KEY = "the-key-of-the-fuzz-tests"
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
HEADERS = {"Authorization": f"Bearer {KEY}"}
KNOWN = {"plant": "tank"}
EXAMPLES = 10  # a route
ALL = list(hypothesis.HealthCheck)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("fuzz"), admin_key=KEY, workers=0, log_level="error")
    app = create_app(settings)
    app.state.service.keys.bootstrap(settings)
    with TestClient(app, headers=HEADERS) as client:
        client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json())
        yield schemathesis.openapi.from_asgi("/openapi.json", app)


def wrong_answers(
    operation: Any, examples: int, seed: int | None = None, known: Mapping[str, Any] = KNOWN
) -> list[str]:
    """Make up requests of one route; what was answered that is not documented, or an error of the service.

    Args:
        seed: of the requests; None for the same ones every time.
        known: parts of paths that exist: asked for instead of those made up, unless to be deleted.
    """

    @hypothesis.settings(
        max_examples=examples, derandomize=seed is None, deadline=None, database=None, suppress_health_check=ALL
    )
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        if case.method != "DELETE":
            case.path_parameters |= {name: known[name] for name in case.path_parameters.keys() & known.keys()}
        case.call_and_validate(headers=HEADERS, checks=CHECKS)

    wrong = []
    try:
        (ask if seed is None else hypothesis.seed(seed)(ask))()
    except* Exception as group:
        wrong += [f"{operation.label}: {error}" for error in group.exceptions]
    return wrong


def test_every_route_answers_as_documented(document: Any) -> None:
    operations = [found.ok() for found in document.get_all_operations()]
    wrong = [answer for operation in operations for answer in wrong_answers(operation, EXAMPLES)]
    assert not wrong, "\n\n".join(wrong)
    assert len(operations) > 25
