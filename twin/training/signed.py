"""A backbone whose gains have the signs that were asked for, CV by CV.

Where the backbone that was chosen has them, it stays as it is. Each CV of which it breaks one gets a model of its own
instead: an ARX model of its own lags and the inputs, fitted under bounds where the rows speak against the sign, chosen
by its free run over the blocks held out. All other CVs keep their forecasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from twin.dynamics.lti import Lti, arx, build
from twin.training.backbone import MAX_STATES, ORDERS, RIDGE, RIDGES, STABLE, Data, Patched, Score, squares
from twin.training.folds import COUNT, Folds, spread
from twin.training.moments import normal_equations
from twin.training.signs import HORIZONS, bounded, response_bounds, step_answers, wrong
from twin.windows import Future, Grid

WINDOWS = 128  # held-out windows a fold that judge a model
CREDIT = 1.05  # a model that has the sign by itself is preferred to a bounded one at up to this times its error


@dataclass(frozen=True)
class Own:
    """An ARX model of one CV: `order` lags of its own, `rows` rows of inputs, the row's own included."""

    cv: int
    order: int
    rows: int
    differences: bool = False
    penalty: float = RIDGE

    @property
    def name(self) -> str:
        form = ", in differences" if self.differences else ""
        return f"ARX({self.order}, {self.rows}){form}, own lags, ridge {self.penalty:g}"

    def fit(self, data: Data, sign: np.ndarray, bound: np.ndarray) -> Lti:
        """From the moments of the rows: an `Lti` that reads this CV alone.

        Args:
            sign: (MVs,) 1, -1, 0 or NaN; an MV of 0 is left out.
            bound: (MVs,) bool: the MVs whose sign is to be kept by bounds.
        """
        m = data.differences if self.differences else data.levels
        used = np.r_[np.flatnonzero(sign != 0), np.arange(len(sign), m.inputs)]
        y = np.array([m.y_at(1 - i)[self.cv] for i in range(1, self.order + 1)])
        w = np.concatenate([m.w_at(1 - j)[used] for j in range(self.rows)])
        left, right = normal_equations(m, np.r_[y, w], m.y_at(1)[[self.cv]], self.penalty)
        if bound.any():
            moves = np.flatnonzero(bound)
            at = len(y) + len(used) * np.arange(self.rows)[:, None] + np.searchsorted(used, moves)
            solved = bounded(left, right[:, 0], *response_bounds(len(y), at, sign[moves], len(left)))
        else:
            solved = np.linalg.solve(left, right)[:, 0]
        y_lags = solved[: len(y)].reshape(-1, 1, 1)
        w_lags = np.zeros((self.rows, 1, m.inputs))
        w_lags[:, 0, used] = solved[len(y) : -1].reshape(self.rows, -1)
        if self.differences:
            y_lags, w_lags = _undo(y_lags), _undo(w_lags)
            y_lags[0] += 1.0
        return self._read(arx(y_lags, w_lags, solved[-1:], data.history), m.cvs, m.inputs)

    def _read(self, model: Lti, cvs: int, inputs: int) -> Lti:
        """The same model on windows with all CVs."""
        E = np.asarray(model.E).reshape(len(model.a), -1, 1 + inputs)
        wide = np.zeros((*E.shape[:2], cvs + inputs), np.float32)
        wide[:, :, self.cv], wide[:, :, cvs:] = E[:, :, 0], E[:, :, 1:]
        return replace(model, E=jnp.asarray(wide.reshape(len(wide), -1)))


def _undo(lags: np.ndarray) -> np.ndarray:
    """(n + 1, ·, ·) coefficients on levels of (n, ·, ·) coefficients on differences."""
    zero = np.zeros_like(lags[:1])
    return np.concatenate([lags, zero]) - np.concatenate([zero, lags])


class Judged(NamedTuple):
    """A model of one CV: its error, its fits a fold, and the MVs (MVs,) whose sign is kept by bounds."""

    own: Own
    error: float
    fits: tuple[Lti, ...]
    bound: np.ndarray


class Kept(NamedTuple):
    """A backbone, and the effects (MVs, CVs) whose sign is kept by bounds, as the rows speak against it; `all` is
    whether every sign is kept."""

    score: Score
    bound: np.ndarray
    all: bool


def keep_signs(score: Score, grid: Grid, folds: Folds, asked: np.ndarray) -> Kept:
    """The backbone that was chosen with the signs (MVs, CVs) of its gains as they are asked for."""
    broken, bound = breaks(score.fits, asked, folds.horizon), np.zeros(asked.shape, bool)
    if not broken.any():
        return Kept(score, bound, True)
    data = [Data(grid, folds, folds.label != fold) for fold in range(COUNT)]
    chosen: dict[int, Judged] = {}
    for cv in np.flatnonzero(broken.any(axis=0)).tolist():
        found = [judged for judged in _judge(cv, data, asked[:, cv]) if np.isfinite(judged.error)]
        if found:
            chosen[cv] = min(found, key=lambda j: j.error * (CREDIT if j.bound.any() else 1.0))
            bound[:, cv] = chosen[cv].bound
    fits = tuple(
        _patched(fit, {cv: judged.fits[fold] for cv, judged in chosen.items()}) for fold, fit in enumerate(score.fits)
    )
    assert not isinstance(score.candidate, Patched)  # noqa: S101
    own = tuple((str(cv), judged.own.name) for cv, judged in chosen.items())
    candidate = Patched(score.candidate, own, len(fits[0].a))
    errors = []
    for fold, fit in enumerate(fits):
        ends = spread(folds.held_out(fold), WINDOWS)
        errors.append(squares(fit, grid.window(ends, folds.history), grid.future(ends, folds.horizon)))
    error = float(np.sqrt(np.mean(errors, axis=0)).mean())
    return Kept(Score(candidate, error, fits), bound, not breaks(fits, asked, folds.horizon).any())


def breaks(fits: Sequence[Lti], asked: np.ndarray, horizon: int) -> np.ndarray:
    """(MVs, CVs) bool: the effects whose sign any of the fits breaks."""
    answers = [wrong(step_answers(fit, len(asked), HORIZONS * horizon), asked) for fit in fits]
    broken: np.ndarray = np.any(answers, axis=0)
    return broken


def _judge(cv: int, data: Sequence[Data], sign: np.ndarray) -> Iterator[Judged]:
    """Models of one CV, fitted and judged: orders, forms, and ridges of the best."""
    folds = data[0].folds
    cases = []
    for fold, of in enumerate(data):
        ends = spread(folds.held_out(fold), WINDOWS)
        window, future = of.grid.window(ends, folds.history), of.grid.future(ends, folds.horizon)
        cases.append((window, Future(future.w, future.y[:, :, [cv]], future.mask[:, :, [cv]])))
    past = data[0].past
    structures = [
        Own(cv, n, rows)
        for n in ORDERS
        if n < past
        for rows in sorted({n, past - 1})
        if n + 1 + rows * data[0].inputs <= MAX_STATES
    ]

    def judged(own: Own) -> Judged:
        fits, bound, kept = _fits(own, data, sign)
        error = float(np.sqrt(np.mean([squares(fit, *case) for fit, case in zip(fits, cases, strict=True)], 0)).mean())
        sound = kept and np.isfinite(error) and max(fit.spectral_radius() for fit in fits) <= STABLE
        return Judged(own, error if sound else np.inf, fits, bound)

    found = [judged(own) for own in structures]
    found += [judged(replace(best.own, differences=True)) for best in sorted(found, key=lambda j: j.error)[:3]]
    best = sorted(found, key=lambda j: j.error)[:2]
    yield from found
    yield from (judged(replace(one.own, penalty=penalty)) for one in best for penalty in RIDGES)


def _fits(own: Own, data: Sequence[Data], sign: np.ndarray) -> tuple[tuple[Lti, ...], np.ndarray, bool]:
    """A fit of each fold, the MVs that had to be bound, and whether all signs that are asked are kept."""
    bound, horizon = np.zeros(len(sign), bool), data[0].folds.horizon
    while True:
        fits = tuple(own.fit(of, sign, bound) for of in data)
        broken = breaks(fits, sign[:, None], horizon)[:, 0]
        more = broken & ~bound & (sign != 0)
        if not more.any():
            return fits, bound, not broken.any()
        bound = bound | more


def _patched(base: Lti, own: dict[int, Lti]) -> Lti:
    """The models side by side, some CVs (by number) read from their own."""
    models = [{f.name: np.asarray(getattr(m, f.name), np.float64) for f in fields(Lti)} for m in (base, *own.values())]
    sizes = [len(m["a"]) for m in models]
    first = np.cumsum([0, *sizes])
    A, C, c = np.zeros((first[-1],) * 2), np.zeros((len(models[0]["c"]), first[-1])), models[0]["c"].copy()
    for m, at in zip(models, first, strict=False):
        A[at : at + len(m["a"]), at : at + len(m["a"])] = m["A"]
    C[:, : sizes[0]] = models[0]["C"]
    for cv, m, at in zip(own, models[1:], first[1:], strict=False):
        C[cv], c[cv] = 0.0, m["c"][0]
        C[cv, at : at + len(m["a"])] = m["C"][0]
    stacked = {name: np.concatenate([m[name] for m in models]) for name in ("B", "a", "E", "e")}
    return build(A=A, C=C, c=c, **stacked)
