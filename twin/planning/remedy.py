"""What it would take to keep a limit that no plan keeps: how far something else would have to give way.

To first order about the plan, with every other limit of a CV kept as well as the plan keeps it: the least by which
the limit itself, or a bound, rate limit or largest move of one MV, would have to change; whether an MV that is held
would do if it were released; and when the limit could be kept from as things are. Each is one small linear programme
over the moves and the change asked for (sensitivity analysis as in Luenberger and Ye, Linear and Nonlinear Programming,
2008, chapter 4, but finite: a multiplier alone says which constraint matters, not how far).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog

from twin.dynamics.base import Dynamics, State
from twin.planning.certificate import Entry
from twin.planning.program import FAR, Program, Units, outputs
from twin.plant import Plant
from twin.solvers.problem import Problem

MOST = 3  # limits that are looked into, those that matter most
TRIED = 3  # constraints of MVs that are tried for each, those with the largest multipliers
NOTHING = 1e-4  # of span: less is rounding
QUICK = {"presolve": False}  # which costs more than it saves in so small a programme


@dataclass(frozen=True)
class Remedy:
    """One change that alone would make a limit keepable.

    Attributes:
        tag, side: of the limit that is not kept.
        kind: "limit", "bound", "trained_range", "rate", "move", "release" or "later".
        of: whose it is that would change: the CV itself or an MV.
        now, to: of that, engineering units, per second for a rate; seconds from `at` for "later"; none for "release".
        detail: in words.
    """

    tag: str
    side: str
    kind: str
    of: str
    now: float | None
    to: float | None
    detail: str

    def to_json(self) -> dict[str, Any]:
        """As the contract has it."""
        return asdict(self)


@jax.jit
def slopes(model: Dynamics, state: State, units: Units, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Outputs (K + 1, CVs) of moves x (n,) and their exact sensitivities (n, K + 1, CVs)."""
    simulate = partial(outputs, model, state, units)
    tangents = jnp.eye(len(x), dtype=x.dtype)
    return simulate(x), jax.vmap(lambda tangent: jax.jvp(simulate, (x,), (tangent,))[1])(tangents)


def remedies(
    program: Program, plant: Plant, x: np.ndarray, local: tuple[np.ndarray, np.ndarray], broken: Iterable[Entry]
) -> tuple[Remedy, ...]:
    """What would make each of the CVs' limits that a plan breaks keepable, those that matter most first.

    Args:
        x: (n,) its moves.
        local: of `slopes` there.
        broken: entries of CVs' limits that it does not keep.
    """
    columns = {tag.name: i for i, tag in enumerate(plant.cvs)}
    of_cvs = sorted(broken, key=lambda entry: (not entry.hard, entry.rank or 0, entry.margin))
    around = _Local(program, program.problem(), x, *local)
    found: list[Remedy] = []
    for entry in of_cvs[:MOST]:
        found += _of_limit(around, plant, entry, columns[entry.tag])
    return tuple(found)


class _Local:
    """The linear programmes about one plan: rows of outputs y + slopeᵀ (v − x), levels v, one change e ≥ 0."""

    def __init__(self, program: Program, problem: Problem, x: np.ndarray, y: np.ndarray, slope: np.ndarray) -> None:
        rows, n = program.rows, len(x)
        self.program, self.rows = program, rows
        self.x, self.y = np.asarray(x, np.float64), np.asarray(y, np.float64)[:rows]
        self.slope = np.asarray(slope, np.float64)[:, :rows]
        low, high, linked = (np.asarray(getattr(problem, f), np.float64) for f in ("x_low", "x_high", "linked"))
        self.change = np.asarray(problem.change, np.float64)
        fixed = np.asarray(problem.free) < 1
        self.low, self.high = np.where(fixed, self.x, low), np.where(fixed, self.x, high)
        self.difference = np.eye(n) - np.diag(linked[1:], -1)
        self.limits = {side: self._limits(problem, side, sign) for side, sign in (("low", -1.0), ("high", 1.0))}

    def _limits(self, problem: Problem, side: str, sign: float) -> np.ndarray:
        """(K, CVs) of one side, with their margins; far away where there is none."""
        there = np.asarray(getattr(problem, f"{side}_penalty"))[: self.rows] > 0
        return np.where(there, np.asarray(getattr(problem, side), np.float64)[: self.rows], sign * FAR)

    def block(self, mv: int) -> slice:
        """The levels of an MV."""
        return slice(mv * self.program.blocks, (mv + 1) * self.program.blocks)

    def least(
        self,
        cv: int,
        side: str,
        *,
        first: int = 0,
        widen: bool = False,
        opened: tuple[int, str] | None = None,
        most: float = np.inf,
        released: int | None = None,
    ) -> tuple[float, Any] | None:
        """The least change e with which a limit is kept from row `first` on, and the solver's answer.

        Args:
            widen: e widens the limit itself.
            opened: e opens "low", "high" or the "rate" of an MV, in spans (a row, for a rate).
            most: of e.
            released: an MV that may move, though it is held.
        """
        n = len(self.x)
        low, high, change = self.low.copy(), self.high.copy(), self.change.copy()
        if released is not None:
            block = self.block(released)
            low[block], high[block] = (part[released] for part in self.program.levels)
            change[block] = self.program.change[released]
        gives = np.zeros(n)
        if opened is not None and opened[1] != "rate":
            gives[self.block(opened[0])] = 1.0
        rows, bounds = self._outputs(cv, side, first, widen)
        quick = np.zeros(n)
        if opened is not None and opened[1] == "rate":
            quick[self.block(opened[0])] = np.maximum(self.program.blockings[opened[0]].ramp, 1)
        limited = np.isfinite(change)
        for sign in (1.0, -1.0):
            rows.append(np.column_stack([sign * self.difference[limited], -quick[limited]]))
            bounds.append(change[limited])
        used = gives > 0
        if used.any():
            sign = 1.0 if opened is not None and opened[1] == "high" else -1.0
            edge = (high if sign > 0 else -low)[used]
            rows.append(np.column_stack([sign * np.eye(n)[used], -np.ones(used.sum())]))
            bounds.append(edge)
            (high if sign > 0 else low)[used] = sign * np.inf
        cost = np.append(np.zeros(n), 1.0)
        box = [*zip(low, high, strict=True), (0.0, most if widen or opened else 0.0)]
        solved = linprog(cost, np.vstack(rows), np.concatenate(bounds), bounds=box, method="highs", options=QUICK)
        return (float(solved.x[-1]), solved) if solved.status == 0 else None

    def reach(self) -> np.ndarray:
        """(K, CVs) how far outputs can be moved at most, whatever the rates allow."""
        room = np.minimum(np.maximum(self.high - self.x, self.x - self.low), 10.0)
        return np.abs(self.slope).transpose(1, 2, 0) @ room

    def _outputs(self, cv: int, side: str, first: int, widen: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Rows A [v, e] ≤ b of the outputs: the limit in question, and the others no worse than in the plan."""
        rows, bounds = [], []
        reach = self.reach()
        for name, sign in (("low", -1.0), ("high", 1.0)):
            edge = self.limits[name]
            edge = np.maximum(sign * edge, sign * self.y)  # sign y may be so much
            if name == side:
                edge[:, cv] = np.where(np.arange(self.rows) >= first, sign * self.limits[name][:, cv], edge[:, cv])
            near = (sign * self.y + reach + 0.05 > edge) & (edge < FAR)
            k, i = np.nonzero(near)
            asked = (i == cv) & (name == side) & widen
            slope = sign * self.slope[:, k, i].T
            rows.append(np.column_stack([slope, -asked.astype(float)]))
            bounds.append(edge[k, i] - sign * self.y[k, i] + slope @ self.x)
        return rows, bounds


def _of_limit(local: _Local, plant: Plant, entry: Entry, cv: int) -> list[Remedy]:
    program = local.program
    least = local.least(cv, entry.side, widen=True)
    if least is None or least[0] < NOTHING:
        return []  # it can be kept: the solver was stopped, or something else weighed more
    to = entry.limit + (1.0 if entry.side == "high" else -1.0) * least[0] * float(program.y_span[cv])
    widened = f"{entry.tag}: its {entry.side} limit could be kept at {to:.4g}{plant.cvs[cv].behind}"
    found = [Remedy(entry.tag, entry.side, "limit", entry.tag, entry.limit, to, widened)]
    kept = _earliest(local, cv, entry.side)
    first = 0 if kept is not None else local.rows - max(local.rows // 4, 1)  # not even in the end: look at the end only
    if first:
        least = local.least(cv, entry.side, first=first, widen=True) or least
    when = f" from {(first + 1) * plant.sample_period_s:g} s on" if first else ""
    for mv, side in _binding(local, least[1]):
        found += _opened(local, plant, entry, cv, mv, side, first, when)
    for mv in np.flatnonzero(program.held).tolist():
        if local.least(cv, entry.side, first=first, released=mv) is not None:
            name = plant.mvs[mv].name
            detail = f"{entry.tag}: the limit could be kept{when} if {name} were not held"
            found.append(Remedy(entry.tag, entry.side, "release", name, None, None, detail))
    if kept:
        after_s = (kept + 1) * plant.sample_period_s
        detail = f"{entry.tag}: the limit could be kept from {after_s:g} s on"
        found.append(Remedy(entry.tag, entry.side, "later", entry.tag, None, after_s, detail))
    return found


def _binding(local: _Local, solved: Any) -> list[tuple[int, str]]:
    """The MVs' bounds and rates with the largest multipliers in the programme that widened the limit."""
    n, blocks = len(local.x), local.program.blocks
    limited = np.isfinite(local.change)
    count = int(limited.sum())
    rates = np.zeros(n)
    multipliers = np.abs(solved.ineqlin.marginals)
    rates[limited] = (
        multipliers[len(multipliers) - 2 * count : len(multipliers) - count] + multipliers[len(multipliers) - count :]
    )
    of = {"low": np.abs(solved.lower.marginals[:n]), "high": np.abs(solved.upper.marginals[:n]), "rate": rates}
    weights = [
        (float(values[mv * blocks : (mv + 1) * blocks].sum()), mv, side)
        for side, values in of.items()
        for mv in np.flatnonzero(local.program.free).tolist()
    ]
    weights.sort(reverse=True)
    return [(mv, side) for weight, mv, side in weights[:TRIED] if weight > 1e-9]


def _opened(
    local: _Local, plant: Plant, entry: Entry, cv: int, mv: int, side: str, first: int, when: str
) -> Sequence[Remedy]:
    """What one bound or rate of an MV would have to be."""
    program, tag, envelope = local.program, plant.mvs[mv], local.program.envelopes[mv]
    span, period_s, could = (
        float(program.mv_span[mv]),
        plant.sample_period_s,
        f"{entry.tag}: the limit could be kept{when}",
    )
    if side == "rate":
        least = local.least(cv, entry.side, first=first, opened=(mv, "rate"))
        if least is None:
            return []
        reach = envelope.reach + least[0] * span
        if envelope.max_move < envelope.rate_per_s * period_s:
            words = f"{could} if {tag.name} could move by {reach:.4g}{tag.behind} a row"
            return [Remedy(entry.tag, entry.side, "move", tag.name, envelope.max_move, reach, words)]
        words = f"{could} if {tag.name} could move at {reach / period_s:.4g} {tag.unit}/s"
        return [Remedy(entry.tag, entry.side, "rate", tag.name, envelope.rate_per_s, reach / period_s, words)]
    edge = float(program.boxes[mv, 0 if side == "low" else 1])
    of_plant = envelope.low if side == "low" else envelope.high
    trained = edge != of_plant
    most = abs(of_plant - edge) / span if trained else np.inf
    least = local.least(cv, entry.side, first=first, opened=(mv, side), most=most)
    if least is None:
        return []
    to = edge + (least[0] if side == "high" else -least[0]) * span
    kind, where = ("trained_range", "leave its trained range and reach") if trained else ("bound", "reach")
    return [
        Remedy(
            entry.tag, entry.side, kind, tag.name, edge, to, f"{could} if {tag.name} could {where} {to:.4g}{tag.behind}"
        )
    ]


def _earliest(local: _Local, cv: int, side: str) -> int | None:
    """The first row from which the limit can be kept to the end, by bisection; none where it cannot."""
    sign = 1.0 if side == "high" else -1.0
    over = sign * (local.y - local.limits[side])[:, cv]
    kept = int(np.flatnonzero(np.append(True, over > 0))[-1])  # as the plan itself does
    if kept == local.rows:
        kept = local.rows - 1
        if local.least(cv, side, first=kept) is None:
            return None
    out = int(np.flatnonzero(np.append(True, over > local.reach()[:, cv]))[-1]) - 1  # too far for any move
    while kept - out > 1:
        middle = (out + kept) // 2
        if local.least(cv, side, first=middle) is None:
            out = middle
        else:
            kept = middle
    return kept
