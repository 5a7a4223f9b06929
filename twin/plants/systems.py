"""Six systems of six kinds, each with the usual practice that runs it and the telemetry that this leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from twin.plants.annealing_line import AnnealingLine
from twin.plants.base import Process
from twin.plants.boiler_turbine import BoilerTurbine
from twin.plants.gas_liquid_reactor import GasLiquidReactor
from twin.plants.patient import Patient
from twin.plants.practice import BasalBolus, Loop, Loops, Practice, meals, operate
from twin.plants.simulator import Simulator
from twin.plants.toggle_switch import ToggleSwitch
from twin.plants.turbofan import Turbofan
from twin.telemetry import Telemetry


@dataclass(frozen=True)
class System:
    """A simulated plant and how people run it.

    Attributes:
        process: the plant.
        loops: the PI controllers of its base layer; empty where `other` runs it.
        targets: CV → where its setpoint moves in ordinary operation.
        tests: MV → size of the test moves in the telemetry.
        other: makes another practice, given a seed.
        eats: whether meals are eaten.
    """

    process: Process
    targets: Mapping[str, tuple[float, float]]
    tests: Mapping[str, float]
    loops: tuple[Loop, ...] = ()
    other: Callable[[int], Practice] | None = field(default=None)
    eats: bool = False

    def practice(self, seed: int = 0) -> Practice:
        """The usual practice, at its beginning."""
        period_s = self.process.plant.sample_period_s
        return self.other(seed) if self.other else Loops(self.loops, period_s)

    def telemetry(self, rows: int, seed: int = 0) -> Telemetry:
        """What a historian keeps of so many rows of ordinary operation with test moves."""
        simulator = Simulator(self.process, seed)
        events = meals(rows, self.process.plant.sample_period_s, seed) if self.eats else None
        return operate(simulator, self.practice(seed), rows, self.targets, self.tests, seed, events)


SYSTEMS: dict[str, System] = {
    "gas-liquid-reactor": System(
        GasLiquidReactor(),
        targets={"product": (75.0, 125.0), "pressure": (2300.0, 2850.0), "a_in_purge": (35.0, 60.0)},
        tests={"feed_1": 8.0, "feed_2": 12.0, "purge": 15.0},
        loops=(
            Loop("feed_1", "product", 0.3, 7200.0),
            Loop("purge", "pressure", -0.1, 14400.0),
            Loop("feed_2", "a_in_purge", 1.0, 14400.0),
        ),
    ),
    "boiler-turbine": System(
        BoilerTurbine(),
        targets={"pressure": (85.0, 130.0), "power": (40.0, 100.0), "level": (-0.2, 0.2)},
        tests={"fuel": 0.08, "steam": 0.1, "feedwater": 0.08},
        loops=(
            Loop("fuel", "pressure", 0.02, 150.0),
            Loop("steam", "power", 0.005, 60.0),
            Loop("feedwater", "level", 0.4, 400.0),
        ),
    ),
    "turbofan": System(
        Turbofan(),
        targets={"thrust": (45.0, 118.0), "stall_margin": (28.0, 50.0)},
        tests={"fuel": 0.08, "vanes": 4.0},
        loops=(Loop("fuel", "thrust", 0.004, 0.8), Loop("vanes", "stall_margin", 0.15, 1.0)),
    ),
    "annealing-line": System(
        AnnealingLine(),
        targets={
            "zone_1": (650.0, 850.0),
            "zone_2": (720.0, 950.0),
            "strip": (660.0, 800.0),
            "output": (38.0, 62.0),
        },
        tests={"burner_1": 8.0, "burner_2": 8.0, "burner_3": 8.0, "speed": 5.0},
        loops=(
            Loop("burner_1", "zone_1", 0.2, 150.0),
            Loop("burner_2", "zone_2", 0.2, 150.0),
            Loop("burner_3", "strip", 0.05, 150.0),
            Loop("speed", "output", 0.3, 60.0),
        ),
    ),
    "patient": System(
        Patient(),
        targets={"glucose": (5.5, 8.0)},
        tests={"insulin": 6.0},
        other=lambda seed: BasalBolus(Patient().moves[0], miscounted=0.3, seed=seed),
        eats=True,
    ),
    "toggle-switch": System(
        ToggleSwitch(),
        targets={"laci": (200.0, 3000.0), "tetr": (100.0, 800.0)},
        tests={"atc": 30.0, "iptg": 0.3},
        loops=(Loop("atc", "laci", 0.01, 3000.0), Loop("iptg", "tetr", 0.0005, 3000.0)),
    ),
}
