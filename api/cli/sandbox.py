"""`twin simulate`: a closed loop of a plant that nobody has to fear for, before anybody closes one that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli import environment
from api.cli.options import REFUSED, AsJson


def simulate(
    plant: Annotated[str, typer.Argument(help="A simulated plant, a twin's folder, or a plant of the data folder.")],
    twin: Annotated[
        Path | None,
        typer.Option(help="Of a simulated plant: a twin's folder; trained and kept there if new.", show_default=False),
    ] = None,
    scenario: Annotated[list[str], typer.Option(help="Only this one; repeatable.")] = [],  # noqa: B006
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Own scenarios, JSON.", show_default=False)
    ] = None,
    cv: Annotated[list[str], typer.Option(help="Gets setpoints; repeatable. By default as many as MVs.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Of noise and disturbances.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw into .html, .png or .svg.", show_default=False)] = None,
    describe: Annotated[
        bool, typer.Option("--describe", help="Only print the scenarios, as --file takes them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try the planner in closed loop: setpoint steps, a disturbance, a limit that changes, wrong gains, noise.

    The plant is simulated, or is a twin itself (then the planner knows it exactly, but for the gains of `mismatch`).
    Nothing is sent anywhere. Costs are those of the true state, beside those of MVs that are held.
    """
    settings = environment.settings()
    from api import sandbox
    from api.cli import show
    from twin.errors import TwinError
    from twin.sandbox import page

    def say(what: str) -> None:
        show.errors.print(what, style="dim", markup=False)

    try:
        if plot is not None:
            page.check(plot)
        process, planning = sandbox.resolve(plant, twin, settings, say)
        asked = sandbox.scenarios(file, tuple(scenario), tuple(cv), process, seed)
        if describe:
            show.as_json([one.to_json() for one in asked])
            return
        found = []
        for outcome in sandbox.outcomes(process, planning, asked):
            found.append(outcome)
            say(f"{outcome.scenario}, {outcome.controller}: cost {outcome.cost:.4g}")
        title = f"{process.plant.name}, planned by twin {planning.id}"
        if plot is not None:
            page.write(found, title, plot)
    except TwinError as error:
        show.problem(error.detail, [])
        raise typer.Exit(REFUSED) from None
    if as_json:
        show.as_json({"plant": process.plant.name, "twin": planning.id, "runs": [o.to_json() for o in found]})
    else:
        show.table(page.COLUMNS, page.rows(found), title)
