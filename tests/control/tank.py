"""The quadruple tank in memory, in step with a clock: a row of the simulator whenever a period has passed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from api.control.configuration import Configuration
from api.control.settings import Settings
from connectors.memory import MemoryPlant
from tests.control.support import NS, Pace
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator

PERIOD_S = QuadrupleTank.plant.sample_period_s
START = pd.Timestamp("2026-03-01T00:00:00Z")
EXTRAS = {"pump_1.mode": 1.0, "pump_2.mode": 1.0, "heartbeat": 0.0, "controller.permitted": 1.0}
SETTINGS = {
    "horizon_s": 300.0,
    "closed_loop_allowed": True,
    "setpoints": {"level_1": {"value": 13.5, "low": 8.0, "high": 16.0}, "level_2": {"value": 12.0}},
    "move_suppression": {"pump_1": 0.01, "pump_2": 0.01},
    "mvs": {"pump_1": {"mode_tag": "pump_1.mode"}, "pump_2": {"mode_tag": "pump_2.mode"}},
    "watchdog": {"tag": "heartbeat"},
    "permissives": {"controller.permitted": 1.0},
}


class Tank:
    """A simulated plant that stands at rest at first.

    Attributes:
        memory: what is read and written.
        levels: the true levels, row by row.
    """

    def __init__(self, seed: int = 5, resting_rows: int = 150) -> None:
        self.simulator = Simulator(QuadrupleTank(), seed, START)
        self.resting = self.simulator.run(np.tile(self.simulator.moves, (resting_rows, 1)))
        self.pace = Pace(self.simulator.time.value)
        self._served = self.pace.now()
        self.memory = MemoryPlant({**self._row(), **EXTRAS}, self.pace)
        self.levels: list[np.ndarray] = []
        self.pace.on_time = self._go

    def _row(self) -> dict[str, float]:
        return dict(zip(self.resting.plant.names, self.resting.values[-1].tolist(), strict=True))

    def _go(self) -> None:
        while self.pace.now() - self._served >= PERIOD_S * NS:
            self._served += round(PERIOD_S * NS)
            now = self.memory._now
            row = self.simulator.advance({mv: now[mv][1] for mv in ("pump_1", "pump_2")})
            extras = {name: now[name][1] for name in EXTRAS}
            self.memory.set({**row, **extras}, time=self._served)
            self.levels.append(self.simulator.state.copy())


def configuration(slug: str, **settings: object) -> Configuration:
    """The controller's configuration for the tank."""
    return Configuration.of(slug, QuadrupleTank.plant, Settings.model_validate({**SETTINGS, **settings}))
