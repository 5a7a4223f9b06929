"""`twin federation` on the command line, as far as it needs no network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.main import app
from twin.federation.artifact import Consensus, save
from twin.fleet.common import Common
from twin.fleet.shape import Shape

SHAPE = Shape(("valve",), (), ("level",), ("%", "m"), 10.0, history=8, horizon=6)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    record = {"round": 1, "counted": 2, "loss": 0.5, "moved": 0.1, "late": {}, "refused": {"c": "c: 1 of 9 is NaN"}}
    path = tmp_path / "consensus.safetensors"
    save(Consensus("c0ffee", SHAPE, Common.fresh(SHAPE).vector(), {"rounds": [record]}), path)
    return path


def test_result_shows_the_rounds(stored: Path):
    told = CliRunner().invoke(app, ["federation", "result", str(stored), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["rounds"][0]["refused"] == {"c": "c: 1 of 9 is NaN"}
    words = CliRunner().invoke(app, ["federation", "result", str(stored)])
    assert "c0ffee" in words.output


def test_result_of_a_damaged_file_exits_with_1(stored: Path):
    stored.write_bytes(stored.read_bytes()[:-1] + b"\x7f")
    told = CliRunner().invoke(app, ["federation", "result", str(stored)])
    assert told.exit_code == 1
    assert "checksum" in told.output


def test_a_federation_of_one_site_is_refused_at_its_start(tmp_path: Path):
    file = tmp_path / "fed.toml"
    tags = '[{name = "valve", role = "mv", unit = "%"}, {name = "level", role = "cv", unit = "m"}]'
    file.write_text(f'[sites]\nnorth = "north.pub"\n[model]\nsample_period_s = 10\ntags = {tags}\n')
    told = CliRunner().invoke(app, ["federation", "serve", str(file)])
    assert told.exit_code == 1
    assert "at least 2 sites, and only north" in told.output


def test_a_site_is_told_what_its_file_lacks(tmp_path: Path):
    file = tmp_path / "site.toml"
    file.write_text('[site]\nname = "north"\n')
    told = CliRunner().invoke(app, ["federation", "join", str(file)])
    assert told.exit_code == 1
    assert "site.key" in told.output
