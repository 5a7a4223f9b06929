"""What the commands have in common: their options, the service, exit codes, JSON for programs.

Exit codes: 0 done, 1 the service refused or the job failed, 2 the command line is wrong, 3 no service answers,
130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import complete

if TYPE_CHECKING:
    from api.client.clients import Client

# Plain help is there at once; plain tracebacks show no local variables, among which a key may be.
PLAIN: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "pretty_exceptions_enable": False}

Url = Annotated[str | None, typer.Option("--url", help="The service; TWIN_URL by default.", show_default=False)]
ApiKey = Annotated[str | None, typer.Option("--key", help="The API key; TWIN_KEY by default.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
PlantName = Annotated[str, typer.Argument(help="The plant's slug.", autocompletion=complete.plants)]
TwinName = Annotated[str, typer.Option("--twin", help="The id of a twin, or an alias.", autocompletion=complete.twins)]
JobId = Annotated[str, typer.Argument(help="The job's id.", autocompletion=complete.jobs)]
Horizon = Annotated[float | None, typer.Option("--horizon-s", help="How far to look, seconds.")]
At = Annotated[str | None, typer.Option("--at", help="Start here; by default at the last row.", show_default=False)]
Start = Annotated[str | None, typer.Option("--start", help="The first row; by default the first.", show_default=False)]
End = Annotated[str | None, typer.Option("--end", help="The last row; by default the last.", show_default=False)]
FromFleet = Annotated[
    str | None,
    typer.Option(
        help="Start from this fleet; a twin of these rows alone is trained too, the better kept.",
        show_default=False,
        autocompletion=complete.fleets,
    ),
]
FleetTag = Annotated[list[str], typer.Option(help="A tag of the plant by the fleet's: FLEET=OWN. Repeat it.")]
Question = Annotated[Path | None, typer.Option("--question", exists=True, help="A request body, JSON.")]
Dvs = Annotated[
    list[str],
    typer.Option("--dv", help="A disturbance to expect: TAG=VALUE[@SECONDS].", autocompletion=complete.tags),
]

REFUSED, UNREACHABLE = 1, 3
RETRIES = 2  # a person waits


@contextmanager
def service(url: str | None, key: str | None) -> Iterator[Client]:
    """The service; a refusal or its absence ends the command with a message and an exit code."""
    from api.cli import show
    from api.cli.address import address
    from api.client import clients, errors
    from api.client.retry import Retry

    url, key = address(url, key)
    try:
        with clients.Client(url, key, retry=Retry(RETRIES)) as found:
            yield found
    except errors.RefusedError as error:
        show.problem(error.detail, error.errors)
        raise typer.Exit(REFUSED) from None
    except errors.UnreachableError as error:
        show.problem(f"{error} (at {url}); is `twin serve` running?", [])
        raise typer.Exit(UNREACHABLE) from None
    except (errors.ClientError, ValueError) as error:
        show.problem(str(error), [])
        raise typer.Exit(REFUSED) from None


def told(body: Any, as_json: bool) -> bool:
    """Print JSON where that is asked for; whether it was."""
    if as_json:
        from api.cli import show

        show.as_json(body)
    return as_json


def given(**values: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value not in (None, {}, [])}
