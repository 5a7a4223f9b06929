"""Files in parts from the client and the command line: what has arrived is not sent again, whatever breaks off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api.cli.main import app as commands
from api.cli.resume import Notes, key_of
from api.client.clients import AsyncClient, Client
from api.client.errors import InvalidError, NotFoundError, UnreachableError
from api.client.retry import Retry
from twin.plants.quadruple_tank import QuadrupleTank

KEY = "the-key-of-these-tests"
FAST = Retry(times=3, first_s=0.001, longest_s=0.01)
ROWS = 60
PART = 700  # bytes


class Link(httpx.HTTPTransport):
    """A real connection on which parts are lost: `trouble` says of the n-th part before or after it arrives."""

    def __init__(self, trouble: dict[int, str]) -> None:
        super().__init__()
        self.trouble = trouble
        self.parts: list[tuple[int, int]] = []  # offset and length of those that arrived

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "PATCH":
            return super().handle_request(request)
        trouble = self.trouble.pop(len(self.parts), "")
        if trouble == "before":
            raise httpx.ConnectError("cut before the part")
        self.parts.append((int(request.headers["Upload-Offset"]), int(request.headers["Content-Length"])))
        answer = super().handle_request(request)
        if trouble == "after":
            answer.read()
            raise httpx.ReadError("cut behind the part")
        return answer


@pytest.fixture
def plant(client: httpx.Client, request: pytest.FixtureRequest) -> str:
    """A plant of its own, empty."""
    slug = f"p{abs(hash(request.node.name)) % 10**12}"
    assert client.put(f"/v1/plants/{slug}", json=QuadrupleTank.plant.to_json()).status_code == 201
    return slug


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "month.csv"
    rows = (f"2026-02-01 00:{m:02d}:00,2.0,{10 + m / 7:.3f}\n" for m in range(ROWS))
    path.write_text("time,pump_1,level_1\n" + "".join(rows))
    assert 2 * PART < path.stat().st_size < 4 * PART
    return path


@pytest.mark.parametrize("trouble", [{}, {1: "before"}, {1: "after"}, {0: "after", 2: "before"}], ids=str)
def test_every_byte_is_sent_once_over_a_link_that_breaks(
    address: str, plant: str, file: Path, trouble: dict[int, str]
) -> None:
    told: list[tuple[int, int]] = []
    link = Link(dict(trouble))
    with Client(address, KEY, retry=FAST, transport=link) as twin:
        receipt = twin.upload_in_parts(
            plant, file, timezone="UTC", part_bytes=PART, on_progress=lambda sent, size: told.append((sent, size))
        )
    assert (receipt["rows_received"], receipt["rows_stored"], receipt["rejected"]) == (ROWS, ROWS, [])
    size = file.stat().st_size
    ends = [0]
    for offset, length in link.parts:
        assert offset == ends[-1]
        ends.append(offset + length)
    assert ends[-1] == size
    assert told[-1] == (size, size)
    assert link.trouble == {}


def test_storing_is_asked_for_again_where_its_answer_was_lost(address: str, plant: str, file: Path) -> None:
    link = Link({2: "after"})  # the last part arrives, and the file is stored; nobody hears of it
    with Client(address, KEY, retry=FAST, transport=link) as twin:
        receipt = twin.upload_in_parts(plant, file, timezone="UTC", part_bytes=PART)
        assert receipt["rows_stored"] == ROWS
        assert len(list(twin.uploads(plant))) == 1
    assert link.parts[-1] == (file.stat().st_size, 0)


def test_another_life_goes_on_where_the_first_one_ended(address: str, plant: str, file: Path) -> None:
    begun: list[str] = []
    with Client(address, KEY, retry=Retry(0), transport=Link({1: "before"})) as twin:
        with pytest.raises(UnreachableError, match=f"{PART} of {file.stat().st_size} bytes"):
            twin.upload_in_parts(plant, file, timezone="UTC", part_bytes=PART, on_begin=begun.append)
        [at] = begun
        name = at.rpartition("/")[2]
        assert twin.file(plant, name)["offset"] == PART
    link = Link({})
    with Client(address, KEY, transport=link) as twin:
        assert twin.upload_in_parts(plant, file, at=at, timezone="UTC")["rows_stored"] == ROWS
        assert link.parts == [(PART, file.stat().st_size - PART)]
        twin.give_up_file(plant, name)
        with pytest.raises(NotFoundError):
            twin.file(plant, name)
        again = twin.upload_in_parts(plant, file, at=at, timezone="UTC")  # forgotten: from its start, duplicates
        assert (again["rows_stored"], again["rows_duplicate"]) == (0, ROWS)


def test_a_file_that_cannot_be_read_is_refused_with_reasons(address: str, plant: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text("nothing,of,this\n1,2,3\n")
    with Client(address, KEY) as twin:
        with pytest.raises(InvalidError, match="time"):
            twin.upload_in_parts(plant, path)
        (tmp_path / "empty.csv").write_text("")
        with pytest.raises(ValueError, match=r"empty\.csv is empty"):
            twin.upload_in_parts(plant, tmp_path / "empty.csv")


def test_the_awaiting_client_sends_parts_too(address: str, plant: str, file: Path) -> None:
    async def send() -> Any:
        async with AsyncClient(address, KEY) as twin:
            return await twin.upload_in_parts(plant, file, timezone="UTC", part_bytes=PART)

    assert asyncio.run(send())["rows_stored"] == ROWS


@pytest.fixture
def upload(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Runs `twin upload` with every file in parts, and notes in a folder of its own."""
    for name, value in {"TWIN_URL": address, "TWIN_KEY": KEY, "XDG_CONFIG_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    words = ("--parts-above-mb", "0", "--timezone", "UTC", "--json")
    return lambda plant, path: CliRunner().invoke(commands, ["upload", plant, str(path), *words])


def test_the_same_command_goes_on_after_an_interruption(
    address: str, plant: str, file: Path, upload: Callable[..., Any]
) -> None:
    key, begun = key_of(address, plant, file, "UTC"), []
    with (
        Client(address, KEY, retry=Retry(0), transport=Link({1: "before"})) as twin,
        pytest.raises(UnreachableError),
    ):
        twin.upload_in_parts(plant, file, timezone="UTC", part_bytes=PART, on_begin=begun.append)
    Notes().keep(key, begun[0])
    result = upload(plant, file)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows_stored"] == ROWS
    with Client(address, KEY) as twin:  # the file begun by the first life is the one that was stored
        receipt = twin.file(plant, begun[0].rpartition("/")[2])["receipt"]
    assert receipt == json.loads(result.stdout)
    assert Notes().find(key) is None


def test_an_interrupted_command_says_that_it_can_go_on(
    address: str, plant: str, file: Path, upload: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("api.client.parts.Parts._rest", lambda *_: iter(_interrupt()))
        result = upload(plant, file)
    assert result.exit_code == 130
    assert "the same command goes on from there" in result.stderr
    assert Notes().find(key_of(address, plant, file, "UTC"))


def _interrupt() -> Any:
    raise KeyboardInterrupt
    yield
