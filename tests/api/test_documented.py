"""A setting or a route that the README does not describe is a failure, and so is one that is no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from api.settings import ClientSettings, Settings

README = (Path(__file__).parents[2] / "README.md").read_text()


def section(name: str) -> str:
    found = re.search(rf"^## {name}$(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {name}"
    return found[1]


def test_the_table_of_settings_is_complete_and_true() -> None:
    rows = re.findall(r"^\| `TWIN_(\w+)` \| (?:`(.*?)`)? ?\| (.*) \|$", section("Settings"), re.MULTILINE)
    told = {name.lower(): (default or None, what) for name, default, what in rows}
    fields = {**Settings.model_fields, **ClientSettings.model_fields}
    assert told == {
        name: (None if field.default is None else str(field.default), field.description)
        for name, field in fields.items()
    }


def test_only_the_settings_read_the_environment() -> None:
    root = Path(__file__).parents[2]
    readers = [
        str(path.relative_to(root))
        for folder in ("api", "twin", "connectors")
        for path in (root / folder).rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text())
    ]
    # The demo hands the environment on to the service that it starts, a federation to Flower's own processes; a plant's
    # file names where its secrets are.
    assert sorted(readers) == ["api/cli/demo/service.py", "api/federation/flower/tasks.py", "api/settings.py"]


@pytest.fixture
def routes(app: FastAPI) -> set[tuple[str, str]]:
    paths = app.openapi()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_the_table_of_routes_is_complete_and_true(routes: set[tuple[str, str]]) -> None:
    told = re.findall(r"^\| `([A-Z]+) (\S+)` \|", section("Routes"), re.MULTILINE)
    assert set(told) == routes
    assert len(told) == len(routes)
