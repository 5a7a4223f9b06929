"""The OpenAPI document: FastAPI's, with what it cannot say of errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.http.answers import ProblemAnswer
from api.http.errors import PROBLEM_JSON

REFUSED = {"model": ProblemAnswer, "description": "what was wrong, where, and what to do"}
FAILED = {"model": ProblemAnswer, "description": "the service, its store or its database failed; try again later"}
ERRORS: dict[int | str, dict[str, Any]] = {"4XX": REFUSED, "5XX": FAILED}


def install(app: FastAPI) -> None:
    """Have the document name problems by their own media type, as they are sent."""
    made = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            for route in made()["paths"].values():
                for operation in route.values():
                    _mend(operation["responses"])
        return app.openapi_schema or {}

    app.openapi = document  # type: ignore[method-assign]


def _mend(responses: dict[str, Any]) -> None:
    for status in ERRORS:
        answer = responses[str(status)]
        answer["content"] = {PROBLEM_JSON: next(iter(answer["content"].values()))}
