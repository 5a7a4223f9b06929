"""Files in parts by the tus protocol: resumed after a break, stored once, refused with reasons."""

from __future__ import annotations

import base64
import gzip
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.incoming import KEPT_S, Inbox
from twin.errors import ConflictError
from twin.plants.quadruple_tank import QuadrupleTank

HEAD = "time,pump_1,level_1\n"
ROWS = "".join(f"2026-02-01T00:{m:02d}:00Z,2.0,{10 + m / 7}\n" for m in range(60))
BODY = (HEAD + ROWS).encode()
PART = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}


@pytest.fixture
def plant(client: httpx.Client, request: pytest.FixtureRequest) -> str:
    """A plant of its own, empty."""
    slug = f"f{abs(hash(request.node.name)) % 10**12}"
    assert client.put(f"/v1/plants/{slug}", json=QuadrupleTank.plant.to_json()).status_code == 201
    return slug


def create(client: httpx.Client, plant: str, length: int, **told: str) -> str:
    pairs = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in told.items())
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": pairs}
    answer = client.post(f"/v1/plants/{plant}/telemetry/files", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["upload-offset"] == "0"
    location: str = answer.headers["location"]
    return location


def send(client: httpx.Client, location: str, offset: int, part: bytes) -> httpx.Response:
    return client.patch(location, headers={**PART, "Upload-Offset": str(offset)}, content=part)


def test_parts_make_a_file_that_is_stored_as_an_upload_is(client: httpx.Client, plant: str) -> None:
    location = create(client, plant, len(BODY))
    assert send(client, location, 0, BODY[:100]).headers["upload-offset"] == "100"
    told = client.head(location)
    assert (told.headers["upload-offset"], told.headers["upload-length"]) == ("100", str(len(BODY)))
    assert "upload-expires" in told.headers
    assert client.get(location).json()["receipt"] is None
    assert client.get(f"/v1/plants/{plant}/telemetry").json()["times"] == []
    last = send(client, location, 100, BODY[100:])
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(BODY)))
    receipt = client.get(location).json()["receipt"]
    assert (receipt["rows_received"], receipt["rows_stored"]) == (60, 60)
    found = client.get(f"/v1/plants/{plant}/telemetry", params={"tags": "level_1"}).json()
    assert found["values"]["level_1"] == pytest.approx([10 + m / 7 for m in range(60)])
    assert send(client, location, len(BODY), b"").status_code == 204
    assert len(client.get(f"/v1/plants/{plant}/telemetry/uploads").json()["items"]) == 1


def test_a_broken_link_keeps_what_arrived(client: httpx.Client, plant: str, address: str) -> None:
    """The sender's connection is cut in the middle of a part; HEAD says where to go on."""
    location = create(client, plant, len(BODY))
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port)) as link:
        lines = [
            f"PATCH {location} HTTP/1.1",
            f"Host: {url.netloc}",
            f"Authorization: {client.headers['authorization']}",
            "Content-Type: application/offset+octet-stream",
            "Tus-Resumable: 1.0.0",
            "Upload-Offset: 0",
            f"Content-Length: {len(BODY)}",
        ]
        link.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + BODY[:700])
        time.sleep(0.5)
    end = time.monotonic() + 10
    while (arrived := int(client.head(location).headers["upload-offset"])) < 700:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert arrived == 700
    assert send(client, location, 700, BODY[700:]).status_code == 204
    assert client.get(location).json()["receipt"]["rows_stored"] == 60


def test_what_the_sender_says_of_the_file_holds(client: httpx.Client, plant: str) -> None:
    naive = gzip.compress(b"time,level_1\n2026-07-01 12:00:00,1.5\n")
    told = {"content_type": "text/csv", "content_encoding": "gzip", "timezone": "Europe/Berlin", "idempotency_key": "k"}
    for _ in range(2):  # another file of the same key is stored once
        location = create(client, plant, len(naive), **told, filename="july.csv.gz")
        assert send(client, location, 0, naive).status_code == 204
        assert client.get(location).json()["receipt"]["rows_stored"] == 1
    assert client.get(f"/v1/plants/{plant}/telemetry").json()["times"] == ["2026-07-01T10:00:00+00:00"]
    assert len(client.get(f"/v1/plants/{plant}/telemetry/uploads").json()["items"]) == 1


def test_a_file_that_cannot_be_read_is_refused_and_given_up(client: httpx.Client, plant: str) -> None:
    location = create(client, plant, 9)
    refused = send(client, location, 0, b"not,a\n1,2")
    assert refused.status_code == 422
    assert "must name the columns" in refused.json()["detail"]
    assert client.head(location).status_code == 404


@pytest.mark.parametrize(
    ("headers", "part", "status", "said"),
    [
        ({"Upload-Offset": "5"}, b"x", 409, "0 bytes have arrived"),
        ({"Upload-Offset": "0"}, b"x" * 21, 413, "20 bytes"),
        ({"Upload-Offset": "0", "Content-Type": "text/csv"}, b"x", 415, "offset"),
        ({"Upload-Offset": "0", "Tus-Resumable": "0.2.2"}, b"x", 412, "1.0.0"),
        ({"Upload-Offset": "-1"}, b"x", 422, "greater"),
        ({}, b"x", 422, "required"),
    ],
)
def test_parts_that_do_not_fit(
    client: httpx.Client, plant: str, headers: dict[str, str], part: bytes, status: int, said: str
) -> None:
    location = create(client, plant, 20)
    refused = client.patch(location, headers={**PART, **headers}, content=part)
    assert refused.status_code == status
    assert said in refused.text
    assert client.head(location).headers["upload-offset"] == "0"
    assert client.delete(location, headers={"Tus-Resumable": "1.0.0"}).status_code == 204
    assert client.head(location).status_code == 404


def test_files_that_make_no_sense(client: httpx.Client, plant: str) -> None:
    path = f"/v1/plants/{plant}/telemetry/files"
    about = client.options(path)
    assert (about.status_code, about.headers["tus-version"]) == (204, "1.0.0")
    for headers, status in (
        ({}, 422),
        ({"Upload-Length": "0"}, 422),
        ({"Upload-Length": about.headers["tus-max-size"] + "0"}, 413),
        ({"Upload-Length": "9", "Upload-Metadata": "content_type !"}, 422),
        ({"Upload-Length": "9", "Upload-Metadata": "content_type aW1hZ2UvcG5n"}, 415),
    ):
        assert client.post(path, headers=headers).status_code == status
    assert client.post("/v1/plants/nothing/telemetry/files", headers={"Upload-Length": "9"}).status_code == 404


def test_a_file_belongs_to_its_plant(client: httpx.Client, plant: str, tank: str) -> None:
    location = create(client, plant, 20)
    assert client.head(location.replace(plant, tank)).status_code == 404


def test_one_sender_at_a_time_and_files_that_nobody_goes_on_with(tmp_path: Path) -> None:
    inbox, plant = Inbox(tmp_path), "tank"
    file = inbox.create(plant, 10, {})
    with inbox.writing(file) as target:
        target.write(b"abc")
        with pytest.raises(ConflictError, match="another request"), inbox.writing(file):
            pass
    assert inbox.find(plant, file.id).offset == 3
    assert inbox.tidy(time.time() + KEPT_S - 60) == 0
    assert inbox.tidy(time.time() + KEPT_S + 60) == 1
    with pytest.raises(Exception, match="given up"):
        inbox.find(plant, file.id)
