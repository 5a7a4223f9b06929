"""From engineering units to the arrays the solvers know.

Moves are levels of the blocks of each MV, relative to its present value, over its span; outputs are CVs relative
to their training mean, over their span; the cost is divided by its largest weight. So everything is of order one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.base import Dynamics, State
from twin.limits import CvLimits, penalties
from twin.moves import Envelope, strict
from twin.objective import Terms
from twin.planning.blocking import Blocking, blocking, starts
from twin.rollout import rollout
from twin.scaling import Scaler
from twin.solvers.sqp import Problem

Array = jax.Array | np.ndarray

ROUNDING = 2e-5  # of span: what float32 may lose between the solver and the final check of a limit
STILL = 1e-12  # of span a row: an MV so slow cannot move
SNAP = 1e-6  # of span: an MV so near to its limit is at it


class Units(NamedTuple):
    """How moves become the inputs of the model, and its CVs outputs (float32).

    Attributes:
        base: (K, inputs) model units, where all moves are zero.
        rows: (MVs, K, B) moves to rows of each MV, model units.
        y_scale: (CVs,) model units to spans.
    """

    base: Array
    rows: Array
    y_scale: Array


def outputs(model: Dynamics, state: State, units: Units, x: jax.Array) -> jax.Array:
    """(K, CVs) that moves x (MVs · B,) lead to."""
    mvs, _, blocks = units.rows.shape
    moved = jnp.einsum("mkb,mb->km", units.rows, x.reshape(mvs, blocks))
    w = jnp.asarray(units.base).at[:, :mvs].add(moved)
    return rollout(model, state, w) * jnp.asarray(units.y_scale)[None]


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
    present: np.ndarray
    disturbances: np.ndarray
    control: int
    blocks: int
    horizon: int

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
        return np.array([e.rate_per_s * e.period_s for e in self.envelopes])

    @cached_property
    def blockings(self) -> tuple[Blocking, ...]:
        widest = np.maximum(self.boxes[:, 1], self.present) - np.minimum(self.boxes[:, 0], self.present)
        slowest = widest / np.maximum(self.reach, STILL * self.mv_span)
        control = min(self.control, self.rows)
        return tuple(blocking(self.first, control, self.horizon, self.blocks, float(rows)) for rows in slowest)

    @cached_property
    def free(self) -> np.ndarray:
        """(MVs,) bool: those with room to move."""
        room = (self.boxes[:, 1] - self.boxes[:, 0]) > 1e-9 * self.mv_span
        return room & ~self.held & (self.reach > STILL * self.mv_span)

    @cached_property
    def rest(self) -> np.ndarray:
        """(horizon, MVs) where all moves are zero: present values, except of MVs that only come back into limits."""
        held = np.tile(self.present, (self.horizon, 1))
        for i in np.flatnonzero(~self.free):
            held[:, i] = strict(held[:, i], float(self.present[i]), self.envelopes[i])
        return held

    @cached_property
    def units(self) -> Units:
        """Moves to model inputs and back."""
        disturbances = self.disturbances[np.minimum(np.arange(self.horizon), self.rows - 1)]
        mvs = len(self.present)
        scale = self.mv_span / self.scaler.w_scale[:mvs]
        rows = np.stack([blocking.rows for blocking in self.blockings]) * scale[:, None, None]
        base = self.scaler.w_in(np.hstack([self.rest, disturbances]))
        return Units(*map(_single, (base, rows, self.scaler.y_scale / self.y_span)))

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
        change = np.array([b.ramp for b in self.blockings]) * (self.reach / self.mv_span)[:, None]
        before = np.zeros(len(levels))
        for b in range(self.blocks):
            near = np.clip(levels[:, b], before - change[:, b], before + change[:, b])
            levels[:, b] = before = np.clip(near, low[:, b], high[:, b])
        return _single((levels * self.free[:, None]).ravel())

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
        p = len(self.y_span)
        scale = self._cost_scale()
        target = (self.terms.target[:, :p] - self.scaler.y_mean) / self.y_span
        low = (self.limits.low + self.low_margin - self.scaler.y_mean) / self.y_span + ROUNDING
        high = (self.limits.high - self.high_margin - self.scaler.y_mean) / self.y_span - ROUNDING
        penalty = np.tile(penalties(self.limits) / self.rows, (self.rows, 1))
        cost, slope = self._cost_of_moves()
        fields = [
            self._padded(target),
            self._padded(self.terms.weight[:, :p] / scale),
            self._padded(self.terms.price[:, :p] * self.y_span / scale),
            self._padded(np.where(np.isfinite(low), low, 0.0)),
            self._padded(np.where(np.isfinite(high), high, 0.0)),
            self._padded(penalty * np.isfinite(low)),
            self._padded(penalty * np.isfinite(high)),
            cost / scale,
            slope / scale,
            *self._constraints(),
            np.repeat(self.free, self.blocks) * self._used().ravel(),
        ]
        return Problem(*map(_single, fields))

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        padded = np.zeros((self.horizon, rows.shape[1]), np.float32)
        padded[: self.rows] = rows
        return padded

    def _used(self) -> np.ndarray:
        return np.array([b.ramp > 0 for b in self.blockings])

    def _cost_scale(self) -> float:
        """The largest cost that any one tag could have over the horizon."""
        of_price = np.abs(self.terms.price).sum(axis=0) * self.span
        largest = max(self.terms.weight.sum(axis=0).max(), of_price.max(), self.terms.suppression.max() * self.rows)
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
            H[i, :, i] = 2 * (difference.T * each) @ difference + 2 * (rows.T * weight) @ rows
            error = (self.rest[: self.rows, i] - self.terms.target[:, p + i]) / self.mv_span[i]
            g[i] = 2 * rows.T @ (weight * error) + self.mv_span[i] * (rows.T @ self.terms.price[:, p + i])
        return H.reshape(mvs * blocks, -1), g.ravel()

    def _constraints(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bounds of the levels, and of their differences: rows, low, high."""
        mvs, blocks = len(self.present), self.blocks
        low, high = self.levels
        used = self._used() & self.free[:, None]
        change = np.array([b.ramp for b in self.blockings]) * (self.reach / self.mv_span)[:, None]
        change = np.where(np.isfinite(change) & used, change, np.inf)
        low, high = np.where(used, low, -np.inf), np.where(used, high, np.inf)
        rows = np.concatenate([np.eye(mvs * blocks), np.eye(mvs * blocks) - np.eye(mvs * blocks, k=-1)])
        rows[mvs * blocks + blocks * np.arange(1, mvs), blocks * np.arange(1, mvs) - 1] = 0.0  # each MV starts anew
        return rows, np.concatenate([low, -change]).ravel(), np.concatenate([high, change]).ravel()


def _single(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)
