"""The command line against a running service: what it prints, its exit codes, and that it starts at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli.main import app
from twin.plants.quadruple_tank import QuadrupleTank
from twin.telemetry import Telemetry

Run = Callable[..., Result]
KEY = "the-key-of-these-tests"


@pytest.fixture
def run(address: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `twin` with the address and key of the service in the environment, as a person would."""
    monkeypatch.setenv("TWIN_URL", address)
    monkeypatch.setenv("TWIN_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def body(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_plants_are_put_listed_shown_and_deleted(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "plant.json"
    file.write_text(json.dumps(QuadrupleTank.plant.to_json()))
    assert body(run("plants", "put", "by-hand", file, "--json"))["version"] == 1
    assert "by-hand" in run("plants", "list").stdout
    assert [p["plant"] for p in body(run("plants", "list", "--json")) if p["plant"] == "by-hand"] == ["by-hand"]
    shown = run("plants", "show", "by-hand").stdout
    assert "pump_1" in shown
    assert "0.05" in shown
    assert run("plants", "delete", "by-hand", "--yes").exit_code == 0
    gone = run("plants", "show", "by-hand")
    assert (gone.exit_code, "no plant 'by-hand'" in gone.stderr) == (1, True)


def test_files_are_uploaded_by_their_ending(run: Run, tmp_path: Path, client: Any, measured: Telemetry) -> None:
    client.put("/v1/plants/by-file", json=QuadrupleTank.plant.to_json())
    frame = measured.frame().iloc[:100]
    frame.iloc[:50].to_csv(tmp_path / "first.csv.gz")
    frame.iloc[50:].reset_index().to_parquet(tmp_path / "then.parquet")
    for name in ("first.csv.gz", "then.parquet"):
        assert body(run("upload", "by-file", tmp_path / name, "--json"))["rows_stored"] == 50
    again = run("upload", "by-file", tmp_path / "then.parquet")
    assert (again.exit_code, "rows_duplicate" in again.stdout) == (0, True)
    (tmp_path / "rows.xlsx").write_text("x")
    assert run("upload", "by-file", tmp_path / "rows.xlsx").exit_code == 2
    (tmp_path / "bad.csv").write_text("time,level_1\nyesterday,1\n2026-03-01T00:00:00Z,much\n")
    told = run("upload", "by-file", tmp_path / "bad.csv").stdout
    assert "yesterday" in told
    assert "much" in told


def test_training_that_fails_says_why(run: Run, client: Any) -> None:
    client.put("/v1/plants/by-nothing", json=QuadrupleTank.plant.to_json())
    result = run("train", "by-nothing")
    assert result.exit_code == 1
    assert "failed" in result.stdout
    assert "rows" in result.stdout


def test_questions_and_the_report(run: Run, trained: dict[str, Any], tmp_path: Path) -> None:
    words = ("predict", "tank", "--horizon-s", 300, "--move", "pump_1=3@60", "--dv", "inflow_3=1")
    answer = body(run(*words, "--json"))
    [scenario] = answer["scenarios"]
    assert (answer["twin"], len(scenario["moves"]["pump_1"])) == (trained["result"]["twin"], 60)
    assert "nothing moves" in run(*words).stdout
    words = ("optimize", "tank", "--horizon-s", 300, "--setpoint", "level_1=13", "--limit", "level_1=:18")
    answer = body(run(*words, "--json"))
    assert [line["limit"] for line in answer["certificate"] if (line["tag"], line["side"]) == ("level_1", "high")] == [
        18
    ]
    assert "certificate" in run(*words).stdout
    page = tmp_path / "report.html"
    assert run("report", "tank", "--html", page).exit_code == 0
    assert "<svg" in page.read_text()
    assert "backtest" in run("report", "tank").stdout
    assert "backtest" in body(run("report", "tank", "--json"))


def test_a_refusal_names_the_place(run: Run, trained: dict[str, Any]) -> None:
    result = run("predict", "tank", "--horizon-s", 300, "--move", "level_1=3")
    assert (result.exit_code, "level_1 is a CV" in result.stderr) == (1, True)
    for words in (("--move", "pump_1"), ("--move", "pump_1=fast"), ("--dv", "=3")):
        assert run("predict", "tank", "--horizon-s", 300, *words).exit_code == 2


def test_keys_are_made_and_revoked(run: Run, address: str) -> None:
    made = body(run("keys", "create", "screen", "--scope", "read", "--json"))
    assert run("plants", "list", "--key", made["key"]).exit_code == 0
    assert run("keys", "list", "--key", made["key"]).exit_code == 1
    assert made["id"] in run("keys", "list").stdout
    assert run("keys", "revoke", made["id"]).exit_code == 0
    assert run("plants", "list", "--key", made["key"]).exit_code == 1


def test_no_service_is_told_from_a_refusal(run: Run) -> None:
    result = run("plants", "list", "--url", "http://127.0.0.1:9")
    assert (result.exit_code, "is `twin serve` running?" in result.stderr) == (3, True)


def test_the_command_line_loads_nothing_heavy() -> None:
    script = """
import sys
from typer.testing import CliRunner
from api.cli.main import app
result = CliRunner().invoke(app, ["--help"])
assert result.exit_code == 0, result.output
for word in ("serve", "demo", "plants", "upload", "train", "predict", "optimize", "report", "keys"):
    assert word in result.output, word
heavy = {"jax", "pandas", "numpy", "httpx", "fastapi", "sqlalchemy", "pydantic", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)
