"""Everything the client raises.

ClientError
├── UnreachableError       no service answers, or the connection broke off again and again
├── RefusedError           the service answered with a problem (RFC 9457): status, detail, errors
│   ├── InvalidError           400, 415, 422   the question is malformed; `errors` says where
│   ├── UnauthorizedError      401             no key, or one that is unknown or has expired
│   ├── ForbiddenError         403             the key lacks a scope
│   ├── NotFoundError          404             nothing of that name; near matches are named in `detail`
│   ├── ConflictError          409, 412        it exists already, or changed since it was read
│   ├── TooLargeError          413             send it in parts
│   ├── BusyError              429, 503        later; it was tried again where that is safe
│   └── ServiceError           500 and above   an error of the service
├── JobError               the job failed or was cancelled; `job` says why
└── WaitedError            the job has not ended within the time given; it goes on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx


class ClientError(Exception):
    """The base: a sentence that says what was wrong."""


class UnreachableError(ClientError):
    """No service answers, or the connection broke off again and again."""


class RefusedError(ClientError):
    """The service answered with a problem.

    Attributes:
        status: of HTTP.
        detail: what was wrong, where, and what to do.
        errors: one by one, `{"loc": [...], "msg": "..."}`.
    """

    def __init__(self, status: int, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)


class InvalidError(RefusedError):
    """The question is malformed."""


class UnauthorizedError(RefusedError):
    """No key, or one that is unknown or has expired."""


class ForbiddenError(RefusedError):
    """The key lacks a scope."""


class NotFoundError(RefusedError):
    """There is nothing of that name."""


class ConflictError(RefusedError):
    """It exists already, or changed since it was read."""


class TooLargeError(RefusedError):
    """The body is over the service's limit."""


class BusyError(RefusedError):
    """The service cannot answer now."""


class ServiceError(RefusedError):
    """An error of the service, not of the request."""


class JobError(ClientError):
    """The job failed or was cancelled."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        reason = (job["error"] or {}).get("detail", "")
        super().__init__(f"job {job['job']} {job['state']}" + (f": {reason}" if reason else ""))
        self.job = job


class WaitedError(ClientError):
    """The job has not ended within the time given."""


BY_STATUS: dict[int, type[RefusedError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    413: TooLargeError,
    415: InvalidError,
    422: InvalidError,
    429: BusyError,
    503: BusyError,
}


def refusal(answer: httpx.Response) -> RefusedError:
    """The exception of an answer that is an error; its body has been read."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    problem = body if isinstance(body, dict) else {}  # a proxy's page, say
    status = answer.status_code
    kind = BY_STATUS.get(status, ServiceError if status >= 500 else RefusedError)
    return kind(status, problem.get("detail") or f"{status} {answer.reason_phrase}", problem.get("errors", ()))
