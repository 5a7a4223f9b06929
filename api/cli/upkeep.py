"""Commands about the data folder itself: they need no running service, and do not disturb one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.environment import settings

REFUSED = 1

audit = typer.Typer(help="The audit log.", no_args_is_help=True, rich_markup_mode=None)

Archive = Annotated[Path, typer.Argument(help="The archive, tar; compressed where its name ends in .gz.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def backup(archive: Archive, as_json: AsJson = False) -> None:
    """Copy database, telemetry and twins into an archive; the service may run meanwhile."""
    from api.cli import show
    from api.upkeep import backup as archives

    with _refusals():
        manifest = archives.backup(settings(), archive, _step)
    if as_json:
        show.as_json({"archive": str(archive), **manifest})
        return
    for missing in manifest["elsewhere"]:
        show.errors.print(f"not in it: {missing}", style="yellow", markup=False)
    size = archive.stat().st_size / 1e6
    show.console.print(f"{archive}: {len(manifest['files'])} files, {size:.1f} MB", markup=False)


def restore(
    archive: Archive,
    data_dir: Annotated[Path | None, typer.Option(help="A new or empty folder; TWIN_DATA_DIR by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put an archive into a new data folder, every file checked against the archive's digests."""
    from api.cli import show
    from api.upkeep import backup as archives

    folder = data_dir or settings().data_dir
    with _refusals():
        manifest = archives.restore(archive, folder, _step)
    if as_json:
        show.as_json({"data_dir": str(folder), **manifest})
        return
    show.console.print(f"{folder}: as of {manifest['created']}, written by version {manifest['version']}", markup=False)


def doctor(as_json: AsJson = False) -> None:
    """See whether everything that the service keeps is whole; exit code 1 where something is not."""
    from dataclasses import asdict

    from api.cli import show
    from api.upkeep.doctor import examine

    findings = []
    for finding in examine(settings()):
        findings.append(finding)
        if not as_json:
            mark, style = ("well", "green") if finding.ok else ("WRONG", "bold red")
            show.console.print(f"[{style}]{mark:6}[/{style}]", end="")
            show.console.print(f"{finding.subject}: {finding.detail}", markup=False, highlight=False)
    if as_json:
        show.as_json([asdict(finding) for finding in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(REFUSED)


@audit.command("verify")
def verify(
    head: Annotated[list[str], typer.Option(help="A digest noted earlier, that the log must still hold.")] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Check that the audit log is what was written; exit code 1 where it is not. Note the head elsewhere."""
    from api.cli import show
    from api.records import audit as log
    from api.records.db import Database

    db = Database(settings().database)
    try:
        if not db.current():
            raise typer.BadParameter("the database is of another revision, or there is none; start the service once")
        verdict = log.verify(db, head)
    finally:
        db.close()
    if as_json:
        show.as_json(verdict.to_json())
    else:
        for problem in verdict.problems:
            show.errors.print(problem, style="red", markup=False)
        said = "NOT what was written" if verdict.problems else "what was written"
        show.console.print(f"The audit log is {said}: {verdict.entries} entries, head {verdict.head}", markup=False)
    if verdict.problems:
        raise typer.Exit(REFUSED)


@contextmanager
def _refusals() -> Iterator[None]:
    """What cannot be done is said in a sentence, and ends the command with exit code 1."""
    from api.cli import show
    from twin.errors import TwinError

    try:
        yield
    except TwinError as error:
        show.problem(error.detail, [])
        raise typer.Exit(REFUSED) from None
    except OSError as error:
        show.problem(f"{error.filename or 'the disk'}: {error.strerror}", [])
        raise typer.Exit(REFUSED) from None


def _step(what: Any) -> None:
    from api.cli import show

    show.errors.print(what, style="dim", markup=False)
