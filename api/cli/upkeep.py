"""Commands about the data folder itself: they need no running service, and do not disturb one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PROBLEMS = 1

Archive = Annotated[Path, typer.Argument(help="The archive, tar; compressed where its name ends in .gz.")]


def backup(archive: Archive) -> None:
    """Copy database, telemetry and twins into an archive, beside a running service."""
    from api import backup as upkeep
    from api.cli import show

    try:
        manifest = upkeep.backup(_settings(), archive, _tell)
    except TwinError() as error:
        raise _refused(error) from None
    for elsewhere in manifest["elsewhere"]:
        show.errors.print(f"not in it: {elsewhere}", style="yellow", markup=False)
    show.console.print(f"{archive}: {len(manifest['files'])} files, {archive.stat().st_size / 1e6:.1f} MB", markup=False)
