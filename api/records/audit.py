"""The audit log: who changed what, and every recommendation, as a chain of digests.

Each entry's digest covers its content and the digest before it, so an entry that was altered, removed or slipped in
breaks the chain from there on (Schneier and Kelsey, ACM TISSEC 2 (1999) 159). Somebody who can write the whole
database can also rewrite the whole chain: note the head elsewhere now and then, and verify against it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from api.records.db import Database
from api.records.tables import AuditHeadRow, AuditRow, RecommendationRow, utc_now

START = "0" * 64  # the digest before the first entry
PART = 1_000  # entries read at once


@dataclass(frozen=True)
class Verdict:
    """Whether the log is what was written.

    Attributes:
        entries: in the log.
        head: the digest of the last one; note it elsewhere.
        problems: what is wrong, in sentences; none where all is well.
    """

    entries: int
    head: str
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"ok": not self.problems, "entries": self.entries, "head": self.head, "problems": list(self.problems)}


def audit(session: Session, key: str, action: str, subject: str, detail: dict[str, Any]) -> None:
    """Note a change, within the transaction that makes it; entries are written one after another."""
    _append(session, [AuditRow(key=key, action=action, subject=subject, detail=detail)])


def audit_recommendations(session: Session, rows: Sequence[RecommendationRow]) -> None:
    """Note recommendations, which must have their ids, each by the digest of what was asked and answered."""
    entries = []
    for row in rows:
        detail = {"fingerprint": row.fingerprint, "content": content_of(row)}
        subject = f"{row.plant}/{row.id}"
        entries.append(AuditRow(key=row.key, action="recommendation", subject=subject, detail=detail))
    _append(session, entries)


def _append(session: Session, entries: Sequence[AuditRow]) -> None:
    """Chain entries to the last one; the head is held until the transaction ends."""
    head = session.execute(select(AuditHeadRow.entries, AuditHeadRow.digest).with_for_update()).one()
    digest, written = head.digest, []
    for row in entries:
        row.at = utc_now()
        digest = digest_of(row, digest)
        content = {name: getattr(row, name) for name in ("key", "action", "subject", "detail", "at")}
        written.append({**content, "digest": digest})
    if written:
        session.execute(insert(AuditRow), written)
        session.execute(update(AuditHeadRow).values(entries=head.entries + len(written), digest=digest))


def content_of(row: RecommendationRow) -> str:
    """The digest of a recommendation: what was asked, by whom, of which twin, and the outcome."""
    return _digest([row.plant, row.twin, row.key, row.fingerprint, row.request, row.outcome])


def digest_of(row: AuditRow, before: str) -> str:
    """The digest of an entry behind one of digest `before`."""
    return _digest([before, row.key, row.action, row.subject, row.detail, row.at.isoformat()])


def verify(db: Database, known: Sequence[str] = ()) -> Verdict:
    """Check the whole log against its digests, and recommendations against the log.

    Args:
        known: heads noted earlier: each must still be the digest of an entry.
    """
    problems: list[str] = []
    before, last, count, missing = START, 0, 0, set(known)
    with db.read() as session:
        head = session.scalars(select(AuditHeadRow)).one()
        ordered = select(AuditRow).order_by(AuditRow.id).limit(PART)
        while rows := session.scalars(ordered.where(AuditRow.id > last)).all():
            for row in rows:
                if row.digest is None and before == START:
                    continue  # written before there was a chain
                count += 1
                if row.digest != digest_of(row, before):
                    problems.append(f"entry {row.id} ({row.action} {row.subject}) does not follow from the one before")
                before = row.digest or START
                missing.discard(before)
            problems += _altered(session, rows)
            last = rows[-1].id
    if (count, before) != (head.entries, head.digest):
        problems.append(f"the log has {count} entries, its head says {head.entries}: its end was cut off or added to")
    problems += [f"no entry has the digest {one}, which was noted as a head" for one in sorted(missing)]
    return Verdict(count, before, tuple(problems))


def _altered(session: Session, rows: Sequence[AuditRow]) -> list[str]:
    """Recommendations that are no longer what the log says; those of a plant that was deleted are gone with it."""
    noted = {int(r.subject.rpartition("/")[2]): r.detail["content"] for r in rows if r.action == "recommendation"}
    found = session.scalars(select(RecommendationRow).where(RecommendationRow.id.in_(noted)))
    return [f"recommendation {r.id} is not what was answered" for r in found if content_of(r) != noted[r.id]]


def _digest(content: list[Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
