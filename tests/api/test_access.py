"""Keys of some plants only, limits of requests, HTTPS."""

from __future__ import annotations

import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.access.limiter import Limiter
from api.http.errors import TooManyError
from twin.plants.quadruple_tank import QuadrupleTank


@pytest.fixture
def granted(client: httpx.Client, address: str, tank: str) -> Iterator[httpx.Client]:
    """A client whose key may everything, on one plant that is not `tank`."""
    client.put("/v1/plants/other", json=QuadrupleTank.plant.to_json())
    scopes = ["read", "upload", "train", "predict", "optimize", "admin"]
    made = client.post("/v1/keys", json={"name": "guest", "scopes": scopes, "plants": ["other"]}).json()
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {made['key']}"}) as guest:
        yield guest
    client.delete(f"/v1/keys/{made['id']}")
    client.delete("/v1/plants/other")


def test_a_key_of_one_plant_sees_no_other(granted: httpx.Client, tank: str) -> None:
    assert [plant["plant"] for plant in granted.get("/v1/plants").json()["items"]] == ["other"]
    assert granted.get("/v1/plants/other").status_code == 200
    for path in ("", "/telemetry", "/telemetry/quality", "/twins", "/aliases", "/recommendations"):
        refused = granted.get(f"/v1/plants/{tank}{path}")
        assert refused.status_code == 403
        assert "not for 'tank'" in refused.json()["detail"]
    assert granted.post(f"/v1/plants/{tank}/predict", json={"horizon_s": 60}).status_code == 403
    assert granted.delete(f"/v1/plants/{tank}").status_code == 403


def test_a_key_of_one_plant_sees_no_job_of_another(client: httpx.Client, granted: httpx.Client) -> None:
    client.put("/v1/plants/hidden", json=QuadrupleTank.plant.to_json())
    job = client.post("/v1/plants/hidden/twins", json={"budget_s": 1}).json()["job"]
    mine = granted.post("/v1/plants/other/twins", json={"budget_s": 1})
    assert mine.status_code == 202
    assert {j["plant"] for j in granted.get("/v1/jobs").json()["items"]} == {"other"}
    assert granted.get("/v1/jobs", params={"plant": "hidden"}).status_code == 403
    for refused in (
        granted.get(f"/v1/jobs/{job}"),
        granted.delete(f"/v1/jobs/{job}"),
        granted.get(f"/v1/jobs/{job}/events"),
    ):
        assert refused.status_code == 403
    assert client.delete(f"/v1/jobs/{job}").status_code in (200, 409)  # 409: it had ended
    granted.delete(f"/v1/jobs/{mine.json()['job']}")
    client.delete("/v1/plants/hidden")


def test_a_key_of_one_plant_makes_no_keys(granted: httpx.Client) -> None:
    for path in ("/v1/keys", "/v1/audit", "/v1/audit/verify"):
        assert granted.get(path).status_code == 403
    assert granted.post("/v1/keys", json={"name": "more", "scopes": ["admin"]}).status_code == 403


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    limiter = Limiter(60)  # one a second, and ten at once
    for _ in range(10):
        limiter.take("a", now=0.0)
    with pytest.raises(TooManyError) as refused:
        limiter.take("a", now=0.0)
    assert refused.value.after_s == 1
    limiter.take("b", now=0.0)
    limiter.take("a", now=1.0)
    with pytest.raises(TooManyError):
        limiter.take("a", now=1.5)


def test_a_slow_rate_still_lets_single_requests_through() -> None:
    limiter = Limiter(1)
    limiter.take("a", now=0.0)
    with pytest.raises(TooManyError) as refused:
        limiter.take("a", now=30.0)
    assert refused.value.after_s == 30
    limiter.take("a", now=60.0)


def test_no_limit_by_default() -> None:
    limiter = Limiter(0)
    for _ in range(10_000):
        limiter.take("a", now=0.0)


def test_https_with_a_certificate_and_429_over_it(tmp_path: Path) -> None:
    """The service as an administrator starts it: a process of its own, told by the environment alone."""
    cert, key = _certificate(tmp_path)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        "TWIN_DATA_DIR": str(tmp_path / "data"),
        "TWIN_PORT": "0",
        "TWIN_WORKERS": "0",
        "TWIN_ADMIN_KEY": "a-key-that-is-long-enough",
        "TWIN_TLS_CERT": str(cert),
        "TWIN_TLS_KEY": str(key),
        "TWIN_REQUESTS_PER_MINUTE": "6",
    }
    command = [sys.executable, "-m", "api.cli.main", "serve"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = _announced(process)
            assert url.startswith("https://")
            trusting = ssl.create_default_context(cafile=cert)
            headers = {"Authorization": "Bearer a-key-that-is-long-enough"}
            with httpx.Client(base_url=url, verify=trusting, headers=headers) as client:
                assert client.get("/v1/plants").status_code == 200
                limited = client.get("/v1/plants")
                assert limited.status_code == 429
                assert limited.headers["content-type"] == "application/problem+json"
                assert 1 <= int(limited.headers["retry-after"]) <= 10
                assert client.get("/healthz").status_code == 200
            with pytest.raises(httpx.ConnectError):
                httpx.get(url)
        finally:
            process.terminate()


def _announced(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    until = time.monotonic() + 120
    for line in process.stderr:
        if line.startswith("Plant Twin at "):
            return line.split()[-1]
        assert time.monotonic() < until
    raise AssertionError("the service ended before it listened")


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this machine's loopback address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plant twin test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*encoding))
    return cert, private
