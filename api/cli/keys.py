"""`twin keys`: make and revoke API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import PLAIN, ApiKey, AsJson, Url, service, told

app = typer.Typer(help="Make and revoke API keys.", **PLAIN)

COLUMNS = ["id", "name", "scopes", "plants", "created", "expires"]


@app.command("list")
def list_keys(url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """All keys, without their texts."""
    with service(url, key) as client:
        found = list(client.keys())
        if told(found, as_json):
            return
        from api.cli import show

        show.table(COLUMNS, [[row.get(column) for column in COLUMNS] for row in found])


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help="read, upload, train, predict, optimize, control or admin.")
    ],
    plant: Annotated[list[str], typer.Option("--plant", help="For this plant only; may be repeated.")] = [],  # noqa: B006
    expires: Annotated[
        str | None, typer.Option(help="A time, such as 2027-01-31T00:00:00Z.", show_default=False)
    ] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; its text is shown this once."""
    with service(url, key) as client:
        made = client.create_key(name, scope, expires=expires, plants=plant or None)
        if not told(made, as_json):
            typer.echo(made["key"])


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The id that `twin keys list` shows.")],
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key."""
    with service(url, key) as client:
        client.revoke_key(key_id)
        told({"revoked": key_id}, as_json)
