"""From engineering units to the arrays the solvers know.

Moves are levels of the blocks of each MV, relative to its present value, over its span; outputs are CVs relative
to their training mean, over their span; the cost is divided by its largest weight. So everything is of order one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.base import Dynamics, State
from twin.limits import CvLimits, penalties
from twin.moves import Envelope, strict
from twin.objective import Terms, extrapolation
from twin.planning.blocking import Blocking, blocking, starts
from twin.rollout import rollout
from twin.scaling import Scaler
from twin.solvers.problem import Problem

Array = jax.Array | np.ndarray

ROUNDING = 2e-5  # of span: what float32 may lose between the solver and the final check of a limit
STILL = 1e-12  # of span a row: an MV so slow cannot move
FAR = 1e6  # spans away: a zone or a limit that is open on that side
SNAP = 1e-6  # of span: an MV so near to its limit is at it


class Units(NamedTuple):
    """How moves become the inputs of the model, and its CVs outputs (float32).

    Attributes:
        base: (K, inputs) model units, where all moves are zero.
        rows: (MVs, K, B) moves to rows of each MV, model units.
        y_scale: (CVs,) model units to spans.
        beyond: (K,) the weights of the rows that extrapolate a CV past the horizon (`extrapolation`).
    """

    base: Array
    rows: Array
    y_scale: Array
    beyond: Array


def outputs(model: Dynamics, state: State, units: Units, x: jax.Array) -> jax.Array:
    """(K + 1, CVs) that moves x (MVs · B,) lead to; the last row is where they tend to past the horizon."""
    return _scaled(units, rollout(model, state, _inputs(units, x)))


def responses(model: Dynamics, state: State, units: Units, x: jax.Array) -> jax.Array:
    """(MVs · B, K + 1, CVs) sensitivities of `outputs` of a linear model: a pulse of each MV in row 0, shifted.

    They take one tangent an MV in place of one a move.
    """
    mvs, rows, blocks = units.rows.shape
    w = _inputs(units, x)

    def pulse(mv: jax.Array) -> jax.Array:
        tangent = jnp.zeros_like(w).at[0].set(mv)
        return jax.jvp(lambda w: rollout(model, state, w), (w,), (tangent,))[1]

    kernels = jax.vmap(pulse)(jnp.eye(mvs, w.shape[1], dtype=w.dtype))  # (MVs, K, CVs)
    age = np.arange(rows)[:, None] - np.arange(rows)
    shifted = jnp.where((age >= 0)[None, :, :, None], kernels[:, np.maximum(age, 0)], 0.0)  # (MVs, K, K, CVs)
    moved = jnp.einsum("mjb,mkjc->mbkc", units.rows, shifted).reshape(mvs * blocks, rows, -1)
    return jax.vmap(partial(_scaled, units))(moved)


def _inputs(units: Units, x: jax.Array) -> jax.Array:
    mvs, _, blocks = units.rows.shape
    moved = jnp.einsum("mkb,mb->km", units.rows, x.reshape(mvs, blocks))
    return jnp.asarray(units.base).at[:, :mvs].add(moved)


def _scaled(units: Units, y: jax.Array) -> jax.Array:
    """Rows (K, CVs) in spans, and the row beyond them."""
    y = y * jnp.asarray(units.y_scale)[None]
    return jnp.concatenate([y, (units.beyond @ y)[None]])


@dataclass(frozen=True)
class Program:
    """One optimisation, in engineering units (float64).

    Attributes:
        scaler: of the model.
        span: (CVs + inputs,) what errors are divided by.
        terms: the objective over K rows.
        limits: of the CVs.
        low_margin, high_margin: (K, CVs) by how much predictions must stay inside the CVs' limits.
        envelopes: of each MV.
        boxes: (MVs, 2) where the plan may go, inside the envelopes.
        held: (MVs,) bool.
        manual: (K, MVs) what MVs that are held will be asked to do: to stay, or what their operator does.
        present: (MVs,) values in force.
        disturbances: (K, DVs).
        control: rows in which the MVs may still move.
        blocks: B.
        horizon: rows to compute, K or more: the rest weighs nothing.
    """

    scaler: Scaler
    span: np.ndarray
    terms: Terms
    limits: CvLimits
    low_margin: np.ndarray
    high_margin: np.ndarray
    envelopes: tuple[Envelope, ...]
    boxes: np.ndarray
    held: np.ndarray
    manual: np.ndarray
    present: np.ndarray
    disturbances: np.ndarray
    control: int
    blocks: int
    horizon: int

    def within(self, usual: np.ndarray) -> Program:
        """The same, whose MVs stay within (MVs, 2), or, where they are beyond, go no further out."""
        low, high = np.minimum(usual[:, 0], self.present), np.maximum(usual[:, 1], self.present)
        return replace(self, boxes=np.clip(np.stack([low, high], axis=1), self.boxes[:, :1], self.boxes[:, 1:]))

    @property
    def rows(self) -> int:
        return len(self.terms.target)

    @property
    def y_span(self) -> np.ndarray:
        return self.span[: len(self.scaler.y_mean)]

    @property
    def mv_span(self) -> np.ndarray:
        return self.span[len(self.scaler.y_mean) :][: len(self.present)]

    @cached_property
    def first(self) -> np.ndarray:
        """The rows at which blocks start."""
        return starts(min(self.control, self.rows), self.blocks)

    @cached_property
    def reach(self) -> np.ndarray:
        """(MVs,) the largest change a row."""
        return np.array([envelope.reach for envelope in self.envelopes])

    @cached_property
    def blockings(self) -> tuple[Blocking, ...]:
        widest = np.maximum(self.boxes[:, 1], self.present) - np.minimum(self.boxes[:, 0], self.present)
        slowest = widest / np.maximum(self.reach, STILL * self.mv_span)
        control = min(self.control, self.rows)
        return tuple(blocking(self.first, control, self.horizon, self.blocks, float(rows)) for rows in slowest)

    @cached_property
    def change(self) -> np.ndarray:
        """(MVs, B) the largest change to each level, in spans; infinite of a block that is not used."""
        ramps = np.array([b.ramp for b in self.blockings], np.float64)
        return np.where(ramps > 0, np.maximum(ramps, 1) * (self.reach / self.mv_span)[:, None], np.inf)

    @cached_property
    def free(self) -> np.ndarray:
        """(MVs,) bool: those with room to move."""
        room = (self.boxes[:, 1] - self.boxes[:, 0]) > 1e-9 * self.mv_span
        return room & ~self.held & (self.reach > STILL * self.mv_span)

    @cached_property
    def rest(self) -> np.ndarray:
        """(horizon, MVs) where all moves are zero: present values, except of MVs that only come back into limits or
        are moved by others."""
        held = np.tile(self.present, (self.horizon, 1))
        asked = self.manual[np.minimum(np.arange(self.horizon), self.rows - 1)]
        for i in np.flatnonzero(~self.free):
            held[:, i] = strict(asked[:, i].tolist(), float(self.present[i]), self.envelopes[i])
        return held

    @cached_property
    def units(self) -> Units:
        """Moves to model inputs and back."""
        disturbances = self.disturbances[np.minimum(np.arange(self.horizon), self.rows - 1)]
        mvs = len(self.present)
        scale = self.mv_span / self.scaler.w_scale[:mvs]
        rows = np.stack([blocking.rows for blocking in self.blockings]) * scale[:, None, None]
        base = self.scaler.w_in(np.hstack([self.rest, disturbances]))
        beyond = extrapolation(self.rows, self.horizon)
        return Units(*map(_single, (base, rows, self.scaler.y_scale / self.y_span, beyond)))

    @cached_property
    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """(MVs, B) least and greatest level of each block, in spans from the present value.

        Where the present value is outside its box, the box opens as far as the rate limit needs it to.
        """
        back = np.cumsum([b.ramp for b in self.blockings], axis=1) * np.minimum(self.reach, 1e12)[:, None]
        low = np.minimum(self.boxes[:, :1] - self.present[:, None], back)
        high = np.maximum(self.boxes[:, 1:] - self.present[:, None], -back)
        return low / self.mv_span[:, None], high / self.mv_span[:, None]

    def start(self, earlier: np.ndarray | None = None) -> np.ndarray:
        """(MVs · B,) where to start: the MVs held, or moved as an earlier plan meant to.

        Args:
            earlier: (rows, MVs) what is left of that plan.
        """
        low, high = self.levels
        levels = np.zeros_like(low)
        if earlier is not None:
            ends = np.append(self.first[1:], self.horizon) - 1
            wanted = earlier[np.minimum(ends, len(earlier) - 1)].T - self.present[:, None]
            levels[:, : len(ends)] = wanted / self.mv_span[:, None]
        change, before = self.change, np.zeros(len(levels))
        for b in range(self.blocks):
            near = np.minimum(np.maximum(levels[:, b], before - change[:, b]), before + change[:, b])
            levels[:, b] = before = np.minimum(np.maximum(near, low[:, b]), high[:, b])
        return _single((levels * self.free[:, None]).ravel())

    def foreseen(self, x: np.ndarray) -> np.ndarray:
        """(horizon, inputs) of moves x, model units (float32)."""
        units, mvs = self.units, len(self.present)
        w = np.array(units.base)
        w[:, :mvs] += np.einsum("mkb,mb->km", units.rows, x.reshape(mvs, self.blocks))
        return w

    def plan(self, x: np.ndarray) -> np.ndarray:
        """(K, MVs) float64 engineering units, inside every limit and rate limit."""
        levels = np.asarray(x, np.float64).reshape(len(self.present), self.blocks)
        columns = []
        for i, (envelope, block) in enumerate(zip(self.envelopes, self.blockings, strict=True)):
            asked = self.rest[: self.rows, i] + self.mv_span[i] * (block.rows[: self.rows] @ levels[i])
            for edge in self.boxes[i] if self.free[i] else ():
                asked[np.abs(asked - edge) < SNAP * self.mv_span[i]] = edge
            columns.append(strict(asked.tolist(), float(self.present[i]), envelope))
        return np.stack(columns, axis=1)

    def inputs(self, moves: np.ndarray) -> np.ndarray:
        """(K, inputs) of moves (K, MVs), engineering units."""
        return np.hstack([moves, self.disturbances])

    def problem(self) -> Problem:
        """The arrays of this optimisation."""
        p, terms = len(self.y_span), self.terms
        scale = self._cost_scale()
        target, zone_low, zone_high = (
            (part - self.scaler.y_mean) / self.y_span for part in (terms.target[:, :p], terms.zone_low, terms.zone_high)
        )
        low = (self.limits.low + self.low_margin - self.scaler.y_mean) / self.y_span + ROUNDING
        high = (self.limits.high - self.high_margin - self.scaler.y_mean) / self.y_span - ROUNDING
        penalty = np.tile(penalties(self.limits) / self.rows, (self.rows, 1))
        cost, slope = self._cost_of_moves()
        steady = (terms.steady_target[:p] - self.scaler.y_mean) / self.y_span
        fields = [
            self._padded(target, steady),
            self._padded(terms.weight[:, :p] / scale, terms.steady_weight[:p] / scale),
            self._padded(terms.price[:, :p] * self.y_span / scale),
            self._padded(_finite(zone_low)),
            self._padded(_finite(zone_high)),
            self._padded(terms.zone_weight / scale),
            self._padded(_finite(low)),
            self._padded(_finite(high)),
            self._padded(penalty * np.isfinite(low)),
            self._padded(penalty * np.isfinite(high)),
            cost / scale,
            slope / scale,
            *self._constraints(),
            np.repeat(self.free, self.blocks) * self._used().ravel(),
        ]
        return Problem(*map(_single, fields))

    def _padded(self, rows: np.ndarray, beyond: np.ndarray | None = None) -> np.ndarray:
        padded = np.zeros((self.horizon + 1, rows.shape[1]), np.float32)
        padded[: self.rows] = rows
        if beyond is not None:
            padded[-1] = beyond
        return padded

    def _used(self) -> np.ndarray:
        return np.array([b.ramp > 0 for b in self.blockings])

    def _cost_scale(self) -> float:
        """The largest cost that any one tag could have over the horizon."""
        of_price = np.abs(self.terms.price).sum(axis=0) * self.span
        terms = self.terms
        zones, steady = terms.zone_weight.sum(axis=0).max(initial=0.0), terms.steady_weight.max(initial=0.0)
        setpoints, moves = terms.weight.sum(axis=0).max(), terms.suppression.max() * self.rows
        largest = max(setpoints, of_price.max(), moves, zones, steady)
        return float(largest) if largest > 0 else 1.0

    def _cost_of_moves(self) -> tuple[np.ndarray, np.ndarray]:
        """½ xᵀHx + gᵀx: move suppression, and setpoints and prices of MVs."""
        p, mvs, blocks = len(self.y_span), len(self.present), self.blocks
        H, g = np.zeros((mvs, blocks, mvs, blocks)), np.zeros((mvs, blocks))
        difference = np.eye(blocks) - np.eye(blocks, k=-1)
        for i, block in enumerate(self.blockings):
            rows = block.rows[: self.rows]
            each = np.where(block.ramp > 0, self.terms.suppression[i] / np.maximum(block.ramp, 1), 0.0)
            weight = self.terms.weight[:, p + i]
            rests, end = self.terms.steady_weight[p + i], rows[-1]
            H[i, :, i] = 2 * (difference.T * each) @ difference + 2 * (rows.T * weight) @ rows
            H[i, :, i] += 2 * rests * np.outer(end, end)
            error = (self.rest[: self.rows, i] - self.terms.target[:, p + i]) / self.mv_span[i]
            away = (self.rest[self.rows - 1, i] - self.terms.steady_target[p + i]) / self.mv_span[i]
            g[i] = 2 * rows.T @ (weight * error) + self.mv_span[i] * (rows.T @ self.terms.price[:, p + i])
            g[i] += 2 * rests * away * end
        return H.reshape(mvs * blocks, -1), g.ravel()

    def _constraints(self) -> tuple[np.ndarray, ...]:
        """Of the levels: low, high, largest change, and whether that is from the level before."""
        low, high = self.levels
        used = self._used() & self.free[:, None]
        change = np.where(used, self.change, np.inf)
        low, high = np.where(used, low, -np.inf), np.where(used, high, np.inf)
        linked = np.ones_like(low)
        linked[:, 0] = 0.0  # each MV starts anew
        return low.ravel(), high.ravel(), change.ravel(), linked.ravel()


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values, posinf=FAR, neginf=-FAR)


def _single(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)
