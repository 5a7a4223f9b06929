"""Twins on the command line: train, list, report, promote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import complete, jobs
from api.cli.options import (
    ApiKey,
    AsJson,
    End,
    FleetTag,
    FromFleet,
    Horizon,
    PlantName,
    Start,
    TwinName,
    Url,
    given,
    service,
    told,
)
from api.cli.parse import renamed, signs

COLUMNS = ["twin", "aliases", "created", "data_version", "horizon_s", "min_history_rows"]


def train(
    plant: PlantName,
    start: Start = None,
    end: End = None,
    horizon_s: Horizon = None,
    budget_s: Annotated[float | None, typer.Option(help="How long to train, about.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(show_default=False)] = None,
    from_twin: Annotated[
        str | None,
        typer.Option(
            help="Train on from this twin; a fresh one is trained too, the better kept.",
            show_default=False,
            autocompletion=complete.twins,
        ),
    ] = None,
    from_fleet: FromFleet = None,
    fleet_tag: FleetTag = [],  # noqa: B006
    exclude: Annotated[
        list[str],
        typer.Option(help='Rows not to learn from: "feed<2", "speed<100+600s" (and 600 s after), "START/END".'),
    ] = [],  # noqa: B006
    gain_sign: Annotated[
        list[str],
        typer.Option(help="What is known of the process: MV:CV=+1, -1, or 0 for no effect. Repeat it."),
    ] = [],  # noqa: B006
    hierarchy: Annotated[
        bool, typer.Option("--hierarchy", help="With a slow model of averages, for horizons of many settling times.")
    ] = False,
    slow_stride: Annotated[
        int | None, typer.Option(help="Rows that the slow model averages.", show_default=False)
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the job.")] = False,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Train a twin; no option is needed for a good one."""
    rules = [excluded(text) for text in exclude]
    asked = given(
        exclude=rules, start=start, end=end, horizon_s=horizon_s, budget_s=budget_s, seed=seed, from_twin=from_twin
    )
    asked |= given(from_fleet=from_fleet, fleet_tags=renamed(fleet_tag))
    options = given(gain_sign=signs(gain_sign), hierarchy=hierarchy or None, slow_stride=slow_stride)
    if options:
        asked["options"] = options
    with service(url, key) as client:
        job = client.train(plant, **asked)
        if detach:
            if not told(job, as_json):
                typer.echo(f"job {job['job']}: {job['state']}; `twin jobs follow {job['job']}` shows it")
            return
        from api.cli.follow import follow

        jobs.finish(follow(client, job["job"]), as_json)


def excluded(text: str) -> dict[str, Any]:
    """The body of an exclusion written on the command line."""
    from twin.errors import QuestionError
    from twin.exclusions import Exclusion

    try:
        return Exclusion.parse(text).to_json()
    except QuestionError as error:
        raise typer.BadParameter(error.detail, param_hint="--exclude") from None


def twins(plant: PlantName, url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """The twins of a plant, newest first."""
    with service(url, key) as client:
        found = list(client.twins(plant))
        if told(found, as_json):
            return
        from api.cli import show

        show.table(COLUMNS, [[twin.get(column) for column in COLUMNS] for twin in found])


def promote(
    plant: PlantName,
    twin: Annotated[str, typer.Argument(help="The id of a twin, or an alias.", autocompletion=complete.twins)],
    alias: Annotated[str, typer.Option(help="The name that it gets.")] = "champion",
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Have a twin answer as the champion, or under another alias."""
    with service(url, key) as client:
        found = client.promote(plant, twin, alias)
        if not told(found, as_json):
            typer.echo(f"{plant}: {alias} is {found['twin']}")


def report(
    plant: PlantName,
    twin: TwinName = "champion",
    html: Annotated[Path | None, typer.Option(help="Write the page with plots here.", show_default=False)] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """The model card of a twin: what it is worth."""
    with service(url, key) as client:
        if html is not None:
            html.write_text(client.report_page(plant, twin), encoding="utf-8")
            typer.echo(f"written to {html}")
            return
        card = client.report(plant, twin)
        if not told(card, as_json):
            from api.cli import card as cards

            cards.show_card(card)


def export(
    plant: PlantName,
    twin: TwinName = "champion",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PLANT.zip by default.", show_default=False)
    ] = None,
    url: Url = None,
    key: ApiKey = None,
) -> None:
    """Write a twin for use elsewhere: compiled encode and rollout with a manifest and a loader, as a zip archive."""
    target = output or Path(f"{plant}.zip")
    with service(url, key) as client:
        target.write_bytes(client.export(plant, twin))
        typer.echo(f"written to {target}; exported.py in it shows how to ask it with jax and numpy alone")
