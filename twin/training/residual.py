"""Training the latent residual: the loss, and the cross-fit of all members in one jitted step.

Each member learns on the rows its fold may see, around the backbone fitted on the same rows, and is judged on
the rows its fold holds out. All members stop at one step, the best on the mean out-of-fold curve.
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

from twin.dynamics.ensemble import jepas
from twin.dynamics.jepa import TARGET_ROWS, Jepa, Sizes
from twin.dynamics.noise import Linear, parts
from twin.dynamics.polynomial import Polynomial
from twin.regularizers import COLLAPSED, anisotropic, effective_rank, infonce, sigreg, sparse, subspace, vicreg
from twin.rollout import rollout
from twin.training.folds import COUNT, Folds, spread
from twin.training.schedule import Schedule
from twin.training.signs import FLOOR, STEP, step_answers
from twin.windows import Future, Grid, Window

POOL = 16_000_000  # numbers a fold at most: training windows are thinned to this
MOST = 6_000  # windows a fold
PADDED = 0.1  # share of training windows with a part of their history missing
JUDGED = 128  # windows a fold on the out-of-fold curve
CHUNK = 25  # training steps a jitted call, with an evaluation at its end


Base = Linear | Polynomial  # what a residual is around

KEEPERS = ("sigreg", "vicreg", "ema", "infonce", "sparse", "subspace", "anisotropic", "none")


@dataclass(frozen=True)
class Recipe:
    """How the residual is trained; none of these is for the user."""

    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    latent: float = 0.3  # weight of the latent prediction
    sigreg: float = 4.0  # over the batch: weight of SIGReg
    targets: int = 12  # rows of the horizon at which the latent is to predict
    gaussian: int = 2  # of them, those whose targets SIGReg sees
    directions: int = 24  # on which it projects them
    average: float = 0.98  # of the running mean of the weights, which is what is judged and kept
    pure: bool = False  # the readout behind a stop-gradient: pure JEPA
    target: str = "cvs"  # what is embedded: future "cvs", the full "window", or "both"
    keeps: str = "sigreg"  # what keeps embeddings from collapsing: one of `KEEPERS`
    inverse: float = 0.0  # weight of endpoint inverse dynamics
    signs: float = 3.0  # weight of wrong signs of gains, where signs are asked


class Cases(NamedTuple):
    """Windows and what followed (leading axes as given), with the backbone's free run y_lin (K, CVs)."""

    window: Window
    future: Future
    y_lin: jax.Array


class Losses(NamedTuple):
    """The terms of the loss."""

    readout: jax.Array
    latent: jax.Array
    sigreg: jax.Array  # or what stands in its place
    inverse: jax.Array
    signs: jax.Array


class Steps(NamedTuple):
    """Signs of gains that are asked, and what the backbone answers.

    Attributes:
        asked: (MVs, CVs) 1, -1, 0 or NaN.
        linear: (MVs, K, CVs) its step responses.
    """

    asked: jax.Array
    linear: jax.Array


class Draw(NamedTuple):
    """What one training step draws at random.

    Attributes:
        cases: (members, B) of each member's pool.
        rows: (gaussian,) of the target rows, those SIGReg sees.
        directions: (embedding, directions) on which SIGReg projects.
        normal: (B, embedding) a sample of what the sparse variant compares with.
        push: (B, inputs) a step in one MV each, where signs of gains are asked.
    """

    cases: jax.Array
    rows: jax.Array
    directions: jax.Array
    normal: jax.Array | None = None
    push: jax.Array | None = None


class Moment(NamedTuple):
    """Where training is after `step` steps: all that the steps to come depend on, beside the data.

    Attributes:
        weights, mean: of the members, and their running mean.
        optimiser: its state.
        rng: the state of numpy's generator, JSON.
        schedule: of the learning rate.
    """

    step: int
    weights: Jepa
    mean: Jepa
    optimiser: Any
    rng: dict[str, Any]
    schedule: Schedule = Schedule()


class Evaluation(NamedTuple):
    """After `step` steps: the out-of-fold error (1 is the backbone alone), the losses and the kept weights; `moment`
    is what training goes on from."""

    step: int
    out_of_fold: float
    losses: dict[str, float]
    residuals: Jepa
    moment: Moment | None = None


def cases(grid: Grid, folds: Folds, backbone: Base, ends: np.ndarray, pads: np.ndarray | None = None) -> Cases:
    """The windows that end at `ends` (n,), the first `pads` (n,) rows of each padded as if never measured."""
    window, future = grid.window(ends, folds.history), grid.future(ends, folds.horizon)
    if pads is not None:
        rows = np.arange(folds.history)
        kept = np.maximum(rows, pads[:, None])
        y, w = (np.take_along_axis(part, kept[..., None], axis=1) for part in (window.y, window.w))
        window = Window(y, w, window.mask * (rows >= pads[:, None])[..., None])
    return Cases(window, future, _free_run(backbone, window, future.w))


@jax.jit
def _free_run(backbone: Base, window: Window, w: jax.Array) -> jax.Array:
    return jax.vmap(lambda past, w: rollout(backbone, backbone.encode(past), w))(window, w)


@dataclass(frozen=True)
class _Latents:
    """The residual as dynamics whose inputs are its drives and whose reading is the latent itself."""

    model: Jepa
    pure: bool

    def encode(self, window: Window) -> jax.Array:
        return self.model.encode(window)

    def step(self, z: jax.Array, drive: jax.Array) -> jax.Array:
        return self.model.step(z, drive, self.pure)

    def read(self, z: jax.Array) -> jax.Array:
        return z


def latents(model: Jepa, case: Cases, pure: bool = False) -> jax.Array:
    """(K, latent + CVs) along the horizon of one case."""
    dynamics = _Latents(model, pure)
    return rollout(dynamics, dynamics.encode(case.window), model.drive(case.y_lin, jnp.asarray(case.future.w)))


def forecast(model: Jepa, case: Cases) -> jax.Array:
    """(K, CVs) of one case: backbone and correction."""
    return case.y_lin + model.correction(latents(model, case))


def loss(
    model: Jepa,
    batch: Cases,
    weight: jax.Array,
    draw: Draw,
    recipe: Recipe,
    teacher: Jepa | None = None,
    steps: Steps | None = None,
) -> tuple[jax.Array, Losses]:
    """Readout + latent prediction + SIGReg over a batch of B cases.

        ŷ_k = y_lin,k + c_k                  readout  = mean weight (ŷ − y)², 1 for the backbone alone
        ê_k = p(s_k, y_lin,k)                latent   = mean (ê_k − e_k)²
        e_k = t(y_{k−7} … y_k)               Gaussian = SIGReg of e_k over the batch
        ŵ   = i(z_j, z_k)                    inverse  = mean (ŵ − mean of w_{j+1} … w_k)²
        Δ_k = ŷ_k(w + push) − ŷ_k(w)         signs    = mean weight (what of a step response has the wrong sign)²

    Args:
        weight: (K, CVs).
        teacher: the running mean of the model, whose targets are predicted where EMA keeps them from collapsing.
        steps: the signs of gains that are asked.
    """
    z = jax.vmap(latents, in_axes=(None, 0, None))(model, batch, recipe.pure)
    y = batch.y_lin + model.correction(z)
    at = _target_rows(z.shape[1], recipe.targets)
    rows = _recent(batch)[:, at]
    e = jax.lax.stop_gradient((teacher or model).target(rows)) if recipe.keeps == "ema" else model.target(rows)
    foreseen = model.predicted(z[:, at], batch.y_lin[:, at])
    readout = (weight[None] * batch.future.mask * (y - batch.future.y) ** 2).mean()
    contrast = recipe.keeps == "infonce"
    latent = jax.vmap(infonce, 1)(foreseen, e).mean() if contrast else ((foreseen - e) ** 2).mean()
    kept = jax.vmap(lambda samples: _spread(samples, draw, recipe.keeps), 1)(e[:, draw.rows]).mean()
    inverse = _inverse(model, z[:, at], batch.future.w, at) if recipe.inverse else jnp.zeros(())
    total = readout + recipe.latent * latent + recipe.sigreg / recipe.batch * kept + recipe.inverse * inverse
    signs = jnp.zeros(()) if steps is None else _wrong_signs(model, batch, y, weight, draw, steps)
    return total + recipe.signs * signs, Losses(readout, latent, kept, inverse, signs)


def _wrong_signs(model: Jepa, batch: Cases, y: jax.Array, weight: jax.Array, draw: Draw, steps: Steps) -> jax.Array:
    """Mean square of what has the wrong sign in the answer to a push, over the last quarter of the horizon.

    Args:
        y: (B, K, CVs) without the push.
    """
    assert draw.push is not None  # noqa: S101
    mvs, late = steps.asked.shape[0], -max(y.shape[1] // 4, 1)
    push = draw.push[:, :mvs]
    linear = jnp.einsum("bm,mkc->bkc", push, steps.linear)
    future = jax.tree.map(jnp.asarray, batch.future)
    pushed = batch._replace(future=future._replace(w=future.w + draw.push[:, None]), y_lin=batch.y_lin + linear)
    z = jax.vmap(latents, in_axes=(None, 0))(model, pushed)
    moved = pushed.y_lin + model.correction(z) - y
    size = push.sum(axis=1)[:, None, None]
    sign = jnp.sum(jnp.where(push[:, :, None] != 0, steps.asked, 0.0), axis=1)[:, None]  # (B, 1, CVs)
    known = jnp.isfinite(sign)
    sign = jnp.where(known, sign, 0.0)
    answer, least = (moved / size)[:, late:], 2 * FLOOR * jnp.abs((linear / size)[:, late:])
    short = jnp.where(sign == 0, answer, jax.nn.relu(least - sign * answer))
    return (weight[None, late:] * jnp.where(known, short, 0.0) ** 2).mean()


def _spread(samples: jax.Array, draw: Draw, keeps: str) -> jax.Array:
    """What is paid for embeddings (B, embedding) that collapse, times B."""
    if keeps in ("ema", "infonce", "none"):
        return jnp.zeros(())
    if keeps == "vicreg":
        return samples.shape[0] * vicreg(samples)
    if keeps == "sparse":
        assert draw.normal is not None  # noqa: S101
        return sparse(samples, draw.directions, draw.normal)
    return {"sigreg": sigreg, "subspace": subspace, "anisotropic": anisotropic}[keeps](samples, draw.directions)


def _inverse(model: Jepa, z: jax.Array, w: np.ndarray, at: np.ndarray) -> jax.Array:
    """Mean square error of the mean inputs (B, K, inputs) between neighbouring latents z (B, rows, latent)."""
    total = jnp.cumsum(jnp.asarray(w), axis=1)[:, at]
    mean = (total[:, 1:] - total[:, :-1]) / jnp.asarray(np.diff(at), jnp.float32)[None, :, None]
    return ((model.moved(z[:, :-1], z[:, 1:]) - mean) ** 2).mean()


def _target_rows(horizon: int, count: int) -> np.ndarray:
    """Rows (0-based) of the horizon at which targets stand: the last one and others, evenly."""
    return np.unique(np.linspace(horizon - 1, 0, count + 1)[:-1].round().astype(np.int64))


def target_count(horizon: int, recipe: Recipe) -> int:
    """How many rows of the horizon the latent is to predict at."""
    return len(_target_rows(horizon, recipe.targets))


def loss_weight(scale: jax.Array) -> jax.Array:
    """(K, CVs) the weight of squared errors, from the backbone's RMSE (K, CVs): its own mean loss is 1."""
    return 1.0 / (scale * scale.mean())


def _recent(batch: Cases) -> jax.Array:
    """(B, K, TARGET_ROWS, CVs and inputs): at each row of the horizon, the last rows up to it."""
    past, future = (
        jnp.concatenate([jnp.asarray(p.y), jnp.asarray(p.w)], axis=-1) for p in (batch.window, batch.future)
    )
    both = jnp.concatenate([past, future], axis=1)
    horizon = batch.y_lin.shape[1]
    rows = both.shape[1] - horizon + np.arange(horizon)[:, None] + np.arange(1 - TARGET_ROWS, 1)
    return both[:, np.maximum(rows, 0)]


class Members:
    """The training of members side by side, each on its own windows and judged on others: the jitted chunk of steps.

    Args:
        pool, judged: windows to learn from and to be judged on, leading axes (members, n).
        steps: signs of gains that are asked.
    """

    def __init__(
        self, sizes: Sizes, pool: Cases, judged: Cases, recipe: Recipe, seed: int, steps: Steps | None = None
    ) -> None:
        self.sizes, self.recipe, self.seed, self.steps = sizes, recipe, seed, steps
        self.pool, self.judged = pool, judged
        self.scale = _rmse(self.judged.y_lin, self.judged.future)  # (K, CVs)
        self.weight = loss_weight(self.scale)
        chain = optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(optax.linear_schedule(0.0, recipe.learning_rate, 100), weight_decay=recipe.weight_decay),
        )
        self.optimiser = optax.flatten(chain)  # one long vector compiles several times faster

    @property
    def members(self) -> int:
        """How many there are."""
        return int(self.pool.y_lin.shape[0])

    def judge(self, residuals: Jepa) -> tuple[float, np.ndarray]:
        """The out-of-fold error of residuals (members, ·), and that of each CV (CVs,); 1 is the backbone alone."""
        y = jax.jit(jax.vmap(jax.vmap(forecast, in_axes=(None, 0))))(residuals, self.judged)
        rmse, scale = np.asarray(_rmse(y, self.judged.future)), np.asarray(self.scale)
        return float(rmse.mean() / scale.mean()), rmse.mean(axis=0) / scale.mean(axis=0)

    def start(self, residuals: Jepa | None = None) -> Moment:
        """Before the first step; from earlier weights (members, ·), or from a readout that adds nothing."""
        weights = jepas(self.sizes, self.members, self.seed) if residuals is None else residuals
        rng = np.random.default_rng(self.seed).bit_generator.state
        return Moment(0, weights, weights, jax.vmap(self.optimiser.init)(weights), dict(rng))

    def run(
        self,
        steps: int,
        spent: Callable[[], float] = lambda: 0.0,
        moment: Moment | None = None,
        residuals: Jepa | None = None,
    ) -> Iterator[Evaluation]:
        """Train, from a moment on or from the start; an evaluation every `CHUNK` steps, the first before any. It ends
        with the steps, the time, or when nothing better is to be expected.

        Args:
            spent: the share of the time that is over.
            residuals: weights (members, ·) to start from, where there is no moment.
        """
        now = moment or self.start(residuals)
        rng = np.random.default_rng(self.seed)
        rng.bit_generator.state = now.rng
        weights, mean, state, schedule = now.weights, now.mean, now.optimiser, now.schedule
        if moment is None:
            error = 1.0 if residuals is None else self.judge(mean)[0]
            schedule = schedule.after(error, 0.0)
            yield Evaluation(0, error, {}, mean, now._replace(schedule=schedule))
        for step in range(now.step + CHUNK, steps + 1, CHUNK):
            over = spent()
            if schedule.ended or over >= 1.0:
                return
            rate = jnp.float32(schedule.rate)
            weights, mean, state, logged = self._chunk(weights, mean, state, self.pool, self._draw(rng), rate)
            told = {name: float(value) for name, value in logged.items()}
            error = told.pop("out_of_fold")
            over = over if step > CHUNK else 0.0  # the time before anything was compiled says nothing
            schedule = schedule.after(error, max(over, step / steps))
            now = Moment(step, weights, mean, state, dict(rng.bit_generator.state), schedule)
            yield Evaluation(step, error, told, mean, now)

    def _draw(self, rng: np.random.Generator) -> Draw:
        """What a chunk of steps draws: a leading axis (CHUNK,)."""
        recipe, pool = self.recipe, self.pool.y_lin.shape[1]
        targets = target_count(self.pool.y_lin.shape[2], recipe)
        index = rng.integers(0, pool, (CHUNK, self.members, recipe.batch), np.int32)
        rows = rng.integers(0, targets, (CHUNK, recipe.gaussian), np.int32)
        width = self.sizes.embedding * (2 if recipe.target == "both" else 1)
        directions = rng.standard_normal((CHUNK, width, recipe.directions), np.float32)
        normal = None
        if recipe.keeps == "sparse":
            normal = jnp.asarray(rng.standard_normal((CHUNK, recipe.batch, width), np.float32))
        push = None if self.steps is None else jnp.asarray(self._push(rng))
        return Draw(jnp.asarray(index), jnp.asarray(rows), jnp.asarray(directions), normal, push)

    def _push(self, rng: np.random.Generator) -> np.ndarray:
        """(CHUNK, B, inputs) steps up or down in one of the MVs that signs are asked of."""
        assert self.steps is not None  # noqa: S101
        mvs = np.flatnonzero(np.isfinite(np.asarray(self.steps.asked[0])).any(axis=1))
        push = np.zeros((CHUNK, self.recipe.batch, self.sizes.inputs), np.float32)
        at = rng.choice(mvs, (CHUNK, self.recipe.batch, 1))
        np.put_along_axis(push, at, rng.choice(np.array([-STEP, STEP], np.float32), at.shape), axis=2)
        return push

    @partial(jax.jit, static_argnums=0)
    def _chunk(
        self, weights: Jepa, mean: Jepa, state: Any, pool: Cases, draws: Draw, rate: jax.Array
    ) -> tuple[Jepa, Jepa, Any, Any]:
        Stepped = tuple[Jepa, Any, Losses]

        def one(
            model: Jepa, mean: Jepa, state: Any, pool: Cases, index: jax.Array, steps: Steps | None, draw: Draw
        ) -> Stepped:
            batch = jax.tree.map(lambda a: a[index], pool)
            of = jax.grad(loss, has_aux=True)
            gradient, losses = of(model, batch, self.weight, draw, self.recipe, mean, steps)
            with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
                updates, state = self.optimiser.update(gradient, state, model)
            return optax.apply_updates(model, jax.tree.map(lambda u: rate * u, updates)), state, losses

        def advance(carry: tuple[Jepa, Jepa, Any], draw: Draw) -> tuple[tuple[Jepa, Jepa, Any], Losses]:
            weights, mean, state = carry
            step = jax.vmap(one, in_axes=(0, 0, 0, 0, 0, 0, None))
            weights, state, losses = step(weights, mean, state, pool, draw.cases, self.steps, draw)
            mean = optax.incremental_update(weights, mean, 1.0 - self.recipe.average)
            return (weights, mean, state), jax.tree.map(jnp.mean, losses)

        (weights, mean, state), losses = jax.lax.scan(advance, (weights, mean, state), draws)
        logged = jax.tree.map(jnp.mean, losses)._asdict() | self._evaluate(mean)
        return weights, mean, state, logged

    def _evaluate(self, mean: Jepa) -> dict[str, jax.Array]:
        """The out-of-fold error, and what shows a collapse of the embeddings."""
        y = jax.vmap(jax.vmap(forecast, in_axes=(None, 0)))(mean, self.judged)
        last = jax.vmap(lambda model, cases: model.target(_recent(cases)[:, -1]))(mean, self.judged)
        return {
            "out_of_fold": (_rmse(y, self.judged.future) / self.scale.mean()).mean(),
            "rank": jax.vmap(effective_rank)(last).mean(),
            "least_deviation": last.std(axis=1).min(),
        }


class Trainer(Members):
    """The cross-fit of one plant."""

    def __init__(
        self,
        grid: Grid,
        folds: Folds,
        backbones: tuple[Base, ...],
        recipe: Recipe,
        seed: int,
        asked: np.ndarray | None = None,
    ) -> None:
        """`asked` (MVs, CVs) are the signs of gains, or NaN where none is asked."""
        steps = None if asked is None else _steps(backbones, asked, folds.horizon)
        rng = np.random.default_rng(seed)
        cvs, inputs = grid.y.shape[1], grid.w.shape[1]
        sizes = Sizes(cvs, inputs, folds.history, target=recipe.target, inverse=recipe.inverse > 0)
        training = [folds.training(fold) for fold in range(COUNT)]
        count = min(most_windows(sizes, folds.horizon), max(map(len, training)))
        pools, judged = [], []
        for fold, backbone in enumerate(backbones):
            pads = padding(rng, folds.history, count)
            pools.append(cases(grid, folds, backbone, spread(training[fold], count), pads))
            judged.append(cases(grid, folds, backbone, spread(folds.held_out(fold), JUDGED)))
        pool, held = (jax.tree.map(lambda *a: jnp.stack(a), *parts) for parts in (pools, judged))
        super().__init__(sizes, pool, held, recipe, seed, steps)


def most_windows(sizes: Sizes, horizon: int) -> int:
    """How many windows a member learns from at most."""
    numbers = sizes.history * (2 * sizes.cvs + sizes.inputs) + horizon * (3 * sizes.cvs + sizes.inputs)
    return min(MOST, POOL // numbers)


def padding(rng: np.random.Generator, history: int, count: int) -> np.ndarray:
    """(count,) how many rows of each window are padded: none of most."""
    pads: np.ndarray = rng.integers(1, history, count) * (rng.random(count) < PADDED)
    return pads


def _steps(backbones: tuple[Base, ...], asked: np.ndarray, horizon: int) -> Steps:
    """A leading axis (members,)."""
    linear = np.stack([_of_plant(model, len(asked), horizon) for model in backbones])
    of_all = np.broadcast_to(asked, (len(backbones), *asked.shape))
    return Steps(jnp.asarray(of_all, jnp.float32), jnp.asarray(linear, jnp.float32))


def _of_plant(model: Base, mvs: int, horizon: int) -> np.ndarray:
    """(MVs, K, CVs) step responses of the linear model of the plant."""
    if isinstance(model, Polynomial):
        raise TypeError("signs of gains are asked of linear models")
    return step_answers(parts(model)[0], mvs, horizon).swapaxes(0, 1)


def _rmse(y: jax.Array, future: Future) -> jax.Array:
    """(K, CVs) root mean square error over folds and windows (F, n)."""
    mask = jnp.asarray(future.mask)
    total = (mask * (y - future.y) ** 2).sum(axis=(0, 1))
    return jnp.sqrt(total / jnp.maximum(mask.sum(axis=(0, 1)), 1.0) + 1e-8)


def alarms(losses: dict[str, float], recipe: Recipe) -> tuple[str, ...]:
    """What in these losses speaks of a collapsed embedding."""
    found = []
    if recipe.keeps == "sigreg" and losses.get("sigreg", 0.0) > 0.5 * COLLAPSED * recipe.batch:
        found.append("embeddings shrink towards a point (SIGReg)")
    if losses.get("rank", 3.0) < 2.0:
        found.append("embeddings lie on a line (effective rank)")
    if losses.get("least_deviation", 1.0) < 0.05:
        found.append("an embedding dimension is dead")
    return tuple(found)
