"""Fit what DVs are expected to do: an autoregression where it forecasts them better than holding, else holding.

Both are judged over the horizon, on blocks of telemetry they were not fitted to: a feed that steps now and then is
held, a meal ends. A DV returns to its mean, but for one that stands still at a value most of the time, as where there
is a meal or none: that returns to this value. Its mean is one that it never has, and plans would act for hours against
a little of a meal that does not come.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.dynamics.disturbances import DisturbanceModel
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.training.folds import COUNT, Folds, spread
from twin.windows import Grid, hold

ORDERS = (1, 2, 4, 8)  # rows looked back on
PAYS = 0.95  # an autoregression is used where it brings the error out of fold to this share of holding's
WINDOWS = 300  # a fold
RIDGE = 1e-6  # of a DV's variance a row
STABLE = 1.0 - 1e-6  # the largest root that returns to the mean
FEWEST = 10  # windows a coefficient
AT_REST, NEAR = 0.5, 1e-3  # share of the rows in which a DV that rests is within so much of its range of its median


def fit(telemetry: Telemetry, folds: Folds) -> tuple[DisturbanceModel, dict[str, Any]]:
    """The model of a plant's DVs, and what the card says of it: by DV the `order` (0 where it holds), and the root mean
    square errors over the horizon out of fold, of the model and of holding, engineering units."""
    plant = telemetry.plant
    if not plant.dvs:
        return DisturbanceModel.held(0), {}
    values = hold(telemetry.w, telemetry.run)[:, len(plant.mvs) :]
    orders = [order for order in ORDERS if order <= folds.history]
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)  # missing is what a whole run is without
    rest = rests(values)
    errors = np.stack([_errors(values, folds, order, low, high, rest) for order in (0, *orders)])  # (orders, DVs)
    best = np.argmin(errors, axis=0)
    best[errors.min(axis=0) > PAYS * errors[0]] = 0
    everywhere = np.ones(len(values), bool)
    coefficients = np.zeros((len(plant.dvs), max(orders)))
    coefficients[:, -1] = 1.0
    centre = _centre(values, rest)
    for i, chosen in enumerate(best):
        order = (0, *orders)[chosen]
        found = _autoregression(values[:, i], centre[i], telemetry.run, everywhere, order) if order else None
        if found is None:
            best[i] = 0
        else:
            coefficients[i] = np.r_[np.zeros(max(orders) - order), found]
    told = {
        tag.name: {"order": (0, *orders)[best[i]], "error": float(errors[best[i], i]), "held": float(errors[0, i])}
        for i, tag in enumerate(plant.dvs)
    }
    return DisturbanceModel(centre, coefficients, low, high), told


def rests(values: np.ndarray) -> np.ndarray:
    """(DVs,) where each of values (N, DVs), NaN where missing, stands still most of the time; NaN where it does not."""
    median, span = np.nanmedian(values, axis=0), np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    near = (np.abs(values - median) <= NEAR * span).sum(axis=0)
    found: np.ndarray = np.where(near >= AT_REST * np.isfinite(values).sum(axis=0), median, np.nan)
    return found


def _centre(values: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(DVs,) where each returns to: where it rests, or its mean."""
    return np.where(np.isnan(rest), _mean(values)[0], rest)


def expected(model: DisturbanceModel, scaler: Scaler, grid: Grid, ends: np.ndarray, horizon: int) -> np.ndarray:
    """(n, K, inputs) float32, model units: the inputs that came after each of `ends`, but for the DVs, which are
    expected from the rows before alone."""
    w = np.array(grid.future(ends, horizon).w)
    mvs = w.shape[-1] - len(model.mean)
    past = grid.w[np.asarray(ends)[:, None] + np.arange(1 - model.rows, 1), mvs:]
    w[..., mvs:] = model.scaled(scaler.w_mean[mvs:], scaler.w_scale[mvs:]).forecast(past.astype(np.float64), horizon)
    return w


def _errors(
    values: np.ndarray, folds: Folds, order: int, low: np.ndarray, high: np.ndarray, rest: np.ndarray
) -> np.ndarray:
    """(DVs,) root mean square over the horizon of forecasts in blocks that the model was not fitted to."""
    squares, judged = [], []
    for fold in range(COUNT):
        ends = spread(folds.held_out(fold), WINDOWS)
        model = _fitted(values, folds, fold, order, low, high, rest)
        past = values[ends[:, None] + np.arange(1 - model.rows, 1)]
        future = values[ends[:, None] + np.arange(1, folds.horizon + 1)]
        square, known = _mean(((future - model.forecast(past, folds.horizon)) ** 2).reshape(-1, values.shape[1]))
        squares.append(square)
        judged.append(known)
    error: np.ndarray = np.sqrt(np.sum(squares, axis=0) / np.maximum(np.sum(judged, axis=0), 1))
    return error


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(DVs,) of values (n, DVs) as far as they are known, 0 where none is, and whether some are."""
    known = np.isfinite(values)
    mean: np.ndarray = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean, known.any(axis=0)


def _fitted(
    values: np.ndarray, folds: Folds, fold: int, order: int, low: np.ndarray, high: np.ndarray, rest: np.ndarray
) -> DisturbanceModel:
    """Of one order for all DVs, from the rows that a fold leaves; a DV for which there is none holds."""
    count = values.shape[1]
    if not order:
        return DisturbanceModel.held(count)
    kept = folds.label != fold
    hold_on = np.r_[np.zeros(order - 1), 1.0]
    centre = _centre(values[kept], rest)
    found = [_autoregression(values[:, i], centre[i], folds.run, kept, order) for i in range(count)]
    return DisturbanceModel(centre, np.stack([hold_on if c is None else c for c in found]), low, high)


def _autoregression(
    values: np.ndarray, centre: float, run: np.ndarray, kept: np.ndarray, order: int
) -> np.ndarray | None:
    """(order,) least squares about a centre, oldest first; None where it does not return there, or nothing moves.

    Args:
        values, run, kept: (N,); windows lie in one run, and all of their rows are kept and known.
    """
    kept = kept & np.isfinite(values)
    if not kept.any() or len(values) <= order:
        return None
    deviation = values - centre
    variance = float(deviation[kept].var())
    if variance <= 1e-24 * max(float(np.nanmax(values)) ** 2, 1e-12):
        return None
    whole = np.lib.stride_tricks.sliding_window_view(kept, order + 1).all(axis=1) & (run[order:] == run[:-order])
    windows = np.lib.stride_tricks.sliding_window_view(deviation, order + 1)[whole]
    if len(windows) < FEWEST * order:
        return None
    past, now = windows[:, :-1], windows[:, -1]
    found = np.linalg.solve(past.T @ past + RIDGE * variance * len(past) * np.eye(order), past.T @ now)
    roots = np.roots(np.r_[1.0, -found[::-1]])
    return found if np.abs(roots).max(initial=0.0) <= STABLE else None
