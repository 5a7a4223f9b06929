"""Tokens of an identity provider: OpenID Connect access tokens, instead of keys of our own.

The provider is found by its discovery document, its public keys are fetched again when a token names one that is not
known, and nothing but asymmetric signatures is accepted. OpenID Connect Discovery 1.0; RFC 9068 for the claims.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from api.access.security import SCOPES, Key
from api.http.errors import UnauthorizedError
from api.settings import Settings
from twin.errors import TwinError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
LEEWAY_S = 30  # between the clocks of the provider and ours
AGAIN_S = 30.0  # public keys are not asked for more often than this
TIMEOUT_S = 10.0


class Provider:
    """Checks tokens against one issuer.

    Args:
        issuer: the URL that tokens name as `iss`.
        audience: what they must name in `aud`.
        prefix: of scopes that are ours, such as `twin:`; the rest of the name is the scope.
        plants_claim: the claim that lists the plants a token is for; without it, or where it is absent, all.

    Raises:
        TwinError: PyJWT is not installed.
    """

    def __init__(self, issuer: str, audience: str, prefix: str, plants_claim: str | None) -> None:
        try:
            import jwt  # an extra
        except ImportError:
            raise TwinError("TWIN_OIDC_ISSUER needs more than is installed: pip install 'plant-twin[oidc]'") from None
        self._jwt = jwt
        self._issuer = issuer
        self._audience = audience
        self._prefix = prefix
        self._plants_claim = plants_claim
        self._keys: dict[str, Any] = {}
        self._asked = -AGAIN_S
        self._lock = threading.Lock()

    def check(self, text: str) -> Key:
        """What a token allows.

        Raises:
            UnauthorizedError: it is not valid, here and now, or the provider cannot be asked.
        """
        try:
            header = self._jwt.get_unverified_header(text)
            claims = self._jwt.decode(
                text,
                self._key(str(header.get("kid", ""))),
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except self._jwt.PyJWTError as error:
            raise UnauthorizedError(f"the token is not valid: {error}") from None
        return self._granted(claims)

    def _granted(self, claims: Mapping[str, Any]) -> Key:
        said = claims.get("scope", claims.get("scp", ""))
        names = said.split() if isinstance(said, str) else [str(name) for name in said]
        ours = {name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix)}
        plants = claims.get(self._plants_claim) if self._plants_claim else None
        if plants is not None and not isinstance(plants, list):
            raise UnauthorizedError(f"the token's claim '{self._plants_claim}' is no list of plants")
        return Key(
            id=f"oidc:{claims['sub']}"[:64],
            scopes=frozenset(ours & set(SCOPES)),
            expires=datetime.fromtimestamp(claims["exp"], UTC),
            plants=None if plants is None else frozenset(map(str, plants)),
        )

    def _key(self, name: str) -> Any:
        """The public key of that name; the provider is asked again where it is new."""
        with self._lock:
            if name not in self._keys and time.monotonic() - self._asked >= AGAIN_S:
                self._asked = time.monotonic()
                self._keys = self._fetch()
            if name not in self._keys:
                raise UnauthorizedError(f"the token is signed by a key '{name}' that {self._issuer} does not publish")
            return self._keys[name]

    def _fetch(self) -> dict[str, Any]:
        try:
            with httpx.Client(timeout=TIMEOUT_S) as client:
                found = client.get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration").raise_for_status()
                if found.json().get("issuer") != self._issuer:
                    raise UnauthorizedError(f"the discovery document of {self._issuer} names another issuer")
                published = client.get(found.json()["jwks_uri"]).raise_for_status().json()["keys"]
        except (httpx.HTTPError, KeyError, ValueError) as error:
            raise UnauthorizedError(f"the identity provider {self._issuer} cannot be asked: {error}") from None
        usable = [key for key in published if key.get("use", "sig") == "sig" and key.get("kty") in ("RSA", "EC", "OKP")]
        return {key.get("kid", ""): self._jwt.PyJWK(key).key for key in usable}


def provider(settings: Settings) -> Provider | None:
    """The identity provider of the settings; None where there is none."""
    if settings.oidc_issuer is None:
        return None
    return Provider(settings.oidc_issuer, settings.oidc_audience, settings.oidc_prefix, settings.oidc_plants_claim)
