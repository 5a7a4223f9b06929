"""The usual practice of a system as a controller in the sandbox: what a planner has to beat."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd

from twin.plants.practice import Practice
from twin.plants.systems import System
from twin.sandbox.processes import truth
from twin.sandbox.scenario import Ask


class UsualPractice:
    """PI loops, or whatever else runs the system, at the setpoints asked, or where a CV without one rests.

    It knows neither limits nor prices.
    """

    name = "usual practice"

    def __init__(self, system: System) -> None:
        self._practice: Practice = system.practice()
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
        """The next values of the MVs it moves."""
        return self._practice.decide(self._row, self._at_rest | dict(ask.setpoints))

    def status(self) -> None:
        """It says nothing."""
        return
