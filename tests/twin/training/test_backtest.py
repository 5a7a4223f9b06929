"""The backtest table, against numbers worked out by hand and by construction."""

from __future__ import annotations

import numpy as np
import pytest

from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.training.backtest import backtest

PLANT = Plant("p", 5.0, (Tag("u", Role.MV), Tag("y", Role.CV, "degC")))
SCALER = Scaler(np.array([0.0]), np.array([10.0]), np.array([0.0]), np.array([1.0]))


def test_errors_are_root_mean_squares_in_engineering_units_of_what_was_measured() -> None:
    residuals = np.array([[[3.0], [1.0]], [[4.0], [1.0]], [[100.0], [1.0]], [[0.0], [1.0]]])
    mask = np.array([[[1.0], [1.0]], [[1.0], [1.0]], [[0.0], [1.0]], [[0.0], [1.0]]])
    table = backtest(PLANT, SCALER, {"twin": residuals, "persistence": 2 * residuals}, mask, np.array([0, 0, 1, 1]))
    errors = table["cvs"]["y"]["rmse"]
    assert errors["twin"] == pytest.approx([10 * np.sqrt(12.5), 10.0])
    assert errors["persistence"] == pytest.approx([20 * np.sqrt(12.5), 20.0])
    assert (table["windows"], table["times_s"], table["horizons"]) == (4, [5.0, 10.0], [1, 2])


def test_coverage_is_measured_on_blocks_the_bands_were_not_fitted_to() -> None:
    """Fold 0 scatters twice as wide as the others: its values leave the bands that the others give."""
    rng = np.random.default_rng(0)
    fold = np.repeat([0, 1, 2, 3], 5000)
    residuals = rng.normal(size=(20_000, 1, 1)) * np.where(fold == 0, 2.0, 1.0)[:, None, None]
    table = backtest(PLANT, SCALER, {"twin": residuals}, np.ones_like(residuals), fold)
    # Fold 0, seen by the bands of N(0, 1), ±1.645, which the other folds do not stretch: 0.589 inside. Another fold,
    # seen by the bands of its mixture with fold 0, ±2.278, stretched by 1.279 so that they hold 90 % of fold 0 (0.707
    # in ±1.645 · 1.279) and of two folds of N(0, 1) (0.996 in ±2.278 · 1.279) together: 0.996 inside.
    assert table["cvs"]["y"]["coverage"]["measured"][0] == pytest.approx((0.589 + 3 * 0.9964) / 4, abs=0.01)


def test_coverage_of_folds_that_are_alike_is_what_is_asked() -> None:
    residuals = np.random.default_rng(1).normal(size=(20_000, 2, 1))
    table = backtest(PLANT, SCALER, {"twin": residuals}, np.ones_like(residuals), np.arange(20_000) % 4)
    assert table["cvs"]["y"]["coverage"]["measured"] == pytest.approx([0.9, 0.9], abs=0.01)
