"""How plants are run where nothing plans: PI loops for each CV, basal and bolus for a patient; and their telemetry.

Source of the loops: K. J. Åström, T. Hägglund, "Advanced PID Control", ISA 2006, the velocity form, in which an MV at
its limit winds nothing up. Of basal, bolus and correction: the pump therapy that American Diabetes Association,
"Standards of Care in Diabetes", describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry

SHORTEST, LONGEST = 0.25, 1.5  # of the settling time: how long a setpoint stands in ordinary operation
TEST_SHORTEST, TEST_LONGEST = 0.03, 0.5  # how long a test move of an MV stands


class Practice(Protocol):
    """Decides the next MVs from one row and the setpoints, as a plant's own base layer does."""

    def decide(self, row: Mapping[str, float], setpoints: Mapping[str, float]) -> dict[str, float]:
        """The next values of the MVs it moves, engineering units."""
        ...


@dataclass(frozen=True)
class Loop:
    """One PI controller.

    Args:
        mv, cv: what it moves and measures.
        gain: of the MV by the CV's error, in their units; negative where the MV lowers the CV.
        integral_s: the time in which a lasting error moves the MV as much again.
    """

    mv: str
    cv: str
    gain: float
    integral_s: float


@dataclass
class Loops:
    """PI loops side by side. A loop without a setpoint holds its MV."""

    loops: tuple[Loop, ...]
    period_s: float
    _errors: dict[str, float] = field(default_factory=dict)

    def decide(self, row: Mapping[str, float], setpoints: Mapping[str, float]) -> dict[str, float]:
        """Velocity form: each MV from where it is."""
        moves = {}
        for loop in self.loops:
            if loop.cv not in setpoints:
                self._errors.pop(loop.cv, None)
                continue
            error = setpoints[loop.cv] - row[loop.cv]
            change = error - self._errors.get(loop.cv, error) + self.period_s / loop.integral_s * error
            self._errors[loop.cv] = error
            moves[loop.mv] = row[loop.mv] + loop.gain * change
        return moves


@dataclass
class BasalBolus:
    """Pump therapy: a basal rate, a bolus with each meal, and a correction of high glucose every few hours.

    Args:
        basal: mU/min.
        ratio: carbohydrates that a unit of insulin covers, g.
        drop: by how much a unit lowers glucose, mmol/L.
        fastest: what the pump delivers at most, mU/min.
        miscounted: deviation of the carbohydrates as the person counts them, a share; 0 counts them rightly.
    """

    basal: float
    ratio: float = 30.0
    drop: float = 8.0
    fastest: float = 150.0
    miscounted: float = 0.0
    period_min: float = 5.0
    every_rows: int = 36
    seed: int = 0
    _owed: float = 0.0  # mU of boluses not delivered yet
    _row: int = 0

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng(self.seed)

    def decide(self, row: Mapping[str, float], setpoints: Mapping[str, float]) -> dict[str, float]:
        """The pump's rate."""
        counted = row["meal"] * self.period_min * np.exp(self.miscounted * self._generator.normal())
        self._owed += 1000.0 * counted / self.ratio
        self._row += 1
        over = row["glucose"] - setpoints.get("glucose", 6.0)
        if self._row % self.every_rows == 0 and over > 2.0 and self._owed <= 0:
            self._owed += 1000.0 * over / self.drop / 2
        stops = row["glucose"] < 4.2
        rate = 0.0 if stops else min(self.fastest, self.basal + self._owed / self.period_min)
        self._owed = max(self._owed - max(rate - self.basal, 0.0) * self.period_min, 0.0)
        return {"insulin": rate}


def operate(
    simulator: Simulator,
    practice: Practice,
    rows: int,
    targets: Mapping[str, tuple[float, float]],
    tests: Mapping[str, float],
    seed: int,
    events: Mapping[int, Mapping[str, float]] | None = None,
) -> Telemetry:
    """Telemetry of ordinary operation with test moves on top.

    Setpoints step within `targets` (CV → low, high); to what practice decides, each MV of `tests` (MV → size, in its
    unit) adds a random level, so that the telemetry shows what the MV does and not only what the loop made of it. Of
    an MV that no loop moves the level is added to where it rests. `events` are offsets of disturbances by row.
    """
    generator = np.random.default_rng(seed)
    settling = simulator.process.settling_s / simulator.plant.sample_period_s
    rest = dict(zip([tag.name for tag in simulator.plant.mvs], simulator.process.moves, strict=True))
    wanted = {
        cv: _levels(rows, settling * SHORTEST, settling * LONGEST, span, generator) for cv, span in targets.items()
    }
    added = {
        mv: _levels(rows, settling * TEST_SHORTEST, settling * TEST_LONGEST, (-size, size), generator)
        for mv, size in tests.items()
    }
    row = simulator.advance()
    kept = []
    on_top = dict.fromkeys(added, 0.0)
    for k in range(rows):
        simulator.disturb(**(events or {}).get(k, {}))
        measured = dict(row)
        for mv, value in on_top.items():
            measured[mv] -= value  # the loop sees what it asked for itself
        moves = rest | practice.decide(measured, {cv: float(levels[k]) for cv, levels in wanted.items()})
        on_top = {mv: float(levels[k]) for mv, levels in added.items()}
        row = simulator.advance({mv: value + on_top.get(mv, 0.0) for mv, value in moves.items()})
        kept.append([row[name] for name in simulator.plant.names])
    period = np.timedelta64(round(simulator.plant.sample_period_s * 1e9), "ns")
    end = np.datetime64(simulator.time.tz_localize(None), "ns")
    times = end - period * np.arange(rows - 1, -1, -1)
    return Telemetry(simulator.plant, times, np.array(kept), np.zeros(rows, np.int64))


def meals(
    rows: int, period_s: float, seed: int, grams: tuple[float, float] = (30.0, 90.0)
) -> dict[int, dict[str, float]]:
    """Events of `operate`: three meals a day, eaten in a quarter of an hour each, at times and sizes that vary."""
    generator = np.random.default_rng(seed)
    minutes = rows * period_s / 60
    found: dict[int, dict[str, float]] = {}
    for day in range(int(minutes // 1440) + 1):
        for hour in (7.5, 12.5, 19.0):
            row = round((1440 * day + 60 * (hour + generator.normal() / 2)) * 60 / period_s)
            eaten = max(round(900 / period_s), 1)
            found[row] = {"meal": generator.uniform(*grams) / (eaten * period_s / 60)}
            found[row + eaten] = {"meal": 0.0}
    return found


def _levels(
    rows: int, shortest: float, longest: float, span: tuple[float, float], generator: np.random.Generator
) -> np.ndarray:
    """Levels (rows,) drawn uniformly from a span, each for a time drawn log-uniformly."""
    found = np.empty(rows)
    row = 0
    while row < rows:
        stands = max(round(np.exp(generator.uniform(np.log(shortest), np.log(longest)))), 1)
        found[row : row + stands] = generator.uniform(*span)
        row += stands
    return found
