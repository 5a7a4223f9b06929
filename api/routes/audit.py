"""The audit log, for an admin: every change and every recommendation, and whether the log is what was written."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy import select

from api.deps import Admin, App, Limit, page
from api.http.answers import AuditAnswer, AuditVerdictAnswer, Page, json_answer
from api.records.audit import verify
from api.records.tables import AuditRow

router = APIRouter(prefix="/v1/audit", tags=["audit"])

Before = Annotated[int | None, Query(ge=1, le=2**53, description="the `next` of the page before")]
Digest = Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")]
Heads = Annotated[list[Digest], Query(max_length=100, description="heads noted earlier, that the log must still hold")]


@router.get("", response_model=Page[AuditAnswer])
def list_audit(app: App, _: Admin, limit: Limit = 100, after: Before = None) -> Response:
    """The entries, newest first: who changed what, when, and the digest that chains it to the entry before."""
    app.recorder.flush()
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(AuditRow.id < after)
    with app.db.read() as session:
        rows = session.scalars(query).all()
    return page([_answer(row) for row in rows], limit, "id")


@router.get("/verify", response_model=AuditVerdictAnswer)
def verify_audit(app: App, _: Admin, head: Heads = []) -> Response:  # noqa: B006
    """Whether the log is whole: entries altered, removed or slipped in, and recommendations altered since."""
    app.recorder.flush()
    return json_answer(verify(app.db, head).to_json())


def _answer(row: AuditRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in ("id", "at", "key", "action", "subject", "detail", "digest")}
