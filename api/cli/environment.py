"""The settings of the environment, for commands that work on the data folder itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from api.settings import Settings

MISUSED = 2


def settings(**given: Any) -> Settings:
    """The settings of the environment, those given on the command line first; exit code 2 where one makes no sense."""
    from pydantic import ValidationError

    from api.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for item in error.errors():
            name = "_".join(map(str, item["loc"])).upper()
            typer.secho(f"TWIN_{name}: {item['msg']}", fg="red", err=True)
        raise typer.Exit(MISUSED) from None
