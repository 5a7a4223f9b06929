"""Plan at two time scales: the slow twin plans the horizon, the fast one follows it and keeps every limit.

The slow plan weighs what takes long: prices, inventories, zones. Its CV path becomes the setpoints of the fast plan and
its MV path where the MVs rest (Scattolini, Architectures for distributed and hierarchical model predictive control,
Journal of Process Control 19, 2009, section 4). Under prices the fast plan has its own horizon as they have it, and the
slow plan as setpoints of its end (Rawlings, Angeli and Bates, Fundamentals of economic model predictive control, CDC
2012): averages know no step, and a path to follow would blur what pays within a slow row. Rate limits, limits and their
back-off are the fast plan's own. The flat plan, the fast twin alone over its calibrated horizon, is made too: it is
the fallback, and told beside.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twin import optimize
from twin.artifact import Twin
from twin.errors import HistoryError, QuestionError
from twin.hierarchy import handover
from twin.hierarchy.stride import averaged, means
from twin.hierarchy.training import back_off
from twin.history import expected_inputs, present_inputs
from twin.limits import CvLimits, Limit, merge
from twin.objective import Objective, Setpoint, Terms, cost_by_term, terms
from twin.optimize import Plan
from twin.planning.question import spans
from twin.predict import Scenario, under
from twin.telemetry import Telemetry
from twin.timeline import Step, horizon_rows, staircase

RESTS = 0.1  # weight of the slow MV path beside that of the CV path, 1; under prices beside what they may come to
ENDS = 400.0  # under prices: an end missed by a twentieth of its span costs what they may come to over the fast horizon
NEARLY = 1e-3  # spans: limits that two plans leave so much alike are kept alike
WORSE = 0.01  # of the flat plan's cost: by more, over the whole horizon, the guided plan is not used
MEASURE = (
    "the objective over the whole horizon, as the slow model forecasts it: the guided plan goes on with the slow plan, "
    "the flat one holds its last values"
)
STANDING = ("optimal", "feasible", "relaxed", "abstained")


@dataclass(frozen=True)
class Judged:
    """One way to plan, over the whole horizon.

    Attributes:
        cost: of the objective.
        outside: of the CVs' limits, the mean square over spans; 0 where all are kept.
    """

    cost: float
    outside: float


@dataclass(frozen=True)
class LayeredPlan:
    """A plan made at two time scales.

    Attributes:
        plan: what is to be done, of the fast twin: `guided` or `flat`.
        used: "hierarchical" or "flat".
        why: in a sentence.
        flat, slow, guided: the plans; the fast one under the slow one's guidance is missing where there was none.
        judged: by "hierarchical" and "flat".
        cost: of `plan` by the objective asked, over the rows of the fast plan.
        period_s: of the slow plan.
    """

    plan: Plan
    used: str
    why: str
    flat: Plan
    slow: Plan
    guided: Plan | None
    judged: Mapping[str, Judged]
    cost: Mapping[str, float]
    solve_ms: float
    period_s: float

    @property
    def looks(self) -> list[int]:
        """At the clock, of the flat, the slow and the guided plan: what a replay needs."""
        return [self.flat.looks, self.slow.looks, 0 if self.guided is None else self.guided.looks]

    def to_json(self) -> dict[str, Any]:
        slow = self.slow.to_json()
        keys = ("status", "status_detail", "times", "moves", "cvs", "cost", "certificate", "trust")
        return {
            **self.plan.to_json(),
            "cost": {"total": sum(self.cost.values()) if self.cost else None, "by_term": dict(self.cost)},
            "solve_ms": self.solve_ms,
            "hierarchy": {
                "used": self.used,
                "why": self.why,
                "measure": MEASURE,
                "cost": {name: judged.cost for name, judged in self.judged.items()},
                "outside_limits": {name: judged.outside for name, judged in self.judged.items()},
                "flat": _brief(self.flat),
                "guided": None if self.guided is None else _brief(self.guided),
                "slow": {"period_s": self.period_s, **{key: slow[key] for key in keys}},
            },
        }


def plan(
    twin: Twin,
    history: Telemetry,
    objective: Objective,
    limits: Mapping[str, Limit] = {},
    *,
    horizon_s: float,
    hierarchy: bool | None = None,
    disturbances: Mapping[str, Sequence[Step]] | None = None,
    manual_mvs: Mapping[str, Sequence[Step] | None] | None = None,
    deadline_ms: float | None = None,
    looks: Sequence[int] | int | None = None,
    **asked: Any,
) -> Plan | LayeredPlan:
    """Plan the moves of a plant's MVs, at two time scales where the horizon is longer than the fast twin's.

    Args:
        twin, history, objective, limits, disturbances, manual_mvs, deadline_ms: as `optimize.plan`; history should
            hold `stride` times the slow twin's `min_history_rows`.
        horizon_s: of the slow plan; the answer's rows reach as far as the fast twin is calibrated.
        hierarchy: True plans at two scales whatever the horizon, False never; by default where there is a slow twin and
            the horizon is longer than the fast one's.
        looks: of an earlier plan, to be made again.
        asked: the other arguments of `optimize.plan`.

    Raises:
        QuestionError: as `optimize.plan`; two scales are asked of a twin that has one.
    """
    if hierarchy and twin.slow is None:
        raise QuestionError.at(("hierarchy",), "this twin has no slow model: train one with the option hierarchy")
    both = horizon_s > twin.horizon_s * (1 + 1e-9) if hierarchy is None else hierarchy
    if twin.slow is None or not both:
        return optimize.plan(
            twin, history, objective, limits, horizon_s=horizon_s, disturbances=disturbances, manual_mvs=manual_mvs,
            deadline_ms=deadline_ms, looks=looks if isinstance(looks, int) else None, **asked,
        )  # fmt: skip
    history = twin.reads(history)
    scales = _Scales(
        twin, twin.slow, history, objective, limits, horizon_s, disturbances or {}, manual_mvs or {}, asked
    )
    return scales.plan(deadline_ms, [None] * 3 if looks is None or isinstance(looks, int) else list(looks))


@dataclass(frozen=True)
class _Scales:
    """One question at two scales."""

    twin: Twin
    slow: Twin
    history: Telemetry
    objective: Objective
    limits: Mapping[str, Limit]
    horizon_s: float
    disturbances: Mapping[str, Sequence[Step]]
    manual: Mapping[str, Sequence[Step] | None]
    asked: Mapping[str, Any]

    def plan(self, deadline_ms: float | None, looks: Sequence[int | None]) -> LayeredPlan:
        """The flat plan first, so that there is one; then the slow one, and the fast one that it guides."""
        begun = time.perf_counter()

        def left(share: float) -> float | None:
            spent_ms = 1000 * (time.perf_counter() - begun)
            return None if deadline_ms is None else max(share * (deadline_ms - spent_ms), 1e-3)

        flat = self._fast(self._near(), left(1 / 3), looks[0])
        slow = self._slowly(left(1 / 2), looks[1])
        guided, judged = None, dict[str, Judged]()
        if slow.status != "abstained" and flat.at == slow.at:
            guided = self._fast(self._guide(slow), left(1.0), looks[2])
            if guided.status != "abstained" and flat.status != "abstained":
                judged = self._judged(guided, flat, slow)
        names = [tag.name for tag in self.twin.plant.cvs + self.twin.plant.inputs]
        used, why = _choice(flat, slow, guided, judged, dict(zip(names, spans(self.twin).tolist(), strict=True)))
        chosen = guided if used == "hierarchical" and guided is not None else flat
        return LayeredPlan(
            plan=chosen,
            used=used,
            why=why,
            flat=flat,
            slow=slow,
            guided=guided,
            judged=judged,
            cost=self._cost(chosen),
            solve_ms=1000 * (time.perf_counter() - begun),
            period_s=self.slow.plant.sample_period_s,
        )

    @property
    def rows(self) -> int:
        """Of the slow plan."""
        return horizon_rows(self.slow, self.horizon_s)

    @property
    def fast_s(self) -> float:
        return min(self.horizon_s, self.twin.horizon_s)

    def _fast(self, objective: Objective, deadline_ms: float | None, looks: int | None) -> Plan:
        return optimize.plan(
            self.twin, self.history, objective, self.limits, horizon_s=self.fast_s, disturbances=self.disturbances,
            manual_mvs=self.manual, deadline_ms=deadline_ms, looks=looks, **self.asked,
        )  # fmt: skip

    def _slowly(self, deadline_ms: float | None, looks: int | None) -> Plan:
        """The slow plan: the same question on averages. What an MV may move a row is that times the stride."""
        stride, mvs = self.twin.stride, [tag.name for tag in self.twin.plant.mvs]
        limits = {
            tag: replace(limit, max_move=None if limit.max_move is None else stride * limit.max_move)
            for tag, limit in self.limits.items()
        }
        own = {"back_off": back_off(self.slow), "state": None}
        return optimize.plan(
            self.slow, averaged(self.history, stride), self._coarse(), limits, horizon_s=self.horizon_s,
            disturbances={tag: self._coarse_steps(tag, given) for tag, given in self.disturbances.items()},
            manual_mvs={
                tag: self._coarse_steps(tag, given) if given and tag in mvs else given
                for tag, given in self.manual.items()
            },
            deadline_ms=deadline_ms, looks=looks, **{**self.asked, **own},
        )  # fmt: skip

    def _near(self) -> Objective:
        """The objective for the fast horizon alone: prices are integrated over a horizon and the rest is averaged, so
        that over a shorter one the rest weighs less by as much, and an hour is worth the same."""
        given, share = self.objective, self.fast_s / self.horizon_s
        if not given.prices:
            return given
        return replace(
            given,
            setpoints={tag: replace(s, weight=share * s.weight) for tag, s in given.setpoints.items()},
            zones={tag: replace(zone, weight=share * zone.weight) for tag, zone in given.zones.items()},
            move_suppression={tag: share * weight for tag, weight in given.move_suppression.items()},
        )

    def _coarse(self) -> Objective:
        """The objective at the slow period: what is given a value a period, averaged over it."""
        setpoints = {
            tag: s if s.trajectory is None else replace(s, trajectory=self._coarse_path(s.trajectory))
            for tag, s in self.objective.setpoints.items()
        }
        prices = {
            tag: price if isinstance(price, int | float) else self._coarse_path(price)
            for tag, price in self.objective.prices.items()
        }
        return replace(self.objective, setpoints=setpoints, prices=prices)

    def _coarse_path(self, path: Sequence[float]) -> list[float]:
        whole = np.asarray(path, np.float64)[: self.rows * self.twin.stride]
        if not len(whole):
            return []  # refused, with its place, by the flat plan
        rows: list[float] = means(
            np.pad(whole, (0, -len(whole) % self.twin.stride), mode="edge"), self.twin.stride
        ).tolist()
        return rows

    def _coarse_steps(self, tag: str, steps: Sequence[Step]) -> list[Step]:
        """Steps of an input as its averages over slow rows."""
        path = means(self._path(tag, steps), self.twin.stride)
        period_s = self.slow.plant.sample_period_s
        return [Step(k * period_s, float(value)) for k, value in enumerate(path)]

    def _path(self, tag: str, steps: Sequence[Step]) -> np.ndarray:
        """(slow rows · stride,) of an input at the fast rate."""
        column = [t.name for t in self.twin.plant.inputs].index(tag)
        present = float(present_inputs(self.twin, self.history)[column])
        period_s = self.twin.plant.sample_period_s
        return staircase(steps, present, self.rows * self.twin.stride, period_s, ("disturbances", tag))

    def _guide(self, slow: Plan) -> Objective:
        """What the slow plan asks of the fast one: its CV path, and its MV path to rest at.

        A setpoint asked stays what it is: the fast twin knows better how to get there.
        """
        near, plant = self._near(), self.twin.plant
        asked = terms(near, plant, math.ceil(self.fast_s / plant.sample_period_s - 1e-9), spans(self.twin))
        swing = float(np.abs(asked.price).sum(axis=0) @ spans(self.twin))
        if swing > 0:
            return self._guide_under_prices(near, asked, slow, swing)
        rows = len(asked.target)
        setpoints = {tag: Setpoint(trajectory=path.tolist()) for tag, path in self._paths(slow, rows).items()}
        setpoints = {**self._rests(slow, rows, RESTS), **setpoints, **self.objective.setpoints}
        calm = self.objective.move_suppression
        return Objective(setpoints, move_suppression=calm, zones=self.objective.zones)

    def _guide_under_prices(self, near: Objective, asked: Terms, slow: Plan, swing: float) -> Objective:
        """The objective of the fast horizon alone, and in its last row the CVs where the slow plan has them by then.

        Args:
            near, asked: that objective, and its terms.
            swing: what its prices may come to.
        """
        rows, ends, columns = len(asked.target), {}, [tag.name for tag in self.twin.plant.cvs]
        for tag, end in self._ends(slow, rows).items():
            if tag not in near.setpoints:
                ends[tag] = Setpoint(end, weight=0.0, last=ENDS * swing)
            elif not near.terminal_weight:  # otherwise an end is asked
                until = asked.target[:-1, columns.index(tag)].tolist()
                ends[tag] = replace(near.setpoints[tag], value=None, trajectory=[*until, end], last=ENDS * swing)
        mvs = self.twin.plant.mvs
        calm = {tag.name: float(rows * weight) for tag, weight in zip(mvs, asked.suppression, strict=True)}
        setpoints = {**self._rests(slow, rows, RESTS * swing), **near.setpoints, **ends}
        return replace(near, setpoints=setpoints, move_suppression=calm)

    def _paths(self, slow: Plan, rows: int) -> dict[str, np.ndarray]:
        """CV → (rows,) the slow plan's CVs at the fast rate, from where they are now."""
        found = {}
        for tag, band in ((tag.name, slow.cvs[tag.name]) for tag in self.twin.plant.cvs):
            now = self.history.values[-1, self.twin.plant.column(tag)]
            found[tag] = handover.path(now if np.isfinite(now) else band.mean[0], band.mean, self.twin.stride, rows)
        return found

    def _ends(self, slow: Plan, rows: int) -> dict[str, float]:
        """CV → where the slow plan has it in the fast row `rows`; none where the fast twin cannot tell, nor plan."""
        twin, stride = self.twin, self.twin.stride
        reach = math.ceil(rows / stride) * stride
        moves = [np.repeat(_known(slow, tag.name), stride)[:reach] for tag in twin.plant.mvs]
        try:
            w = np.hstack([np.stack(moves, axis=1), self._dvs(reach)])
            ahead = under(twin, self.history, w[None], [], [], 0.9).baseline
        except HistoryError:
            return {}
        ends = {tag: handover.end(slow.cvs[tag].mean, band.mean, stride, rows) for tag, band in ahead.items()}
        return {tag: value for tag, value in ends.items() if math.isfinite(value)}

    def _rests(self, slow: Plan, rows: int, weight: float) -> dict[str, Setpoint]:
        """The slow plan's MVs at the fast rate."""
        return {
            tag: Setpoint(trajectory=np.repeat(levels, self.twin.stride)[:rows].tolist(), weight=weight)
            for tag, levels in slow.moves.items()
            if levels is not None
        }

    def _cost(self, made: Plan) -> dict[str, float]:
        """What a fast plan costs by the objective asked, over its own rows."""
        if made.status == "abstained":
            return {}
        plant = self.twin.plant
        moves = np.stack([_known(made, tag.name) for tag in plant.mvs], axis=1)
        w = np.hstack([moves, self._dvs(len(moves))])
        y = np.stack([made.cvs[tag.name].mean for tag in plant.cvs], axis=1)
        asked = terms(self.objective, plant, len(moves), spans(self.twin))
        return cost_by_term(asked, plant, spans(self.twin), y, w, present_inputs(self.twin, self.history))

    def _dvs(self, rows: int) -> np.ndarray:
        """(rows, DVs) at the fast rate, as far as the slow plan reaches."""
        plant = self.twin.plant
        out = expected_inputs(self.twin, self.history, rows)[:, len(plant.mvs) :]
        for i, tag in enumerate(plant.dvs):
            if tag.name in self.disturbances:
                out[:, i] = self._path(tag.name, self.disturbances[tag.name])[:rows]
        return out

    def _judged(self, guided: Plan, flat: Plan, slow: Plan) -> dict[str, Judged]:
        """Both plans over the whole horizon, by one measure (`MEASURE`)."""
        twin, plant, total = self.twin, self.slow.plant, self.rows * self.twin.stride
        dvs = self._dvs(total)
        ways = []
        for made, after in ((guided, slow), (flat, None)):
            columns = []
            for tag in plant.mvs:
                first = _known(made, tag.name)
                later = np.full(total, first[-1]) if after is None else np.repeat(_known(after, tag.name), twin.stride)
                columns.append(np.r_[first[:total], later[len(first) :]])
            ways.append(means(np.hstack([np.stack(columns, axis=1), dvs]), twin.stride))
        past = averaged(self.history, twin.stride)
        scenarios = [Scenario(name, disturbances=self.disturbances) for name in ("hierarchical", "flat")]
        found = under(self.slow, past, np.stack([ways[0], *ways]), scenarios, [(), ()], 0.9)
        span = spans(twin)
        asked = terms(self._coarse(), plant, self.rows, span)
        cvs = merge(plant, {tag: limit for tag, limit in self.limits.items() if tag in found.baseline})[1]
        before = present_inputs(self.slow, past)
        out = {}
        for answer, w in zip(found.scenarios, ways, strict=True):
            y = np.stack([answer.cvs[tag.name].mean for tag in plant.cvs], axis=1)
            cost = sum(cost_by_term(asked, plant, span, y, w, before).values())
            out[answer.name] = Judged(float(cost), _outside(cvs, y, span[: y.shape[1]]))
        return out


def _known(made: Plan, mv: str) -> np.ndarray:
    values = made.moves[mv]
    assert values is not None  # of a plan that was made  # noqa: S101
    return values


def _outside(limits: CvLimits, y: np.ndarray, span: np.ndarray) -> float:
    over = np.maximum(np.maximum(limits.low - y, y - limits.high), 0.0) / span
    return float((over**2).mean(axis=0).sum())


def _choice(
    flat: Plan, slow: Plan, guided: Plan | None, judged: Mapping[str, Judged], span: Mapping[str, float]
) -> tuple[str, str]:
    """Which plan is used, and why."""
    if guided is None:
        return "flat", f"the slow model does not plan: {_reasons(slow) or 'too few rows in the last of its averages'}"
    if guided.status == "abstained" or flat.status == "abstained":
        better = STANDING.index(guided.status) < STANDING.index(flat.status)
        if better:
            return "hierarchical", f"there is no flat plan: {_reasons(flat)}"
        return "flat", f"there is no plan under the slow one: {_reasons(guided)}"
    if _broken(guided, span) > _broken(flat, span) + NEARLY:
        return "flat", f"under the slow plan the fast model would break limits further: {guided.detail}"
    ours, theirs = judged["hierarchical"], judged["flat"]
    told = f"{ours.cost:.4g} against {theirs.cost:.4g} of the flat plan"
    if ours.cost > theirs.cost + WORSE * abs(theirs.cost) and ours.outside >= theirs.outside - NEARLY**2:
        return "flat", f"the guided plan would cost more over the whole horizon, {told}"
    if theirs.outside > ours.outside + NEARLY**2:
        return "hierarchical", f"over the whole horizon the flat plan would leave limits further; the cost is {told}"
    return "hierarchical", f"over the whole horizon it costs {told}"


def _reasons(abstained: Plan) -> str:
    return "; ".join(reason.detail for reason in abstained.trust.reasons)


def _broken(made: Plan, span: Mapping[str, float]) -> float:
    """By how much limits of CVs are not kept, in spans."""
    return sum(max(-e.margin, 0.0) / span[e.tag] for e in made.certificate if e.rank is not None)


def _brief(made: Plan) -> dict[str, Any]:
    return {"status": made.status, "status_detail": made.detail, "next": made.next and dict(made.next)}
