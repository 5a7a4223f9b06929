"""What `docker/` says is what the service knows: its settings, its metrics, its routes and commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from api.cli.main import app
from api.metrics import Metrics
from api.records.sources import Sources
from api.settings import ClientSettings, Settings

DOCKER = Path(__file__).parents[2] / "docker"
FILES = sorted(path for path in DOCKER.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    known = {f"TWIN_{name.upper()}" for name in {**Settings.model_fields, **ClientSettings.model_fields}}
    assert set(re.findall(r"\bTWIN_[A-Z_]+", path.read_text())) <= known


def test_the_dashboard_draws_metrics_that_there_are() -> None:
    dashboard = json.loads((DOCKER / "grafana" / "dashboard.json").read_text())
    drawn = set(re.findall(r"\btwin_[a-z_]+", json.dumps(dashboard)))
    families = {family.name: family.type for family in Metrics(Sources()).registry.collect()}
    known = set(families)
    known |= {f"{name}_total" for name, kind in families.items() if kind == "counter"}
    known |= {f"{name}_bucket" for name, kind in families.items() if kind == "histogram"}
    assert drawn
    assert drawn <= known


def test_the_image_runs_commands_and_probes_routes_that_there_are() -> None:
    text = (DOCKER / "kubernetes.yaml").read_text() + (DOCKER / "compose.yaml").read_text()
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {"serve", "worker"} <= commands
    assert set(re.findall(r"path: (/\w+)", text)) == {"/healthz", "/readyz"}
