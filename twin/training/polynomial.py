"""Fitting polynomial backbones: by ridge regression of the CVs' moves, chosen by their free run on the blocks held out.

Candidates differ in how many rows of CVs and inputs enter, whether a row's own inputs do, the degree and the ridge.
All products up to the degree are terms, so that plants of many tags get few rows and a low degree, or none.

Telemetry whose inputs move all the time says little of where a plant comes to rest, and powers may know no rest at all
in a corner of what was seen: the CVs run away there. So inputs are held, in corners above all, and a candidate counts
only where the fits of all folds come to rest no further apart than it errs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import jax.numpy as jnp
import numpy as np

from twin.dynamics.polynomial import Polynomial
from twin.training.folds import COUNT, Folds, spread
from twin.windows import Future, Grid, Window

ORDERS = ((1, 1), (2, 1), (2, 2), (3, 3), (4, 4), (2, 6))  # rows of the CVs, and of the inputs
DEGREES = (2, 3, 4)
RIDGES = (1e-7, 1e-5, 1e-3)
MOST_TERMS = 350
ROWS_A_TERM = 8  # at least, of those to learn from
ROWS = 20_000  # at most, evenly spread
WINDOWS = 128  # held-out windows a fold that judge a candidate
STILL = 1e-6  # deviation, in model units, of what never moved
MARGINS = (0.5, 0.1)  # of a tag's range beside it, up to which its values are believed; the second is tried at last
LAST = 3  # forms with which it is
ROUNDS = len(ORDERS) + 1
REST = 5  # horizons that inputs are held
RESTING = 64  # windows that this begins with, half of them those with the most unusual inputs
TESTED = 12  # candidates at most, the best by their error
PARSIMONY = 1.01  # fewer terms within 1 % of the best are preferred


@dataclass(frozen=True)
class Form:
    """Products of up to `degree` of the last `order` rows of CVs and `input_order` rows of inputs.

    Attributes:
        delay: rows between the last inputs and the CVs: 0 where a row's own inputs act.
        penalty: ridge, of a term's own mean square.
        margin: beside a tag's range, as a share of it, up to which values are believed.
    """

    order: int
    input_order: int
    delay: int
    degree: int
    penalty: float = RIDGES[1]
    margin: float = MARGINS[0]

    @property
    def name(self) -> str:
        late = ", from the row before" if self.delay else ""
        of = f"polynomial({self.order}, {self.input_order}{late}) of degree {self.degree}"
        return f"{of}, ridge {self.penalty:g}, margin {self.margin:g}"

    @property
    def past(self) -> int:
        """Rows of inputs in v: those before the row's own."""
        return self.input_order + self.delay - 1

    def states(self, cvs: int, inputs: int) -> int:
        return self.order * cvs + self.past * inputs

    def entries(self, cvs: int, inputs: int) -> int:
        return self.order * cvs + self.input_order * inputs

    def rows(self) -> int:
        """Rows that must lie before a row."""
        return max(self.order, self.past)

    def mix(self, cvs: int, inputs: int) -> np.ndarray:
        """(entries, n + inputs): of each tag its last value that counts, and its differences from row to row."""
        n = self.states(cvs, inputs)
        y = [[i * cvs + tag for i in range(self.order)] for tag in range(cvs)]
        w = [[n + tag, *(self.order * cvs + j * inputs + tag for j in range(self.past))] for tag in range(inputs)]
        out = []
        for lags in [*y, *(lags[self.delay :] for lags in w)]:
            units = np.eye(n + inputs)[lags]
            out += [units[0], *(units[:-1] - units[1:])]
        return np.array(out)

    def factors(self, cvs: int, inputs: int) -> np.ndarray:
        """(terms, degree); the first is the constant."""
        entries = range(1, 1 + self.entries(cvs, inputs))
        terms = [c for d in range(self.degree + 1) for c in combinations_with_replacement(entries, d)]
        return np.array([(0,) * (self.degree - len(term)) + term for term in terms], np.int32)

    def terms(self, cvs: int, inputs: int) -> int:
        """How many there are, without listing them."""
        n, count = self.entries(cvs, inputs), 1
        for d in range(1, self.degree + 1):
            count = count * (n + d) // d
        return count


@dataclass(frozen=True)
class Fitted:
    """A form, its out-of-fold free-run error (mean NRMSE over CVs and rows 1 .. K) and its fits a fold."""

    form: Form
    error: float
    fits: tuple[Polynomial, ...]

    @property
    def terms(self) -> int:
        """How many products."""
        return int(np.count_nonzero(np.asarray(self.fits[0].table)[0]))


def select(grid: Grid, folds: Folds) -> Iterator[Fitted | None]:
    """Fit and judge forms one by one; after each the best so far, None where there is none."""
    cvs, inputs = grid.y.shape[1], grid.w.shape[1]
    least = min(len(folds.training(fold)) for fold in range(COUNT))
    held = [spread(folds.held_out(fold), WINDOWS) for fold in range(COUNT)]
    cases = [(grid.window(ends, folds.history), grid.future(ends, folds.horizon)) for ends in held]
    found: list[Fitted] = []
    rests = _rests(grid, folds, np.concatenate(held))
    for order, input_order in ORDERS:
        for degree in DEGREES:
            for delay in (0, 1):
                form = Form(order, input_order, delay, degree)
                few = form.terms(cvs, inputs) > min(MOST_TERMS, least / ROWS_A_TERM)
                if not few and form.rows() <= folds.history:
                    found += _judged(form, grid, folds, cases)
        yield _best(found, rests)
    for fitted in sorted(found, key=lambda fitted: fitted.error)[:LAST]:
        narrow = tuple(_widened(fit, MARGINS[1] - MARGINS[0]) for fit in fitted.fits)
        found.append(Fitted(replace(fitted.form, margin=MARGINS[1]), _error(narrow, cases), narrow))
    yield _best(found, rests)


def _widened(fit: Polynomial, more: float) -> Polynomial:
    """The same with ranges wider by `more` on each side, of what they are without their margins."""
    width = (fit.high - fit.low) / (1 + 2 * MARGINS[0])
    return replace(fit, low=fit.low - more * width, high=fit.high + more * width)


def _best(found: Sequence[Fitted], rests: Callable[[Fitted], bool]) -> Fitted | None:
    """That with the fewest terms of those that err least, of those that come to rest."""
    finite = sorted((fitted for fitted in found if np.isfinite(fitted.error)), key=lambda fitted: fitted.error)
    best = next((fitted for fitted in finite[:TESTED] if rests(fitted)), None)
    if best is None:
        return None
    near = [fitted for fitted in finite if best.error <= fitted.error <= PARSIMONY * best.error and rests(fitted)]
    return min(near, key=lambda fitted: fitted.terms)


def _rests(grid: Grid, folds: Folds, ends: np.ndarray) -> Callable[[Fitted], bool]:
    """Whether the fits of all folds come to rest at one place, where inputs stay as they are at some rows of `ends`."""
    unusual = ends[np.argsort(-(grid.w[ends] ** 2).sum(axis=1))][: RESTING // 2]
    begin = np.concatenate([spread(ends, RESTING // 2), unusual])
    window, known = grid.window(begin, folds.history), dict[Form, bool]()
    w = np.broadcast_to(grid.w[begin][:, None], (len(begin), REST * folds.horizon, grid.w.shape[1]))

    def rests(fitted: Fitted) -> bool:
        if fitted.form not in known:
            *_, at = zip(*(free_run(fit, window, w) for fit in fitted.fits), strict=True)
            with np.errstate(over="ignore", invalid="ignore"):
                apart = np.sqrt(np.var(at, axis=0).mean())
            known[fitted.form] = bool(apart <= fitted.error)
        return known[fitted.form]

    return rests


def _judged(form: Form, grid: Grid, folds: Folds, cases: Sequence[tuple[Window, Future]]) -> list[Fitted]:
    """The form with each ridge."""
    moments = [_Moments.of(form, grid, folds, fold) for fold in range(COUNT)]
    if any(m is None for m in moments):
        return []
    out = []
    for penalty in RIDGES:
        fits = tuple(m.solved(penalty) for m in moments if m is not None)
        out.append(Fitted(replace(form, penalty=penalty), _error(fits, cases), fits))
    return out


def fitted(form: Form, grid: Grid, folds: Folds, fold: int) -> Polynomial | None:
    """Fitted on the rows that a fold may learn from; None where they are too few."""
    moments = _Moments.of(form, grid, folds, fold)
    if moments is None:
        return None
    return _widened(moments.solved(form.penalty), form.margin - MARGINS[0])


def _error(fits: Sequence[Polynomial], cases: Sequence[tuple[Window, Future]]) -> float:
    """Mean NRMSE out of fold over CVs and rows; infinite where a free run does not stay finite."""
    missed = [squares(fit, *case) for fit, case in zip(fits, cases, strict=True)]
    error = float(np.sqrt(np.mean(missed, axis=0)).mean())
    return error if np.isfinite(error) else np.inf


@dataclass(frozen=True)
class _Moments:
    """Products of the terms over the rows that one fold may learn from.

    Attributes:
        model: with an empty table.
        factors: (terms, degree).
        gram: (terms, terms), across (terms, CVs) with the moves, count the rows.
    """

    model: Polynomial
    factors: np.ndarray
    gram: np.ndarray
    across: np.ndarray
    count: int

    @classmethod
    def of(cls, form: Form, grid: Grid, folds: Folds, fold: int) -> _Moments | None:
        """None where too few rows were measured."""
        cvs, inputs = grid.y.shape[1], grid.w.shape[1]
        t = folds.ends(folds.label != fold, form.rows(), 1)
        lags = t[:, None] - np.arange(form.order)
        t = t[(grid.mask[t + 1] > 0).all(axis=1) & (grid.mask[lags] > 0).all(axis=(1, 2))]
        t = t[:: max(1, -(-len(t) // ROWS))]
        if len(t) < ROWS_A_TERM * form.terms(cvs, inputs):
            return None
        y = grid.y[t[:, None] - np.arange(form.order)].reshape(len(t), -1)
        w = grid.w[t[:, None] - np.arange(form.past)].reshape(len(t), -1)
        z = np.concatenate([y, w, grid.w[t + 1]], axis=1).astype(np.float64)
        model = _polynomial(form, z, cvs, inputs, folds.history)
        phi = _entries(z, model)[:, form.factors(cvs, inputs)].prod(axis=2)
        moves = grid.y[t + 1].astype(np.float64) - grid.y[t]
        return cls(model, form.factors(cvs, inputs), phi.T @ phi, phi.T @ moves, len(t))

    def solved(self, penalty: float) -> Polynomial:
        """Ridge relative to each term's own size; a term that never moved gets no weight."""
        size = np.sqrt(np.diag(self.gram) / self.count) + 1e-9
        scaled = self.gram / np.outer(size, size) / self.count
        shrink = np.full(len(size), penalty)
        shrink[0] = 0.0  # the constant
        solved = np.linalg.solve(scaled + np.diag(shrink + 1e-12), self.across / size[:, None] / self.count)
        table = np.zeros(self.model.table.shape, np.float32)
        table[(slice(None), *self.factors.T)] = (solved / size[:, None]).T
        return replace(self.model, table=jnp.asarray(table))


def _range(z: np.ndarray, form: Form, cvs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """(n + inputs,) of each entry of v and w': the same for all rows of a tag."""
    tag = np.concatenate([np.tile(np.arange(cvs), form.order), np.tile(cvs + np.arange(inputs), form.past + 1)])
    low, high = z.min(axis=0), z.max(axis=0)
    low = np.array([low[tag == i].min() for i in range(cvs + inputs)])[tag]
    high = np.array([high[tag == i].max() for i in range(cvs + inputs)])[tag]
    return low - MARGINS[0] * (high - low), high + MARGINS[0] * (high - low)


def _polynomial(form: Form, z: np.ndarray, cvs: int, inputs: int, history: int) -> Polynomial:
    """The model with an empty table, for rows [v, w'] (n, ·)."""
    low, high = _range(z, form, cvs, inputs)
    mix = form.mix(cvs, inputs)
    moved = z @ mix.T
    deviation = moved.std(axis=0)
    mix /= np.where(deviation > STILL, deviation, np.inf)[:, None]
    tags, n = cvs + inputs, form.states(cvs, inputs)
    rows = (history - 1) * tags  # where the last row begins
    y = [rows - i * tags + np.arange(cvs) for i in range(form.order)]
    w = [rows - j * tags + cvs + np.arange(inputs) for j in range(form.past)]
    v = tags + np.arange(n)  # in [y', w', v]
    older = [np.arange(cvs), v[: (form.order - 1) * cvs]]
    if form.past:
        begin = form.order * cvs
        older += [cvs + np.arange(inputs), v[begin : begin + (form.past - 1) * inputs]]
    return Polynomial(
        table=jnp.zeros((cvs, *[1 + form.entries(cvs, inputs)] * form.degree)),
        mix=jnp.asarray(mix, jnp.float32),
        shift=jnp.asarray(-mix @ z.mean(axis=0), jnp.float32),
        low=jnp.asarray(low, jnp.float32),
        high=jnp.asarray(high, jnp.float32),
        window=jnp.asarray(np.concatenate(y + w), jnp.int32),
        after=jnp.asarray(np.concatenate(older), jnp.int32),
    )


def _entries(z: np.ndarray, model: Polynomial) -> np.ndarray:
    """(n, 1 + entries) of rows [v, w'] (n, ·), as float64."""
    mix, shift, low, high = (np.asarray(p, np.float64) for p in (model.mix, model.shift, model.low, model.high))
    return np.concatenate([np.ones((len(z), 1)), np.clip(z, low, high) @ mix.T + shift], axis=1)


def squares(model: Polynomial, window: Window, future: Future) -> np.ndarray:
    """(K, CVs) mean square free-run error over the windows."""
    known = np.maximum(future.mask.sum(axis=0), 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        missed = [
            (future.mask[:, k] * (y - future.y[:, k]) ** 2).sum(axis=0)
            for k, y in enumerate(free_run(model, window, future.w))
        ]
        return np.stack(missed) / known


def free_run(model: Polynomial, window: Window, w: np.ndarray) -> Iterator[np.ndarray]:
    """(n, CVs) row by row under inputs w (n, K, inputs); in numpy, so that no form needs compiling."""
    table, after = np.asarray(model.table, np.float64), np.asarray(model.after)
    cvs = len(table)
    rows = np.concatenate([window.y, window.w], axis=-1)
    v = rows.reshape(len(rows), -1)[:, np.asarray(model.window)].astype(np.float64)
    for k in range(w.shape[1]):
        with np.errstate(over="ignore", invalid="ignore"):
            y = v[:, :cvs] + _moves(table, _entries(np.concatenate([v, w[:, k]], axis=1), model))
        v = np.concatenate([y, w[:, k], v], axis=1)[:, after]
        yield y


def _moves(table: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(n, CVs) of entries z (n, ·), degree by degree."""
    out = z @ table.reshape(-1, z.shape[1]).T
    for _ in range(table.ndim - 2):
        out = (out.reshape(len(z), -1, z.shape[1]) * z[:, None]).sum(axis=2)
    return out
