"""`twin calibrate` and `twin recompute`: what keeps the answers of optimize honest."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import REFUSED, ApiKey, AsJson, End, PlantName, Start, TwinName, Url, service, told


def calibrate(
    plant: PlantName,
    twin: TwinName = "champion",
    start: Start = None,
    end: End = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Renew how far plans stay inside the limits of CVs, from telemetry since the training; nothing is retrained."""
    with service(url, key) as client:
        made = client.calibrate(plant, twin, start=start, end=end)
        if told(made, as_json):
            return
        from api.cli import show

        title = f"{made['calibration']} from {made['source']} telemetry, {made['windows']} forecasts"
        rows = [(cv, m["unit"], m["reaction_s"], m["low"][-1], m["high"][-1]) for cv, m in made["margins"].items()]
        show.table(["CV", "unit", "reaction s", "above low limit", "below high limit"], rows, title)


def recompute(
    plant: PlantName,
    recommendation: Annotated[int, typer.Argument(help="The id in the log of recommendations.")],
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Compute a logged recommendation again; exit code 1 where the answer is not the same."""
    with service(url, key) as client:
        found = client.replay(plant, recommendation)
        if not told(found, as_json):
            same = "the same answer" if found["same"] else "not the same answer"
            typer.echo(f"recommendation {recommendation}, {found['answer']['status']}: {same}")
            for difference in found["differences"]:
                typer.echo(f"  {difference['field']}: {difference['logged']} logged, {difference['now']} now")
        if not found["same"]:
            raise typer.Exit(REFUSED)
