"""`twin fleet`: what similar plants have in common, learnt; many plants trained side by side, and compared."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import complete, jobs
from api.cli.options import PLAIN, REFUSED, ApiKey, AsJson, FromFleet, Horizon, Url, given, service, told

if TYPE_CHECKING:
    from api.client.types import FleetAnswer, FleetUnit

app = typer.Typer(help="Many plants: learn from similar ones, train and compare.", **PLAIN)

POLL_S = 1.0
ENDED = ("succeeded", "failed", "cancelled")
COLUMNS = ["plant", "job", "state", "twin", "residual", "error / persistence", "error / ARX", "coverage", "outcome"]
TagsFile = Annotated[
    Path | None,
    typer.Option(
        "--tags", exists=True, dir_okay=False, help="JSON: each plant's tags by the fleet's.", show_default=False
    ),
]
Plants = Annotated[
    list[str] | None,
    typer.Argument(
        help="The plants' slugs; all plants by default.", autocompletion=complete.plants, show_default=False
    ),
]


@app.command("learn")
def learn(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.", autocompletion=complete.fleets)],
    plants: Annotated[list[str], typer.Argument(help="The plants' slugs.", autocompletion=complete.plants)],
    horizon_s: Horizon = None,
    budget_s: Annotated[float | None, typer.Option(help="How long to learn, about.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(show_default=False)] = None,
    tags: TagsFile = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the job.")] = False,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Learn what similar plants have in common, from all their telemetry; `--from-fleet` starts new twins from it.

    The tags of the first plant give those of the fleet their names. `--tags` is a JSON file for plants with other
    names: {"PLANT": {"FLEET'S TAG": "ITS TAG"}}.
    """
    asked, maps = given(horizon_s=horizon_s, budget_s=budget_s, seed=seed), _maps(tags)
    units: list[FleetUnit] = [{"plant": slug, "tags": maps.get(slug, {})} for slug in dict.fromkeys(plants)]
    with service(url, key) as client:
        job = client.learn_fleet(fleet, units, **asked)
        if detach:
            if not told(job, as_json):
                typer.echo(f"job {job['job']}: {job['state']}; `twin jobs follow {job['job']}` shows it")
            return
        from api.cli.follow import follow

        jobs.finish(follow(client, job["job"]), as_json)


@app.command("list")
def list_fleets(url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """The fleets: the error of units that each had not seen, over that of their linear part alone."""
    with service(url, key) as client:
        found = list(client.fleets())
    if told(found, as_json):
        return
    from api.cli import show

    head = ["fleet", "version", "units", "rows", "tags", "error / linear"]
    show.table(head, [fleet_line(fleet) for fleet in found])


def fleet_line(fleet: FleetAnswer) -> list[Any]:
    """A fleet as a row of the table."""
    tags = ", ".join(tag["name"] for tag in fleet["tags"])
    rows = sum(unit["rows"] for unit in fleet["units"])
    return [fleet["fleet"], fleet["version"], len(fleet["units"]), rows, tags, fleet["card"]["residual"]["out_of_unit"]]


def _maps(file: Path | None) -> dict[str, dict[str, str]]:
    """The maps of tags by plant."""
    if file is None:
        return {}
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise typer.BadParameter(f"{file} is no JSON: {error}", param_hint="--tags") from None
    maps = isinstance(found, dict) and all(isinstance(of, dict) for of in found.values())
    if not maps or not all(isinstance(own, str) for of in found.values() for own in of.values()):
        raise typer.BadParameter('must hold {"PLANT": {"FLEET\'S TAG": "ITS TAG"}}', param_hint="--tags")
    return dict(found)


@app.command("train")
def train(
    plants: Plants = None,
    horizon_s: Horizon = None,
    budget_s: Annotated[float | None, typer.Option(help="How long each may train.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(show_default=False)] = None,
    from_fleet: FromFleet = None,
    tags: TagsFile = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Train a twin of each plant and compare their backtests; exit code 1 where a job did not succeed.

    Jobs of different plants run side by side, one a worker (TWIN_WORKERS, or more `twin worker`); those of one plant
    wait for each other. An error below 1 is smaller than that of the simpler forecast, in the median CV. With
    --from-fleet each starts from what `twin fleet learn` learnt.
    """
    asked = given(horizon_s=horizon_s, budget_s=budget_s, seed=seed, from_fleet=from_fleet)
    maps = _maps(tags)
    with service(url, key) as client:
        slugs = plants or [plant["plant"] for plant in client.plants()]
        waiting = {
            slug: client.train(slug, **asked, **given(fleet_tags=maps.get(slug)))["job"]
            for slug in dict.fromkeys(slugs)
        }
        found = []
        for slug, job in waiting.items():
            while (ended := client.job(job))["state"] not in ENDED:
                time.sleep(POLL_S)
            row = {"plant": slug, **ended}
            if ended["state"] == "succeeded":
                row["backtest"] = judged(client.report(slug, (ended["result"] or {})["twin"]))
            found.append(row)
            if not as_json:
                typer.echo(f"{slug}: {ended['state']}", err=True)
        if not told(found, as_json):
            from api.cli import show

            show.table(COLUMNS, [line(row) for row in found])
    if any(row["state"] != "succeeded" for row in found):
        raise typer.Exit(REFUSED)


def judged(card: Mapping[str, Any]) -> dict[str, Any]:
    """A model card in a line: mean errors over the horizon against simpler forecasts, median over the CVs that these
    are not right about throughout; 1 where there is none."""
    cvs = card["backtest"]["cvs"].values()

    def ratio(peer: str) -> float:
        errors = [(mean(cv["rmse"]["twin"]), mean(cv["rmse"][peer])) for cv in cvs]
        return float(median([twin / other for twin, other in errors if other > 0] or [1.0]))

    return {
        "residual": card["training"]["residual"]["ships"],
        "against_persistence": ratio("persistence"),
        "against_arx": ratio("arx"),
        "coverage": mean(mean(cv["coverage"]["measured"]) for cv in cvs),
    }


def line(row: Mapping[str, Any]) -> list[Any]:
    """A plant as a row of the table."""
    of, result, error = row.get("backtest", {}), row["result"] or {}, row["error"] or {}
    figures = [of.get(name) for name in ("residual", "against_persistence", "against_arx", "coverage")]
    return [row["plant"], row["job"], row["state"], result.get("twin"), *figures, error.get("detail", "")]
