"""What keeps a twin honest: `twin calibrate`, `twin backtest`, `twin drift`, `twin recompute`."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli import complete
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


def backtest(
    plant: PlantName,
    twin: TwinName = "champion",
    against: Annotated[
        list[str], typer.Option(help="Another twin; champion and challenger by default.", autocompletion=complete.twins)
    ] = [],  # noqa: B006
    start: Start = None,
    end: End = None,
    coverage: Annotated[float | None, typer.Option(help="Of the bands.", show_default=False)] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Hold twins against the rows since their training, side by side: errors, coverage, which is better."""
    with service(url, key) as client:
        found = client.backtest(plant, twin, against=against or None, start=start, end=end, coverage=coverage)
        if told(found, as_json):
            return
        from api.cli import show

        k = len(found["times_s"])
        rows = [
            (name, ", ".join(one["aliases"]), cv, m["unit"], _mean(m["rmse"]["twin"]), _mean(m["rmse"]["persistence"]),
             _mean(m["rmse"]["report"]), _mean(m["coverage"]["measured"]))
            for name, one in found["twins"].items() for cv, m in one["cvs"].items()
        ]  # fmt: skip
        title = f"{found['windows']} forecasts of {k} rows, {found['start']} to {found['end']}; means over the rows"
        columns = ["twin", "aliases", "CV", "unit", "RMSE", "persistence", "in its report", "in its bands"]
        show.table(columns, rows, title)
        for comparison in found["comparisons"]:
            show.console.print(comparison["detail"], markup=False, highlight=False)


def drift(
    plant: PlantName,
    twin: TwinName = "champion",
    start: Start = None,
    end: End = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a twin is to be trained again, by the rows since its training; exit code 1 where it is."""
    with service(url, key) as client:
        found = client.drift(plant, twin, start=start, end=end)
        if not told(found, as_json):
            from api.cli import show

            rows = [
                (cv, m["unit"], m["rmse"]["report"], m["rmse"]["since"], m["ratio"]["mean"], m["ratio"]["low"],
                 m["ratio"]["high"], m["coverage"]["report"], m["coverage"]["since"]["mean"])
                for cv, m in found["cvs"].items()
            ]  # fmt: skip
            columns = ["CV", "unit", "RMSE in report", "since", "ratio", "low", "high", "coverage in report", "since"]
            if rows:
                show.table(columns, rows, f"{found['windows']} forecasts since {found['start']}")
            show.console.print(f"{found['status']}: {found['detail']}", markup=False, highlight=False)
            for reason in found["reasons"]:
                show.console.print(f"  {reason['detail']}", markup=False, highlight=False)
        if found["status"] == "retrain":
            raise typer.Exit(REFUSED)


def _mean(values: list[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


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
