"""`twin simulate`: a twin's folder, a table, JSON, a page; refusals that say what there is."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from api.cli.main import app
from tests.twin.conftest import hand_made  # noqa: F401
from twin import artifact

SCENARIOS = [
    {
        "name": "own",
        "rows": 12,
        "resting": 30,
        "horizon": 20,
        "events": [{"row": 0, "setpoints": {"temperature": 51.0}, "limits": {"flow": {"high": 44.0}}}],
    }
]


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    monkeypatch.setenv("TWIN_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("COLUMNS", "400")  # no name is broken over two lines
    return lambda *arguments: CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def test_a_twin_in_closed_loop(simulate, hand_made, tmp_path):  # noqa: F811
    folder, file, page = tmp_path / "twin", tmp_path / "own.json", tmp_path / "own.html"
    artifact.save(hand_made, folder)
    file.write_text(json.dumps(SCENARIOS))
    result = simulate(folder, "--file", file, "--plot", page, "--json")
    assert result.exit_code == 0, result.output
    held, planned = json.loads(result.stdout)["runs"]
    assert (held["controller"], planned["controller"]) == ("hold", "planner")
    assert planned["mv_violations"] == 0
    assert sum(planned["statuses"].values()) == 12
    assert planned["cost"] < held["cost"]
    assert "planned by twin by-hand" in page.read_text()


def test_refusals_say_what_there_is(simulate, hand_made, tmp_path):  # noqa: F811
    folder = tmp_path / "twin"
    artifact.save(hand_made, folder)
    for arguments, said in (
        (["quadruple-tonk"], "did you mean quadruple-tank"),
        ([folder, "--twin", folder], "for simulated plants"),
        ([folder, "--plot", tmp_path / "a.pdf"], ".html"),
        ([folder, "--scenario", "storm"], "disturbance"),
        (["cstr", "--twin", folder], "not of cstr"),
    ):
        result = simulate(*arguments)
        assert result.exit_code == 1, arguments
        assert said in " ".join(result.stderr.split())
    assert not (tmp_path / "none").exists()
