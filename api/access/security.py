"""Who may do what: bearer keys with scopes and plants, kept as SHA-256 digests; or tokens of an identity provider.

Keys are 32 random bytes, so a plain digest cannot be guessed back; the bootstrap key of the settings must have
16 characters or more for the same reason.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import delete, select

from api.http.errors import ForbiddenError, UnauthorizedError
from api.records.audit import audit
from api.records.db import Database
from api.records.tables import KeyRow, utc_now
from api.settings import Settings
from twin.errors import ConflictError, NotFoundError, TwinError

SCOPES = ("read", "upload", "train", "predict", "optimize", "control", "admin")
BOOTSTRAP = "bootstrap"
REMEMBERED_S = 5.0  # a key revoked by another process is refused after so long at the latest


@dataclass(frozen=True)
class Key:
    """A key that was presented.

    Attributes:
        plants: those it is for; None is every plant.
    """

    id: str
    scopes: frozenset[str]
    expires: datetime | None
    plants: frozenset[str] | None = None

    def require(self, scope: str) -> None:
        """Raise ForbiddenError unless the key has the scope; `admin` has them all."""
        if scope not in self.scopes and "admin" not in self.scopes:
            raise ForbiddenError(f"this key lacks the scope '{scope}'; it has: {', '.join(sorted(self.scopes))}")

    def sees(self, plant: str) -> bool:
        """Whether the key is for this plant."""
        return self.plants is None or plant in self.plants

    def require_plant(self, plant: str) -> None:
        """Raise ForbiddenError unless the key is for this plant."""
        if not self.sees(plant):
            raise ForbiddenError(
                f"this key is for {', '.join(sorted(self.plants or ())) or 'no plant'}, not for '{plant}'"
            )


class Tokens(Protocol):
    """Checks the tokens of an identity provider (`api.access.oidc`)."""

    def check(self, text: str) -> Key:
        """What a token allows.

        Raises:
            UnauthorizedError: it is not valid here and now.
        """
        ...


class Keys:
    """The keys of the service.

    Args:
        tokens: of an identity provider, where there is one.
    """

    def __init__(self, db: Database, tokens: Tokens | None = None) -> None:
        self._db = db
        self._tokens = tokens
        self._known: dict[str, tuple[float, Key]] = {}

    def remembered(self, text: str) -> Key | None:
        """The key of that text if it was checked a moment ago: no database is asked."""
        until, key = self._known.get(_digest(text), (0.0, None))
        return key if key and time.monotonic() < until else None

    def check(self, text: str) -> Key:
        """The key, or the token, of that text.

        Raises:
            UnauthorizedError: it is unknown or has expired.
        """
        is_token = self._tokens is not None and text.count(".") == 2
        key = self._tokens.check(text) if self._tokens and is_token else self._stored(text)
        lifetime = REMEMBERED_S if not key.expires else min(REMEMBERED_S, (key.expires - utc_now()).total_seconds())
        self._known = {d: (t, k) for d, (t, k) in self._known.items() if t > time.monotonic()}
        self._known[_digest(text)] = (time.monotonic() + lifetime, key)
        return key

    def _stored(self, text: str) -> Key:
        with self._db.read() as session:
            row = session.scalar(select(KeyRow).where(KeyRow.digest == _digest(text)))
        if row is None:
            raise UnauthorizedError("this key is unknown; make one with `twin keys create`")
        if row.expires and row.expires <= utc_now():
            raise UnauthorizedError(f"this key expired at {row.expires.isoformat()}")
        plants = None if row.plants is None else frozenset(row.plants)
        return Key(row.id, frozenset(row.scopes), row.expires, plants)

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        expires: datetime | None = None,
        plants: Sequence[str] | None = None,
        by: str = BOOTSTRAP,
    ) -> tuple[KeyRow, str]:
        """A new key and its text, which is kept nowhere.

        Args:
            plants: those it is for; None is every plant.
            by: the id of the key that made it, for the audit log.
        """
        text = f"twin_{secrets.token_urlsafe(32)}"
        row = KeyRow(
            id=secrets.token_hex(6),
            name=name,
            digest=_digest(text),
            scopes=sorted(set(scopes)),
            expires=expires,
            plants=None if plants is None else sorted(set(plants)),
        )
        with self._db.write() as session:
            session.add(row)
            audit(session, by, "key.create", row.id, {"name": name, "scopes": row.scopes, "plants": row.plants})
        return row, text

    def list(self) -> Sequence[KeyRow]:
        """All keys, oldest first."""
        with self._db.read() as session:
            return session.scalars(select(KeyRow).order_by(KeyRow.created)).all()

    def revoke(self, key_id: str, by: str = BOOTSTRAP) -> None:
        """Delete a key.

        Raises:
            NotFoundError: there is none of that id.
            ConflictError: it is the last one with the scope admin.
        """
        with self._db.write() as session:
            rows = session.scalars(select(KeyRow)).all()
            row = next((r for r in rows if r.id == key_id), None)
            if row is None:
                raise NotFoundError(f"no key '{key_id}'; `twin keys list` shows them")
            if "admin" in row.scopes and sum("admin" in r.scopes for r in rows) == 1:
                raise ConflictError("this is the last key with the scope admin; create another first")
            session.delete(row)
            audit(session, by, "key.revoke", key_id, {"name": row.name})
        self._known.clear()

    def bootstrap(self, settings: Settings) -> str | None:
        """See that there is an admin key. The text of one that was generated, to print once; else None.

        Raises:
            TwinError: the service would be reachable from other machines without a key that somebody chose.
        """
        if settings.admin_key:
            self._set_bootstrap(settings.admin_key.get_secret_value())
            return None
        if any("admin" in row.scopes for row in self.list()):
            return None
        if not settings.loopback:
            raise TwinError(f"TWIN_HOST={settings.host} is reachable from other machines: set TWIN_ADMIN_KEY first")
        return self.create(BOOTSTRAP, ["admin"])[1]

    def _set_bootstrap(self, text: str) -> None:
        with self._db.write() as session:
            if session.scalar(select(KeyRow.id).where(KeyRow.digest == _digest(text))) is None:
                session.execute(delete(KeyRow).where(KeyRow.id == BOOTSTRAP))
                session.add(KeyRow(id=BOOTSTRAP, name=BOOTSTRAP, digest=_digest(text), scopes=["admin"]))
                audit(session, BOOTSTRAP, "key.create", BOOTSTRAP, {"name": BOOTSTRAP, "scopes": ["admin"]})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
