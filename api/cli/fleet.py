"""`twin fleet train`: many plants trained, as many at once as there are workers, and their backtests side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import mean, median
from typing import Annotated, Any

import typer

from api.cli import complete
from api.cli.options import PLAIN, REFUSED, ApiKey, AsJson, Horizon, Url, given, service, told

app = typer.Typer(help="Train and compare many plants.", **PLAIN)

POLL_S = 1.0
ENDED = ("succeeded", "failed", "cancelled")
COLUMNS = ["plant", "job", "state", "twin", "residual", "error / persistence", "error / ARX", "coverage", "outcome"]
Plants = Annotated[
    list[str] | None,
    typer.Argument(
        help="The plants' slugs; all plants by default.", autocompletion=complete.plants, show_default=False
    ),
]


@app.command("train")
def train(
    plants: Plants = None,
    horizon_s: Horizon = None,
    budget_s: Annotated[float | None, typer.Option(help="How long each may train.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(show_default=False)] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Train a twin of each plant and compare their backtests; exit code 1 where a job did not succeed.

    Jobs of different plants run side by side, one a worker (TWIN_WORKERS, or more `twin worker`); those of one plant
    wait for each other. An error below 1 is smaller than that of the simpler forecast, in the median CV.
    """
    asked = given(horizon_s=horizon_s, budget_s=budget_s, seed=seed)
    with service(url, key) as client:
        slugs = plants or [plant["plant"] for plant in client.plants()]
        waiting = {slug: client.train(slug, **asked)["job"] for slug in dict.fromkeys(slugs)}
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
    """A model card in a line: mean errors over the horizon against simpler forecasts, median over the CVs."""
    cvs = card["backtest"]["cvs"].values()

    def ratio(peer: str) -> float:
        return float(median(mean(cv["rmse"]["twin"]) / max(mean(cv["rmse"][peer]), 1e-12) for cv in cvs))

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
