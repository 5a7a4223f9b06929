"""Balanced truncation of a linear backbone: the same forecasts from far fewer states.

An ARX model in state-space form carries every lag of every tag; most combinations of them are never reached or never
seen in a CV. Those that matter are found by balancing what training has reached (the states of its windows, and of
steps of the inputs) against what the CVs show over the horizon (Moore, IEEE Trans. Automatic Control 26 (1981) 17,
with Gramians over a finite horizon, so that integrating plants have them too).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from twin.dynamics.lti import Lti, build
from twin.windows import Window

SIZES = (2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320)
RIDGE = 1e-9  # of the largest Gramian entry: directions below it are rounding


def reduce(models: Sequence[Lti], windows: Sequence[Window], w: Sequence[np.ndarray], near: np.ndarray) -> list[Lti]:
    """The models with as few states, alike for all, as leave their forecasts where they were.

    Args:
        models: of n states each.
        windows: for each model, windows (m, L, ·) it is used on.
        w: for each model, the inputs (m, K, inputs) that follow them.
        near: (K, CVs) by how much, root mean square, a forecast may change.
    """
    wide = [_Wide(model, window, inputs) for model, window, inputs in zip(models, windows, w, strict=True)]
    for size in SIZES:
        if size >= len(models[0].a):
            break
        small = [one.truncated(size) for one in wide]
        changes = [_free_run(a, b.states(a), b.w) - b.forecast for a, b in zip(small, wide, strict=True)]
        with np.errstate(invalid="ignore", over="ignore"):
            if all((np.sqrt((change**2).mean(axis=0)) <= near).all() for change in changes):
                return [build(**matrices) for matrices in small]
    return list(models)


Matrices = dict[str, np.ndarray]


class _Wide:
    """One model in float64, its balancing transformation and what it forecasts.

    Attributes:
        w: (m, K, inputs).
        forecast: (m, K, CVs).
    """

    def __init__(self, model: Lti, window: Window, w: np.ndarray) -> None:
        self.m: Matrices = {f.name: np.asarray(getattr(model, f.name), np.float64) for f in fields(Lti)}
        rows = np.concatenate([window.y, window.w], axis=-1)
        self._rows = rows.reshape(len(rows), -1).astype(np.float64)
        self.w = w.astype(np.float64)
        self.forecast = _free_run(self.m, self.states(self.m), self.w)
        states = self.states(self.m)
        self._centre = states.mean(axis=0)
        self._balance(states - self._centre)

    def states(self, m: Matrices) -> np.ndarray:
        """(m, n) the states of the windows."""
        states: np.ndarray = self._rows @ m["E"].T + m["e"]
        return states

    def truncated(self, size: int) -> Matrices:
        """The model on the first `size` balanced states, ξ = T (x − centre), x ≈ centre + S ξ."""
        T, S, m, x = self._to[:size], self._fro[:, :size], self.m, self._centre
        return {
            "A": T @ m["A"] @ S,
            "B": T @ m["B"],
            "a": T @ (m["A"] @ x + m["a"] - x),
            "C": m["C"] @ S,
            "c": m["C"] @ x + m["c"],
            "E": T @ m["E"],
            "e": T @ (m["e"] - x),
        }

    def _balance(self, states: np.ndarray) -> None:
        A, B, C, horizon = self.m["A"], self.m["B"], self.m["C"], self.w.shape[1]
        reached = states.T @ states / len(states)
        step = np.zeros_like(B)
        seen, read = np.zeros_like(A), C
        for _ in range(horizon):
            step = A @ step + B
            reached += step @ step.T / horizon
            seen += read.T @ read
            read = read @ A
        to, fro = _root(seen), _root(reached)
        left, values, right = np.linalg.svd(to.T @ fro)
        size = np.sqrt(np.maximum(values, RIDGE * values[0]))
        self._to, self._fro = (left / size).T @ to.T, fro @ right.T / size


def _root(gramian: np.ndarray) -> np.ndarray:
    """A square root R, R Rᵀ = gramian; what is below rounding counts as rounding."""
    values, vectors = np.linalg.eigh(gramian)
    root: np.ndarray = vectors * np.sqrt(np.maximum(values, RIDGE * values[-1]))
    return root


def _free_run(m: Matrices, states: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(m, K, CVs) from states (m, n) under inputs (m, K, inputs)."""
    y = np.empty((*w.shape[:2], len(m["c"])))
    with np.errstate(invalid="ignore", over="ignore"):
        for k in range(w.shape[1]):
            states = states @ m["A"].T + w[:, k] @ m["B"].T + m["a"]
            y[:, k] = states @ m["C"].T + m["c"]
    return y
