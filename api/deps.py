"""What routes ask for, as `Annotated` aliases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.access.security import Key
from api.http.answers import json_answer
from api.http.errors import ForbiddenError, UnauthorizedError
from api.service import Service
from twin.errors import Problem, QuestionError
from twin.plant import near

bearer = HTTPBearer(auto_error=False, description="an API key: `Authorization: Bearer twin_…`")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


App = Annotated[Service, Depends(_service)]


async def _key(app: App, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Key:
    if given is None:
        raise UnauthorizedError("send a key: Authorization: Bearer <key>")
    known = app.keys.remembered(given.credentials)
    key = known if known else await run_in_threadpool(app.keys.check, given.credentials)
    app.limiter.take(key.id)
    return key


def _needs(scope: str) -> Any:
    async def check(request: Request, key: Annotated[Key, Depends(_key)]) -> Key:
        key.require(scope)
        if "plant" in request.path_params:
            key.require_plant(request.path_params["plant"])
        elif scope == "admin" and key.plants is not None:
            raise ForbiddenError("this key is for some plants only; keys and the audit log are about all of them")
        return key

    return Depends(check)


Reader = Annotated[Key, _needs("read")]
Uploader = Annotated[Key, _needs("upload")]
Trainer = Annotated[Key, _needs("train")]
Predictor = Annotated[Key, _needs("predict")]
Optimizer = Annotated[Key, _needs("optimize")]
Operator = Annotated[Key, _needs("control")]
Admin = Annotated[Key, _needs("admin")]

PlantSlug = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="the plant's slug")]
TwinName = Annotated[str, Path(max_length=64, description="the id of a twin, or an alias")]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
After = Annotated[str | None, Query(max_length=64, description="the `next` of the page before")]


async def known_query(request: Request) -> None:
    """Refuse a query parameter that the route does not have."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            hint = near(name, known) or f"; there are: {', '.join(known) or 'none'}"
            raise QuestionError(f"unknown query parameter '{name}'{hint}", [Problem(("query", name), "unknown")])


def page(items: Sequence[dict[str, Any]], limit: int, cursor: str) -> Response:
    """Answer `limit` items of a list of which one more was read, to know whether it goes on."""
    more = len(items) > limit
    return json_answer({"items": items[:limit], "next": str(items[limit - 1][cursor]) if more else None})
