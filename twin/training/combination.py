"""Several linear candidates forecast together: with little telemetry their mean beats each of them.

Forecasts of unlike models err differently, and a mean of them errs less (Bates and Granger, Operational Research
Quarterly 20 (1969) 451). The best candidate of each kind takes part; each CV has weights of its own, at least 0 and of
sum 1, that make the error out of fold least. The combination is one linear model again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from scipy.optimize import nnls

from twin.dynamics.lti import Lti, build, padded
from twin.rollout import rollout
from twin.training.backbone import MAX_STATES, WINDOWS, Arx, Candidate, Named, Score, Subspace
from twin.training.folds import COUNT, Folds, spread
from twin.windows import Grid, Window

PARTS = 4  # candidates that take part, at most
PAYS = 0.99  # a combination is used where it brings the error out of fold to this share of the chosen candidate's
LEAST = 0.02  # weight: a part with less for every CV is left out
STATES = 3 * MAX_STATES // 2  # of all parts
SUM = 1e3  # how strictly weights sum to 1


@dataclass(frozen=True)
class Combined:
    """Candidates whose forecasts are added with weights (parts, CVs)."""

    parts: tuple[Named, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def name(self) -> str:
        shares = [f"{np.mean(of_cvs):.2f}" for of_cvs in self.weights]
        return " + ".join(f"{share} × {part.name}" for share, part in zip(shares, self.parts, strict=True))

    def states(self, cvs: int, inputs: int) -> int:
        return sum(part.states(cvs, inputs) for part in self.parts)


def combined(scores: Sequence[Score], chosen: Score, grid: Grid, folds: Folds) -> Score:
    """The combination of the best candidates of each kind, or the chosen candidate where that does not pay.

    Three weights a CV from thousands of rows hardly fit noise: what is gained out of fold is gained (and the candidates
    were chosen on the same rows, among a hundred).

    Args:
        scores: of all candidates, best first.
    """
    parts = _unlike(scores, grid.y.shape[1], grid.w.shape[1])
    if len(parts) < 2:
        return chosen
    ends = [spread(folds.held_out(fold), WINDOWS) for fold in range(COUNT)]
    errors, mask = _errors(parts, grid, folds, ends)
    weights = _weights(_moments(errors, mask))
    error = _error(np.einsum("mc,fmnkc->fnkc", weights, errors), mask)
    if not error <= PAYS * chosen.error:
        return chosen
    kept = [i for i in range(len(parts)) if (weights[i] >= LEAST).any()]
    weights = weights[kept] / weights[kept].sum(axis=0)
    members = [parts[i] for i in kept]
    if len(members) < 2:
        return members[0] if members[0].error <= chosen.error else chosen
    fits = tuple(_added([part.fits[f] for part in members], weights) for f in range(COUNT))
    told = tuple(tuple(float(share) for share in of_cvs) for of_cvs in weights)
    return Score(Combined(tuple(part.candidate for part in members), told), error, fits)


def _unlike(scores: Sequence[Score], cvs: int, inputs: int) -> list[Score]:
    """The best of each kind, best first, as far as their states go."""
    found: dict[tuple[bool, ...] | None, Score] = {}
    states = 0
    for score in scores:
        size = score.candidate.states(cvs, inputs)
        kind = _kind(score.candidate)
        if np.isfinite(score.error) and kind not in found and len(found) < PARTS and states + size <= STATES:
            found[kind] = score
            states += size
    return list(found.values())


def _kind(candidate: Candidate | Named) -> tuple[bool, ...] | None:
    """Of ARX models what they regress on: differences, own lags only, as few rows of inputs as of CVs."""
    if isinstance(candidate, Arx):
        return candidate.differences, candidate.own, candidate.order == candidate.input_order
    assert isinstance(candidate, Subspace)  # noqa: S101
    return None


def _errors(parts: Sequence[Score], grid: Grid, folds: Folds, ends: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """(folds, parts, n, K, CVs) of free runs out of fold, and (folds, n, K, CVs) where CVs were measured."""
    size = 1 << (max(len(part.fits[0].a) for part in parts) - 1).bit_length()
    errors, masks = [], []
    for fold, at in enumerate(ends):
        window, future = grid.window(at, folds.history), grid.future(at, folds.horizon)
        forecasts = [np.asarray(_free_run(padded(part.fits[fold], size), window, future.w)) for part in parts]
        errors.append((np.stack(forecasts) - future.y).astype(np.float64))
        masks.append(future.mask)
    return np.stack(errors), np.stack(masks)


@jax.jit
def _free_run(fit: Lti, window: Window, w: np.ndarray) -> jax.Array:
    return jax.vmap(lambda past, w: rollout(fit, fit.encode(past), w))(window, w)


def _moments(errors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(CVs, parts, parts) mean products of errors, each row over the first part's mean square there."""
    known = np.maximum(mask.sum(axis=(0, 1)), 1)  # (K, CVs)
    size = (mask * errors[:, 0] ** 2).sum(axis=(0, 1)) / known + 1e-12
    moments: np.ndarray = np.einsum("fankc,fbnkc,fnkc,kc->cab", errors, errors, mask, 1 / (size * known))
    return moments


def _weights(moments: np.ndarray) -> np.ndarray:
    """(parts, CVs) at least 0 and of sum 1, that make the error least."""
    found = []
    for of_cv in moments:
        values, vectors = np.linalg.eigh(of_cv)
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        size = SUM * np.sqrt(np.trace(of_cv) + 1e-300)
        raw, _ = nnls(np.vstack([root, np.full(len(of_cv), size)]), np.r_[np.zeros(len(of_cv)), size])
        found.append(raw / raw.sum())
    return np.stack(found, axis=1)


def _error(errors: np.ndarray, mask: np.ndarray) -> float:
    """Mean over rows and CVs of the root mean square of errors (folds, n, K, CVs), as candidates are judged."""
    squares = (mask * errors**2).sum(axis=1) / np.maximum(mask.sum(axis=1), 1.0)  # (folds, K, CVs)
    return float(np.sqrt(squares.mean(axis=0)).mean())


def _added(models: Sequence[Lti], weights: np.ndarray) -> Lti:
    """One model whose CVs are the weighted sum of theirs; weights (models, CVs)."""
    m = [{name: np.asarray(value, np.float64) for name, value in vars(model).items()} for model in models]
    sizes = [len(one["a"]) for one in m]
    A = np.zeros((sum(sizes), sum(sizes)))
    for one, end in zip(m, np.cumsum(sizes), strict=True):
        at = slice(end - len(one["a"]), end)
        A[at, at] = one["A"]
    stacked = {name: np.concatenate([one[name] for one in m]) for name in ("B", "a", "E", "e")}
    C = np.concatenate([w[:, None] * one["C"] for w, one in zip(weights, m, strict=True)], axis=1)
    c = np.sum([w * one["c"] for w, one in zip(weights, m, strict=True)], axis=0)
    return build(A=A, C=C, c=c, **stacked)
