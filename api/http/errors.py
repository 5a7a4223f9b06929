"""One table, exception to status, and one shape for every error: RFC 9457 problem+json."""

from __future__ import annotations

import errno
import types
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Union, get_args, get_origin

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from twin import errors
from twin.errors import Problem, TwinError
from twin.plant import near

log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"
LATER = {"Retry-After": "2"}  # with every 503
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, in the quota, under the limit of a file's size


class UnauthorizedError(TwinError):
    """No key, or one that is unknown or has expired."""


class ForbiddenError(TwinError):
    """The key lacks a scope."""


class PreconditionError(TwinError):
    """The thing is not what If-Match or If-None-Match says."""


class MediaTypeError(TwinError):
    """The Content-Type is not one that this route reads."""


class TooManyError(TwinError):
    """The key has made too many requests; `after_s` says when there is room again."""

    def __init__(self, after_s: int) -> None:
        super().__init__(f"this key has made too many requests; try again in {after_s} s")
        self.after_s = after_s


# The first entry that the exception is an instance of decides.
STATUS: tuple[tuple[type[TwinError], HTTPStatus], ...] = (
    (UnauthorizedError, HTTPStatus.UNAUTHORIZED),
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (TooManyError, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.NotFoundError, HTTPStatus.NOT_FOUND),
    (errors.ConflictError, HTTPStatus.CONFLICT),
    (PreconditionError, HTTPStatus.PRECONDITION_FAILED),
    (MediaTypeError, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (errors.PlantError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.TelemetryError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.QuestionError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.TrainingError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.ArtifactError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (TwinError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def status_of(error: TwinError) -> HTTPStatus:
    """The HTTP status of an exception of ours."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def problem(
    request: Request,
    status: int,
    detail: str,
    problems: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An answer of type application/problem+json."""
    phrase = HTTPStatus(status).phrase
    body = {
        "type": f"urn:plant-twin:problem:{phrase.lower().replace(' ', '-')}",
        "title": phrase,
        "status": int(status),
        "detail": detail,
        "instance": request.url.path,
        "errors": [{"loc": list(p.loc), "msg": p.msg} for p in problems],
    }
    return JSONResponse(body, status, headers=headers, media_type=PROBLEM_JSON)


def install(app: FastAPI) -> None:
    """Have every error of the application answered in this shape."""
    app.add_exception_handler(TwinError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database)
    app.add_exception_handler(InterfaceError, _database)
    app.add_exception_handler(OSError, _system)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, TwinError)  # noqa: S101
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("failed", path=request.url.path, error=str(error))
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers = LATER
    if isinstance(error, TooManyError):
        headers = {"Retry-After": str(error.after_s)}
    return problem(request, status, error.detail, error.problems, headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = {
        404: f"there is nothing at {request.url.path}; the routes are listed at /openapi.json",
        405: f"{request.method} is not among what {request.url.path} takes",
    }.get(error.status_code, str(error.detail))
    return problem(request, error.status_code, detail, headers=error.headers)


async def _database(request: Request, error: Exception) -> Response:
    log.error("the database does not answer", path=request.url.path, error=str(error))
    detail = "the database does not answer, or cannot be written; nothing was changed that this answer does not tell"
    return problem(request, 503, detail, headers=LATER)


async def _system(request: Request, error: Exception) -> Response:
    if isinstance(error, OSError) and error.errno in FULL:
        log.error("no space left", path=request.url.path, error=str(error))
        return problem(request, 507, "no space is left where the service keeps its data; nothing was stored")
    return await _unexpected(request, error)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected", path=request.url.path, exc_info=error)
    return problem(request, 500, "an error of the service, not of the request; its log says more")


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = error.errors()
    if any(e["type"] == "json_invalid" for e in found):
        where = found[0].get("ctx", {}).get("error", "")
        return problem(request, 400, f"the body is not JSON: {where}", [Problem(("body",), str(where))])
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "body" in found[0]["loc"] and kind and not kind.endswith("json"):
        return problem(request, 415, f"Content-Type {kind}: this route reads application/json")
    problems = [Problem(tuple(e["loc"][1:]) or ("body",), _message(request, e)) for e in found]
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return problem(request, 422, f"{'.'.join(map(str, first.loc))}: {first.msg}{more}", problems)


def _message(request: Request, error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        *path, name = error["loc"][1:]
        body = getattr(request.scope.get("route"), "body_field", None)
        known = _fields_at(body.field_info.annotation, path) if body else ()
        return f"unknown field{near(str(name), known)}"
    return str(error["msg"])


def _fields_at(annotation: Any, path: Sequence[str | int]) -> Sequence[str]:
    """The names of the fields of the model that lies at `path` below a type."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [a for a in get_args(annotation) if a is not type(None)]
        return _fields_at(parts[0], path) if len(parts) == 1 else ()
    if get_origin(annotation) in (list, dict):
        return _fields_at(get_args(annotation)[-1], path[1:])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return list(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        return _fields_at(field.annotation, path[1:]) if field else ()
    return ()
