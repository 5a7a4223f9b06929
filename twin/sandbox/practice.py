"""The usual practice of a system as a controller in the sandbox: what a planner has to beat."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd

from twin.moves import Envelope, strict
from twin.plants.practice import Practice
from twin.plants.systems import System
from twin.sandbox.processes import truth
from twin.sandbox.scenario import Ask


class UsualPractice:
    """PI loops, or whatever else runs the system, at the setpoints asked, or where a CV without one rests.

    It knows neither prices nor the limits of a request.
    """

    name = "usual practice"

    def __init__(self, system: System) -> None:
        self._practice: Practice = system.practice()
        self._plant = system.process.plant
        with jax.enable_x64(True):
            rest = np.asarray(system.process.rest())
        names = [tag.name for tag in system.process.plant.cvs]
        at_rest = dict(zip(names, truth(system.process, rest).tolist(), strict=True))
        self._at_rest = {name: at_rest[name] for name in system.targets}
        self._row: dict[str, float] = {}

    def observe(self, time: pd.Timestamp, row: dict[str, float]) -> None:
        """A measured row, by tag."""
        self._row = row

    def decide(self, ask: Ask) -> dict[str, float]:
        """The next values of the MVs it moves, as far as limits and rates of the plant let its actuators go."""
        wanted = self._practice.decide(self._row, self._at_rest | dict(ask.setpoints))
        return {
            mv: float(strict([value], self._row[mv], Envelope.of(self._plant.tag(mv), self._plant.sample_period_s))[0])
            for mv, value in wanted.items()
        }

    def status(self) -> None:
        """It says nothing."""
        return
