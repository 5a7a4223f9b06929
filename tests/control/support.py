"""A small plant in memory, a clock that goes when it is told to, and a planner whose answers are set by the test."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from api.control.actuator import Actuator
from api.control.configuration import Configuration, problems
from api.control.controller import Controller
from api.control.inputs import Inputs
from api.control.journal import Journal
from api.control.link import LinkError
from api.control.modes import Mode
from api.control.ports import Inlets, Outlets, guarded
from api.control.settings import Settings
from connectors.memory import MemoryPlant
from twin.plant import Plant, Role, Tag

NS = 1_000_000_000
START = 1_767_225_600 * NS  # 2026-01-01T00:00:00Z
PERIOD_S = 10.0
PLANT = Plant(
    "Heater",
    PERIOD_S,
    (
        Tag("flow", Role.MV, "m3/h", 0.0, 100.0, rate_limit_per_s=0.5),
        Tag("steam", Role.MV, "%", 0.0, 100.0, rate_limit_per_s=1.0),
        Tag("ambient", Role.DV, "degC", -40.0, 60.0),
        Tag("temperature", Role.CV, "degC", 0.0, 200.0, limit_high=150.0),
        Tag("level", Role.CV, "m", 0.0, 10.0),
    ),
)
SETTINGS: dict[str, Any] = {
    "horizon_s": 200.0,
    "closed_loop_allowed": True,
    "setpoints": {"temperature": {"value": 80.0, "low": 40.0, "high": 120.0}},
    "mvs": {
        "flow": {"mode_tag": "flow.mode", "remote": [1.0]},
        "steam": {"mode_tag": "steam.mode", "remote": [1.0]},
    },
    "watchdog": {"tag": "heartbeat"},
    "permissives": {"switch": 1.0},
    "release": {"flow.mode": 0.0, "steam.mode": 0.0},
}
AT_REST = {"flow": 50.0, "steam": 20.0, "ambient": 20.0, "temperature": 75.0, "level": 5.0}
EXTRAS = {"flow.mode": 1.0, "steam.mode": 1.0, "switch": 1.0, "heartbeat": 0.0}


class Pace:
    """A clock whose steady and wall time go when somebody sleeps, or when it is told to."""

    def __init__(self, now: int = START) -> None:
        self._now, self._steady = now, 0.0
        self.stepped = 0.0
        self.on_time: Callable[[], None] = lambda: None

    def now(self) -> int:
        return self._now

    def latest(self) -> int:
        return self._now

    def steady(self) -> float:
        return self._steady

    def real(self, seconds: float) -> float:
        return seconds

    def stepped_s(self) -> float:
        return self.stepped

    async def sleep(self, seconds: float) -> None:
        self.go(seconds)

    def go(self, seconds: float) -> None:
        self._now += round(seconds * NS)
        self._steady += seconds
        self.on_time()


class Answers:
    """Answers optimize: by default moves toward `target` by at most `step` from the last row of the history."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.target = {"flow": 60.0, "steam": 30.0}
        self.step = {"flow": 2.0, "steam": 4.0}
        self.change: dict[str, Any] = {}  # replaces parts of the answer
        self.broken: LinkError | None = None
        self.takes_s = 0.0
        self.asked: list[Mapping[str, Any]] = []

    async def ask(self, question: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        self.asked.append(question)
        self._pace.go(self.takes_s)
        if self.broken is not None:
            raise self.broken
        last = {tag: values[-1] or 0.0 for tag, values in question["history"]["values"].items()}
        following = {}
        for mv, target in self.target.items():
            move = 0.0 if mv in question["hold_mvs"] else target - last[mv]
            following[mv] = last[mv] + min(max(move, -self.step[mv]), self.step[mv])
        return {
            "status": "optimal",
            "status_detail": "every limit is kept",
            "twin": "twin-1",
            "at": question["history"]["times"][-1],
            "next": following,
            "cvs": {"temperature": {"mean": [76.0, 77.0]}, "level": {"mean": [5.1, 5.2]}},
            "trust": {"in_distribution": True, "score": 1.0, "reasons": []},
            "solve_ms": 3.0,
        } | self.change


@dataclass
class Rig:
    """A controller around a plant in memory."""

    configuration: Configuration
    pace: Pace
    plant: MemoryPlant
    planner: Answers
    controller: Controller
    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    fresh: bool = True  # the plant measures anew before each cycle

    async def cycle(self) -> dict[str, Any]:
        """One period, then a cycle; its record."""
        due = self.pace.steady()
        if self.fresh:
            self.plant.set({tag: value for tag, (_, value, quality) in self.plant._now.items() if quality == 192})
        record = await self.controller.cycle(due)
        self.pace.go(PERIOD_S - (self.pace.steady() - due))
        return record

    async def close_loop(self) -> None:
        """Two good cycles, then closed."""
        await self.cycle()
        record = await self.cycle()
        assert record["ok"], record["fault"]
        await self.controller.request(Mode.CLOSED, "operator", "commissioned", scope=True, confirmed=True)
        assert self.controller.mode is Mode.CLOSED
        self.plant.written.clear()

    def moves(self) -> list[dict[str, float]]:
        """The MV values that were written, write by write."""
        return [{t: v for t, v in w.items() if t in ("flow", "steam")} for _, w in self.plant.written if "flow" in w]

    def changes(self) -> list[tuple[str, str, str]]:
        """(from, to, event) of every change of mode."""
        return [(r["from"], r["to"], r["event"]) for r in self.records if r["kind"] == "mode"]


def rig(folder: Path | None = None, mode: Mode = Mode.SHADOW, described: Plant = PLANT, **settings: Any) -> Rig:
    """A controller with these settings in place of `SETTINGS`."""
    folder = folder or Path(tempfile.mkdtemp())
    made = Settings.model_validate({**SETTINGS, **settings})
    assert not list(problems(described, made))
    configuration = Configuration.of("heater", described, made)
    pace = Pace()
    plant = MemoryPlant({**AT_REST, **EXTRAS}, pace)
    inlets = Inlets(dict.fromkeys([*AT_REST, *EXTRAS], plant))
    outlets = Outlets(dict.fromkeys(["flow", "steam", *EXTRAS], plant))
    journal = Journal(folder / "log")
    actuator = Actuator(configuration, guarded(outlets, configuration, pace), inlets, journal, pace)
    records: list[dict[str, Any]] = []
    planner = Answers(pace)
    controller = Controller(
        configuration, Inputs(configuration, inlets), planner, actuator, journal, pace, mode, records.append
    )
    return Rig(configuration, pace, plant, planner, controller, folder, records)


def instant(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()
