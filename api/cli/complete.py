"""Words for the shell's completion, asked of the service. Without one there are none, and nothing is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from api.client.clients import Client


def plants(ctx: typer.Context, incomplete: str) -> list[str]:
    """The plants."""
    return _words(ctx, incomplete, lambda client: [plant["plant"] for plant in client.plants()])


def twins(ctx: typer.Context, incomplete: str) -> list[str]:
    """The aliases and twins of the plant that stands before."""
    plant = _plant(ctx)
    return _words(ctx, incomplete, lambda c: [*c.aliases(plant), *(twin["twin"] for twin in c.twins(plant))])


def tags(ctx: typer.Context, incomplete: str) -> list[str]:
    """The tags of the plant that stands before, each with its `=`."""
    plant = _plant(ctx)
    return _words(ctx, incomplete, lambda client: [f"{tag['name']}=" for tag in client.plant(plant)["tags"]])


def fleets(ctx: typer.Context, incomplete: str) -> list[str]:
    """The fleets."""
    return _words(ctx, incomplete, lambda client: [fleet["fleet"] for fleet in client.fleets()])


def jobs(ctx: typer.Context, incomplete: str) -> list[str]:
    """The jobs."""
    return _words(ctx, incomplete, lambda client: [job["job"] for job in client.jobs()])


def _plant(ctx: typer.Context) -> str:
    """The plant of the line so far; behind an option without its value, click leaves it among the rest."""
    rest = (word for word in ctx.args if not word.startswith("-"))
    return ctx.params.get("plant") or next(rest, "")


def _words(ctx: typer.Context, incomplete: str, ask: Callable[[Client], Iterable[str]]) -> list[str]:
    from api.cli.address import address
    from api.client.clients import Client
    from api.client.errors import ClientError
    from api.client.retry import Retry

    url, key = address(ctx.params.get("url"), ctx.params.get("key"))
    try:
        with Client(url, key, retry=Retry(0)) as client:
            return [word for word in ask(client) if word.startswith(incomplete)]
    except ClientError:
        return []
