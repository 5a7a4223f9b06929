"""A twin and a slow one, from one call; and telemetry that is too short for it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twin.artifact import MANIFEST, SLOW, Twin, load, save
from twin.dynamics.ensemble import jepas
from twin.dynamics.jepa import Sizes
from twin.errors import ArtifactError, QuestionError, TrainingError
from twin.hierarchy.forecast import forecast
from twin.hierarchy.stride import averaged
from twin.hierarchy.training import back_off, fit
from twin.plants.simulator import Simulator
from twin.plants.surge_tank import SurgeTank
from twin.telemetry import Telemetry
from twin.train import Options

ROWS, STRIDE = 1600, 8
QUICK = Options(budget_s=1.0, seed=1)


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    return Simulator(SurgeTank(), 5).excite(ROWS + 400)


@pytest.fixture(scope="module")
def told() -> list[float]:
    return []


@pytest.fixture(scope="module")
def twin(telemetry, told) -> Twin:
    return fit(telemetry.rows(slice(ROWS)), QUICK, STRIDE, lambda p: told.append(p.fraction), clock=time.process_time)


def test_both_are_trained_and_the_card_says_so(twin, told):
    assert twin.slow is not None
    assert (twin.stride, twin.slow.plant.sample_period_s) == (STRIDE, 80.0)
    about = twin.card["slow"]
    assert about["rows"] == ROWS / STRIDE
    assert about["period_s"] == 80.0
    assert about["horizon_s"] == twin.slow.horizon_s > twin.horizon_s
    assert set(about["backtest"]["cvs"]) == {"level"}
    assert back_off(twin.slow).twin == twin.slow.id
    assert told == sorted(told)
    assert told[-1] <= 1.0


def test_slow_averages_of_unseen_rows_lie_in_their_bands(twin, telemetry):
    """An integrator under known flows: the slow forecast is right to a few centimetres over an hour."""
    held = telemetry.rows(slice(ROWS, None))
    inside, errors = [], []
    for at in range(240, 361, 20):
        past = telemetry.rows(slice(ROWS + at - 600, ROWS + at))
        answer = forecast(twin, past, 5 * STRIDE * 10.0, scale="slow").forecast
        truth = averaged(held.rows(slice(at, at + 5 * STRIDE)), STRIDE).y[:, 0]
        held_flow = held.w[at - 1]
        # The baseline holds the flows; what they really did is known: the integral of the difference.
        drift = np.cumsum((held.w[at : at + 5 * STRIDE] - held_flow) @ np.array([-1.0, 1.0])) / 4.0 / 360.0
        expected = truth - drift.reshape(-1, STRIDE).mean(axis=1)
        band = answer.baseline["level"]
        inside.append((band.low <= expected) & (expected <= band.high))
        errors.append(np.abs(band.mean - expected))
    assert np.max(errors) < 0.15
    assert np.mean(inside) > 0.6


def test_both_come_back_from_disk_and_belong_together(twin, tmp_path: Path):
    save(twin, tmp_path / "twin")
    again = load(tmp_path / "twin")
    assert again.slow is not None
    assert again.slow.id == twin.slow.id
    assert (again.slow.calibration.bands.quantiles == twin.slow.calibration.bands.quantiles).all()
    manifest = json.loads((tmp_path / "twin" / MANIFEST).read_text())
    assert manifest["slow_sha256"] == json.loads((tmp_path / "twin" / SLOW / MANIFEST).read_text())["sha256"]
    save(twin.slow, tmp_path / "other")
    damaged = json.loads((tmp_path / "other" / MANIFEST).read_text())
    damaged["card"] = {}
    (tmp_path / "twin" / SLOW / MANIFEST).write_text(json.dumps(damaged))
    with pytest.raises(ArtifactError, match="damaged"):
        load(tmp_path / "twin")


def test_limits_change_for_both(twin):
    plant = SurgeTank.plant
    changed = twin.under(plant)
    assert changed.slow.plant.sample_period_s == 80.0
    assert changed.slow.plant.tags == changed.plant.tags


def test_a_stride_longer_than_the_data_is_refused_before_anything_is_trained(telemetry):
    with pytest.raises(TrainingError, match=r"leaves 10 averages of these 2000 rows.*at most 15 rows"):
        fit(telemetry, QUICK, 200)
    with pytest.raises(QuestionError, match="2 rows or more"):
        fit(telemetry, QUICK, 1)


def test_runs_too_short_to_average_leave_a_twin_of_one_scale_that_says_why(telemetry):
    """Runs of 40 rows with 60 missing behind each: at a stride of 5 they are of 8 averages."""
    short = Telemetry.from_frame(telemetry.plant, telemetry.frame()[np.arange(len(telemetry)) % 100 < 40])
    with pytest.raises(TrainingError, match=r"leaves 160 averages of these 800 rows: too few rows.*shorter stride"):
        fit(short, QUICK, 5)
    found = fit(short, QUICK, clock=time.process_time)
    assert found.slow is None
    assert "no slow twin: averages over" in found.card["slow"]["why"]
    assert "too few rows to train" in found.card["slow"]["why"]


def test_signs_that_an_earlier_twin_keeps_are_kept_at_both_scales(twin, telemetry):
    asked = {"outflow": {"level": {"asked": -1}}}
    earlier = replace(twin, card={**twin.card, "gain_sign": {"effects": asked}})
    if earlier.dynamics.residuals is None:  # which a twin needs to be a start
        sizes = Sizes(1, 2, twin.history)
        earlier = replace(earlier, dynamics=replace(twin.dynamics, residuals=jepas(sizes, 4, 0)))
    found = fit(telemetry.rows(slice(ROWS)), QUICK, STRIDE, clock=time.process_time, start=earlier)
    assert found.card["gain_sign"]["effects"]["outflow"]["level"]["asked"] == -1
    assert found.slow.card["gain_sign"]["effects"]["outflow"]["level"]["asked"] == -1
