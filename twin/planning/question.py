"""What `optimize.plan` was asked: checked, put on the grid of the plant, and made a program of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.errors import QuestionError
from twin.history import present_inputs
from twin.limits import CvLimits, Limit, MvLimits, merge
from twin.objective import Objective, Terms, terms
from twin.planning.backoff import BackOff
from twin.planning.program import Program
from twin.plant import Role, near
from twin.telemetry import Telemetry
from twin.timeline import Step, horizon_rows, staircase

SOLVERS = ("sqp", "cem", "mppi", "gradient")
BLOCKS = {True: 16, False: 10}  # of each MV, where the plant has few of them (up to `FEW`), or more
FEW = 4
TRAINED = 0.05  # of the trained range of an MV, that a plan may go beyond it
HORIZONS = (10, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960, 1280, 1920)  # rows that are compiled


@dataclass(frozen=True)
class Question:
    """What was asked, checked and on the grid of the plant.

    Attributes:
        rows: K.
        control: rows in which MVs may move.
        steps: DV → steps.
        held: (MVs,) bool.
        back_off: how far from limits forecasts must stay; by default by the open-loop bands of the twin.
    """

    twin: Twin
    rows: int
    control: int
    terms: Terms
    mvs: tuple[MvLimits, ...]
    cvs: CvLimits
    steps: Mapping[str, Sequence[Step]]
    held: np.ndarray
    coverage: float
    back_off: BackOff | None = None

    @classmethod
    def of(
        cls,
        twin: Twin,
        objective: Objective,
        limits: Mapping[str, Limit],
        horizon_s: float,
        control_horizon_s: float | None,
        steps: Mapping[str, Sequence[Step]],
        hold_mvs: Sequence[str],
        solver: str,
        coverage: float,
        back_off: BackOff | None = None,
    ) -> Question:
        """Check what was asked.

        Raises:
            QuestionError: it makes no sense, for any twin.
        """
        plant = twin.plant
        rows = horizon_rows(twin, horizon_s)
        if back_off is not None:
            back_off.check(twin.id)
        if not plant.mvs:
            raise QuestionError.at(("plant",), "has no MV, so there is nothing to plan")
        if solver not in SOLVERS:
            raise QuestionError.at(("solver",), f"'{solver}' is none of {', '.join(SOLVERS)}{near(solver, SOLVERS)}")
        if not 0.5 <= coverage <= twin.calibration.bands.levels[-1]:
            raise QuestionError.at(("coverage",), f"must be from 0.5 to {twin.calibration.bands.levels[-1]:g}")
        control = rows if control_horizon_s is None else math.ceil(control_horizon_s / plant.sample_period_s - 1e-9)
        for name in steps:
            if plant.tag(name).role is not Role.DV:
                raise QuestionError.at(("disturbances", name), f"{name} is a {plant.tag(name).role.upper()}, no DV")
        for name in hold_mvs:
            if plant.tag(name).role is not Role.MV:
                raise QuestionError.at(("hold_mvs",), f"{name} is a {plant.tag(name).role.upper()}, no MV")
        mvs, cvs = merge(plant, limits)
        held = np.array([tag.name in hold_mvs for tag in plant.mvs])
        return cls(twin, rows, control, terms(objective, plant, rows), mvs, cvs, steps, held, coverage, back_off)

    @property
    def horizon(self) -> int:
        """Rows that are computed: a compiled number of them."""
        return next((rows for rows in HORIZONS if rows >= self.rows), self.rows)

    @property
    def calibration(self) -> str | None:
        """The id of the closed loop's calibration."""
        return None if self.back_off is None else self.back_off.id

    def watched(self) -> list[str]:
        """CVs that the objective or a limit asks about."""
        plant = self.twin.plant
        asked = (self.terms.weight + np.abs(self.terms.price)).any(axis=0)[: len(plant.cvs)]
        limited = np.isfinite(self.cvs.low) | np.isfinite(self.cvs.high)
        return [tag.name for tag, counts in zip(plant.cvs, asked | limited, strict=True) if counts]

    def program(self, history: Telemetry, beyond_trained_range: bool) -> Program:
        """The optimisation from the present values of a history."""
        twin, mvs = self.twin, len(self.twin.plant.mvs)
        present = present_inputs(twin, history)
        low, high = self.margins()
        return Program(
            scaler=twin.scaler,
            span=spans(twin),
            terms=self.terms,
            limits=self.cvs,
            low_margin=low,
            high_margin=high,
            envelopes=tuple(mv.envelope for mv in self.mvs),
            boxes=self._boxes(present[:mvs], beyond_trained_range),
            held=self.held,
            present=present[:mvs],
            disturbances=self._disturbances(present[mvs:]),
            control=self.control,
            blocks=BLOCKS[mvs <= FEW],
            horizon=self.horizon,
        )

    def earlier(self, state: Mapping[str, Any] | None, history: Telemetry) -> np.ndarray | None:
        """(rows, MVs) what an earlier plan meant to do after the history; none where nothing of it is left.

        Raises:
            QuestionError: the state is not one that a plan of this plant returned.
        """
        if state is None or not len(history):
            return None
        try:
            at = pd.Timestamp(state["at"])
            moves = np.array([state["moves"][tag.name] for tag in self.twin.plant.mvs], np.float64).T
            passed = round((history.at - at).total_seconds() / self.twin.plant.sample_period_s)
        except (KeyError, TypeError, ValueError) as error:
            raise QuestionError.at(("state",), "must be the `state` of an earlier answer for this plant") from error
        if moves.ndim != 2 or not np.isfinite(moves).all():
            raise QuestionError.at(("state",), "must be the `state` of an earlier answer for this plant")
        return moves[passed:] if 0 <= passed < len(moves) else None

    def margins(self) -> tuple[np.ndarray, np.ndarray]:
        """(K, CVs) how far below, and above, its forecast a CV may lie at the coverage: engineering units, >= 0."""
        scale = self.twin.scaler.y_scale
        if self.back_off is not None:
            low, high = self.back_off.margins(self.coverage, self.rows)
            return low * scale, high * scale
        bands = self.twin.calibration.bands
        low, high = bands.at(1 - self.coverage, self.rows), bands.at(self.coverage, self.rows)
        return np.maximum(-low, 0) * scale, np.maximum(high, 0) * scale

    def _boxes(self, present: np.ndarray, beyond_trained_range: bool) -> np.ndarray:
        """(MVs, 2) limits, and the trained range with the present value, where that lies beyond."""
        boxes = []
        seen = zip(self.twin.seen.low, self.twin.seen.high, strict=True)
        for limits, now, (least, most) in zip(self.mvs, present, seen, strict=False):
            low, high = limits.envelope.low, limits.envelope.high
            if not beyond_trained_range:
                slack = TRAINED * (most - least)
                trained = min(least - slack, now), max(most + slack, now)
                low, high = np.clip(trained, low, high)
            boxes.append((low, high))
        return np.array(boxes)

    def _disturbances(self, present: np.ndarray) -> np.ndarray:
        """(K, DVs) what they are known to do."""
        out = np.tile(present, (self.rows, 1))
        for i, tag in enumerate(self.twin.plant.dvs):
            if tag.name in self.steps:
                loc = ("disturbances", tag.name)
                out[:, i] = staircase(self.steps[tag.name], present[i], self.rows, self.twin.plant.sample_period_s, loc)
        return out


def check_positive(**durations: float | None) -> None:
    """Refuse a duration that is given and not a positive number."""
    for name, value in durations.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise QuestionError.at((name,), "must be a positive number")


def spans(twin: Twin) -> np.ndarray:
    """(CVs + inputs,) of each tag high - low, or four standard deviations of its training telemetry without them."""
    deviations = np.concatenate([twin.scaler.y_scale, twin.scaler.w_scale])
    tags = twin.plant.cvs + twin.plant.inputs
    return np.array(
        [4 * d if t.low is None or t.high is None else t.high - t.low for t, d in zip(tags, deviations, strict=True)]
    )
