"""The page at `/`: plants, their latest twins and the state of the service, from files of this package alone."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

FOLDER = Path(__file__).parents[1] / "console"

router = APIRouter(include_in_schema=False)
files = StaticFiles(directory=FOLDER)


@router.get("/")
def index() -> FileResponse:
    """The page."""
    return FileResponse(FOLDER / "index.html")


@router.get("/docs")
def docs() -> FileResponse:
    """The routes, read from the OpenAPI document."""
    return FileResponse(FOLDER / "docs.html")
