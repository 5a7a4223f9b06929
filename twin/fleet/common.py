"""The common model of a fleet: a linear part and a latent residual in unit-free coordinates, in one flat vector.

A unit enters as rows in model units (`Unit`); its tags and its scaler are its adapter and stay with it. The linear
part is an ARX model in levels, the residual the one that every twin has. `local_steps` moves both towards one unit:
the linear part to the least squares of its rows near where it was, the residual by gradient steps on its windows. That
is all a site of a federation does (FedProx's term by `anchor` and `rho`: Li et al., MLSys 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from twin.dynamics.ensemble import jepas
from twin.dynamics.jepa import Jepa
from twin.dynamics.lti import Lti, arx
from twin.errors import QuestionError, TrainingError
from twin.fleet.prior import Equations
from twin.fleet.shape import Shape, Tags, matched
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.training.folds import Folds, spread
from twin.training.moments import Moments, normal_equations
from twin.training.residual import Cases, Draw, Recipe, cases, forecast, loss_weight, target_count
from twin.training.residual import loss as residual_loss
from twin.windows import Grid

POOL = 1024  # windows of a unit that local steps draw from
JUDGED = 256  # windows of a unit that judge it
PULL = 1e-3  # by which the linear part stays where it was, of a regressor's mean square
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Unit:
    """One unit's rows in model units.

    Attributes:
        name: of the unit.
        grid: its rows, tags in the fleet's order.
        scaler: its own: engineering units to model units.
    """

    name: str
    grid: Grid
    scaler: Scaler

    @classmethod
    def of(cls, shape: Shape, telemetry: Telemetry, tags: Tags | None = None, scaler: Scaler | None = None) -> Unit:
        """From telemetry, whose tags `tags` maps to the fleet's; scaled by its own deviations where no scaler is given.

        Raises:
            QuestionError: the unit does not fit the fleet.
            TrainingError: no window fits in its rows, or a tag was never measured.
        """
        rows = matched(shape, telemetry, tags)
        known = np.isfinite(rows.values).any(axis=0)
        unmeasured = [tag.name for tag, some in zip(rows.plant.tags, known, strict=True) if not some]
        if unmeasured:
            raise TrainingError(f"{rows.plant.name}: no measured value of {', '.join(unmeasured)}")
        scaler = scaler or Scaler.fit(rows)
        unit = cls(rows.plant.name, Grid.of(rows, scaler), scaler)
        if not len(unit.grid.ends(shape.history, shape.horizon)):
            need = shape.history + shape.horizon
            raise TrainingError(f"{rows.plant.name}: {len(rows)} rows; {need} without a gap are needed")
        return unit


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Parameters:
    """What a fleet learns (a pytree of float32 arrays).

    Attributes:
        linear: (coefficients, CVs) of the ARX model: lags of all CVs, the latest first; rows of inputs, the row's own
            first; the constant.
        residual: its arrays have a leading axis (members,).
    """

    linear: jax.Array
    residual: Jepa


@dataclass(frozen=True)
class Common:
    """A fleet's common model.

    Attributes:
        shape: tags and sizes.
        parameters: what was learnt.
    """

    shape: Shape
    parameters: Parameters

    @classmethod
    def fresh(cls, shape: Shape, seed: int = 0, members: int = 1) -> Common:
        """Before any training: every CV holds its last value, the residual adds nothing."""
        linear = np.eye(shape.coefficients, len(shape.cvs), dtype=np.float32)
        return cls(shape, Parameters(jnp.asarray(linear), jepas(shape.sizes, members, seed)))

    def vector(self) -> np.ndarray:
        """(n,) float32: all parameters."""
        return np.asarray(ravel_pytree(self.parameters)[0])

    def from_vector(self, vector: np.ndarray) -> Common:
        """The model of the same shape with these parameters.

        Raises:
            QuestionError: another number of them.
        """
        mine, restore = ravel_pytree(self.parameters)
        if np.shape(vector) != mine.shape:
            raise QuestionError.at(("vector",), f"has the shape {np.shape(vector)}; this model's is {mine.shape}")
        return replace(self, parameters=restore(jnp.asarray(vector, jnp.float32)))

    @property
    def backbone(self) -> Lti:
        """The linear part as a world model."""
        return lti(self.shape, np.asarray(self.parameters.linear))


def lti(shape: Shape, linear: np.ndarray) -> Lti:
    """The world model of ARX coefficients (coefficients, CVs)."""
    cvs, at = len(shape.cvs), shape.lags * len(shape.cvs)
    solved = np.asarray(linear, np.float64)
    y_lags = solved[:at].reshape(shape.lags, cvs, cvs).swapaxes(1, 2)
    w_lags = solved[at:-1].reshape(shape.input_rows, shape.inputs, cvs).swapaxes(1, 2)
    return arx(y_lags, w_lags, solved[-1], shape.history)


def equations(shape: Shape, grid: Grid, ends: np.ndarray) -> Equations:
    """Normal equations of the ARX model, of the rows after `ends`."""
    m = Moments.of(grid, ends, shape.past, 1)
    regressors = [m.y_at(1 - i) for i in range(1, shape.lags + 1)] + [m.w_at(1 - j) for j in range(shape.input_rows)]
    normal, across = normal_equations(m, np.concatenate(regressors), m.y_at(1), 0.0)
    return Equations(normal, across, m.gram[m.y_at(1), m.y_at(1)])


def loss(common: Common, unit: Unit) -> float:
    """The mean over rows of the horizon and CVs of the root mean square forecast error on a unit, model units."""
    pool, _ = _cases(common, unit, JUDGED)
    y = _forecasts(common.parameters.residual, pool)
    total = (pool.future.mask * (np.asarray(y, np.float64) - pool.future.y) ** 2).sum(axis=0)
    return float(np.sqrt(total / np.maximum(pool.future.mask.sum(axis=0), 1.0)).mean())


def local_steps(
    common: Common, unit: Unit, steps: int, seed: int, anchor: Common | None = None, rho: float = 0.0
) -> Common:
    """The common model moved towards one unit: its linear part solved anew, its residual trained for `steps`.

    Args:
        seed: of the windows drawn.
        anchor: near which both stay, by `rho` (½ rho times the squared distance; of the linear part rho times a
            regressor's mean square); by default where they start.
    """
    near = (anchor or common).parameters
    moved = replace(common.parameters, linear=jnp.asarray(_solved(common, unit, near, rho)))
    common = replace(common, parameters=moved)
    if steps == 0:
        return common
    pool, scale = _cases(common, unit, POOL)
    recipe, shape = Recipe(), common.shape
    rng = np.random.default_rng(seed)
    draw = Draw(
        jnp.asarray(rng.integers(0, POOL, (steps, recipe.batch), np.int32)),
        jnp.asarray(rng.integers(0, target_count(shape.horizon, recipe), (steps, recipe.gaussian), np.int32)),
        jnp.asarray(rng.standard_normal((steps, shape.sizes.embedding, recipe.directions), np.float32)),
    )
    residual = _steps(moved.residual, near.residual, pool, loss_weight(scale), draw, jnp.float32(rho), recipe)
    return replace(common, parameters=replace(moved, residual=residual))


def _solved(common: Common, unit: Unit, near: Parameters, rho: float) -> np.ndarray:
    """(coefficients, CVs): the least squares of the unit's rows, near where they were and near the anchor."""
    shape, start = common.shape, np.asarray(common.parameters.linear, np.float64)
    found = equations(shape, unit.grid, unit.grid.ends(shape.past, 1))
    total = found.normal + (PULL + rho) * found.rows * np.eye(len(start))
    pulled = PULL * start + rho * np.asarray(near.linear, np.float64)
    return np.linalg.solve(total, found.across + found.rows * pulled)


def _cases(common: Common, unit: Unit, count: int) -> tuple[Cases, jax.Array]:
    """`count` windows of a unit with the linear part's forecasts, and their RMSE (K, CVs)."""
    shape = common.shape
    folds = Folds(unit.grid.run, np.zeros(len(unit.grid.run), np.int64), shape.history, shape.horizon)
    pool = cases(unit.grid, folds, common.backbone, spread(folds.held_out(0), count))
    squares = (pool.future.mask * (pool.y_lin - pool.future.y) ** 2).sum(axis=0)
    return pool, jnp.sqrt(squares / jnp.maximum(pool.future.mask.sum(axis=0), 1.0) + 1e-8)


@jax.jit
def _forecasts(residual: Jepa, pool: Cases) -> jax.Array:
    """(n, K, CVs): the members' mean."""
    return jax.vmap(jax.vmap(forecast, in_axes=(None, 0)), in_axes=(0, None))(residual, pool).mean(axis=0)


@partial(jax.jit, static_argnames="recipe")
def _steps(
    residual: Jepa, anchor: Jepa, pool: Cases, weight: jax.Array, draws: Draw, rho: jax.Array, recipe: Recipe
) -> Jepa:
    """All members, on the same windows."""
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(LEARNING_RATE))
    optimiser = optax.flatten(chain)

    def total(model: Jepa, anchor: Jepa, draw: Draw) -> jax.Array:
        batch = jax.tree.map(lambda a: a[draw.cases], pool)
        away = sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(anchor), strict=True))
        return residual_loss(model, batch, weight, draw, recipe)[0] + 0.5 * rho * away

    def member(model: Jepa, anchor: Jepa) -> Jepa:
        def advance(carry: tuple[Jepa, Any], draw: Draw) -> tuple[tuple[Jepa, Any], None]:
            model, state = carry
            gradient = jax.grad(total)(model, anchor, draw)
            with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
                updates, state = optimiser.update(gradient, state, model)
            return (optax.apply_updates(model, updates), state), None

        return jax.lax.scan(advance, (model, optimiser.init(model)), draws)[0][0]

    return jax.vmap(member)(residual, anchor)
