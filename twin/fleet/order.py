"""The same fleet with its tags in another order: that of a plant which is to start from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax
import numpy as np

from twin.dynamics.jepa import TARGET_ROWS, Jepa
from twin.dynamics.region import Region
from twin.fleet.common import Common, Parameters
from twin.fleet.fleet import Fleet
from twin.fleet.prior import Prior
from twin.fleet.shape import Shape
from twin.scaling import Scaler


def reordered(fleet: Fleet, inputs: np.ndarray, cvs: np.ndarray) -> Fleet:
    """A fleet whose models take and give tags in another order.

    Args:
        inputs: (inputs,) for each place of MVs and DVs, which of them stands there now; MVs stay before DVs.
        cvs: (CVs,) likewise.
    """
    shape = fleet.shape
    rows = _coefficients(shape, inputs, cvs)
    prior = Prior(
        fleet.prior.mean[rows][:, cvs], fleet.prior.precision[cvs][:, rows][:, :, rows], fleet.prior.noise[cvs]
    )
    old = fleet.common.parameters
    parameters = Parameters(old.linear[rows][:, cvs], _residual(shape, old.residual, inputs, cvs))
    s = fleet.scaler
    scaler = Scaler(s.y_mean[cvs], s.y_scale[cvs], s.w_mean[inputs], s.w_scale[inputs])
    features = np.concatenate([cvs, len(cvs) + inputs, len(cvs) + len(inputs) + inputs])
    region = Region(fleet.region.centre[features], fleet.region.whiten[:, features])
    common = Common(_shape(shape, inputs, cvs), parameters)
    return replace(fleet, common=common, prior=prior, scaler=scaler, region=region)


def _shape(shape: Shape, inputs: np.ndarray, cvs: np.ndarray) -> Shape:
    names, count = shape.mvs + shape.dvs, len(shape.mvs)
    moved = [names[i] for i in inputs]
    units = [*(shape.units[i] for i in inputs), *(shape.units[len(names) + i] for i in cvs)]
    return replace(
        shape,
        mvs=tuple(moved[:count]),
        dvs=tuple(moved[count:]),
        cvs=tuple(shape.cvs[i] for i in cvs),
        units=tuple(units),
    )


def _coefficients(shape: Shape, inputs: np.ndarray, cvs: np.ndarray) -> np.ndarray:
    """(d,) of a CV's ARX coefficients."""
    at = shape.lags * len(cvs)
    of_cvs = [i * len(cvs) + cvs for i in range(shape.lags)]
    of_inputs = [at + j * len(inputs) + inputs for j in range(shape.input_rows)]
    return np.concatenate([*of_cvs, *of_inputs, [shape.coefficients - 1]])


def _residual(shape: Shape, residual: Jepa, inputs: np.ndarray, cvs: np.ndarray) -> Jepa:
    """Rows of the layers that read tags, and columns of what gives CVs (`Jepa` has the layouts)."""
    latent, n, m, length = shape.sizes.latent, len(cvs), len(inputs), shape.history

    def each(rows: int, columns: np.ndarray, width: int, first: int = 0) -> np.ndarray:
        return (first + np.arange(rows)[:, None] * width + columns).reshape(-1)

    window = [each(length, cvs, n), each(length, inputs, m, length * n), each(length, cvs, n, length * (n + m))]
    behind_latent = np.concatenate([np.arange(latent), latent + cvs])
    of: Mapping[str, np.ndarray] = {
        "f1": np.concatenate(window),
        "drive1": np.concatenate([cvs, n + inputs]),
        "g1": behind_latent,
        "t1": each(TARGET_ROWS, cvs, n),
        "p": behind_latent,
    }

    def moved(path: tuple, leaf: jax.Array) -> jax.Array:  # leaves have a leading axis (members,)
        layer, part = jax.tree_util.keystr(path, simple=True, separator=".").split(".")[:2]
        if layer in ("g2", "renew"):
            return leaf[..., behind_latent]
        leaf = leaf[:, cvs] if layer == "share" else leaf
        return leaf[:, of[layer]] if part == "kernel" and layer in of else leaf

    out: Jepa = jax.tree_util.tree_map_with_path(moved, residual)
    return out
