"""`twin plants`: describe plants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli import parse
from api.cli.options import PLAIN, ApiKey, AsJson, PlantName, Url, service, told

app = typer.Typer(help="Describe plants.", **PLAIN)

TAG_COLUMNS = ["name", "role", "unit", "low", "high", "limit_low", "limit_high", "rate_limit_per_s", "description"]


@app.command("list")
def list_plants(url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """All plants."""
    with service(url, key) as client:
        found = list(client.plants())
        if told(found, as_json):
            return
        from api.cli import show

        rows = [(p["plant"], p["name"], p["version"], len(p["tags"]), p["aliases"].get("champion")) for p in found]
        show.table(["plant", "name", "version", "tags", "champion"], rows)


@app.command("show")
def show_plant(plant: PlantName, url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """One plant and its tags."""
    with service(url, key) as client:
        found = client.plant(plant)
        if told(found, as_json):
            return
        from api.cli import show

        columns = [c for c in TAG_COLUMNS if any(tag.get(c) not in (None, "") for tag in found["tags"])]
        rows = [[tag.get(column) for column in columns] for tag in found["tags"]]
        title = f"{found['name']}, version {found['version']}, every {found['sample_period_s']:g} s"
        show.table(columns, rows, title)


@app.command("put")
def put_plant(
    plant: PlantName,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The plant as JSON.")],
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Describe a plant, or change it."""
    body = parse.question(file)
    with service(url, key) as client:
        stored = client.put_plant(plant, body)
        if not told(stored, as_json):
            typer.echo(f"{plant}: version {stored['version']}, {len(stored['tags'])} tags")


@app.command("delete")
def delete_plant(
    plant: PlantName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Forget a plant with its telemetry and twins."""
    if not yes:
        typer.confirm(f"Delete {plant} with its telemetry and twins?", abort=True, err=True)
    with service(url, key) as client:
        client.delete_plant(plant)
        told({"deleted": plant}, as_json)
