"""The controller that knows the truth, for any objective: this planner with the plant's equations, and an observer.

An extended Kalman filter estimates state and unmeasured disturbances from the same noisy rows a twin gets
(`oracle.Observer`), with the true noise statistics. It keeps the limits asked without back-off. What it cannot know is
the noise and the future.
"""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
from support.exact import Planner as Exact
from support.oracle import Observer

from twin.plants.base import Process
from twin.sandbox.scenario import Ask


class TrueModel:
    """Closes a loop for `twin.sandbox.loop.run`."""

    name = "true model"

    def __init__(self, process: Process, horizon: int) -> None:
        self._plant = process.plant
        with jax.enable_x64(True):
            self._observer = Observer(process)
        self._planner = Exact(process, (), horizon, 0.0)
        self._hidden = len(process.disturbances) - len(process.plant.dvs)

    def observe(self, time: pd.Timestamp, row: dict[str, float]) -> None:
        """A measured row."""
        plant = self._plant
        w = np.array([row[tag.name] for tag in plant.inputs])
        estimate = self._observer.update(w, np.array([row[tag.name] for tag in plant.cvs]))
        cut = len(estimate) - self._hidden
        self._state, hidden = estimate[:cut], estimate[cut:]
        self._moves = w[: len(plant.mvs)]
        self._planner.disturbed(w[len(plant.mvs) :], hidden)

    def decide(self, ask: Ask) -> dict[str, float]:
        """The next value of every MV."""
        moves = self._planner.answer(self._state, self._moves, ask.objective, ask.limits)
        return dict(zip([tag.name for tag in self._plant.mvs], moves.tolist(), strict=True))

    def status(self) -> None:
        """It makes no claims."""
        return
