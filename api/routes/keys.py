"""API keys: made, listed and revoked by an admin."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import Admin, App
from api.http.answers import KeyAnswer, Page, json_answer
from api.http.examples import KEY, body
from api.http.schemas import KeyBody
from api.records.tables import KeyRow

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.get("", response_model=Page[KeyAnswer])
def list_keys(app: App, _: Admin) -> Response:
    """The keys, without their texts."""
    return json_answer({"items": [_answer(row) for row in app.keys.list()], "next": None})


@router.post("", status_code=201, response_model=KeyAnswer, openapi_extra=body(KEY))
def create_key(app: App, key: Admin, body: KeyBody) -> Response:
    """Make a key; `key` holds its text, this once."""
    row, text = app.keys.create(body.name, body.scopes, body.expires, body.plants, by=key.id)
    return json_answer({**_answer(row), "key": text}, 201)


@router.delete("/{key_id}", status_code=204)
def revoke_key(app: App, key: Admin, key_id: str) -> Response:
    """Revoke a key; the last one with the scope admin stays."""
    app.keys.revoke(key_id, by=key.id)
    return Response(status_code=204)


def _answer(row: KeyRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in ("id", "name", "scopes", "plants", "created", "expires")}
