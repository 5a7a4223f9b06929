"""Optimize: the moves that serve an objective best and keep every limit, verified and certified.

The plan is a condensed SQP (`twin.solvers.sqp`) over the twin with its constant errors removed
(`twin.dynamics.offset_free`): the server keeps no controller state, everything comes from the history. CV limits are
kept with the one-sided conformal band of the forecast errors as back-off (`twin.trust.Bands`, open loop, out of
fold). The final plan is brought inside the MVs' limits in float64 (`twin.moves`), rolled out once more, and judged on
that rollout alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.dynamics.base import Dynamics, State
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.offset_free import OffsetFree, estimate
from twin.history import recent_windows, reference_history
from twin.judge import judge
from twin.limits import Limit
from twin.lookback import LookBack, earning, look_back
from twin.moves import strict
from twin.objective import Objective, cost_by_term
from twin.planning.absorbed import lasting
from twin.planning.backoff import BackOff
from twin.planning.certificate import Entry, certify
from twin.planning.dead_time import out_of_reach
from twin.planning.deadline import Deadline
from twin.planning.direction import OUTSIDE, unsteered, usual
from twin.planning.doubts import doubts
from twin.planning.program import Program, Units, outputs, responses
from twin.planning.question import Question, check_positive, spans
from twin.planning.remedy import Remedy, remedies, slopes
from twin.predict import Band
from twin.rollout import rollout
from twin.solvers import cem, gradient, mppi, sqp
from twin.solvers.problem import TOLERANCE, Problem, Solution, begin
from twin.telemetry import Telemetry
from twin.timeline import Step, future_times, iso
from twin.trust import Reason, Trust
from twin.windows import Window

ITERATIONS = {"sqp": 16, "cem": 100, "mppi": 60, "gradient": 200}  # at most
CHUNK = {"sqp": 4, "cem": 10, "mppi": 10, "gradient": 25}  # iterations between two looks at the clock
MISSED = 0.02  # of its span: a setpoint that a plan ends so far from is told beside prices
SENSOR = ("stale", "frozen")  # codes of reasons that speak of one sensor
COSTS = ("weight", "price", "zone_weight", "H", "g")
FAR = 10.0  # spans: no plan moves a CV so far
LIGHTER = 1e-3  # what the objective is multiplied by to see whether limits can be kept at all


@dataclass(frozen=True)
class Plan:
    """The answer; `to_json` is the contract's shape.

    Attributes:
        status: "optimal", "feasible", "relaxed" or "abstained".
        detail: why, in a sentence.
        moves: MV → (K,) values in force in each row, None where the present value is unknown.
        next: MV → its value in the first row; None where any present value is unknown.
        disturbances: DV → (K,) what the plan supposes of it.
        unannounced: the DVs of which that is what the twin expects, as nobody said.
        cvs: CV → forecast; low and high each hold at the coverage, one-sided.
        cost: by term.
        certificate: every limit.
        calibration: of the closed loop, that limits were tightened by; None where it was the twin's open-loop bands.
        trust: of the plan; of the present where the status is "abstained".
        residual: the share of the cost that the last iteration still promised to save.
        remedies: what would make limits of CVs that are not kept keepable.
        looks: at the clock, that let the solver go on: what a replay needs to stop at the same place.
        state: what the next request may return, to start from this plan.
    """

    status: str
    detail: str
    twin: str
    calibration: str | None
    at: pd.Timestamp
    times: pd.DatetimeIndex
    moves: Mapping[str, np.ndarray | None]
    next: Mapping[str, float] | None
    trust: Trust
    disturbances: Mapping[str, np.ndarray] = field(default_factory=dict)
    unannounced: tuple[str, ...] = ()
    cvs: Mapping[str, Band] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    certificate: tuple[Entry, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    solve_ms: float = 0.0
    iterations: int = 0
    looks: int = 0
    residual: float | None = None
    state: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "status_detail": self.detail,
            "twin": self.twin,
            "calibration": self.calibration,
            "at": iso(pd.DatetimeIndex([self.at]))[0],
            "times": iso(self.times),
            "moves": {tag: [None] * len(self.times) if v is None else v.tolist() for tag, v in self.moves.items()},
            "next": self.next and dict(self.next),
            "disturbances": {tag: values.tolist() for tag, values in self.disturbances.items()},
            "unannounced": list(self.unannounced),
            "cvs": {tag: band.to_json() for tag, band in self.cvs.items()},
            "cost": {"total": sum(self.cost.values()) if self.cost else None, "by_term": dict(self.cost)},
            "certificate": [entry.to_json() for entry in self.certificate],
            "remedies": [remedy.to_json() for remedy in self.remedies],
            "hard_violated": any(entry.hard and not entry.kept for entry in self.certificate),
            "trust": self.trust.to_json(),
            "solve_ms": self.solve_ms,
            "iterations": self.iterations,
            "residual": self.residual,
            "state": self.state and dict(self.state),
        }


def plan(
    twin: Twin,
    history: Telemetry,
    objective: Objective,
    limits: Mapping[str, Limit] = {},
    *,
    horizon_s: float,
    disturbances: Mapping[str, Sequence[Step]] | None = None,
    control_horizon_s: float | None = None,
    hold_mvs: Sequence[str] = (),
    beyond_trained_range: bool = False,
    solver: str = "sqp",
    coverage: float = 0.95,
    deadline_ms: float | None = None,
    max_age_s: float | None = None,
    now: pd.Timestamp | None = None,
    state: Mapping[str, Any] | None = None,
    back_off: BackOff | None = None,
    looks: int | None = None,
    manual_mvs: Mapping[str, Sequence[Step] | None] | None = None,
    critical: Sequence[str] | None = None,
) -> Plan:
    """Plan the moves of a plant's MVs.

    Whatever the status, every MV value is inside the plant's limits and rate limits, as float64 computes them; where
    the present value is outside, the plan returns at the full rate.

    Args:
        twin: a trained twin of the plant.
        history: telemetry whose last row is `at`; `twin.min_history_rows` of one run are needed, and `ROWS` more
            make the estimate of unmeasured disturbances steadier.
        objective: setpoints, prices, move suppression.
        limits: tag → what tightens the plant's limits.
        horizon_s: how far to look.
        disturbances: DV → steps it is known to take; the last one holds. Of a DV that is not named the twin says
            itself what it expects; with `back_off`, CV limits are kept from further away then.
        control_horizon_s: how long the MVs may move; by default to the end.
        hold_mvs: MVs that stay where they are.
        beyond_trained_range: lets MVs leave their trained range, where the twin extrapolates.
        solver: one of `question.SOLVERS`.
        coverage: that CV limits are kept with, one-sided and per step.
        deadline_ms: after which the best plan so far is verified and returned, and without one the MVs are held.
        max_age_s: of the history, against `now`, beyond which nothing is planned.
        now: by default the clock; where it is given without `max_age_s`, a few rows of age are allowed.
        state: of an earlier plan, to start from it.
        back_off: the calibration of the closed loop that CV limits are tightened by; without one, the open-loop
            bands of the twin.
        looks: of an earlier plan, to be made again: the solver stops where it did, whatever the clock says.
        manual_mvs: MV in manual → the steps its operator will take, or none where it stays: a DV of this plan.
        critical: tags without whose good values nothing is planned; the plan goes on without other CVs whose sensor
            fails, and says so. By default every CV that the objective or a limit asks about is critical.

    Raises:
        QuestionError: no twin could answer: an unknown tag, a limit wider than the plant's, a number out of range.
    """
    begun = time.perf_counter()
    history = twin.reads(history)
    check_positive(control_horizon_s=control_horizon_s, deadline_ms=deadline_ms, max_age_s=max_age_s)
    question = Question.of(
        twin, objective, limits, horizon_s, control_horizon_s, disturbances or {}, hold_mvs, solver, coverage, back_off,
        manual_mvs,
    )  # fmt: skip
    earlier = question.earlier(state, history)
    for tag in critical or ():
        twin.plant.tag(tag)
    reasons = doubts(twin, history, list(dict.fromkeys([*question.watched(), *(critical or ())])), max_age_s, now)
    failed = [] if critical is None else [r for r in reasons if r.code in SENSOR and r.tag and r.tag not in critical]
    if failed:
        question = question.without(sorted({reason.tag for reason in failed if reason.tag}))
        reasons = [reason for reason in reasons if reason not in failed]
    if reasons:
        return _abstain(question, history, now, reasons)
    look = look_back(twin, history)
    twin, unsure = earning(twin, look)
    question = replace(question, twin=twin)
    program = question.program(history, beyond_trained_range)
    recent, x = recent_windows(twin, history), program.start(earlier)
    model, start, distance = _estimate(twin.dynamics, *recent, program.foreseen(x))
    if not beyond_trained_range and distance > OUTSIDE:  # perhaps only if MVs stayed as they are, as in a pulse
        earlier = np.tile(usual(twin).mean(axis=1), (question.rows, 1))
        x = program.start(earlier)
        model, start, distance = _estimate(twin.dynamics, *recent, program.foreseen(x))
    if not beyond_trained_range and distance > OUTSIDE:
        detail = f"the present lies {distance:.1f} times as far out as the trained region reaches"
        return _abstain(question, history, now, [Reason("outside_region", detail)])
    if not beyond_trained_range and distance > 1:
        astray = unsteered(twin, history, question.steered(), program.free, distance)
        unsure += astray
        if astray:
            program = program.within(usual(twin))
            x = program.start(earlier)
    deadline = Deadline(math.inf if deadline_ms is None else begun + deadline_ms / 1000, looks)
    solved = _solve(program, model, start, x, deadline, solver)
    if solved is None:
        detail = f"no plan could be verified within the deadline of {deadline_ms:g} ms"
        return _abstain(question, history, now, [Reason("deadline", detail)])
    return _answer(question, history, program, model, start, solved, begun, deadline, unsure, look)


def warm_up(twin: Twin, horizon_s: float | None = None) -> None:
    """Compile what `plan` needs at a horizon, by default the calibrated one, so that the first request is fast."""
    if any(tag.low is None or tag.high is None for tag in twin.plant.mvs) or not twin.plant.mvs:
        return
    history = reference_history(twin)
    ahead_s = twin.horizon_s if horizon_s is None else horizon_s
    plan(twin, history, Objective(), horizon_s=ahead_s)
    unsteered(twin, history, (), np.ones(len(twin.plant.mvs), bool), 1.0)
    lasting(twin, history, twin.calibration.surprise)
    first = twin.plant.cvs[0].name  # out of reach, so that all of the way of a relaxed plan is gone
    plan(twin, history, Objective(), {first: Limit(high=history.y[-1, 0] - FAR * spans(twin)[0])}, horizon_s=ahead_s)


def _solve(
    program: Program, model: OffsetFree, start: State, x: np.ndarray, deadline: Deadline, solver: str
) -> Solution | None:
    """The best moves found; none where the deadline passed before the first look."""
    units, problem = program.units, program.problem()
    improve = partial(_improve, model, start, units, solver=solver)
    solution = _iterate(improve, problem, begin(x), deadline, solver)
    if solution is None or float(solution.penalty) <= 0:
        return solution
    # Limits are broken. Perhaps the penalties were too small for this objective: let the limits decide alone, nearly.
    light = problem._replace(**{name: getattr(problem, name) * np.float32(LIGHTER) for name in COSTS})
    again = _iterate(improve, light, solution._replace(residual=np.asarray(np.inf, np.float32)), deadline, solver)
    return again if again is not None and float(again.penalty) < 0.99 * float(solution.penalty) else solution


def _iterate(improve: Any, problem: Problem, solution: Solution, deadline: Deadline, solver: str) -> Solution | None:
    """Iterate until it converges, nothing helps or time is up: in chunks, where there is a deadline to look at.

    The peers of SQP always do, as they begin anew from the best with each chunk.
    """
    first = int(solution.iterations)
    chunk = ITERATIONS[solver] if deadline.endless and solver == "sqp" else CHUNK[solver]
    found = None
    while not deadline.passed():
        before = int(solution.iterations)
        found = solution = Solution(*map(np.asarray, improve(problem, solution, np.int32(chunk))))
        done = int(solution.iterations)
        ended = done - before < chunk or done - first >= ITERATIONS[solver]
        if float(solution.residual) <= TOLERANCE or ended:
            break
    return found


def _estimate(dynamics: Ensemble, windows: Window, whole: np.ndarray, w: np.ndarray) -> tuple[OffsetFree, State, float]:
    """The twin without its constant errors, its present state, and how far out that is with inputs w (K, inputs)."""
    drift, bias, state, distance = _constants(dynamics, windows, whole, w)
    return OffsetFree(dynamics, drift, bias), state, float(distance)


@jax.jit
def _constants(
    dynamics: Ensemble, windows: Window, whole: jax.Array, w: jax.Array
) -> tuple[State, jax.Array, State, jax.Array]:
    """What `_estimate` finds; the twin itself is not given back, as its arrays are many."""
    last = jax.tree.map(lambda part: part[-1], windows)
    model, state = estimate(dynamics, windows, whole, lambda window: dynamics.begin(window, w))
    return model.drift, model.bias, state, dynamics.region.distance(last, w)


@partial(jax.jit, static_argnames="solver")
def _improve(
    model: Dynamics,
    state: State,
    units: Units,
    problem: Problem,
    before: Solution,
    iterations: jax.Array,
    *,
    solver: str,
) -> Solution:
    simulate = partial(outputs, model, state, units)
    if solver == "sqp":
        shifted = partial(responses, model, state, units) if getattr(model, "is_linear", False) else None
        return sqp.improve(simulate, problem, before, iterations, shifted)
    others = {"cem": cem.improve, "mppi": mppi.improve, "gradient": gradient.improve}
    return others[solver](simulate, problem, before, iterations)


@jax.jit
def _verify(model: Dynamics, state: State, w: jax.Array) -> jax.Array:
    return rollout(model, state, w)


def _answer(
    question: Question,
    history: Telemetry,
    program: Program,
    model: OffsetFree,
    start: State,
    solved: Solution,
    begun: float,
    deadline: Deadline,
    unsure: Sequence[Reason],
    look: LookBack,
) -> Plan:
    """Verify and certify the moves found."""
    twin, plant = question.twin, question.twin.plant
    moves = program.plan(np.asarray(solved.x))
    w = program.inputs(moves)
    padded = w[np.minimum(np.arange(question.horizon), question.rows - 1)]
    y = twin.scaler.y_out(_verify(model, start, twin.scaler.w_in(padded)))[: question.rows]
    if not np.isfinite(y).all():
        return _abstain(question, history, None, [Reason("diverged", "the forecast of the plan is not finite")])
    low, high = question.margins
    times = future_times(twin, history.at, question.rows)
    values = np.vstack([program.present, moves])
    bands = (y - low, y + high)
    entries = certify(plant, times, bands, program.limits, values, question.mvs, question.coverage)
    converged = float(solved.residual) <= TOLERANCE
    broken = [entry for entry in entries if not entry.kept]
    status = "relaxed" if broken else "optimal" if converged else "feasible"
    eased: tuple[Remedy, ...] = ()
    of_cvs = [entry for entry in broken if entry.rank is not None]
    if of_cvs and not deadline.passed():
        x = np.asarray(solved.x)
        y_there, slope = (np.asarray(part) for part in slopes(model, start, program.units, x))
        eased = remedies(program, plant, x, (y_there, slope), of_cvs)
    known = None if question.back_off is None else question.back_off.surprise
    absorbed = partial(lasting, twin, history, known) if known else lambda: None
    before = program.inputs(program.present[None].repeat(question.rows, 0))[0]
    return Plan(
        status=status,
        detail=_detail(question, program, moves, y, broken, converged, unsure),
        twin=twin.id,
        calibration=question.calibration,
        at=history.at,
        times=times,
        moves={tag.name: moves[:, i] for i, tag in enumerate(plant.mvs)},
        next={tag.name: float(moves[0, i]) for i, tag in enumerate(plant.mvs)},
        disturbances={tag.name: program.disturbances[:, i] for i, tag in enumerate(plant.dvs)},
        unannounced=question.unannounced,
        cvs={tag.name: Band(y[:, i], bands[0][:, i], bands[1][:, i]) for i, tag in enumerate(plant.cvs)},
        cost=cost_by_term(question.terms, plant, program.span, y, w, before),
        certificate=entries,
        remedies=eased,
        trust=judge(twin, history, w[None], absorbed, unsure, look)[0],
        solve_ms=1000 * (time.perf_counter() - begun),
        iterations=int(solved.iterations),
        looks=deadline.looks,
        residual=float(solved.residual) if np.isfinite(solved.residual) else None,
        state={
            "at": history.at.isoformat(),
            "moves": {tag.name: moves[:, i].tolist() for i, tag in enumerate(plant.mvs)},
        },
    )


def _detail(
    question: Question,
    program: Program,
    moves: np.ndarray,
    y: np.ndarray,
    broken: Sequence[Entry],
    converged: bool,
    unsure: Sequence[Reason],
) -> str:
    """What an operator should know about a plan."""
    said = [str(entry) for entry in sorted(broken, key=lambda entry: (not entry.hard, entry.rank or 0))]
    if not broken:
        said.append(f"every limit is kept at a coverage of {question.coverage:g}")
    if not converged:
        said.append("stopped before it converged")
    said += [f"planned without {tag}, whose sensor gives no good values" for tag in question.dropped]
    said += [f"{tag} is in manual" for tag in question.manual]
    said += out_of_reach(question, program.free)
    said += _at_limits(question, program, moves)
    said += _outweighed(question, program, y)
    edges = (program.boxes != np.array([(e.low, e.high) for e in program.envelopes])) & program.free[:, None]
    near_edge = 1e-4 * program.mv_span
    for i, tag in enumerate(question.twin.plant.mvs):
        at_edge = (np.abs(moves[:, i, None] - program.boxes[i]) < near_edge[i]).any(axis=0)
        if (at_edge & edges[i]).any():
            low, high = program.boxes[i]
            known = "usual" if any(reason.code == "unknown_direction" for reason in unsure) else "trained"
            said.append(f"{tag.name} stays within its {known} range, {low:.6g} to {high:.6g}{tag.behind}")
        if not program.free[i] and not question.held[i]:
            said.append(f"{tag.name} is held, as its limits and its trained range leave it no room")
    return "; ".join([*said, *(reason.detail for reason in unsure)])


def _at_limits(question: Question, program: Program, moves: np.ndarray) -> list[str]:
    """Where a plan that follows prices comes to rest at limits of MVs: nothing else may bound its profit."""
    if not question.terms.price.any():
        return []
    said = []
    for i, (tag, envelope) in enumerate(zip(question.twin.plant.mvs, program.envelopes, strict=True)):
        for side, edge in (("low", envelope.low), ("high", envelope.high)):
            if program.free[i] and abs(moves[-1, i] - edge) < 1e-4 * program.mv_span[i]:
                said.append(
                    f"{tag.name} ends at its {side} limit {edge:g}{tag.behind}, which bounds what prices ask for"
                )
    return said


def _outweighed(question: Question, program: Program, y: np.ndarray) -> list[str]:
    """Setpoints of CVs that a plan (K, CVs) leaves, where prices may come to more than they weigh at all."""
    terms = question.terms
    swing = float(np.abs(terms.price).sum(axis=0) @ program.span)
    said = []
    for i, tag in enumerate(question.twin.plant.cvs):
        weight, aim, span = float(terms.weight[:, i].sum()), float(terms.target[-1, i]), float(program.span[i])
        if 0 < weight < swing and abs(y[-1, i] - aim) > MISSED * span:
            said.append(
                f"{tag.name} ends at {y[-1, i]:.4g}{tag.behind}, not at {aim:g}: prices may come to {swing:.3g}, "
                f"and to miss the setpoint by {span:.3g}{tag.behind} throughout costs {weight:.3g} "
                "(a larger weight holds it)"
            )
    return said


def _abstain(question: Question, history: Telemetry, now: pd.Timestamp | None, reasons: Sequence[Reason]) -> Plan:
    """Hold the present values, as far as the limits let them be held."""
    twin, plant = question.twin, question.twin.plant
    at = history.at if len(history) else (now or pd.Timestamp.now("UTC"))
    moves: dict[str, np.ndarray | None] = {}
    for tag, limits in zip(plant.mvs, question.mvs, strict=True):
        present = float(history.values[-1, plant.column(tag.name)]) if len(history) else math.nan
        known = math.isfinite(present)
        moves[tag.name] = strict([present] * question.rows, present, limits.envelope) if known else None
    following = {tag: float(values[0]) for tag, values in moves.items() if values is not None}
    return Plan(
        status="abstained",
        detail="; ".join(reason.detail for reason in reasons) + "; the MVs are held",
        twin=twin.id,
        calibration=question.calibration,
        at=at,
        times=future_times(twin, at, question.rows),
        moves=moves,
        next=following if len(following) == len(moves) else None,
        trust=Trust(False, 0.0, False, tuple(reasons)),
    )
