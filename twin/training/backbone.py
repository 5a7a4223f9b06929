"""The linear backbone of a twin: candidates, their least-squares fits and the choice among them.

Candidates are ARX models (orders, input lags, ridge; in levels or, for plants that drift or integrate, in
differences; with the lags of all CVs or of its own only) and subspace models (reduced-rank regression of the
future on the past, Larimore's CVA without its left weight, as our loss is the plain forecast error).
The choice is by the free run over the blocks held out, every CV weighted by its scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import jax
import numpy as np

from twin.dynamics.lti import Lti, arx, build, padded
from twin.rollout import rollout
from twin.training.folds import COUNT, Folds, spread
from twin.training.moments import Moments, ridge
from twin.windows import Future, Grid, Window

ORDERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
STATES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40)
RIDGES = (1e-6, 1e-5, 1e-3, 1e-2, 1e-1, 1.0)
RIDGE = 1e-4  # while the structure is chosen
MAX_STATES = 400
MAX_MOMENTS = 1400  # entries of the sliding window
WINDOWS = 128  # held-out windows a fold that judge a candidate
STABLE = 1.001  # spectral radius: integrators pass, models that grow without bound do not
PARSIMONY = 1.01  # a smaller model within 1 % of the best is preferred


@dataclass(frozen=True)
class Arx:
    """Autoregression with inputs: `order` lags of the CVs, `input_order` rows of inputs, the row's own included."""

    order: int
    input_order: int
    differences: bool = False
    own: bool = False
    penalty: float = RIDGE

    @property
    def name(self) -> str:
        form = ", in differences" if self.differences else ""
        return f"ARX({self.order}, {self.input_order}){form}{', own lags' if self.own else ''}, ridge {self.penalty:g}"

    def states(self, cvs: int, inputs: int) -> int:
        more = int(self.differences)
        return (self.order + more) * cvs + (self.input_order + more - 1) * inputs

    def fit(self, data: Data) -> Lti:
        m = data.differences if self.differences else data.levels
        y_lags, w_lags, constant = self._coefficients(m)
        if self.differences:
            y_lags, w_lags = _undo(y_lags), _undo(w_lags)
            y_lags[0] += np.eye(m.cvs)
        return arx(y_lags, w_lags, constant, data.history)

    def _coefficients(self, m: Moments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(order, CVs, CVs), (input_order, CVs, inputs) and (CVs,)."""
        y = np.concatenate([m.y_at(1 - i) for i in range(1, self.order + 1)])
        w = np.concatenate([m.w_at(1 - j) for j in range(self.input_order)])
        target = m.y_at(1)
        if not self.own:
            solved = ridge(m, np.concatenate([y, w]), target, self.penalty)
        else:
            solved = np.zeros((len(y) + len(w) + 1, m.cvs))
            for cv in range(m.cvs):
                mine = np.concatenate([np.arange(cv, len(y), m.cvs), np.arange(len(y), len(solved))])
                regressors = np.concatenate([y, w])[mine[:-1]]
                solved[mine, cv] = ridge(m, regressors, target[cv : cv + 1], self.penalty)[:, 0]
        y_lags = solved[: len(y)].reshape(self.order, m.cvs, m.cvs).swapaxes(1, 2)
        w_lags = solved[len(y) : -1].reshape(self.input_order, m.inputs, m.cvs).swapaxes(1, 2)
        return y_lags, w_lags, solved[-1]


def _undo(lags: np.ndarray) -> np.ndarray:
    """(n + 1, ·, ·) coefficients on levels of (n, ·, ·) coefficients on differences."""
    zero = np.zeros_like(lags[:1])
    return np.concatenate([lags, zero]) - np.concatenate([zero, lags])


@dataclass(frozen=True)
class Subspace:
    """`order` combinations of the past that best predict the future CVs, and their linear dynamics."""

    order: int
    penalty: float = RIDGE

    @property
    def name(self) -> str:
        return f"subspace({self.order}), ridge {self.penalty:g}"

    def states(self, cvs: int, inputs: int) -> int:
        return self.order + cvs

    def fit(self, data: Data) -> Lti:
        """The state is [x, y]: y_{t+1} is predicted from x_t beside x_{t+1}, and read as it is."""
        m = data.multistep
        directions = data.directions[: self.order]  # (n, past entries)
        past = m.rows(1 - m.past, 1)
        after = past + m.cvs + m.inputs
        now = np.zeros((self.order, len(m.gram)))
        now[:, past] = directions
        then = np.zeros_like(now)
        then[:, after] = directions
        moments = _mapped(m, now, then)
        n, states = self.order, self.order + m.cvs
        regressors = np.r_[np.arange(n), 2 * n + np.arange(m.inputs)]
        targets = np.r_[n + np.arange(n), 2 * n + m.inputs + np.arange(m.cvs)]
        solved = ridge(moments, regressors, targets, self.penalty)  # (n + inputs + 1, n + CVs)
        A, C = np.zeros((states, states)), np.eye(m.cvs, states, n)
        A[:, :n] = solved[:n].T
        E = np.zeros((states, data.history, m.cvs + m.inputs))
        E[:n, data.history - m.past :] = directions.reshape(n, m.past, -1)
        E[n:, -1, : m.cvs] = np.eye(m.cvs)
        flat = E.reshape(states, -1)
        return build(A=A, B=solved[n:-1].T, a=solved[-1], C=C, c=np.zeros(m.cvs), E=flat, e=np.zeros(states))


def _mapped(m: Moments, now: np.ndarray, then: np.ndarray) -> Moments:
    """Moments of [x_t, x_{t+1}, w_{t+1}, y_{t+1}, 1] for states x that are linear in v."""
    units = np.eye(len(m.gram))[np.r_[m.w_at(1), m.y_at(1), m.one]]
    transform = np.concatenate([now, then, units])
    return replace(m, gram=transform @ m.gram @ transform.T)


@dataclass(frozen=True)
class Patched:
    """A candidate of which some CVs are forecast by models of their own, so that gains keep their signs."""

    base: Named
    own: tuple[tuple[str, str], ...]  # CV (its number), and how its model is called
    size: int

    @property
    def name(self) -> str:
        return "; ".join([self.base.name, *(f"{cv}: {name}" for cv, name in self.own)])

    def states(self, cvs: int, inputs: int) -> int:
        return self.size


Candidate = Arx | Subspace


class Named(Protocol):
    """What a card tells of a linear part, whatever it came from."""

    @property
    def name(self) -> str: ...

    def states(self, cvs: int, inputs: int) -> int: ...


@dataclass(frozen=True)
class Data:
    """What a linear fit needs of the training rows: their moments, each computed when first asked for."""

    grid: Grid
    folds: Folds
    allowed: np.ndarray  # (N,) bool: the rows that may be learned from

    @property
    def history(self) -> int:
        return self.folds.history

    @property
    def cvs(self) -> int:
        return self.grid.y.shape[1]

    @property
    def inputs(self) -> int:
        return self.grid.w.shape[1]

    @cached_property
    def past(self) -> int:
        """Rows of the past: the history, fewer where there are many tags."""
        return max(2, min(self.history, MAX_STATES // (self.cvs + self.inputs)))

    @cached_property
    def future(self) -> int:
        """Rows of the future that a subspace model is to predict."""
        return max(2, min(self.folds.horizon, MAX_MOMENTS // (self.cvs + self.inputs) - self.past))

    @cached_property
    def levels(self) -> Moments:
        return Moments.of(self.grid, self.folds.ends(self.allowed, self.past, 1), self.past, 1)

    @cached_property
    def differences(self) -> Moments:
        return self.levels.differenced()

    @cached_property
    def multistep(self) -> Moments:
        return Moments.of(self.grid, self.folds.ends(self.allowed, self.past, self.future), self.past, self.future)

    @cached_property
    def directions(self) -> np.ndarray:
        """(·, past entries) directions of the past of unit size, the one that explains most of the future first."""
        m = self.multistep
        past = m.rows(1 - m.past, 1)
        inputs = np.concatenate([m.w_at(r) for r in range(1, m.future + 1)])
        targets = np.concatenate([m.y_at(r) for r in range(1, m.future + 1)])
        effect = ridge(m, np.r_[past, inputs], targets, RIDGE)[: len(past)].T  # (future CVs, past entries)
        moments = m.part(past, past)
        _, vectors = np.linalg.eigh(effect @ moments @ effect.T)
        directions = vectors[:, ::-1].T[: len(past)] @ effect
        size = np.sqrt(np.maximum((directions @ moments * directions).sum(axis=1) / m.count, 1e-12))
        return directions / size[:, None]


@dataclass(frozen=True)
class Score:
    """A candidate, its out-of-fold free-run error (mean NRMSE over CVs and rows 1 .. K) and its fits a fold."""

    candidate: Named
    error: float
    fits: tuple[Lti, ...]


def select(grid: Grid, folds: Folds) -> Iterator[list[Score]]:
    """Fit and judge candidates, in a few rounds; after each one the scores so far, best first."""
    data = [Data(grid, folds, folds.label != fold) for fold in range(COUNT)]
    held = [spread(folds.held_out(fold), WINDOWS) for fold in range(COUNT)]
    cases = [(grid.window(ends, folds.history), grid.future(ends, folds.horizon)) for ends in held]
    scores: dict[Candidate, Score] = {}
    for propose in ROUNDS:
        for candidate in propose(data[0], sorted(scores.values(), key=lambda s: s.error)):
            if candidate not in scores:
                scores[candidate] = _judge(candidate, data, cases)
        yield sorted(scores.values(), key=lambda s: s.error)


def choose(scores: Sequence[Score], cvs: int, inputs: int) -> Score:
    """The smallest model among those nearly as good as the best."""
    near = [s for s in scores if s.error <= PARSIMONY * scores[0].error]
    return min(near, key=lambda s: s.candidate.states(cvs, inputs))


def _orders(data: Data, _: list[Score]) -> list[Candidate]:
    """ARX models with as many rows of inputs as of CVs, or with the whole past of the inputs (dead times)."""
    orders = [n for n in ORDERS if n < data.past]
    return _small(data, [Arx(n, rows) for n in orders for rows in (n, data.past - 1)])


def _forms(data: Data, scores: list[Score]) -> list[Candidate]:
    """The other forms of the best orders, and of a low one."""
    best = [s.candidate for s in scores[:2] if isinstance(s.candidate, Arx)]
    forms = [(differences, own) for differences in (False, True) for own in (False, True)[: 1 + (data.cvs > 1)]]
    return _small(data, [replace(c, differences=d, own=own) for c in (*best, Arx(2, 2)) for d, own in forms])


def _subspaces(data: Data, _: list[Score]) -> list[Candidate]:
    most = min(data.past * (data.cvs + data.inputs), data.future * data.cvs)
    return [Subspace(n) for n in STATES if n <= most]


def _ridges(_: Data, scores: list[Score]) -> list[Candidate]:
    """Other penalties of the best structures."""
    best = [s.candidate for s in scores[:3] if isinstance(s.candidate, Arx | Subspace)]
    return [replace(candidate, penalty=penalty) for candidate in best for penalty in RIDGES]


def _small(data: Data, candidates: Sequence[Candidate]) -> list[Candidate]:
    return [c for c in candidates if c.states(data.cvs, data.inputs) <= MAX_STATES]


ROUNDS = (_orders, _forms, _subspaces, _ridges)


def _judge(candidate: Candidate, data: Sequence[Data], cases: Sequence[tuple[Window, Future]]) -> Score:
    fits = tuple(candidate.fit(d) for d in data)
    errors = [squares(fit, window, future) for fit, (window, future) in zip(fits, cases, strict=True)]
    rmse = np.sqrt(np.mean(errors, axis=0))
    error = float(rmse.mean())
    stable = np.isfinite(error) and max(fit.spectral_radius() for fit in fits) <= STABLE
    return Score(candidate, error if stable else np.inf, fits)


def squares(fit: Lti, window: Window, future: Future) -> np.ndarray:
    """(K, CVs) mean square free-run error over the windows."""
    size = 1 << (len(fit.a) - 1).bit_length()
    return np.asarray(_free_run(padded(fit, size), window, future), np.float64)


@jax.jit
def _free_run(fit: Lti, window: Window, future: Future) -> jax.Array:
    y = jax.vmap(lambda past, w: rollout(fit, fit.encode(past), w))(window, future.w)
    known = future.mask.sum(axis=0)
    return (future.mask * (y - future.y) ** 2).sum(axis=0) / jax.numpy.maximum(known, 1.0)
