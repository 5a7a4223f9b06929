"""`twin federation`: sites train a common model and keep their telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.options import PLAIN, REFUSED, AsJson

app = typer.Typer(help="Train a common model with other sites, each keeping its telemetry.", **PLAIN)
STOPPED = 130

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(help="Where the keys go.")],
    site: Annotated[list[str], typer.Option(help="A site's name; repeat it for each.")],
    host: Annotated[list[str] | None, typer.Option(help="How sites call the server; repeatable.")] = None,
    flower: Annotated[Path | None, typer.Option(help="Flower's environment; made where absent.")] = None,
) -> None:
    """Make the server's certificate and a key pair for each site; what exists is kept."""
    import subprocess

    from api.federation import environment
    from twin.errors import TwinError

    try:
        interpreter = environment.python(flower, folder)
    except TwinError as error:
        raise _refused(error) from None
    script = str(environment.FLOWER / "keys.py")
    done = subprocess.run([interpreter, script, folder, ",".join(host or ["localhost"]), ",".join(site)], check=False)  # noqa: S603
    if done.returncode:
        raise typer.Exit(REFUSED)
    typer.echo(f"each site: its own .key, and authority.pem; the server: server.*, and every .pub ({folder})")


@app.command()
def serve(file: File) -> None:
    """Hold a federation; the consensus is stored after every round, and a new start goes on from it."""
    from api.federation import server
    from api.federation.settings import ServerFile, read
    from twin.errors import TwinError

    try:
        consensus = server.serve(read(file, ServerFile), typer.echo)
    except TwinError as error:
        raise _refused(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    typer.echo(f"consensus {consensus.id} after {len(consensus.card['rounds'])} rounds")


@app.command()
def join(file: File) -> None:
    """Take part in a federation as a site, until it ends."""
    from api.federation import site
    from api.federation.settings import SiteFile, read
    from twin.errors import TwinError

    try:
        site.join(read(file, SiteFile), typer.echo)
    except TwinError as error:
        raise _refused(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None


@app.command()
def adapt(
    file: File,
    twin: Annotated[Path, typer.Argument(help="A new folder, for the twin.")],
    consensus: Annotated[Path | None, typer.Option(help="Of the site's folder by default.", show_default=False)] = None,
    budget_s: Annotated[float, typer.Option(help="How long it may train.")] = 90.0,
) -> None:
    """Make the consensus a site's own: an ordinary twin of its plant, trained from what the sites agreed on."""
    from api.federation.server import CONSENSUS
    from api.federation.settings import SiteFile, read
    from api.federation.site import frame
    from twin import artifact
    from twin.errors import TwinError
    from twin.federation.adapt import adapt
    from twin.federation.artifact import load
    from twin.federation.telemetry import resampled
    from twin.train import Options

    try:
        told = read(file, SiteFile)
        found = load(consensus or told.site.folder / CONSENSUS)
        plant = told.plant()
        rows = resampled(plant, frame(plant, told.site.telemetry), found.shape.sample_period_s)
        made = adapt(found, rows, told.tags, Options(budget_s=budget_s))
        artifact.save(made, twin)
    except TwinError as error:
        raise _refused(error) from None
    typer.echo(f"twin {made.id} in {twin}: {made.card['training']['common']['why']}")


@app.command()
def result(
    consensus: Annotated[Path, typer.Argument(help="consensus.safetensors, of the server or of a site.")],
    as_json: AsJson = False,
) -> None:
    """What a federation agreed on; exit code 1 where the file is damaged."""
    from api.cli.options import told
    from twin.errors import TwinError
    from twin.federation.artifact import load

    try:
        found = load(consensus)
    except TwinError as error:
        raise _refused(error) from None
    told_ = {"id": found.id, "parameters": len(found.vector), "shape": found.shape.to_json(), **found.card}
    if not told(told_, as_json):
        from api.cli import show

        typer.echo(f"consensus {found.id}: {len(found.vector)} parameters of {', '.join(found.shape.names)}")
        rounds = found.card.get("rounds", [])
        if isinstance(rounds, list):
            columns = ["round", "counted", "loss", "moved", "late", "refused"]
            show.table(columns, [[_cell(row.get(name)) for name in columns] for row in rounds])


def _cell(value: object) -> object:
    return "; ".join(map(str, value.values())) if isinstance(value, dict) else value


def _refused(error: Exception) -> typer.Exit:
    typer.secho(getattr(error, "detail", str(error)), fg="red", err=True)
    return typer.Exit(REFUSED)
