"""The command line against a running service: what it prints, its exit codes, and that it starts at once."""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from api.cli.fleet import judged
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
    assert body(run("plants", "delete", "by-hand", "--yes", "--json")) == {"deleted": "by-hand"}
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


BRACKETS = {
    "name": "Dryer [2]",
    "sample_period_s": 60.0,
    "tags": [
        {"name": "Steam [t/h]", "role": "mv", "unit": "t/h", "low": 0.0, "high": 9.0},
        {"name": "Temp [degC]", "role": "cv", "unit": "degC"},
        {"name": "Rate [/h]", "role": "cv", "unit": "1/h"},
    ],
}


def test_names_with_brackets_stand_as_they_are(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, rows = tmp_path / "plant.json", tmp_path / "rows.csv"
    file.write_text(json.dumps(BRACKETS))
    rows.write_text(
        "time,Steam [t/h],Temp [degC],Rate [/h]\n2026-01-01T00:00:00Z,1,2,3\n2026-01-01T00:01:00Z,1,2,[/x]\n"
    )
    assert run("plants", "put", "by-brackets", file).exit_code == 0
    assert "Dryer [2]" in run("plants", "list").stdout
    names = [tag["name"] for tag in BRACKETS["tags"]]  # type: ignore[index]
    for words in (("plants", "show"), ("upload",), ("quality",)):
        told = run(*words, "by-brackets", *([rows, "--dry-run"] if words == ("upload",) else []))
        assert (told.exit_code, [name for name in names if name not in told.stdout]) == (0, [])
        run("upload", "by-brackets", rows)
    assert "'[/x]' is no number" in run("upload", "by-brackets", rows).stdout
    monkeypatch.setenv("COLUMNS", "60")
    shown = run("plants", "show", "by-brackets").stdout
    assert "…" not in shown
    assert "Temp [degC]" in shown
    assert "description" not in shown  # nobody gave one


def test_an_upload_of_which_nothing_is_read_fails_and_tells_each_reason_once(
    run: Run, tmp_path: Path, client: Any
) -> None:
    client.put("/v1/plants/by-dots", json=QuadrupleTank.plant.to_json())
    file = tmp_path / "dots.csv"
    file.write_text("time;level_1\n" + "".join(f"24.10.2026 22:{minute:02d}:00;1,5\n" for minute in range(60)))
    result = run("upload", "by-dots", file)
    assert result.exit_code == 1
    assert "every row was refused: dots.csv" in result.stderr
    assert result.stdout.count("cannot read the time") == 1
    assert " 59 " in result.stdout  # and so many more
    assert run("upload", "by-dots", file, "--json").exit_code == 1


MAPPED = """time,Level_1,level_2,level_2__quality,pump_1,ambient
2026-03-01 01:00:00,12.0,350,good,3.0,1
2026-03-01 01:00:05,12.0,351,good,much,1
"""


def test_a_dry_run_shows_the_mapping_and_sends_nothing(run: Run, tmp_path: Path, client: Any) -> None:
    client.put("/v1/plants/by-dry-run", json=QuadrupleTank.plant.to_json())
    folder = tmp_path / "export"
    (folder / "march").mkdir(parents=True)
    (folder / "march" / "a.csv").write_text(MAPPED)
    (folder / "long.csv").write_text("time,tag,value\n2026-03-02T00:00:00Z,level_1,4\n2026-03-02T00:00:00Z,nix,4\n")
    (folder / "notes.txt").write_text("x")
    words = ("upload", "by-dry-run", folder, "--dry-run", "--timezone", "Europe/Berlin")
    result = run(*words)
    told = " ".join(result.stdout.split())
    assert result.exit_code == 0
    assert "left out: " in result.stderr
    assert "did you mean level_1" in told
    assert "quality of level_2" in told
    assert "100.0% outside 0 to 30: is the unit right?" in told  # 350 of a tank of 30 cm
    assert "'2026-03-01 01:00:00' is read as 2026-03-01T00:00:00+00:00" in told
    assert "'much' is no number" in told
    assert "without any value: pump_2, inflow_3, level_3, level_4" in told
    long, wide = body(run(*words, "--json"))
    assert (wide["rows_received"], wide["rows_rejected"], wide["cells_rejected"]) == (2, 0, 1)
    assert wide["columns"]["ambient"] == ""
    assert (long["long"], long["seen"]["level_1"]["count"], long["unknown_tags"]) == (True, 1, ["nix"])
    without = run(*words[:-2])
    assert (without.exit_code, "no offset" in " ".join(without.stdout.split())) == (1, True)
    assert client.get("/v1/plants/by-dry-run/telemetry").json()["times"] == []
    assert run(*words[:-3], "--timezone", "Europe/Berlin").exit_code == 0
    assert len(client.get("/v1/plants/by-dry-run/telemetry").json()["times"]) == 3


def test_jobs_twins_and_quality_are_shown(run: Run, trained: dict[str, Any], tmp_path: Path) -> None:
    name, job = trained["result"]["twin"], trained["job"]
    assert f"twin {name}" in run("jobs", "list", "--plant", "tank").stdout
    assert [j["job"] for j in body(run("jobs", "list", "--limit", 1, "--plant", "tank", "--json"))] == [job]
    assert run("jobs", "follow", job).stdout.strip() == f"twin {name}"
    assert run("jobs", "cancel", job).exit_code == 1  # it has ended
    log = run("jobs", "logs", job).stdout
    assert "900 rows of telemetry" in log
    assert "succeeded" in log
    assert name in run("twins", "tank").stdout
    assert run("promote", "tank", name, "--alias", "spare").stdout.strip() == f"tank: spare is {name}"
    told = run("quality", "tank").stdout
    assert "excitation" in told
    assert "1060 rows" in told
    assert "training would use 1060 rows" in told
    page = tmp_path / "quality.html"
    assert run("quality", "tank", "--html", page).exit_code == 0
    assert "What training would use" in page.read_text()
    minute = ("--start", "2026-01-01T00:00:00Z", "--end", "2026-01-01T00:01:00Z")
    assert body(run("quality", "tank", *minute, "--json"))["rows"] == 12  # one each 5 s


def test_a_fleet_is_trained_and_compared(
    run: Run, client: httpx.Client, measured: Telemetry, post_telemetry: Callable[[str, Telemetry], dict[str, Any]]
) -> None:
    for slug in ("full-one", "empty-one"):
        client.put(f"/v1/plants/{slug}", json=QuadrupleTank.plant.to_json())
    post_telemetry("full-one", measured.rows(slice(0, 400)))
    answer = run("fleet", "train", "full-one", "empty-one", "--budget-s", 0.001, "--horizon-s", 100, "--json")
    assert answer.exit_code == 1  # one of them has no telemetry
    found = {row["plant"]: row for row in json.loads(answer.stdout)}
    assert (found["full-one"]["state"], found["empty-one"]["state"]) == ("succeeded", "failed")
    assert "too few rows" in found["empty-one"]["error"]["detail"]
    card = client.get(f"/v1/plants/full-one/twins/{found['full-one']['result']['twin']}/report").json()
    ratios = [sum(cv["rmse"]["twin"]) / sum(cv["rmse"]["persistence"]) for cv in card["backtest"]["cvs"].values()]
    assert found["full-one"]["backtest"]["against_persistence"] == pytest.approx(statistics.median(ratios))
    for slug in ("full-one", "empty-one"):
        assert client.delete(f"/v1/plants/{slug}").status_code == 204


def completed(words: str, address: str) -> list[str]:
    """What bash would offer at the end of a line."""
    environment = {**os.environ, "TWIN_URL": address, "TWIN_KEY": KEY, "COMP_WORDS": words}
    environment |= {"_TWIN_COMPLETE": "complete_bash", "COMP_CWORD": str(len(words.split(" ")) - 1)}
    command = [sys.executable, "-c", "from api.cli.main import app; app(prog_name='twin')"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_the_shell_completes_commands_plants_twins_and_tags(run: Run, trained: dict[str, Any], address: str) -> None:
    assert completed("twin up", address) == ["upload"]
    assert completed("twin jobs f", address) == ["follow"]
    assert "tank" in completed("twin predict ta", address)
    assert "champion" in completed("twin report tank --twin cham", address)
    assert completed("twin predict tank --move pump", address) == ["pump_1=", "pump_2="]
    assert completed("twin predict ta", "http://127.0.0.1:9") == []
    assert "complete_bash" in run("--show-completion", "bash").stdout


def test_a_mistyped_word_is_answered_with_near_ones(run: Run, trained: dict[str, Any]) -> None:
    result = run("uplaod", "tank", "x.csv")
    assert (result.exit_code, "Did you mean 'upload'" in result.stderr) == (2, True)
    result = run("plants", "show", "tanc")
    assert (result.exit_code, "did you mean tank" in result.stderr) == (1, True)
    result = run("predict", "tank", "--horizon-s", 300, "--move", "pump1=3")
    assert (result.exit_code, "did you mean pump_1" in result.stderr) == (1, True)


def test_training_that_fails_says_why(run: Run, client: Any) -> None:
    client.put("/v1/plants/by-nothing", json=QuadrupleTank.plant.to_json())
    result = run("train", "by-nothing")
    assert result.exit_code == 1
    assert "failed" in result.stdout
    assert "rows" in result.stdout


def flat(text: str) -> str:
    """In one line, wherever the terminal broke it."""
    return " ".join(text.split())


def expects(dv: str, path: list[float]) -> str:
    """What is said of a DV that nobody announced and whose expected course is known."""
    course = f"stay at {path[0]:.4g}" if len(set(path)) == 1 else f"go from {path[0]:.4g} to {path[-1]:.4g}"
    return f"{dv} was not announced: the twin expects it to {course}"


def test_questions_and_the_report(run: Run, client: Any, trained: dict[str, Any], tmp_path: Path) -> None:
    words = ("predict", "tank", "--horizon-s", 300, "--move", "pump_1=3@60", "--dv", "inflow_3=1")
    answer = body(run(*words, "--json"))
    [scenario] = answer["scenarios"]
    assert (answer["twin"], len(scenario["moves"]["pump_1"])) == (trained["result"]["twin"], 60)
    shown = flat(run(*words).stdout)
    assert "nothing moves" in shown
    assert shown.count(expects("inflow_3", answer["disturbances"]["inflow_3"])) == 1  # of the baseline
    silent = flat(run(*words[:-2]).stdout)
    assert silent.count(expects("inflow_3", answer["disturbances"]["inflow_3"])) == 2  # and of the move, too
    twins = client.get("/v1/plants/tank/twins").json()["items"]
    horizon = next(twin["horizon_s"] for twin in twins if twin["twin"] == answer["twin"])
    assert len(body(run("predict", "tank", "--json"))["times"]) == horizon / 5  # as far as the twin is calibrated to
    words = ("optimize", "tank", "--horizon-s", 300, "--setpoint", "level_1=13", "--limit", "level_1=:18")
    answer = body(run(*words, "--json"))
    assert [line["limit"] for line in answer["certificate"] if (line["tag"], line["side"]) == ("level_1", "high")] == [
        18
    ]
    shown = flat(run(*words).stdout)
    assert "certificate" in shown
    assert expects("inflow_3", answer["disturbances"]["inflow_3"]) in shown
    assert "was not announced" not in flat(run(*words, "--dv", "inflow_3=1").stdout)
    page = tmp_path / "report.html"
    assert run("report", "tank", "--html", page).exit_code == 0
    assert "<svg" in page.read_text()
    card, shown = body(run("report", "tank", "--json")), flat(run("report", "tank").stdout)
    assert "backtest" in card
    assert "backtest" in shown
    [told] = [line for line in card["summary"] if line.startswith("inflow_3, where nobody says what it will do,")]
    assert told in shown
    assert told in flat(page.read_text())


def test_a_plan_is_calibrated_for_and_replayed(run: Run, client: Any, trained: dict[str, Any]) -> None:
    made = body(run("calibrate", "tank", "--json"))
    assert made["twin"] == trained["result"]["twin"]
    assert "below high limit" in run("calibrate", "tank").stdout
    assert run("optimize", "tank", "--horizon-s", 300, "--setpoint", "level_1=13").exit_code == 0
    number = client.get("/v1/plants/tank/recommendations").json()["items"][0]["id"]
    assert body(run("recompute", "tank", number, "--json"))["same"] is True
    assert "the same answer" in run("recompute", "tank", number).stdout
    gone = run("recompute", "tank", 999_999)
    assert (gone.exit_code, "no recommendation 999999" in gone.stderr) == (1, True)


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


def test_a_step_test_is_designed_shown_and_written(run: Run, trained: dict[str, Any], tmp_path: Path) -> None:
    """Pump 1 between two levels a volt apart, inside 0.5 V to 4 V and 0.05 V/s; pump 2 stays."""
    words = ("step-test", "tank", "--settling-s", "60", "--length-s", "1800", "--mv", "pump_1")
    words = (*words, "--amplitude", "pump_1=0.5")
    chosen = body(run(*words, "--json"))["mvs"]["pump_1"]
    assert chosen["high"] - chosen["low"] == pytest.approx(1.0)
    shown = run(*words).stdout
    assert f"{chosen['low']:.4g}" in shown
    assert "pump_1" in shown
    assert "settling_s" in shown
    assert run(*words, "--csv", tmp_path / "test.csv").stdout.startswith("written to")
    rows = list(csv.DictReader((tmp_path / "test.csv").read_text().splitlines()))
    moves = [float(row["pump_1"]) for row in rows]
    assert min(moves) >= chosen["low"] - 1e-9
    assert max(moves) <= chosen["high"] + 1e-9
    assert len(set(moves)) > 2  # it does move, on ramps
    assert max(abs(b - a) for a, b in pairwise(moves)) <= 0.05 * 5 + 1e-9
    assert len({row["pump_2"] for row in rows if row.get("pump_2")}) <= 1
    refused = run("step-test", "tank", "--mv", "pump_9")
    assert (refused.exit_code, "pump_9" in refused.stderr) == (1, True)


def test_plants_are_compared_by_cvs_that_move_in_any_unit() -> None:
    errors = {"small": (2e-13, 1e-13, 4e-13), "flat": (0.0, 0.0, 0.0), "level": (1.0, 2.0, 4.0)}
    names, covered = ("twin", "persistence", "arx"), {"measured": [0.9]}
    cvs = {
        cv: {"rmse": {who: [e] for who, e in zip(names, of, strict=True)}, "coverage": covered}
        for cv, of in errors.items()
    }
    card = {"backtest": {"cvs": cvs}, "training": {"residual": {"ships": True}}}
    found = judged(card)
    assert found["against_persistence"] == pytest.approx((2.0 + 0.5) / 2)
    assert found["against_arx"] == pytest.approx((0.5 + 0.25) / 2)
