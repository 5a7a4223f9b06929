"""Whether another sample period would do better: on plants where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from twin.training.folds import split
from twin.training.sampling import BLOCK, FACTORS, _averaged, _fit, _free_run, sampling
from twin.windows import Grid


def lag(rows: int, pole: float, noise: float, hold: int, seed: int = 0) -> Grid:
    """y = pole y + (1 − pole) u, measured with noise, under steps of u held for `hold` rows; all about one in size."""
    rng = np.random.default_rng(seed)
    u = np.repeat(rng.choice([-1.0, 1.0], rows // hold + 1), hold)[:rows]
    y = np.zeros(rows)
    for t in range(1, rows):
        y[t] = pole * y[t - 1] + (1 - pole) * u[t]
    y = (y + noise * y.std() * rng.normal(size=rows)) / y.std()
    run = np.zeros(rows, np.int64)
    return Grid(y[:, None].astype(np.float32), u[:, None].astype(np.float32), np.ones((rows, 1), np.float32), run)


def test_a_slow_plant_that_is_read_too_often_is_to_be_averaged() -> None:
    found = sampling(lag(6000, 0.995, 1.0, 300), 2.0)
    assert found["best_s"] > 2.0
    assert [e["period_s"] for e in found["errors"]] == [2.0 * factor for factor in FACTORS]
    errors = {e["period_s"]: e["error"] for e in found["errors"]}
    assert errors[found["best_s"]] == min(errors.values()) < 0.95 * errors[2.0]
    assert f"A sample period of {found['best_s']:g} s would forecast better than 2 s" in found["why"]
    assert found["ahead_s"] == 240.0


def test_a_fast_plant_keeps_its_period() -> None:
    found = sampling(lag(6000, 0.5, 0.02, 7), 10.0)
    assert found["best_s"] == 10.0
    assert found["why"].startswith("No longer sample period")


@pytest.mark.parametrize("rows", [0, 1, 50, 400])
def test_too_few_rows_tell_nothing(rows: int) -> None:
    grid = lag(400, 0.9, 0.1, 20)
    found = sampling(Grid(*(part[:rows] for part in (grid.y, grid.w, grid.mask, grid.run))), 1.0)
    assert found["errors"] == []
    assert found["best_s"] == 1.0
    assert "Too few rows" in found["why"]


def test_averages_are_of_what_was_measured_and_lie_in_one_run() -> None:
    grid = lag(5000, 0.9, 0.1, 20)
    mask = grid.mask.copy()
    mask[0], grid.y[0] = 0.0, 99.0  # held, not measured
    run = np.r_[np.zeros(2501, np.int64), np.ones(2499, np.int64)]
    folds = split(run, 96, 120)
    rows = _averaged(Grid(grid.y, grid.w, mask, run), folds, 3)
    assert len(rows.y) == (2501 // BLOCK + 2499 // BLOCK) * BLOCK // 3
    assert rows.y[0, 0] == pytest.approx(grid.y[1:3, 0].mean(), abs=1e-3)
    second = int(np.flatnonzero(rows.run == 1)[0])
    assert rows.y[second, 0] == pytest.approx(grid.y[2501:2504, 0].mean(), abs=1e-5)


def test_the_free_run_is_that_of_the_difference_equation() -> None:
    grid = lag(4000, 0.9, 0.0, 20)
    rows = _averaged(grid, split(grid.run, 96, 120), 1)
    fitted = _fit(rows, 2, 0)
    y = _free_run(fitted, rows.y[None, 100:102], rows.w[None, 101:142], 2)
    np.testing.assert_allclose(y[0, :, 0], rows.y[102:142, 0], atol=0.02)
