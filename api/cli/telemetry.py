"""`twin upload` and `twin quality`: telemetry in, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.options import REFUSED, ApiKey, AsJson, End, PlantName, Start, Url, service, told

if TYPE_CHECKING:
    from api.client.clients import Client

Paths = Annotated[
    list[Path], typer.Argument(exists=True, help="Files, or folders of them: CSV, Parquet or Arrow; .gz too.")
]
Timezone = Annotated[
    str | None, typer.Option(help="Of times without an offset, such as Europe/Berlin.", show_default=False)
]
PartsAbove = Annotated[
    float, typer.Option(help="Files above so many MB go in parts: after an interruption, the same command goes on.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read everything, show what it would be, send nothing.")]


def upload(
    plant: PlantName,
    paths: Paths,
    timezone: Timezone = None,
    dry_run: DryRun = False,
    parts_above_mb: PartsAbove = 32.0,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload telemetry files; a receipt accounts for every row. What was sent before is not stored twice."""
    files = _files(paths)
    with service(url, key) as client:
        if dry_run:
            from api.cli import surveys

            found, readable = surveys.of_files(client.plant(plant), files, timezone)
            if not told(found if len(paths) > 1 or paths[0].is_dir() else found[0], as_json):
                surveys.show_all(client.plant(plant), found, timezone)
            raise typer.Exit(0 if readable else REFUSED)
        receipts = _send(client, plant, files, timezone, parts_above_mb * 1e6, quiet=as_json)
        told(receipts if len(paths) > 1 or paths[0].is_dir() else receipts[0], as_json)
        refused = [file.name for file, of in zip(files, receipts, strict=True) if _all_refused(of)]
        if refused:
            typer.secho(f"every row was refused: {', '.join(refused)}", fg="red", err=True)
            raise typer.Exit(REFUSED)


def _all_refused(receipt: Mapping[str, Any]) -> bool:
    """Whether a file had rows and none of them could be read."""
    return bool(0 < receipt["rows_received"] == receipt["rows_rejected"])


def quality(
    plant: PlantName,
    start: Start = None,
    end: End = None,
    html: Annotated[Path | None, typer.Option(help="Write the page with an overview here.", show_default=False)] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """What the telemetry is worth: gaps, frozen and spiking spans, odd times, whether the MVs moved enough to learn
    from, and what training would use and drop."""
    with service(url, key) as client:
        if html is not None:
            html.write_text(client.quality_page(plant, start=start, end=end), encoding="utf-8")
            typer.echo(f"written to {html}")
            return
        found = client.quality(plant, start=start, end=end)
        if not told(found, as_json):
            from api.cli import card

            card.show_quality(found)


def _files(paths: list[Path]) -> list[Path]:
    """The files, those of folders included; in folders, what is no telemetry is left out and named."""
    from api.client.uploads import headers_of

    found: list[Path] = []
    for path in paths:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            try:
                headers_of(file)
            except ValueError as error:
                if not path.is_dir():
                    raise typer.BadParameter(str(error)) from None
                typer.secho(f"left out: {file}", err=True)
            else:
                found.append(file)
    if not found:
        raise typer.BadParameter("there is no telemetry in there: files end in .csv, .parquet, .arrow, .gz behind it")
    return found


def _send(
    client: Client, plant: str, files: list[Path], timezone: str | None, parts_above: float, quiet: bool
) -> list[Any]:
    from api.cli import show

    receipts = []
    with show.transfer() as bars:
        bar = bars.add_task("upload", total=sum(path.stat().st_size for path in files))
        done = 0
        for path in files:
            bars.update(bar, description=path.name)

            def moved(sent: int, total: int, before: int = done) -> None:
                bars.update(bar, completed=before + sent)

            if path.stat().st_size > parts_above:
                receipt = _in_parts(client, plant, path, timezone, moved)
            else:
                receipt = client.upload(plant, path, timezone=timezone, on_progress=moved)
            done += path.stat().st_size
            receipts.append(receipt)
            if not quiet:
                show.receipt(path.name, receipt)
    return receipts


def _in_parts(client: Client, plant: str, path: Path, timezone: str | None, moved: Callable[[int, int], None]) -> Any:
    """Send a file in parts, from where an earlier command was interrupted."""
    from api.cli import show
    from api.cli.resume import Notes, key_of
    from api.client.errors import RefusedError, UnreachableError

    notes, key = Notes(), key_of(client.url, plant, path, timezone)
    try:
        receipt = client.upload_in_parts(
            plant,
            path,
            at=notes.find(key),
            timezone=timezone,
            on_begin=lambda at: notes.keep(key, at),
            on_progress=moved,
        )
    except RefusedError:
        notes.drop(key)
        raise
    except (UnreachableError, KeyboardInterrupt):
        show.errors.print("What has arrived is kept: the same command goes on from there.")
        raise
    notes.drop(key)
    return receipt
