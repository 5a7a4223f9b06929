"""The console at `/`: static files of this package, and nothing from another host.

The files are read once. They lie below a path that holds a digest of them all, so that browsers keep them for good;
only the two pages are asked for again, by ETag.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response
from starlette.exceptions import HTTPException

FOLDER = Path(__file__).parents[1] / "console"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FOR_GOOD = "public, max-age=31536000, immutable"
DIGEST = "{{digest}}"  # where the pages name the folder of their files

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class File:
    """One file as it is sent."""

    media_type: str
    content: bytes
    packed: bytes
    etag: str

    @classmethod
    def of(cls, suffix: str, content: bytes) -> File:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        return cls(TYPES[suffix], content, gzip.compress(content, 9, mtime=0), etag)

    def answer(self, accept_encoding: str, if_none_match: str, cache_control: str) -> Response:
        """The file, packed where the browser takes that; 304 where it has it."""
        headers = {"ETag": self.etag, "Cache-Control": cache_control, "Vary": "Accept-Encoding"}
        headers["Content-Security-Policy"] = POLICY
        if self.etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]:
            return Response(status_code=304, headers=headers)
        packed = "gzip" in accept_encoding
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(self.packed if packed else self.content, headers=headers, media_type=self.media_type)


@dataclass(frozen=True)
class Site:
    """The console's files by their path below its folder."""

    digest: str
    files: dict[str, File]

    @classmethod
    def read(cls, folder: Path) -> Site:
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(_served(folder))}
        digest = hashlib.sha256(b"".join(k.encode() + v for k, v in contents.items())).hexdigest()[:16]
        pages = {name: c.replace(DIGEST.encode(), digest.encode()) for name, c in contents.items()}
        return cls(digest, {name: File.of(Path(name).suffix, content) for name, content in pages.items()})


def _served(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.suffix in TYPES)


site = Site.read(FOLDER)

Encoding = Annotated[str, Header(alias="accept-encoding")]
Known = Annotated[str, Header(alias="if-none-match")]


@router.get("/")
def index(accept_encoding: Encoding = "", if_none_match: Known = "") -> Response:
    """The console."""
    return site.files["index.html"].answer(accept_encoding, if_none_match, "no-cache")


@router.get("/docs")
def docs(accept_encoding: Encoding = "", if_none_match: Known = "") -> Response:
    """The routes, read from the OpenAPI document."""
    return site.files["docs.html"].answer(accept_encoding, if_none_match, "no-cache")


@router.get("/console/{digest}/{path:path}")
def file(digest: str, path: str, accept_encoding: Encoding = "", if_none_match: Known = "") -> Response:
    """A module, style sheet or picture of the console; one of another version is not there."""
    if digest != site.digest or path not in site.files:
        raise HTTPException(404)
    return site.files[path].answer(accept_encoding, if_none_match, FOR_GOOD)
