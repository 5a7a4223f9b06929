"""Combinations of linear models, against weights and forecasts worked out on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from twin.dynamics.lti import Lti, arx
from twin.rollout import rollout
from twin.training.backbone import Arx, Score, Subspace
from twin.training.combination import Combined, _added, _moments, _weights, combined
from twin.training.folds import COUNT, split
from twin.windows import Grid, Window

HISTORY, HORIZON, ROWS = 8, 12, 1200


def one_lag(keep: float, gain: float) -> Lti:
    """y' = keep y + gain w."""
    return arx(np.array([[[keep]]]), np.array([[[gain]]]), np.zeros(1), HISTORY)


@pytest.fixture(scope="module")
def grid() -> Grid:
    """y' = 0.8 y + 0.2 w, no noise, one run."""
    rng = np.random.default_rng(1)
    w = np.repeat(rng.normal(size=ROWS // 10), 10)
    y = np.zeros(ROWS)
    for k in range(1, ROWS):
        y[k] = 0.8 * y[k - 1] + 0.2 * w[k]
    column = y.astype(np.float32)[:, None]
    return Grid(column, w.astype(np.float32)[:, None], np.ones((ROWS, 1), np.float32), np.zeros(ROWS, np.int64))


def test_weights_of_independent_errors() -> None:
    """Of variances 1 and 4 and no correlation the least comes of weights in proportion to 1 / variance: 0.8 and 0.2."""
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(COUNT, 2, 4000, 3, 1)) * np.array([1.0, 2.0])[None, :, None, None, None]
    weights = _weights(_moments(errors, np.ones((COUNT, 4000, 3, 1))))
    assert weights[:, 0] == pytest.approx([0.8, 0.2], abs=0.02)
    assert weights.sum(axis=0) == pytest.approx(1.0, abs=1e-9)


def test_weights_are_of_each_cv_and_never_negative() -> None:
    """Where the second model errs as the first does, and more, it gets none; what was not measured has no say."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(COUNT, 500, 3))
    errors = np.stack([base, 1.5 * base], axis=1)[..., None]
    errors = np.concatenate([errors, errors[:, ::-1]], axis=-1)  # of the second CV the other way round
    mask = np.ones((COUNT, 500, 3, 2))
    mask[:, ::2] = 0
    errors[:, :, ::2] *= np.array([100.0, 0.01])[None, :, None, None, None]
    weights = _weights(_moments(errors, mask))
    assert weights == pytest.approx(np.array([[1.0, 0.0], [0.0, 1.0]]), abs=1e-6)


def test_the_sum_is_one_linear_model() -> None:
    """Its free run is the weighted sum of both free runs, worked out row by row."""
    model = _added([one_lag(0.5, 1.0), one_lag(0.9, 0.3)], np.array([[0.25], [0.75]]))
    rng = np.random.default_rng(2)
    window = Window(*(rng.normal(size=(HISTORY, 1)).astype(np.float32) for _ in range(3)))
    w = rng.normal(size=(HORIZON, 1)).astype(np.float32)
    found = np.asarray(rollout(model, model.encode(window), w))[:, 0]
    first = second = float(window.y[-1, 0])
    for k in range(HORIZON):
        first, second = 0.5 * first + 1.0 * float(w[k, 0]), 0.9 * second + 0.3 * float(w[k, 0])
        assert found[k] == pytest.approx(0.25 * first + 0.75 * second, abs=1e-5)


def scored(candidate: Arx | Subspace, error: float, *fits: Lti) -> Score:
    return Score(candidate, error, tuple(fits) * (COUNT // len(fits)))


def test_models_that_err_to_both_sides_are_combined(grid: Grid) -> None:
    """Gains 0.3 and 0.1 in place of 0.2 err alike to both sides: halves of both are right."""
    folds = split(grid.run, HISTORY, HORIZON)
    more = scored(Arx(1, 1), 0.2, one_lag(0.8, 0.3))
    less = scored(Subspace(1), 0.21, one_lag(0.8, 0.1))
    found = combined([more, less], more, grid, folds)
    assert isinstance(found.candidate, Combined)
    assert np.array(found.candidate.weights) == pytest.approx(np.array([[0.5], [0.5]]), abs=1e-3)
    assert found.error < 1e-3
    assert found.candidate.name.startswith("0.50 × ARX(1, 1)")


def test_what_does_not_pay_is_left(grid: Grid) -> None:
    """The right model with a wrong one beside it stays alone; so does one without another of its kind."""
    folds = split(grid.run, HISTORY, HORIZON)
    right, wrong = scored(Arx(1, 1), 1e-7, one_lag(0.8, 0.2)), scored(Subspace(1), 0.5, one_lag(0.8, 0.5))
    assert combined([right, wrong], right, grid, folds) is right
    other = replace(wrong, candidate=Arx(2, 2))
    assert combined([wrong, other], wrong, grid, folds) is wrong
