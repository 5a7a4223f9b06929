"""Fitting the noise model of a backbone: by least squares over the whole horizon, kept for a CV where it pays.

What the plant's model misses at rows 0 … K after `at` is fitted by a CV's decaying modes, each row weighted by
1 / RMSE and the first rows more (a plant's model that was chosen by its free run does worst there); the modes that
fit best are then regressed on the last rows. How many rows, which decays and how much ridge is chosen for each CV
on the blocks held out; the gain must be larger than its standard error over the folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from twin.dynamics.lti import Lti
from twin.dynamics.noise import Backbone, Noise
from twin.training.folds import COUNT, Folds, spread
from twin.training.residual import cases
from twin.windows import Grid

DECAYS: tuple[tuple[float, ...], ...] = (
    (0.3, 0.7),
    (0.2, 0.6, 0.85, 0.95),
)  # of the modes: short and long memories
PAST = (1, 2, 4, 12, 32)  # last rows that the modes are regressed on
RIDGES = (1e-5, 1e-3, 1e-1)
MODES = 4
MAX_COLUMNS = 500  # values in those rows
TRAINING, JUDGED = 4000, 300  # windows a fold
NEGLIGIBLE = 1e-3  # singular value of a mode, of the largest, that is not told from others


@dataclass(frozen=True)
class Setting:
    """How one CV's modes are fitted."""

    decays: tuple[float, ...]
    past: int
    ridge: float


class Chosen(NamedTuple):
    """The backbones with their noise models (as they were where none pays), and what was chosen a CV."""

    backbones: tuple[Lti | Backbone, ...]
    settings: list[Setting | None]
    gains: np.ndarray


class _Fit(NamedTuple):
    """The modes of all CVs, regressed on the last values v (m,) of a window: (CVs, J) = v @ coefficients + constant."""

    decays: tuple[float, ...]
    coefficients: np.ndarray  # (m, CVs, J)
    constant: np.ndarray  # (CVs, J)

    def forecast(self, v: np.ndarray, horizon: int) -> np.ndarray:
        """(n, K, CVs) what the modes of windows v (n, ·) add at rows 1 … K."""
        modes = np.tensordot(v[:, -len(self.coefficients) :], self.coefficients, 1) + self.constant
        shape = np.array(self.decays)[None] ** np.arange(1, horizon + 1)[:, None]
        return np.einsum("ncj,kj->nkc", modes, shape)


class _Residuals(NamedTuple):
    """Windows of one fold and what its plant model misses.

    Attributes:
        v: (n, L (CVs + inputs)) the rows of the window.
        r: (n, K + 1, CVs) measured less forecast, the window's last row first.
        mask: (n, K + 1, CVs) where the CVs were measured.
    """

    v: np.ndarray
    r: np.ndarray
    mask: np.ndarray


def short_first(horizon: int) -> np.ndarray:
    """(K,) weights of the rows of a horizon: half of them even, half as 1 / k, so that the first rows count."""
    near = 1.0 / np.arange(1, horizon + 1)
    weights: np.ndarray = 0.5 * near / near.sum() + 0.5 / horizon
    return weights


def with_noise(grid: Grid, folds: Folds, fits: Sequence[Lti]) -> Chosen:
    """Fit and choose the noise models of the backbones of all folds."""
    train = [_residuals(grid, folds, fit, _thin(folds.training(f))) for f, fit in enumerate(fits)]
    judged = [_residuals(grid, folds, fit, spread(folds.held_out(f), JUDGED)) for f, fit in enumerate(fits)]
    tags, cvs = grid.y.shape[1] + grid.w.shape[1], grid.y.shape[1]
    most = max(1, min(folds.history, MAX_COLUMNS // tags))
    pasts = sorted({min(rows, most) for rows in PAST})
    settings = [Setting(d, rows, ridge) for rows in pasts for d in DECAYS for ridge in RIDGES]
    plain = np.array([_rmse(j.r[:, 1:], j.mask[:, 1:]) for j in judged])  # (folds, K, CVs)
    change = np.zeros((len(settings), COUNT, cvs))
    for f in range(COUNT):
        for i, fit in enumerate(_fits(train[f], settings, tags)):
            left = judged[f].r[:, 1:] - fit.forecast(judged[f].v, folds.horizon)
            ratio = np.log(_rmse(left, judged[f].mask[:, 1:]) / plain[f])
            change[i, f] = short_first(folds.horizon) @ ratio
    score = change.mean(axis=1) + change.std(axis=1, ddof=1) / np.sqrt(COUNT)  # (settings, CVs)
    best = score.argmin(axis=0)
    chosen = [settings[best[cv]] if score[best[cv], cv] < 0 else None for cv in range(cvs)]
    gains = np.array([change[best[cv], :, cv].mean() if chosen[cv] else 0.0 for cv in range(cvs)])
    if not any(chosen):
        return Chosen(tuple(fits), chosen, gains)
    noises = [_assembled(t, chosen, settings, tags) for t in train]
    return Chosen(tuple(Backbone(fit, noise) for fit, noise in zip(fits, noises, strict=True)), chosen, gains)


def _thin(ends: np.ndarray) -> np.ndarray:
    return ends[:: max(1, -(-len(ends) // TRAINING))]


def _residuals(grid: Grid, folds: Folds, fit: Lti, ends: np.ndarray) -> _Residuals:
    window, future, y_lin = cases(grid, folds, fit, ends)
    v = np.concatenate([window.y, window.w], axis=-1).reshape(len(ends), -1).astype(np.float64)
    present = window.y[:, -1] - (v @ np.asarray(fit.E, np.float64).T + fit.e) @ np.asarray(fit.C).T - fit.c
    r = np.concatenate([np.asarray(present)[:, None], future.y - np.asarray(y_lin)], axis=1).astype(np.float64)
    return _Residuals(v, r, np.concatenate([window.mask[:, -1:], future.mask], axis=1).astype(np.float64))


def _fits(data: _Residuals, settings: Sequence[Setting], tags: int) -> Iterator[_Fit]:
    """Ridge regressions by each setting."""
    modes = {decays: _modes(data, decays) for decays in DECAYS}
    solved: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = {}
    for setting in settings:
        columns = setting.past * tags
        if setting.past not in solved:
            v = data.v[:, -columns:]
            mean = v.mean(axis=0)
            values, vectors = np.linalg.eigh(np.cov(v.T, bias=True).reshape(columns, columns))
            solved[setting.past] = (mean, values, vectors, (v - mean) @ vectors)
        mean, values, vectors, rotated = solved[setting.past]
        target = modes[setting.decays]
        n, cvs, count = target.shape
        centre = target.mean(axis=0)
        across = rotated.T @ (target - centre).reshape(n, -1) / n
        flat = vectors @ (across / (np.maximum(values, 0.0) + setting.ridge)[:, None])
        coefficients = flat.reshape(columns, cvs, count)
        yield _Fit(setting.decays, coefficients, centre - np.tensordot(mean, coefficients, 1))


def _modes(data: _Residuals, decays: tuple[float, ...]) -> np.ndarray:
    """(n, CVs, J): the modes that fit each window's residuals best, rows weighted by 1 / RMSE."""
    rows = np.arange(data.r.shape[1])
    shape = np.array(decays)[None] ** rows[:, None]  # (K + 1, J)
    rmse = _rmse(data.r, data.mask)
    rmse[0] = 3.0 * rmse[1]  # the present row is known: it only keeps the modes from fighting each other there
    rmse[1:] /= np.sqrt(short_first(len(rmse) - 1))[:, None]
    out = np.empty((len(data.r), data.r.shape[2], len(decays)))
    for cv in range(data.r.shape[2]):
        weight = 1.0 / rmse[:, cv]
        solve = np.linalg.pinv(shape * weight[:, None], rcond=NEGLIGIBLE)
        known = max(float(data.mask[:, :, cv].mean()), 1e-3)
        out[:, cv] = (data.mask[:, :, cv] * data.r[:, :, cv] * weight / known) @ solve.T
    return out


def _assembled(data: _Residuals, chosen: Sequence[Setting | None], settings: Sequence[Setting], tags: int) -> Noise:
    """The noise model of one fold, each CV's modes as chosen."""
    cvs, columns = data.r.shape[2], data.v.shape[1]
    decay, e, E = np.zeros((MODES, cvs)), np.zeros((MODES, cvs)), np.zeros((MODES, cvs, columns))
    used = [setting for setting in settings if setting in chosen]
    for fit, setting in zip(_fits(data, used, tags), used, strict=True):
        count = len(fit.decays)
        for cv in (cv for cv in range(cvs) if chosen[cv] == setting):
            decay[:count, cv] = fit.decays
            e[:count, cv] = fit.constant[cv]
            E[:count, cv, -len(fit.coefficients) :] = fit.coefficients[:, cv].T
    return Noise(*(jnp.asarray(part, jnp.float32) for part in (decay, E, e)))


def _rmse(residuals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(K, CVs) over windows (n, K, CVs)."""
    total = (mask * residuals**2).sum(axis=0)
    rmse: np.ndarray = np.sqrt(total / np.maximum(mask.sum(axis=0), 1.0)) + 1e-5
    return rmse
