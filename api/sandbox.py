"""`twin simulate`: what is to be tried, by which twin; trained where there is none yet. It needs no service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import select

from api.records.db import Database
from api.records.tables import AliasRow
from api.settings import Settings
from twin import artifact
from twin.artifact import MANIFEST, Twin
from twin.errors import NotFoundError, QuestionError
from twin.plant import near
from twin.plants.base import Process
from twin.plants.systems import SYSTEMS
from twin.sandbox.loop import Hold, Outcome, Planner, run
from twin.sandbox.practice import UsualPractice
from twin.sandbox.processes import SIMULATED, TwinProcess, lesson
from twin.sandbox.scenario import Scenario
from twin.sandbox.trials import trials
from twin.train import Options, fit
from twin.training.pace import Progress

ROWS = 4000  # of telemetry that a twin of a simulated plant learns from


def resolve(what: str, twin: Path | None, settings: Settings, say: Callable[[str], None]) -> tuple[Process, Twin]:
    """The plant and the twin that plans.

    Args:
        what: a simulated plant, the folder of a twin, or the slug of a plant of the service kept here.
        twin: a folder, or where the twin that is trained now will be kept; only of a simulated plant.

    Raises:
        TwinError: there is none, or it cannot be read.
    """
    if what in SIMULATED:
        return SIMULATED[what], _of_simulated(what, twin, say)
    if twin is not None:
        raise QuestionError(f"{what} is planned by its own twin; --twin is for simulated plants: {_names()}")
    folder = Path(what)
    found = artifact.load(folder if (folder / MANIFEST).is_file() else _champion(what, settings))
    return TwinProcess(found), found


def scenarios(
    file: Path | None, names: tuple[str, ...], cvs: tuple[str, ...], process: Process, seed: int
) -> list[Scenario]:
    """Those of a file (a JSON list), or the built-in ones; all, or those named.

    Raises:
        QuestionError: an unknown scenario, or a file that describes none.
    """
    if file is None:
        return trials(process, cvs, names, seed)
    try:
        bodies = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise QuestionError(f"{file.name}: not JSON: {error}") from None
    if not isinstance(bodies, list):
        raise QuestionError(f"{file.name}: a list of scenarios is wanted")
    found = [Scenario.from_json(body, process.plant) for body in bodies]
    known = [scenario.name for scenario in found]
    for name in names:
        if name not in known:
            raise QuestionError(f"no scenario '{name}' in {file.name}: there are {', '.join(known)}")
    return [scenario for scenario in found if not names or scenario.name in names]


def outcomes(process: Process, twin: Twin, asked: list[Scenario]) -> Iterator[Outcome]:
    """Each scenario with the MVs held, under the plant's usual practice where one is known, then planned."""
    usual = next((system for system in SYSTEMS.values() if system.process == process), None)
    for scenario in asked:
        yield run(process, Hold(), scenario)
        if usual is not None:
            yield run(process, UsualPractice(usual), scenario)
        yield run(process, Planner(twin, base=None if usual is None else UsualPractice(usual)), scenario)


def _of_simulated(name: str, folder: Path | None, say: Callable[[str], None]) -> Twin:
    if folder is not None and folder.exists():
        found = artifact.load(folder)
        if found.plant.names != SIMULATED[name].plant.names:
            raise QuestionError(f"{folder} holds a twin of '{found.plant.name}', not of {name}")
        return found
    say(f"training a twin of {name} on {ROWS} rows of its telemetry …")
    said = [time.monotonic()]

    def tell(progress: Progress) -> None:
        if time.monotonic() - said[0] > 10:
            said[0] = time.monotonic()
            say(f"  {progress.fraction:.0%}, about {progress.eta_s:.0f} s to go")

    made = fit(lesson(name, ROWS, seed=20), Options(), tell)
    if folder is not None:
        artifact.save(made, folder)
        say(f"kept in {folder}")
    return made


def _champion(slug: str, settings: Settings) -> Path:
    """The folder of the champion of a plant that the service keeps on this machine."""
    strange = f"'{slug}' is no simulated plant ({_names()}){near(slug, SIMULATED)}, no folder of a twin, and"
    if settings.database_url is None and not (settings.data_dir / "twin.db").exists():
        raise NotFoundError(f"{strange} no service has kept anything in {settings.data_dir}")
    db = Database(settings.database)
    try:
        if not db.current():
            raise NotFoundError(f"{strange} the database is of another revision; start the service once")
        with db.read() as session:
            found = session.scalar(select(AliasRow.twin).where(AliasRow.plant == slug, AliasRow.alias == "champion"))
    finally:
        db.close()
    if found is None:
        raise NotFoundError(f"{strange} no plant of that slug has a champion in {settings.data_dir}")
    return settings.twins / found


def _names() -> str:
    return ", ".join(SIMULATED)
