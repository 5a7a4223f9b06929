"""What `optimize.plan` was asked: checked, put on the grid of the plant, and made a program of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.errors import QuestionError
from twin.history import expected_dvs, expected_inputs, present_inputs
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
        span: (CVs + inputs,) of `spans`.
        steps: DV → steps that are announced.
        held: (MVs,) bool.
        manual: MV → the steps its operator will take; those MVs are held, as far as the planner is concerned.
        dropped: CVs that the plan goes on without.
        back_off: how far from limits forecasts must stay; by default by the open-loop bands of the twin.
    """

    twin: Twin
    rows: int
    control: int
    span: np.ndarray
    terms: Terms
    mvs: tuple[MvLimits, ...]
    cvs: CvLimits
    steps: Mapping[str, Sequence[Step]]
    held: np.ndarray
    coverage: float
    back_off: BackOff | None = None
    manual: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

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
        manual_mvs: Mapping[str, Sequence[Step] | None] | None = None,
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
        manual = {name: steps or () for name, steps in (manual_mvs or {}).items()}
        for field_name, names in (("hold_mvs", hold_mvs), ("manual_mvs", manual)):
            for name in names:
                if plant.tag(name).role is not Role.MV:
                    raise QuestionError.at((field_name,), f"{name} is a {plant.tag(name).role.upper()}, no MV")
        mvs, cvs = merge(plant, limits)
        held = np.array([tag.name in hold_mvs or tag.name in manual for tag in plant.mvs])
        span = spans(twin)
        asked = terms(objective, plant, rows, span)
        return cls(twin, rows, control, span, asked, mvs, cvs, steps, held, coverage, back_off, manual)

    def without(self, names: Sequence[str]) -> Question:
        """The same question with nothing asked of some CVs."""
        gone = np.array([tag.name in names for tag in self.twin.plant.cvs])
        return replace(self, terms=self.terms.without(gone), cvs=self.cvs.without(gone), dropped=tuple(names))

    @property
    def horizon(self) -> int:
        """Rows that are computed: a compiled number of them."""
        return next((rows for rows in HORIZONS if rows >= self.rows), self.rows)

    @property
    def calibration(self) -> str | None:
        """The id of the closed loop's calibration."""
        return None if self.back_off is None else self.back_off.id

    @property
    def unannounced(self) -> tuple[str, ...]:
        """The DVs that the twin itself forecasts."""
        return expected_dvs(self.twin, self.steps)

    def watched(self) -> list[str]:
        """CVs that the objective or a limit asks about."""
        limited = np.isfinite(self.cvs.low) | np.isfinite(self.cvs.high)
        steered = self.steered()
        cvs = self.twin.plant.cvs
        return [tag.name for tag, counts in zip(cvs, limited, strict=True) if counts or tag.name in steered]

    def steered(self) -> list[str]:
        """CVs that the objective asks about."""
        terms, cvs = self.terms, self.twin.plant.cvs
        asked = (terms.weight + np.abs(terms.price)).any(axis=0)[: len(cvs)] | (terms.steady_weight[: len(cvs)] > 0)
        return [tag.name for tag, counts in zip(cvs, asked | terms.zone_weight.any(axis=0), strict=True) if counts]

    def program(self, history: Telemetry, beyond_trained_range: bool) -> Program:
        """The optimisation from the present values of a history."""
        twin, mvs = self.twin, len(self.twin.plant.mvs)
        present = present_inputs(twin, history)
        cvs = self.ramped(history)
        low, high = self.apart(cvs)
        return Program(
            scaler=twin.scaler,
            span=self.span,
            terms=self.terms,
            limits=cvs,
            low_margin=low,
            high_margin=high,
            envelopes=tuple(mv.envelope for mv in self.mvs),
            boxes=self._boxes(present[:mvs], beyond_trained_range),
            held=self.held,
            manual=self._manual(present[:mvs]),
            present=present[:mvs],
            disturbances=self._disturbances(expected_inputs(twin, history, self.rows)[:, mvs:], present[mvs:]),
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

    @cached_property
    def margins(self) -> tuple[np.ndarray, np.ndarray]:
        """(K, CVs) how far below, and above, its forecast a CV may lie at the coverage: engineering units, >= 0.

        Without a calibration of the closed loop nobody knows how soon plans answer what DVs do: then the bands are
        those for DVs that do what is supposed, as those for unannounced ones leave many plants no room at all.
        """
        scale = self.twin.scaler.y_scale
        if self.back_off is not None:
            low, high = self.back_off.margins(self.coverage, self.rows, bool(self.unannounced))
            return low * scale, high * scale
        bands = self.twin.calibration.bands
        low, high = bands.at(1 - self.coverage, self.rows), bands.at(self.coverage, self.rows)
        return np.maximum(-low, 0) * scale, np.maximum(high, 0) * scale

    def apart(self, limits: CvLimits) -> tuple[np.ndarray, np.ndarray]:
        """The margins (K, CVs) that a plan keeps: each takes at most half of the room between a CV's two limits, as
        caution on one side must not cost the limit of the other. A certificate judges by whole margins."""
        room = np.maximum(limits.high - limits.low, 0.0) / 2
        low, high = self.margins
        return np.minimum(low, room), np.minimum(high, room)

    def ramped(self, history: Telemetry) -> CvLimits:
        """The CVs' limits (K, CVs), from where the CVs are now where a ramp was asked for."""
        plant = self.twin.plant
        present = history.values[-1, plant.columns(plant.cvs)]
        return self.cvs.ramped(present, *self.margins, plant.sample_period_s)

    def _manual(self, present: np.ndarray) -> np.ndarray:
        """(K, MVs) where MVs in manual will be asked to be, the present value for the others."""
        out = np.tile(present, (self.rows, 1))
        for i, tag in enumerate(self.twin.plant.mvs):
            if tag.name in self.manual:
                loc = ("manual_mvs", tag.name)
                period_s = self.twin.plant.sample_period_s
                out[:, i] = staircase(self.manual[tag.name], present[i], self.rows, period_s, loc)
        return out

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

    def _disturbances(self, expected: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(K, DVs) what they are announced to do, or else expected to."""
        out = expected.copy()
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
