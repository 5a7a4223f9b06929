"""What DVs are expected to do, against autoregressions worked out on paper and processes whose best forecast is
known."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from twin.dynamics.disturbances import DisturbanceModel
from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.training.disturbances import expected, fit
from twin.training.folds import split
from twin.windows import Grid

PLANT = Plant(
    "DVs",
    60.0,
    (
        Tag("valve", Role.MV, "%", 0.0, 100.0),
        Tag("returns", Role.DV, "K"),
        Tag("steps", Role.DV, "t/h"),
        Tag("still", Role.DV, "bar"),
        Tag("level", Role.CV, "m"),
    ),
)
ROWS, KEEP, MEAN = 4000, 0.7, 300.0


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    """`returns` is an autoregression of order 1 about 300 K, `steps` a walk in rare steps, `still` stands still."""
    rng = np.random.default_rng(3)
    returns = np.zeros(ROWS)
    for k in range(1, ROWS):
        returns[k] = KEEP * returns[k - 1] + rng.normal()
    steps = 20 + np.cumsum(np.where(rng.random(ROWS) < 0.01, rng.normal(size=ROWS), 0.0))
    data = {"valve": 50.0, "returns": MEAN + returns, "steps": steps, "still": 4.0, "level": rng.normal(size=ROWS)}
    index = pd.date_range("2026-01-01", periods=ROWS, freq="60s", tz="UTC", name="time")
    return Telemetry.from_frame(PLANT, pd.DataFrame(data, index=index))


def test_forecast_by_hand() -> None:
    """0.5 of the last deviation and 0.25 of the one before, about 10: 12, 16 are followed by 13.5, 13.25, 12.5."""
    model = DisturbanceModel(np.array([10.0]), np.array([[0.25, 0.5]]), np.array([0.0]), np.array([20.0]))
    found = model.forecast(np.array([[99.0], [12.0], [16.0]]), 3)
    assert found[:, 0] == pytest.approx([13.5, 13.25, 12.5], abs=1e-12)


def test_short_past_repeats_its_first_row() -> None:
    model = DisturbanceModel(np.array([10.0]), np.array([[0.25, 0.5]]), np.array([0.0]), np.array([20.0]))
    assert model.forecast(np.array([[14.0]]), 1)[0, 0] == pytest.approx(10 + 0.75 * 4)


def test_forecasts_stay_in_what_was_seen_or_come_back_to_it() -> None:
    rings = DisturbanceModel(np.array([1.0]), np.array([[-0.9]]), np.array([0.0]), np.array([3.0]))
    assert rings.forecast(np.array([[3.0]]), 2)[:, 0] == pytest.approx([0.0, 1 + 0.81 * 2])  # −0.8 was never seen
    far = DisturbanceModel(np.array([1.0]), np.array([[0.9]]), np.array([0.0]), np.array([3.0]))
    assert far.forecast(np.array([[11.0]]), 2)[:, 0] == pytest.approx([10.0, 9.1])  # as fast as ever, not at once


def test_held_to_the_last_bit() -> None:
    past = np.array([[0.1, 1e9 + 0.3]])
    assert (DisturbanceModel.held(2).forecast(past, 50) == past).all()


def test_batches_are_forecast_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    model = DisturbanceModel(
        np.array([1.0, 2.0]), np.array([[0.2, 0.5], [0.0, 1.0]]), np.full(2, -9.0), np.full(2, 9.0)
    )
    past = rng.normal(size=(5, 7, 2))
    alone = np.stack([model.forecast(one, 6) for one in past])
    assert model.forecast(past, 6) == pytest.approx(alone, abs=1e-15)


def test_each_dv_is_forecast_as_it_behaves(telemetry: Telemetry) -> None:
    """The walk and what stands still hold; of the autoregression its own coefficient is found, and its error out of
    fold is near to what theory says: the mean over k = 1 … 60 of (1 − 0.7²ᵏ) / (1 − 0.7²)."""
    model, told = fit(telemetry, split(telemetry.run, 32, 60))
    assert model.holds.tolist() == [False, True, True]
    assert (told["steps"]["order"], told["still"]["order"]) == (0, 0)
    impulse = model.forecast(np.array([[MEAN, 20.0, 4.0]] * 7 + [[MEAN + 3, 20.0, 4.0]]), 5)[:, 0]
    assert impulse - model.mean[0] == pytest.approx(3 * KEEP ** np.arange(1, 6), abs=0.25)
    powers = KEEP ** (2 * np.arange(1, 61))
    assert told["returns"]["error"] == pytest.approx(np.sqrt(np.mean((1 - powers) / (1 - KEEP**2))), rel=0.05)
    assert told["returns"]["held"] == pytest.approx(
        np.sqrt(np.mean(2 * (1 - KEEP ** np.arange(1, 61)) / (1 - KEEP**2))), rel=0.07
    )


def test_expected_inputs_are_those_that_came_but_for_dvs(telemetry: Telemetry) -> None:
    scaler = Scaler.fit(telemetry)
    grid, ends = Grid.of(telemetry, scaler), np.array([100, 500])
    model, _ = fit(telemetry, split(telemetry.run, 32, 60))
    w = scaler.w_out(expected(model, scaler, grid, ends, 10))
    came = telemetry.w[ends[:, None] + np.arange(1, 11)]
    assert w[..., 0] == pytest.approx(came[..., 0], rel=1e-5)
    for i, end in enumerate(ends):
        assert w[i, :, 1:] == pytest.approx(model.forecast(telemetry.w[end - 7 : end + 1, 1:], 10), rel=1e-5)


def test_a_plant_without_dvs_and_short_runs() -> None:
    alone = Plant("No DV", 60.0, tuple(tag for tag in PLANT.tags if tag.role is not Role.DV))
    index = pd.date_range("2026-01-01", periods=400, freq="60s", tz="UTC", name="time")
    rows = Telemetry.from_frame(alone, pd.DataFrame({"valve": 1.0, "level": 2.0}, index=index))
    model, told = fit(rows, split(rows.run, 8, 8))
    assert (model.forecast(np.zeros((8, 0)), 3).shape, told) == ((3, 0), {})


def test_a_dv_that_mostly_rests_is_expected_to_rest_and_not_at_its_mean() -> None:
    """A pulse of 4 for three rows in forty: its mean is 0.3, which it never has."""
    tags = Tag("pulse", Role.DV, "g/min"), Tag("valve", Role.MV, "%"), Tag("level", Role.CV, "m")
    plant = Plant("Pulses", 60.0, tags)
    rng, pulse = np.random.default_rng(5), np.zeros(ROWS)
    for start in range(20, ROWS - 40, 40):
        at = start + int(rng.integers(0, 20))
        pulse[at : at + 3] = 4.0
    index = pd.date_range("2026-01-01", periods=ROWS, freq="60s", tz="UTC", name="time")
    data = {"pulse": pulse, "valve": rng.normal(size=ROWS), "level": rng.normal(size=ROWS)}
    rows = Telemetry.from_frame(plant, pd.DataFrame(data, index=index))
    model, told = fit(rows, split(rows.run, 32, 60))
    assert told["pulse"]["order"] > 0  # a pulse ends
    assert model.forecast(np.zeros((8, 1)), 60)[:, 0].tolist() == [0.0] * 60  # none is supposed where there is none
    behind = model.forecast(np.array([[0.0]] * 5 + [[4.0]] * 3), 60)[:, 0]
    assert np.abs(behind[10:]).max() < 0.2


def test_a_dv_that_a_whole_run_is_without_is_fitted_to_the_others(telemetry: Telemetry) -> None:
    """A sensor that came later: what it is expected to do is told by the run that has it alone."""
    half = ROWS // 2
    run = np.repeat([0, 1], half)
    values = telemetry.values.copy()
    values[:half, 1] = np.nan
    rows = Telemetry(PLANT, telemetry.times, values, run)
    folds = split(run, 32, 60)
    model, told = fit(rows, folds)
    later = telemetry.values[half:, 1]
    assert model.mean[0] == pytest.approx(later.mean(), abs=1e-9)
    assert (model.low[0], model.high[0]) == (later.min(), later.max())
    assert model.coefficients[0, -1] == pytest.approx(KEEP, abs=0.1)
    powers = KEEP ** (2 * np.arange(1, 61))
    assert told["returns"]["error"] == pytest.approx(np.sqrt(np.mean((1 - powers) / (1 - KEEP**2))), rel=0.07)
    both, told_of_both = fit(telemetry, folds)
    assert told["steps"] == told_of_both["steps"]
    assert (model.coefficients[1:] == both.coefficients[1:]).all()


def test_days_of_rows_take_no_longer_than_they_are_long() -> None:
    """0.9 a row from 1: what is left after k rows is 0.9ᵏ."""
    model = DisturbanceModel(np.zeros(2), np.tile(0.9 * np.eye(8)[-1], (2, 1)), np.full(2, -9.0), np.full(2, 9.0))
    began = time.process_time()
    found = model.forecast(np.ones((8, 2)), 60_000)[:, 1]
    assert time.process_time() - began < 8.0  # by copying with every row what is known it took minutes
    assert found[[0, 99]] == pytest.approx([0.9, 0.9**100])
