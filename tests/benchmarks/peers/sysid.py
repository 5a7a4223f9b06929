"""jax-sysid's recurrent model as a peer of twins (Bemporad, IEEE Trans. Automatic Control 2025, arXiv 2403.03827).

    x_{k+1} = A x_k + B w_k + a + N_x(x_k, w_k)        N: one hidden layer (swish), small at first
    y_k     = C x_k + D w_k + c + N_y(x_k, w_k)

It learns as the package does: the simulation error of whole sequences under Adam and then L-BFGS, initial states
learned beside the weights. What is done for it here: A to D start from the best subspace model, as its author starts
from a linear fit; runs are cut into segments that are simulated side by side, each with its own initial state; L-BFGS
stops where the free run on the held-out last part of the rows (that of the linear peers) is best, and the model is
fitted anew to all rows for as many evaluations. A window's state comes from an extended Kalman filter over its rows, as
in the package's `learn_x0`, with the noise variances that do best on the held-out rows.

The package switches JAX to 64 bits for the whole process: use it in a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jax.experimental.compilation_cache import compilation_cache
from jax_sysid.models import RNN, Model
from peers.linear import WINDOWS, chosen_subspace, fitted, last_part

from twin.dynamics.lti import Lti
from twin.training.backbone import Subspace
from twin.training.folds import spread
from twin.windows import Grid, Window

HIDDEN = 16  # units of each hidden layer
PARTS = (1, 2, 4)  # of the best subspace model's states, tried as the network's
SEGMENT = 500  # rows that are simulated from one learned initial state, at most
SHORTEST = 100  # rows of a run worth a segment
ADAM, EVALUATIONS = 300, 100  # epochs at first; evaluations of L-BFGS a round
PATIENCE = 5  # rounds without a better one
DECAY = 1e-4  # of all weights; the package's 0.01 pulls the linear part to zero
SMALL = 1e-3  # share of the hidden layer's first weights: the start is the linear model
INITIAL = 1e-3  # of initial states, the package's
VARIANCES = (1.0, 1e-2, 1e-4)  # of what is measured, times the CV's variance
SHARES = (1e-5, 1e-3, 1e-1)  # of the state's steps, over that of what is measured


class Fitted(NamedTuple):
    """What `best_sysid` found: its kind in words, how it forecasts (as `peers.gru`) and what training tells."""

    kind: str
    forecast: Callable[[Window, Any, Any], jax.Array]
    told: dict[str, Any]


def _forecast(rnn: RNN, params: Any, measured: Any, share: Any, window: Window, w: Any) -> jax.Array:
    n = rnn.nx
    y, past, mask = (jnp.asarray(part, jnp.float64) for part in window)

    def advance(state: tuple[jax.Array, jax.Array], row: tuple[jax.Array, ...]) -> tuple[Any, None]:
        x, P = state
        y, w, mask = row
        C = jax.jacrev(rnn.output_fcn)(x, w, params)
        R = measured * jnp.diag(1.0 + 1e6 * (1.0 - mask))  # what was not measured says nothing
        gain = jax.scipy.linalg.solve(C @ P @ C.T + R, C @ P, assume_a="pos").T
        x = x + gain @ (mask * (y - rnn.output_fcn(x, w, params)))
        left = jnp.eye(n) - gain @ C
        P = left @ P @ left.T + gain @ R @ gain.T
        A = jax.jacfwd(rnn.state_fcn)(x, w, params)
        return (rnn.state_fcn(x, w, params), A @ P @ A.T + measured * share * jnp.eye(n)), None

    start = jnp.zeros(n), jnp.eye(n) / (INITIAL * len(y))
    x = jax.lax.scan(advance, start, (y, past, mask))[0][0]
    return jax.lax.scan(
        lambda x, w: (rnn.state_fcn(x, w, params), rnn.output_fcn(x, w, params)), x, jnp.asarray(w, jnp.float64)
    )[1]


def best_sysid(
    grid: Grid, history: int, horizon: int, budget_s: float, clock: Callable[[], float], seed: int = 0
) -> Fitted:
    """Train within the budget, half of it at least for what comes after the linear start; a tenth more at times, as
    L-BFGS ends with a round."""
    with tempfile.TemporaryDirectory() as folder:  # each round of the package compiles the same programs anew
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
        jax.config.update("jax_enable_x64", True)
        try:
            return _best(grid, history, horizon, budget_s, clock, seed)
        finally:
            jax.config.update("jax_compilation_cache_dir", None)
            compilation_cache.reset_cache()


def _best(grid: Grid, history: int, horizon: int, budget_s: float, clock: Callable[[], float], seed: int) -> Fitted:
    started = clock()
    folds = last_part(grid, history, horizon)
    everything, learnt = np.ones(len(grid.run), bool), folds.label == 0
    chosen = chosen_subspace(grid, folds)
    held = _Held(grid, spread(folds.held_out(1), WINDOWS), history, horizon)
    sequences = _segments(grid, learnt)
    courses = []
    for order in sorted({max(1, chosen.order // part) for part in PARTS}):
        linear = replace(chosen, order=order)
        courses.append(_Course(linear, *_started(fitted(linear, grid, folds, learnt), grid, history, seed), held))
    until = max(started + budget_s, clock() + 0.5 * budget_s)
    half = clock() + 0.5 * (until - clock())
    while running := [course for course in courses if not course.stale and clock() + course.pace < half]:
        for course in running:
            if clock() + course.pace < half:
                course.advance(sequences, clock)
    best = min(courses, key=lambda course: course.error)
    rnn, params = best.rnn, best.params
    if best.at:
        rnn, start = _started(fitted(best.linear, grid, folds, everything), grid, history, seed)
        params = _learned(rnn, start, _segments(grid, everything), ADAM, best.at)

    def forecast(windows: Window, whole: Any, w: Any) -> jax.Array:
        return _forecast(rnn, params, *best.variances, jax.tree.map(lambda part: jnp.asarray(part)[-1], windows), w)

    told = {
        "evaluations": best.at,
        "stopped_by": "no longer improved" if best.stale else "time",
        "parameters": int(sum(np.size(part) for part in params)),
        "held_out": {course.rnn.nx: course.curve for course in courses},
        "filter": best.variances,
        "cpu_s": round(clock() - started, 1),
    }
    return Fitted(f"jax-sysid RNN, {rnn.nx} states", forecast, told)


class _Course:
    """One number of states, round by round.

    Attributes:
        error, params, variances, at: the best so far on the held-out rows, and after how many evaluations.
        curve: the errors there.
        pace: seconds a round takes, once it is compiled.
    """

    def __init__(self, linear: Subspace, rnn: RNN, start: list[Any], held: _Held) -> None:
        self.linear, self.rnn, self.params, self.held = linear, rnn, start, held
        self.now, self.at, self.done, self.pace = start, 0, 0, 0.0
        self.forecasts = held.forecasts(rnn)
        self.error, self.variances = held.best(self.forecasts, start)
        self.curve = [self.error]

    @property
    def stale(self) -> bool:
        """Whether it no longer improves."""
        return self.done - self.at >= PATIENCE * EVALUATIONS

    def advance(self, sequences: _Sequences, clock: Callable[[], float]) -> None:
        """One more round."""
        begun = clock()
        self.now = _learned(self.rnn, self.now, sequences, 0 if self.done else ADAM, EVALUATIONS)
        self.pace = clock() - begun if self.done else 0.0
        self.done += EVALUATIONS
        error, variances = self.held.best(self.forecasts, self.now)
        self.curve.append(error)
        if error < self.error:
            self.error, self.params, self.variances, self.at = error, self.now, variances, self.done


class _Layers(linen.Module):
    """A linear map with a hidden layer beside it."""

    out: int

    @linen.compact
    def __call__(self, xw: jax.Array) -> jax.Array:
        hidden = linen.swish(linen.Dense(HIDDEN, name="hidden")(xw))
        return linen.Dense(self.out, name="linear")(xw) + linen.Dense(self.out, name="out", use_bias=False)(hidden)


def _started(lti: Lti, grid: Grid, history: int, seed: int) -> tuple[RNN, list[Any]]:
    """The network and its weights, the linear part that of a subspace model with states of deviation 1.

    That model is [x, y]' = A x + B w + a; here x_k is the state before row k.
    """
    A, B, a, E, e = (np.asarray(part, np.float64) for part in (lti.A, lti.B, lti.a, lti.E, lti.e))
    cvs, inputs = grid.y.shape[1], grid.w.shape[1]
    n = len(A) - cvs
    window = grid.window(spread(grid.ends(history, 0), 2000), history)
    rows = np.concatenate([window.y, window.w], axis=-1).reshape(len(window.y), -1)
    scale = np.maximum((rows @ E[:n].T + e[:n]).std(axis=0), 1e-6)
    A = A[:, :n] * scale
    A[:n], B[:n], a[:n] = A[:n] / scale[:, None], B[:n] / scale[:, None], a[:n] / scale
    rnn = RNN(n, cvs, inputs, FX=lambda: _Layers(n), FY=lambda: _Layers(cvs), x_scaling=1.0, y_scaling=1.0, seed=seed)
    params = []
    for flat, tree, rows_of in (
        (rnn.params[: rnn.nthx], rnn.thx_tree, slice(0, n)),
        (rnn.params[rnn.nthx :], rnn.thy_tree, slice(n, None)),
    ):
        layers = jax.tree.unflatten(tree, flat)
        layers["linear"] = {
            "kernel": jnp.asarray(np.hstack([A[rows_of], B[rows_of]]).T),
            "bias": jnp.asarray(a[rows_of]),
        }
        layers["out"] = jax.tree.map(lambda part: SMALL * part, layers["out"])
        params += jax.tree.leaves(layers)
    return rnn, [jnp.asarray(part, jnp.float64) for part in params]


class _Sequences(NamedTuple):
    """Segments side by side: y (rows, B, CVs), NaN where not measured, and w (rows, B, inputs)."""

    y: np.ndarray
    w: np.ndarray


def _segments(grid: Grid, allowed: np.ndarray) -> _Sequences:
    """The allowed rows in segments of one length, the last of each run reaching back into the one before."""
    changes = np.flatnonzero(np.diff(grid.run) | np.diff(allowed)) + 1
    spans = [(a, b) for a, b in pairwise([0, *changes.tolist(), len(grid.run)]) if allowed[a]]
    lengths = np.array([b - a for a, b in spans])
    rows = int(min(SEGMENT, max(SHORTEST, lengths.min())))
    starts = [
        start
        for (a, b), length in zip(spans, lengths, strict=True)
        if length >= rows
        for start in np.linspace(a, b - rows, -(-length // rows)).round().astype(int)
    ]
    at = np.array(starts)[None] + np.arange(rows)[:, None]
    return _Sequences(np.where(grid.mask[at] > 0, grid.y[at], np.nan).astype(np.float64), grid.w[at].astype(np.float64))


def _learned(rnn: RNN, params: list[Any], sequences: _Sequences, adam: int, evaluations: int) -> list[Any]:
    """The weights after the package's own fit: the segments are one system with as many states, inputs and CVs."""
    rows, count, cvs = sequences.y.shape
    inputs, n = sequences.w.shape[2], rnn.nx

    def state_fcn(x: jax.Array, w: jax.Array, params: Any) -> jax.Array:
        step = jax.vmap(lambda x, w: rnn.state_fcn(x, w, params))
        return step(x.reshape(count, n), w.reshape(count, inputs)).reshape(-1)

    def output_fcn(x: jax.Array, w: jax.Array, params: Any) -> jax.Array:
        read = jax.vmap(lambda x, w: rnn.output_fcn(x, w, params))
        return read(x.reshape(count, n), w.reshape(count, inputs)).reshape(-1)

    def loss(found: jax.Array, measured: jax.Array) -> jax.Array:
        known = jnp.isfinite(measured)
        error = jnp.where(known, found - jnp.where(known, measured, 0.0), 0.0)
        return cvs * (error**2).sum() / known.sum()

    model = Model(n * count, cvs * count, inputs * count, state_fcn=state_fcn, output_fcn=output_fcn)
    model.init(params=params)
    model.loss(output_loss=loss, rho_x0=INITIAL / count, rho_th=DECAY)
    model.optimization(adam_eta=1e-3, adam_epochs=adam, lbfgs_epochs=evaluations, iprint=-1)
    model.fit(sequences.y.reshape(rows, -1), sequences.w.reshape(rows, -1))
    return [jnp.asarray(part, jnp.float64) for part in model.params]


class _Held:
    """Windows of held-out rows that choose."""

    def __init__(self, grid: Grid, ends: np.ndarray, history: int, horizon: int) -> None:
        self.window, self.future = grid.window(ends, history), grid.future(ends, horizon)

    def forecasts(self, rnn: RNN) -> Callable[..., jax.Array]:
        """A function from weights and variances to what is forecast (n, K, CVs)."""

        def of(params: Any, measured: Any, share: Any) -> jax.Array:
            one = lambda window, w: _forecast(rnn, params, measured, share, window, w)  # noqa: E731
            return jax.vmap(one)(self.window, self.future.w)

        return jax.jit(of)

    def best(self, forecasts: Callable[..., jax.Array], params: list[Any]) -> tuple[float, tuple[float, float]]:
        """The least mean NRMSE over rows and CVs, and the filter's variances that have it."""
        found = {}
        for pair in ((r, q) for r in VARIANCES for q in SHARES):
            y, mask = np.asarray(forecasts(params, *pair)), self.future.mask
            squares = (mask * (y - self.future.y) ** 2).sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
            error = float(np.sqrt(squares).mean())
            found[pair] = error if np.isfinite(error) else np.inf
        best = min(found, key=found.__getitem__)
        return found[best], best
