"""The files of the console as they are sent; no browser needed."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI

from api.routes import console

LIMIT = 150_000  # bytes, packed, of all that the page loads


class Client:
    """Asks the console's routes alone, without a server."""

    def __init__(self) -> None:
        self._app = FastAPI()
        self._app.include_router(console.router)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.get(path, headers=headers)

        with ThreadPoolExecutor(1) as pool:  # a thread of its own: the browser's tests hold this one's event loop
            return pool.submit(lambda: asyncio.run(ask())).result()


@pytest.fixture(scope="module")
def client() -> Client:
    return Client()


def test_the_page_names_files_by_digest_and_they_are_kept_for_good(client: Client) -> None:
    page = client.get("/")
    files = re.findall(r'(?:src|href)="(/console/[^"]+)"', page.text)
    assert [file.rsplit("/", 1)[1] for file in files] == ["icon.svg", "uPlot.css", "style.css", "main.js"]
    for file in files:
        answer = client.get(file)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get(re.sub(r"/console/\w+/", "/console/0000000000000000/", files[0])).status_code == 404
    assert client.get(f"/console/{console.site.digest}/..%2Fdocs.html").status_code == 404
    assert client.get(f"/console/{console.site.digest}/vendor/README.md").status_code == 404


def test_a_known_page_is_not_sent_again(client: Client) -> None:
    first = client.get("/")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_files_are_packed_where_the_browser_takes_it(client: Client) -> None:
    path = f"/console/{console.site.digest}/vendor/uPlot.mjs"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = client.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 3
    assert packed.content == plain.content == (console.FOLDER / "vendor/uPlot.mjs").read_bytes()  # httpx unpacks


def test_the_policy_allows_no_inline_script_and_no_other_host(client: Client) -> None:
    page = client.get("/")
    policy = dict(part.split(maxsplit=1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", page.text)


def test_all_of_it_is_small() -> None:
    assert sum(len(file.packed) for file in console.site.files.values()) < LIMIT


def test_every_import_is_there() -> None:
    """No module names a bare package or a file that is not served."""
    for name, file in console.site.files.items():
        if not name.endswith(("js", "mjs")):
            continue
        folder = console.FOLDER.joinpath(name).parent
        for target in re.findall(r'\b(?:from|import)\s*"([^"\s]+)"', file.content.decode()):
            assert target.startswith("."), f"{name} imports {target}"
            assert folder.joinpath(target).resolve().is_file(), f"{name} imports {target}"
