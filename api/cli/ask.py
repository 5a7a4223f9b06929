"""`twin predict` and `twin optimize`: questions from options or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import complete, parse
from api.cli.options import ApiKey, AsJson, At, Dvs, Horizon, PlantName, Question, TwinName, Url, given, service, told

if TYPE_CHECKING:
    from api.client.clients import Client

Moves = Annotated[
    list[str], typer.Option("--move", help="A move to try: TAG=VALUE[@SECONDS].", autocompletion=complete.tags)
]
Setpoints = Annotated[list[str], typer.Option("--setpoint", help="A target: TAG=VALUE.", autocompletion=complete.tags)]
Prices = Annotated[
    list[str],
    typer.Option("--price", help="Per unit and hour, positive is a cost: TAG=VALUE.", autocompletion=complete.tags),
]
Limits = Annotated[
    list[str], typer.Option("--limit", help="TAG=LOW:HIGH; either may be empty.", autocompletion=complete.tags)
]


def predict(
    plant: PlantName,
    horizon_s: Horizon = None,
    move: Moves = [],  # noqa: B006
    dv: Dvs = [],  # noqa: B006
    scale: Annotated[str | None, typer.Option(help="fast or slow, of a twin with both.", show_default=False)] = None,
    twin: TwinName = "champion",
    at: At = None,
    question: Question = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Forecast: without moves, and with those given."""
    body = {"twin": twin, **parse.question(question), **given(horizon_s=horizon_s, at=at)}
    body |= given(moves=parse.steps(move), disturbances=parse.steps(dv), scale=scale)
    with service(url, key) as client:
        _look_ahead(client, plant, body)
        answer = client.ask(plant, "predict", body)
        if told(answer, as_json):
            return
        from api.cli import show

        show.bands(answer["times"], answer["baseline"], f"{answer['twin']} from {answer['at']}, nothing moves")
        show.supposed(answer, answer["disturbances"])
        show.verdict(answer["trust"])
        for scenario in answer["scenarios"]:
            show.bands(answer["times"], scenario["cvs"], scenario["name"])
            for clip in scenario["clipped"]:
                typer.echo(f"{clip['tag']}: {clip['asked']:g} asked, {clip['used']:g} used: {clip['reason']}")
            show.supposed(scenario, scenario["unannounced"])
            show.verdict(scenario["trust"])


def optimize(
    plant: PlantName,
    horizon_s: Horizon = None,
    setpoint: Setpoints = [],  # noqa: B006
    price: Prices = [],  # noqa: B006
    limit: Limits = [],  # noqa: B006
    dv: Dvs = [],  # noqa: B006
    hierarchy: Annotated[
        bool | None,
        typer.Option("--hierarchy/--flat", help="Plan at both time scales of a twin, or not.", show_default=False),
    ] = None,
    twin: TwinName = "champion",
    at: At = None,
    question: Question = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """The best moves under the limits; advice, nothing is written to a plant."""
    body = {"twin": twin, "objective": {}, **parse.question(question), **given(horizon_s=horizon_s, at=at)}
    setpoints = {tag: {"value": value} for tag, value in parse.numbers(setpoint).items()}
    body["objective"] = {**body["objective"], **given(setpoints=setpoints, prices=parse.numbers(price))}
    body |= given(limits=parse.ranges(limit), disturbances=parse.steps(dv), hierarchy=hierarchy)
    with service(url, key) as client:
        _look_ahead(client, plant, body)
        answer = client.ask(plant, "optimize", body)
        if told(answer, as_json):
            return
        from api.cli import show

        typer.echo(f"{answer['status']}: {answer['status_detail']}")
        if answer["hierarchy"] is not None:
            typer.echo(f"{answer['hierarchy']['used']}: {answer['hierarchy']['why']}")
        show.table(["MV", "next"], (answer["next"] or {}).items())
        if answer["cvs"]:
            show.bands(answer["times"], answer["cvs"], f"{answer['twin']} from {answer['at']}")
        show.supposed(answer, answer["unannounced"])
        columns = ["tag", "side", "limit", "worst", "margin", "kept"]
        show.table(columns, [[line[c] for c in columns] for line in answer["certificate"]], "certificate")
        for remedy in answer["remedies"]:
            typer.echo(remedy["detail"])
        show.verdict(answer["trust"])


def _look_ahead(client: Client, plant: str, body: dict[str, Any]) -> None:
    """Where no horizon is given, look as far ahead as the twin is calibrated to."""
    if "horizon_s" not in body:
        about: dict[str, Any] = {**client.twin(plant, body["twin"])}
        body["horizon_s"] = about["horizon_s"]


def step_test(
    plant: PlantName,
    settling_s: Annotated[
        float | None, typer.Option(help="How long effects take to settle.", show_default=False)
    ] = None,
    length_s: Annotated[float | None, typer.Option(help="Of the test.", show_default=False)] = None,
    signal: Annotated[str, typer.Option(help="gbn or prbs.")] = "gbn",
    mv: Annotated[list[str], typer.Option("--mv", help="An MV that moves; by default all.")] = [],  # noqa: B006
    amplitude: Annotated[list[str], typer.Option("--amplitude", help="TAG=VALUE, up and down.")] = [],  # noqa: B006
    limit: Limits = [],  # noqa: B006
    csv: Annotated[Path | None, typer.Option(help="Write the schedule here.", show_default=False)] = None,
    question: Question = None,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Design a step test: moves inside limits and rates from which a twin can learn."""
    body = {**parse.question(question), "signal": signal, **given(settling_s=settling_s, length_s=length_s, mvs=mv)}
    body |= given(amplitude=parse.numbers(amplitude), limits=parse.ranges(limit))
    with service(url, key) as client:
        if csv is not None:
            csv.write_text(client.step_test_csv(plant, body), encoding="utf-8")
            if not told({"csv": str(csv)}, as_json):
                typer.echo(f"written to {csv}")
            return
        answer = client.ask(plant, "step-tests", body)
        if told(answer, as_json):
            return
        from api.cli import show

        units = {tag["name"]: tag["unit"] for tag in client.plant(plant)["tags"]}
        columns = ["low", "high", "settling_s", "switching_s", "switches", "why"]
        rows = [[name, units[name], *(chosen[c] for c in columns)] for name, chosen in answer["mvs"].items()]
        show.table(["MV", "unit", *columns], rows, f"{answer['times'][0]} to {answer['times'][-1]}")
        for note in answer["notes"]:
            typer.echo(note)
