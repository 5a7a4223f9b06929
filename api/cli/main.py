"""The command line `twin`.

Commands import what they need when they run: `twin --help` answers at once, and only `serve`, `worker` and
`demo` load JAX.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import environment, parse, upkeep

if TYPE_CHECKING:
    from api.cli.client import Client

# Plain help is there at once; plain tracebacks show no local variables, among which a key may be.
PLAIN: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "pretty_exceptions_enable": False}
app = typer.Typer(help="Digital twins of industrial plants: upload, train, predict, optimize.", **PLAIN)
plants = typer.Typer(help="Describe plants.", **PLAIN)
keys = typer.Typer(help="Make and revoke API keys.", **PLAIN)
app.add_typer(plants, name="plants")
app.add_typer(keys, name="keys")
app.add_typer(upkeep.audit, name="audit")
for command in (upkeep.backup, upkeep.restore, upkeep.doctor):
    app.command()(command)

Url = Annotated[str | None, typer.Option("--url", help="The service; TWIN_URL by default.", show_default=False)]
ApiKey = Annotated[str | None, typer.Option("--key", help="The API key; TWIN_KEY by default.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
PlantName = Annotated[str, typer.Argument(help="The plant's slug.")]
TwinName = Annotated[str, typer.Option("--twin", help="The id of a twin, or an alias.")]
Horizon = Annotated[float | None, typer.Option("--horizon-s", help="How far to look, seconds.")]
At = Annotated[str | None, typer.Option("--at", help="Start here; by default at the last row.", show_default=False)]
Question = Annotated[Path | None, typer.Option("--question", exists=True, help="A request body, JSON.")]
Dvs = Annotated[list[str], typer.Option("--dv", help="A disturbance to expect: TAG=VALUE[@SECONDS].")]

REFUSED, UNREACHABLE = 1, 3


@contextmanager
def service(url: str | None, key: str | None) -> Iterator[Client]:
    """The service; a refusal or its absence ends the command with a message and exit code 1 or 3."""
    from api.cli import client, show

    try:
        with client.Client(url, key) as found:
            yield found
    except client.RefusedError as error:
        show.problem(error.detail, error.errors)
        raise typer.Exit(REFUSED) from None
    except client.UnreachableError as error:
        show.problem(str(error), [])
        raise typer.Exit(UNREACHABLE) from None


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
    from api import worker

    worker.main(settings)


@app.command()
def demo(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the demo keeps everything; TWIN_DATA_DIR, or .demo.", show_default=False)
    ] = None,
    port: Annotated[int | None, typer.Option(help="TWIN_PORT by default.", show_default=False)] = None,
) -> None:
    """Run the service with a simulated plant that is live; train its first twin."""
    settings = environment.settings(data_dir=data_dir, port=port)
    from api import demo

    folder = settings.data_dir if "data_dir" in settings.model_fields_set else Path(".demo")
    key = settings.admin_key.get_secret_value() if settings.admin_key else None
    raise typer.Exit(demo.main(folder, settings.port, key))


@app.command()
def control(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The plant's file, TOML.")],
    speed: Annotated[float, typer.Option(min=0.001, help="Of a simulated plant, seconds a second.")] = 1.0,
    epoch: Annotated[str | None, typer.Option(help="When it began to run so fast.", show_default=False)] = None,
) -> None:
    """Run the controller of a plant; it starts in shadow and writes nothing until somebody closes the loop."""
    import asyncio

    import pandas as pd

    from api import logs, settings
    from api.control import start
    from api.control.journal import JournalError
    from api.control.link import LinkError
    from connectors.config import load
    from connectors.errors import ConnectorError

    logs.configure("info")
    try:
        began = 0 if epoch is None else pd.Timestamp(epoch).value
        asyncio.run(start.control(load(file, settings.environment()), speed, began))
    except (ConnectorError, LinkError, JournalError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(REFUSED) from None


@app.command("control-report")
def control_report(
    plant: PlantName,
    start: Annotated[str | None, typer.Option(help="First time.", show_default=False)] = None,
    end: Annotated[str | None, typer.Option(help="Last time.", show_default=False)] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """How a controller did: service factor, limits, overrides, forecasts against values, benefit."""
    with service(url, key) as client:
        found = client.get(f"/v1/plants/{plant}/controller/report", start=start, end=end)
        if not _told(found, as_json):
            from api.cli import control as shown

            shown.show_report(found)


@app.command()
def collect(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What is connected: plant.toml.")],
    check: Annotated[bool, typer.Option("--check", help="Only tell what is wrong, with its line.")] = False,
) -> None:
    """Collect telemetry from a plant's systems into the service, through a buffer on disk."""
    from api.cli import collect

    raise typer.Exit(collect.run(file, check))


@plants.command("list")
def list_plants(url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """All plants."""
    with service(url, key) as client:
        found = client.get("/v1/plants")["items"]
        if _told(found, as_json):
            return
        from api.cli import show

        rows = [(p["plant"], p["name"], p["version"], len(p["tags"]), p["aliases"].get("champion")) for p in found]
        show.table(["plant", "name", "version", "tags", "champion"], rows)


@plants.command("show")
def show_plant(plant: PlantName, url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """One plant and its tags."""
    with service(url, key) as client:
        found = client.get(f"/v1/plants/{plant}")
        if _told(found, as_json):
            return
        from api.cli import show

        columns = ["name", "role", "unit", "low", "high", "limit_low", "limit_high", "rate_limit_per_s", "description"]
        rows = [[tag.get(column) for column in columns] for tag in found["tags"]]
        show.table(columns, rows, f"{found['name']}, version {found['version']}, every {found['sample_period_s']} s")


@plants.command("put")
def put_plant(
    plant: PlantName,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The plant as JSON.")],
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Describe a plant, or change it."""
    with service(url, key) as client:
        stored = client.send("PUT", f"/v1/plants/{plant}", parse.question(file))
        if not _told(stored, as_json):
            typer.echo(f"{plant}: version {stored['version']}, {len(stored['tags'])} tags")


@plants.command("delete")
def delete_plant(
    plant: PlantName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    key: ApiKey = None,
) -> None:
    """Forget a plant with its telemetry and twins."""
    if not yes:
        typer.confirm(f"Delete {plant} with its telemetry and twins?", abort=True)
    with service(url, key) as client:
        client.send("DELETE", f"/v1/plants/{plant}")


@app.command()
def upload(
    plant: PlantName,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV, Parquet or Arrow; .gz too.")],
    timezone: Annotated[str | None, typer.Option(help="Of times without an offset.", show_default=False)] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload telemetry files."""
    from rich.progress import wrap_file

    from api.cli import show

    headers = [parse.upload_headers(path) for path in files]
    with service(url, key) as client:
        for path, header in zip(files, headers, strict=True):
            with path.open("rb") as raw:
                content = wrap_file(raw, path.stat().st_size, description=path.name, console=show.errors)
                with content as chunks:
                    receipt = client.upload(plant, iter(lambda: chunks.read(1 << 18), b""), header, timezone)
            if not _told(receipt, as_json):
                show.table(["receipt", path.name], [(k, v) for k, v in receipt.items() if k != "rejected"])
                rows = [(r["row"], r["tag"], r["reason"]) for r in receipt["rejected"]]
                if rows:
                    show.table(["row", "tag", "rejected because"], rows)


@app.command()
def train(
    plant: PlantName,
    start: Annotated[str | None, typer.Option(help="First row to learn from.", show_default=False)] = None,
    end: Annotated[str | None, typer.Option(help="Last row to learn from.", show_default=False)] = None,
    horizon_s: Horizon = None,
    budget_s: Annotated[float | None, typer.Option(help="How long to train, about.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(show_default=False)] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the job.")] = False,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Train a twin; no option is needed for a good one."""
    asked = {"start": start, "end": end, "horizon_s": horizon_s, "budget_s": budget_s, "seed": seed}
    with service(url, key) as client:
        body = {name: value for name, value in asked.items() if value is not None}
        job = client.send("POST", f"/v1/plants/{plant}/twins", body)
        if not detach:
            from api.cli.follow import follow

            job = follow(client, job["job"])
        if not _told(job, as_json):
            typer.echo(_ending(job))
        if job["state"] in ("failed", "cancelled"):
            raise typer.Exit(REFUSED)


@app.command()
def predict(
    plant: PlantName,
    horizon_s: Horizon = None,
    move: Annotated[list[str], typer.Option("--move", help="A move to try: TAG=VALUE[@SECONDS].")] = [],  # noqa: B006
    dv: Dvs = [],  # noqa: B006
    twin: TwinName = "champion",
    at: At = None,
    question: Question = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Forecast: without moves, and with those given."""
    body = {"twin": twin, **parse.question(question), **_given(horizon_s=horizon_s, at=at)}
    body |= _given(moves=parse.steps(move), disturbances=parse.steps(dv))
    with service(url, key) as client:
        answer = client.send("POST", f"/v1/plants/{plant}/predict", body)
        if _told(answer, as_json):
            return
        from api.cli import show

        show.bands(answer["times"], answer["baseline"], f"{answer['twin']} from {answer['at']}, nothing moves")
        show.verdict(answer["trust"])
        for scenario in answer["scenarios"]:
            show.bands(answer["times"], scenario["cvs"], scenario["name"])
            for clip in scenario["clipped"]:
                typer.echo(f"{clip['tag']}: {clip['asked']:g} asked, {clip['used']:g} used: {clip['reason']}")
            show.verdict(scenario["trust"])


@app.command()
def optimize(
    plant: PlantName,
    horizon_s: Horizon = None,
    setpoint: Annotated[list[str], typer.Option("--setpoint", help="A target: TAG=VALUE.")] = [],  # noqa: B006
    price: Annotated[list[str], typer.Option("--price", help="Per unit and hour: TAG=VALUE.")] = [],  # noqa: B006
    limit: Annotated[list[str], typer.Option("--limit", help="TAG=LOW:HIGH; either may be empty.")] = [],  # noqa: B006
    dv: Dvs = [],  # noqa: B006
    twin: TwinName = "champion",
    at: At = None,
    question: Question = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """The best moves under the limits."""
    body = {"twin": twin, "objective": {}, **parse.question(question), **_given(horizon_s=horizon_s, at=at)}
    setpoints = {tag: {"value": value} for tag, value in parse.numbers(setpoint).items()}
    body["objective"] = {**body["objective"], **_given(setpoints=setpoints, prices=parse.numbers(price))}
    body |= _given(limits=parse.ranges(limit), disturbances=parse.steps(dv))
    with service(url, key) as client:
        answer = client.send("POST", f"/v1/plants/{plant}/optimize", body)
        if _told(answer, as_json):
            return
        from api.cli import show

        typer.echo(f"{answer['status']}: {answer['status_detail']}")
        show.table(["MV", "next"], answer["next"].items())
        if answer["cvs"]:
            show.bands(answer["times"], answer["cvs"], f"{answer['twin']} from {answer['at']}")
        columns = ["tag", "side", "limit", "worst", "margin", "kept"]
        show.table(columns, [[line[c] for c in columns] for line in answer["certificate"]], "certificate")
        show.verdict(answer["trust"])


@app.command("step-test")
def step_test(
    plant: PlantName,
    settling_s: Annotated[
        float | None, typer.Option(help="How long effects take to settle.", show_default=False)
    ] = None,
    length_s: Annotated[float | None, typer.Option(help="Of the test.", show_default=False)] = None,
    signal: Annotated[str, typer.Option(help="gbn or prbs.")] = "gbn",
    mv: Annotated[list[str], typer.Option("--mv", help="An MV that moves; by default all.")] = [],  # noqa: B006
    amplitude: Annotated[list[str], typer.Option("--amplitude", help="TAG=VALUE, up and down.")] = [],  # noqa: B006
    limit: Annotated[list[str], typer.Option("--limit", help="TAG=LOW:HIGH; either may be empty.")] = [],  # noqa: B006
    csv: Annotated[Path | None, typer.Option(help="Write the schedule here.", show_default=False)] = None,
    question: Question = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Design a step test: moves inside limits and rates from which a twin can learn."""
    body = {**parse.question(question), "signal": signal, **_given(settling_s=settling_s, length_s=length_s, mvs=mv)}
    body |= _given(amplitude=parse.numbers(amplitude), limits=parse.ranges(limit))
    path = f"/v1/plants/{plant}/step-tests"
    with service(url, key) as client:
        if csv is not None:
            csv.write_text(client.request("POST", path, json=body, headers={"Accept": "text/csv"}).text)
            typer.echo(f"written to {csv}")
            return
        answer = client.send("POST", path, body)
        if _told(answer, as_json):
            return
        from api.cli import show

        columns = ["low", "high", "settling_s", "switching_s", "switches", "why"]
        rows = [[name, *(chosen[c] for c in columns)] for name, chosen in answer["mvs"].items()]
        show.table(["MV", *columns], rows, f"{answer['times'][0]} to {answer['times'][-1]}")
        for note in answer["notes"]:
            typer.echo(note)


@app.command()
def report(
    plant: PlantName,
    twin: TwinName = "champion",
    html: Annotated[Path | None, typer.Option(help="Write the page with plots here.", show_default=False)] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """The model card of a twin: what it is worth."""
    path = f"/v1/plants/{plant}/twins/{twin}/report"
    with service(url, key) as client:
        if html is not None:
            html.write_text(client.request("GET", path, headers={"Accept": "text/html"}).text)
            typer.echo(f"written to {html}")
            return
        card = client.get(path)
        if not _told(card, as_json):
            from api.cli import card as cards

            cards.show_card(card)


@keys.command("list")
def list_keys(url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """All keys, without their texts."""
    with service(url, key) as client:
        found = client.get("/v1/keys")["items"]
        if _told(found, as_json):
            return
        from api.cli import show

        columns = ["id", "name", "scopes", "created", "expires"]
        show.table(columns, [[k[c] for c in columns] for k in found])


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help="read, upload, train, predict, optimize, control or admin.")
    ],
    expires: Annotated[
        str | None, typer.Option(help="A time, such as 2027-01-31T00:00:00Z.", show_default=False)
    ] = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; its text is shown this once."""
    with service(url, key) as client:
        made = client.send("POST", "/v1/keys", {"name": name, "scopes": scope, **_given(expires=expires)})
        if not _told(made, as_json):
            typer.echo(made["key"])


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The id that `twin keys list` shows.")],
    url: Url = None,
    key: ApiKey = None,
) -> None:
    """Revoke a key."""
    with service(url, key) as client:
        client.send("DELETE", f"/v1/keys/{key_id}")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, {}, [])}


def _told(body: Any, as_json: bool) -> bool:
    """Print JSON where that is asked for; whether it was."""
    if as_json:
        from api.cli import show

        show.as_json(body)
    return as_json


def _ending(job: dict[str, Any]) -> str:
    if job["state"] == "succeeded":
        return f"twin {job['result']['twin']}"
    return f"job {job['job']}: {job['state']}" + (f": {job['error']['detail']}" if job["error"] else "")


def main() -> None:
    """The entry point."""
    try:
        app()
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
