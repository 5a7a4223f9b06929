"""The command line `twin`.

Commands import what they need when they run: `twin --help` answers at once, and only `serve`, `worker`,
`serve-plant`, `simulate` and `demo` load JAX.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli import (
    ask,
    beside,
    environment,
    federation,
    fleet,
    jobs,
    keys,
    loop,
    plants,
    sandbox,
    telemetry,
    twins,
    upkeep,
)
from api.cli.options import PLAIN, REFUSED

app = typer.Typer(
    help="Digital twins of industrial plants: upload, train, predict, optimize.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 no service answers, 130 interrupted.",
    **PLAIN,
)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="TWIN_HOST by default.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="TWIN_PORT by default.", show_default=False)] = None,
) -> None:
    """Run the service, its workers included."""
    settings = environment.settings(host=host, port=port)
    from api import server
    from twin.errors import TwinError

    try:
        server.serve(settings)
    except TwinError as error:
        typer.secho(error.detail, fg="red", err=True)
        raise typer.Exit(REFUSED) from None


@app.command()
def worker() -> None:
    """Run one training worker against the database of a service that runs elsewhere."""
    settings = environment.settings()
    from api.jobs import worker

    worker.main(settings)


@app.command()
def demo(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the demo keeps everything; TWIN_DATA_DIR, or .demo.", show_default=False)
    ] = None,
    port: Annotated[int | None, typer.Option(help="TWIN_PORT by default.", show_default=False)] = None,
    control: Annotated[bool, typer.Option("--control", help="The plant over OPC UA, and controlled.")] = False,
) -> None:
    """Run the service with a simulated plant that is live; train its first twin."""
    settings = environment.settings(data_dir=data_dir, port=port)
    from api.cli.demo import service as demo

    folder = settings.data_dir if "data_dir" in settings.model_fields_set else Path(".demo")
    key = settings.admin_key.get_secret_value() if settings.admin_key else None
    if control:
        from api.cli.demo import control as demo_control

        raise typer.Exit(demo_control.main(folder, settings.port, key))
    raise typer.Exit(demo.main(folder, settings.port, key))


app.add_typer(plants.app, name="plants")
app.command()(telemetry.upload)
app.command()(telemetry.quality)
app.command()(twins.train)
app.add_typer(jobs.app, name="jobs")
app.add_typer(federation.app, name="federation")
app.add_typer(fleet.app, name="fleet")
app.command()(twins.twins)
app.command()(twins.report)
app.command()(twins.promote)
app.command()(twins.export)
app.command()(ask.predict)
app.command()(ask.optimize)
app.command("step-test")(ask.step_test)
app.command()(loop.backtest)
app.command()(loop.drift)
app.command()(sandbox.simulate)
app.command()(loop.calibrate)
app.command()(loop.recompute)
app.command()(beside.collect)
app.command()(beside.replay)
app.command()(beside.control)
app.command("control-report")(beside.control_report)
app.command("serve-plant")(beside.serve_plant)
app.command()(beside.mcp)
app.add_typer(keys.app, name="keys")
app.add_typer(upkeep.audit, name="audit")
app.command()(upkeep.backup)
app.command()(upkeep.restore)
app.command()(upkeep.doctor)


def main() -> None:
    """The entry point."""
    try:
        app()
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
