"""A GRU encoder–decoder as a peer of twins (Cho et al. 2014, arXiv 1406.1078): as large, as many, on the same folds.

    h  = GRU over the rows of the window (CVs, inputs, masks)          encoder
    h' = GRU(h, ŷ, w)       ŷ' = V h' + v,  or  ŷ + V h' + v           decoder, on its own forecasts

What differs from a twin is the model alone. Four members, each with about the parameters of a twin's residual member,
are cross-fitted on the twin's folds, on windows padded as the twin's are, with its optimiser and its falling learning
rate; they stop at one step, the best on the mean out-of-fold curve, and forecast by their mean. The loss is the figure
that the benchmark prints: RMSE by row and CV, averaged. Whether CVs or their increments are forecast is chosen out of
fold after a race.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from twin.dynamics.jepa import Jepa, Sizes
from twin.training.folds import COUNT, Folds, spread
from twin.training.residual import CHUNK, JUDGED, padding
from twin.training.schedule import Schedule
from twin.windows import Future, Grid, Window

BATCH, LEARNING_RATE, AVERAGE = 32, 2e-3, 0.98  # as a twin's
WEIGHT_DECAY = 0.5  # a tenth of it, as a twin has, overfits
RACE = 0.2  # of the budget for each of the two kinds, before the worse one is dropped
WIDEST = 128  # units of a layer: wider ones see too few steps in the budget to learn


class Gru(nnx.Module):
    """One member (model units)."""

    def __init__(self, cvs: int, inputs: int, units: int, rngs: nnx.Rngs) -> None:
        self.encoder = nnx.GRUCell(2 * cvs + inputs, units, rngs=rngs)
        self.decoder = nnx.GRUCell(cvs + inputs, units, rngs=rngs)
        self.readout = nnx.Linear(units, cvs, rngs=rngs)

    def forecast(self, window: Window, w: jax.Array, increments: bool) -> jax.Array:
        """(K, CVs) from a window (L, ·) and inputs (K, inputs)."""
        past = jnp.concatenate([jnp.asarray(part) for part in (window.y, window.w, window.mask)], axis=-1)
        h = jnp.zeros(self.readout.in_features)
        h = jax.lax.scan(lambda h, row: (self.encoder(h, row)[0], None), h, past)[0]

        def advance(state: tuple[jax.Array, jax.Array], w: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            h, y = state
            h, _ = self.decoder(h, jnp.concatenate([y, w]))
            y = self.readout(h) + (y if increments else 0.0)
            return (h, y), y

        return jax.lax.scan(advance, (h, jnp.asarray(window.y)[-1]), w)[1]


class Fitted(NamedTuple):
    """What `best_gru` found.

    Attributes:
        kind: in words.
        forecast: windows (n, L, ·), which are whole (n,), inputs (K, inputs) → CVs (K, CVs).
        told: steps, parameters of a member, errors out of fold, why training stopped.
    """

    kind: str
    forecast: Callable[[Window, Any, Any], jax.Array]
    told: dict[str, Any]


@dataclass(frozen=True)
class _Rows:
    """All rows (a pytree), and what windows are cut to."""

    y: jax.Array
    w: jax.Array
    mask: jax.Array
    history: int
    horizon: int

    def cut(self, end: jax.Array, pad: jax.Array) -> tuple[Window, Future]:
        """The window that ends at row `end`, its first `pad` rows as if never measured, and what followed."""
        at = jnp.arange(self.history)
        rows = end + 1 - self.history + jnp.maximum(at, pad)
        mask = self.mask[rows] * (at >= pad)[:, None]
        after = end + 1 + jnp.arange(self.horizon)
        return Window(self.y[rows], self.w[rows], mask), Future(self.w[after], self.y[after], self.mask[after])


class _Training:
    """Members of one kind, side by side."""

    def __init__(self, grid: Grid, folds: Folds, units: int, increments: bool, seed: int) -> None:
        self.rows = _Rows(*map(jnp.asarray, (grid.y, grid.w, grid.mask)), folds.history, folds.horizon)
        self.increments, self.seed, self.schedule = increments, seed, Schedule()
        self.ends = [folds.training(fold) for fold in range(COUNT)]
        self.judged = jnp.stack([jnp.asarray(spread(folds.held_out(fold), JUDGED)) for fold in range(COUNT)])
        cvs, inputs = grid.y.shape[1], grid.w.shape[1]
        drawn = [Gru(cvs, inputs, units, nnx.Rngs(COUNT * seed + member)) for member in range(COUNT)]
        self.members = jax.tree.map(lambda *a: jnp.stack(a), *drawn)
        schedule = optax.linear_schedule(0.0, LEARNING_RATE, 100)
        chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=WEIGHT_DECAY))
        self.optimiser = optax.flatten(chain)

    def run(self) -> Iterator[tuple[int, float, Gru]]:
        """Steps done, the error out of fold, and the running mean of the members."""
        rng = np.random.default_rng(self.seed)
        weights = mean = self.members
        state, step = jax.vmap(self.optimiser.init)(weights), 0
        while True:
            ends = np.stack([rng.choice(of, (CHUNK, BATCH)) for of in self.ends], axis=1)
            pads = padding(rng, self.rows.history, ends.size).reshape(ends.shape)
            rate = jnp.float32(self.schedule.rate)
            weights, mean, state, error = self._chunk(weights, mean, state, jnp.asarray(ends), jnp.asarray(pads), rate)
            step += CHUNK
            yield step, float(error), mean

    @partial(jax.jit, static_argnums=0)
    def _chunk(
        self, weights: Gru, mean: Gru, state: Any, ends: jax.Array, pads: jax.Array, rate: jax.Array
    ) -> tuple[Any, ...]:
        def one(model: Gru, state: Any, ends: jax.Array, pads: jax.Array) -> tuple[Gru, Any]:
            window, future = jax.vmap(self.rows.cut)(ends, pads)
            gradient = jax.grad(self._loss)(model, window, future)
            updates, state = self.optimiser.update(gradient, state, model)
            return optax.apply_updates(model, jax.tree.map(lambda u: rate * u, updates)), state

        def advance(carry: tuple[Gru, Gru, Any], drawn: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            weights, mean, state = carry
            weights, state = jax.vmap(one)(weights, state, *drawn)
            return (weights, optax.incremental_update(weights, mean, 1.0 - AVERAGE), state), None

        weights, mean, state = jax.lax.scan(advance, (weights, mean, state), (ends, pads))[0]
        return weights, mean, state, self._error(mean)

    def _loss(self, model: Gru, window: Window, future: Future) -> jax.Array:
        return _rmse(self._forecasts(model, window, future.w), future).mean()

    def _error(self, members: Gru) -> jax.Array:
        window, future = jax.vmap(jax.vmap(self.rows.cut, in_axes=(0, None)), in_axes=(0, None))(self.judged, 0)
        y = jax.vmap(self._forecasts)(members, window, future.w)
        flat = jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:]), (y, future))
        return _rmse(*flat).mean()

    def _forecasts(self, model: Gru, window: Window, w: jax.Array) -> jax.Array:
        return jax.vmap(lambda window, w: model.forecast(window, w, self.increments))(window, w)


def best_gru(grid: Grid, folds: Folds, budget_s: float, clock: Callable[[], float], seed: int = 0) -> Fitted:
    """Train within the budget; as of a twin, half of it is for what is kept, however long the rest took."""
    started = clock()
    units = _units(grid.y.shape[1], grid.w.shape[1], folds.history)
    names = {False: "CVs", True: "increments"}
    trainings = {kind: _Training(grid, folds, units, kind, seed) for kind in names}
    runs = {kind: training.run() for kind, training in trainings.items()}
    best: dict[bool, tuple[float, int, Gru]] = {}
    step = dict.fromkeys(names, 0)

    def train(kind: bool, until: float, before: float = 0.0) -> str:
        """`before` is the share of the time of this kind, if it is kept, that was over at the start."""
        training, begin = trainings[kind], clock()
        while clock() < until:
            step[kind], error, members = next(runs[kind])
            share = (clock() - begin) / (until - begin)
            training.schedule = training.schedule.after(error, before + (1 - before) * share if before else 0.0)
            if error < best[kind][0]:
                best[kind] = (error, step[kind], members)
            if training.schedule.ended:
                return "no longer improved"
        return "time"

    stopped = {}
    for kind in names:
        best[kind] = (np.inf, 0, next(runs[kind])[2])  # compiled: that is not counted against the race
        stopped[kind] = train(kind, clock() + RACE * budget_s)
    kept = min(names, key=lambda kind: best[kind][0])
    if stopped[kept] == "time":
        stopped[kept] = train(kept, max(started + budget_s, clock() + 0.5 * budget_s), before=RACE / (RACE + 0.5))
    _, at, members = best[kept]

    def forecast(windows: Window, whole: Any, w: Any) -> jax.Array:
        last = jax.tree.map(lambda part: jnp.asarray(part)[-1], windows)
        return jax.vmap(lambda model: model.forecast(last, jnp.asarray(w), kept))(members).mean(axis=0)

    told = {
        "steps": at,
        "steps_done": step[kept],
        "stopped_by": stopped[kept],
        "members": COUNT,
        "parameters_of_a_member": _count(members) // COUNT,
        "out_of_fold": {names[kind]: float(best[kind][0]) for kind in names},
        "cpu_s": round(clock() - started, 1),
    }
    return Fitted(f"GRU({units}), {names[kept]}", forecast, told)


def _units(cvs: int, inputs: int, history: int) -> int:
    """The widest layers with no more parameters than a twin's residual member has."""
    most = _count(Jepa(Sizes(cvs, inputs, history), np.random.default_rng(0)))

    def parameters(n: int) -> int:
        return 6 * n * n + n * (3 * (3 * cvs + 2 * inputs) + 6 + cvs) + cvs

    return max(n for n in range(8, WIDEST + 1) if n == 8 or parameters(n) <= most)


def _count(model: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(model))


def _rmse(y: jax.Array, future: Future) -> jax.Array:
    """(K, CVs) over windows (n, K, CVs)."""
    total = (future.mask * (y - future.y) ** 2).sum(axis=0)
    return jnp.sqrt(total / jnp.maximum(future.mask.sum(axis=0), 1.0) + 1e-8)
