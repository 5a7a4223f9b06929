"""The linear backbone: one linear time-invariant state-space form for every linear model of the library.

    x  = E vec(window) + e        the state at the last row of the window
    x' = A x + B w + a            one row later, under that row's inputs
    y  = C x + c

ARX models, subspace models and persistence are all written in it (`arx`, `padded`), so that rollouts, gains
and the planner know one linear model only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twin.windows import Window


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lti:
    """A linear world model of n states (a pytree of float32 arrays; follows `dynamics.base.Dynamics`).

    Attributes:
        A: (n, n).
        B: (n, inputs).
        a: (n,).
        C: (CVs, n).
        c: (CVs,).
        E: (n, L (CVs + inputs)): acts on the window's rows, oldest first, each row its CVs and then its inputs.
        e: (n,).
    """

    A: jax.Array
    B: jax.Array
    a: jax.Array
    C: jax.Array
    c: jax.Array
    E: jax.Array
    e: jax.Array

    def encode(self, window: Window) -> jax.Array:
        """The state (n,) at the last row of the window (L, ·)."""
        rows = jnp.concatenate([jnp.asarray(window.y), jnp.asarray(window.w)], axis=-1)
        return self.E @ rows.reshape(-1) + self.e

    def step(self, state: jax.Array, w: jax.Array) -> jax.Array:
        """The state (n,) one row later, under that row's inputs w (inputs,)."""
        return self.A @ state + self.B @ w + self.a

    def read(self, state: jax.Array) -> jax.Array:
        """The CVs (CVs,) of the state's row."""
        return self.C @ state + self.c

    def spectral_radius(self) -> float:
        """The largest magnitude of A's eigenvalues: 1 integrates, above 1 grows without bound."""
        return float(np.abs(np.linalg.eigvals(np.asarray(self.A, np.float64))).max(initial=0.0))


def build(**matrices: np.ndarray) -> Lti:
    """An `Lti` of such matrices, as float32 arrays."""
    arrays: dict[str, Any] = {field.name: np.asarray(matrices[field.name], np.float32) for field in fields(Lti)}
    return Lti(**arrays)


def arx(y_lags: np.ndarray, w_lags: np.ndarray, constant: np.ndarray, history: int) -> Lti:
    """The state-space form of y_t = sum_i y_lags[i-1] y_{t-i} + sum_j w_lags[j] w_{t-j} + constant.

    The state is [y_t, ..., y_{t-na+1}, w_t, ..., w_{t-nb+2}]: a window holds it, nothing is estimated.

    Args:
        y_lags: (na, CVs, CVs), the oldest lag last.
        w_lags: (nb, CVs, inputs), from the inputs of the row itself to the oldest.
        constant: (CVs,).
        history: rows L of the window; at least na and nb - 1.
    """
    na, ny, _ = y_lags.shape
    nb, _, nw = w_lags.shape
    n, at_w = na * ny + (nb - 1) * nw, na * ny
    A, B, a = np.zeros((n, n)), np.zeros((n, nw)), np.zeros(n)
    A[:ny, :at_w] = np.concatenate(list(y_lags), axis=1)
    A[ny:at_w, : at_w - ny] = np.eye(at_w - ny)
    B[:ny], a[:ny] = w_lags[0], constant
    if nb > 1:
        A[:ny, at_w:] = np.concatenate(list(w_lags[1:]), axis=1)
        A[at_w + nw :, at_w : n - nw] = np.eye(n - at_w - nw)
        B[at_w : at_w + nw] = np.eye(nw)
    C = np.eye(ny, n)
    E = np.zeros((n, history, ny + nw))
    for i in range(na):
        E[i * ny : (i + 1) * ny, history - 1 - i, :ny] = np.eye(ny)
    for j in range(nb - 1):
        E[at_w + j * nw : at_w + (j + 1) * nw, history - 1 - j, ny:] = np.eye(nw)
    return build(A=A, B=B, a=a, C=C, c=np.zeros(ny), E=E.reshape(n, -1), e=np.zeros(n))


def padded(model: Lti, states: int) -> Lti:
    """The same model with idle states added, so that models of many sizes share one compiled rollout."""
    more = states - model.A.shape[0]
    tail = {"A": ((0, more), (0, more)), "B": ((0, more), (0, 0)), "a": ((0, more),), "C": ((0, 0), (0, more))}
    tail |= {"c": ((0, 0),), "E": ((0, more), (0, 0)), "e": ((0, more),)}
    arrays: dict[str, Any] = {name: np.pad(np.asarray(getattr(model, name)), width) for name, width in tail.items()}
    return Lti(**arrays)
