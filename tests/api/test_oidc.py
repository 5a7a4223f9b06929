"""Tokens of a real issuer: an HTTP server with a discovery document, public keys and signed tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from api.access import oidc
from api.access.oidc import Provider
from api.http.errors import ForbiddenError, UnauthorizedError


@dataclass
class Issuer:
    """An identity provider."""

    url: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    asked: int = 0

    def token(self, kid: str = "one", algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        now = time.time()
        body = {"iss": self.url, "aud": "plant-twin", "sub": "ada", "iat": now, "exp": now + 60}
        body |= {"scope": "openid twin:read twin:predict twin:nonsense"} | claims
        told = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(told, key or self.keys[kid], algorithm, headers={"kid": kid})

    def answer(self, path: str) -> dict[str, Any]:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.asked += 1
        kinds = {rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm, ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm}
        public = []
        for kid, key in self.keys.items():
            kind = next(algorithm for of, algorithm in kinds.items() if isinstance(key, of))
            public.append({**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig"})
        return {"keys": public}


@pytest.fixture(scope="module")
def rsa_key() -> Any:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def issuer(rsa_key: Any) -> Iterator[Issuer]:
    issuer = Issuer(keys={"one": rsa_key})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(issuer.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield issuer
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def provider(issuer: Issuer) -> Provider:
    return Provider(issuer.url, "plant-twin", "twin:", "plants")


def test_a_token_grants_its_scopes_and_plants(issuer: Issuer, provider: Provider) -> None:
    key = provider.check(issuer.token(plants=["tank"]))
    assert (key.id, key.scopes, key.plants) == ("oidc:ada", {"read", "predict"}, {"tank"})
    assert key.expires is not None
    assert 50 < key.expires.timestamp() - time.time() <= 60
    with pytest.raises(ForbiddenError):
        key.require("train")
    with pytest.raises(ForbiddenError):
        key.require_plant("other")
    assert provider.check(issuer.token()).plants is None


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": 1000}, "expired"),
        ({"aud": "another-service"}, "[Aa]udience"),
        ({"iss": "http://127.0.0.1:1"}, "[Ii]ssuer"),
        ({"nbf": 4e9}, "not yet valid"),
        ({"sub": None}, "sub"),
        ({"exp": None}, "exp"),
        ({"plants": "tank"}, "no list"),
    ],
)
def test_a_token_that_is_not_for_us_now_is_refused(
    issuer: Issuer, provider: Provider, claims: dict[str, Any], said: str
) -> None:
    with pytest.raises(UnauthorizedError, match=said):
        provider.check(issuer.token(**claims))


def test_forged_tokens_are_refused(issuer: Issuer, provider: Provider) -> None:
    other = rsa.generate_private_key(65537, 2048)
    with pytest.raises(UnauthorizedError, match=r"[Ss]ignature"):
        provider.check(issuer.token(key=other))
    unsigned = jwt.encode({"sub": "ada"}, None, "none", headers={"kid": "one"})
    with pytest.raises(UnauthorizedError, match="alg"):
        provider.check(unsigned)
    symmetric = jwt.encode({"sub": "ada"}, "x" * 64, "HS256", headers={"kid": "one"})
    with pytest.raises(UnauthorizedError, match="alg"):
        provider.check(symmetric)
    with pytest.raises(UnauthorizedError):
        provider.check("a.b.c")


def test_keys_are_fetched_again_when_one_is_new_but_not_at_every_forgery(
    issuer: Issuer, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.check(issuer.token())
    provider.check(issuer.token())
    assert issuer.asked == 1
    issuer.keys["two"] = ec.generate_private_key(ec.SECP256R1())
    rotated = issuer.token("two", "ES256")
    with pytest.raises(UnauthorizedError, match="does not publish"):
        provider.check(rotated)  # asked a moment ago
    assert issuer.asked == 1
    monkeypatch.setattr(oidc, "AGAIN_S", 0.0)
    assert provider.check(rotated).id == "oidc:ada"
    assert issuer.asked == 2


def test_a_provider_that_cannot_be_asked_lets_nobody_in(issuer: Issuer) -> None:
    lost = Provider("http://127.0.0.1:9", "plant-twin", "twin:", None)
    with pytest.raises(UnauthorizedError, match="cannot be asked"):
        lost.check(issuer.token())
