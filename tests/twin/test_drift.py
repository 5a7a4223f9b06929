"""Drift and backtests of the twin made by hand: errors worked out apart, from the plant's equation and its noise."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from tests.twin.conftest import GAINS, HISTORY, HORIZON, KEEP, PLANT
from twin.comparison import backtest
from twin.drift import GREW, drift
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.lti import arx
from twin.errors import QuestionError, TelemetryError
from twin.telemetry import Telemetry

GAIN, NOISE = sum(GAINS) / 2, 0.3  # of a reading, model units: 2 degC each
STEPS = np.arange(1, HORIZON + 1)
USUAL = 2 * NOISE * np.sqrt(1 + KEEP ** (2 * STEPS))  # a forecast starts at a reading and is held against one


@pytest.fixture(scope="module")
def twin(hand_made):
    coverage = {"asked": 0.9, "measured": [0.9] * HORIZON}
    cvs = {"temperature": {"rmse": {"twin": USUAL.tolist()}, "coverage": coverage}}
    return replace(hand_made, card={"backtest": {"cvs": cvs}, "data": {"end": "2025-12-31T00:00:00+00:00"}})


def telemetry(rows=3000, gain=GAIN, offset=0.0, reach=1.0, seed=0):
    """The plant with a gain, its flow in random steps, read with noise and an offset (an array is one a row)."""
    rng = np.random.default_rng(seed)
    u = np.repeat(rng.uniform(-reach, reach, rows // 15 + 1), 15)[:rows]
    y, path = 0.0, []
    for value, g in zip(u, np.broadcast_to(gain, rows), strict=True):
        y = KEEP * y + (1 - KEEP) * g * value
        path.append(y)
    read = 50 + 2 * (np.array(path) + NOISE * rng.normal(size=rows)) + offset
    values = np.column_stack([40 + 10 * u, np.full(rows, 20.0), read])
    times = np.datetime64("2026-01-01", "ns") + np.arange(rows) * np.timedelta64(10, "s")
    return Telemetry(PLANT, times, values, np.zeros(rows, np.int64))


def errors(rows, gain=GAIN):
    """(n, horizon) measured less forecast by the twin's equation, written out in float64, in degC."""
    y, u = (rows.values[:, 2] - 50) / 2, (rows.values[:, 0] - 40) / 10
    found = []
    for t in range(HISTORY - 1, len(y) - HORIZON):
        state, path = y[t], []
        for k in STEPS:
            state = KEEP * state + (1 - KEEP) * gain * u[t + k]
            path.append(2 * (y[t + k] - state))
        found.append(path)
    return np.array(found)


def test_a_plant_that_has_not_changed_is_stable(twin):
    found = drift(twin, telemetry())
    assert (found["status"], found["reasons"]) == ("stable", [])
    ratio = found["cvs"]["temperature"]["ratio"]
    assert ratio["low"] < 1 < ratio["high"]
    assert ratio["mean"] == pytest.approx(1, abs=0.05)
    assert found["cvs"]["temperature"]["rmse"]["report"] == pytest.approx(USUAL.mean())
    assert (found["outside"], found["beyond"]["flow"]) == (0.0, 0.0)
    assert len(found["timeline"]["times"]) == 8
    json.dumps(found, allow_nan=False)


def test_a_plant_whose_gain_has_changed_calls_for_training(twin):
    rows = telemetry(gain=3.0)
    found = drift(twin, rows)
    assert found["status"] == "retrain"
    expected = (np.sqrt((errors(rows) ** 2).mean(axis=0)) / USUAL).mean()
    cv = found["cvs"]["temperature"]
    assert expected > 1.5
    assert cv["ratio"]["mean"] == pytest.approx(expected, rel=0.1)
    assert cv["ratio"]["low"] > GREW
    assert "train again" in found["detail"]
    first = next(r for r in found["reasons"] if r["code"] == "error_grew")
    assert (first["certain"], first["tag"], first["since"]) == (True, "temperature", found["start"])
    # The bands of the twin made by hand hold what is within 0.9 of 1 either side, model units.
    inside = (np.abs(errors(rows)) < 1.8).mean()
    assert cv["coverage"]["since"]["mean"] == pytest.approx(inside, abs=0.03)


def in_unit(twin, size):
    """The twin with its CV in a unit whose numbers are so many times larger."""
    (cv,) = twin.card["backtest"]["cvs"].values()
    cvs = {"temperature": cv | {"rmse": {"twin": [size * value for value in cv["rmse"]["twin"]]}}}
    scaler = replace(twin.scaler, y_mean=size * twin.scaler.y_mean, y_scale=size * twin.scaler.y_scale)
    return replace(twin, scaler=scaler, card=twin.card | {"backtest": {"cvs": cvs}})


@pytest.mark.parametrize("size", [1e-15, 1e-6, 1e7])
def test_a_change_is_seen_in_any_unit(twin, size):
    rows = telemetry(gain=3.0)
    plain = drift(twin, rows)["cvs"]["temperature"]["ratio"]
    found = drift(in_unit(twin, size), replace(rows, values=rows.values * [1.0, 1.0, size]))
    assert found["status"] == "retrain"
    assert found["cvs"]["temperature"]["ratio"] == pytest.approx(plain, rel=1e-3)


def test_rows_that_the_report_never_measured_tell_nothing(twin):
    seldom = np.arange(HORIZON) % 3 == 0  # of a laboratory's CV: the other rows' error and coverage are told as 0
    cv = {
        "rmse": {"twin": np.where(seldom, USUAL, 0.0).tolist()},
        "coverage": {"asked": 0.9, "measured": np.where(seldom, 0.9, 0.0).tolist()},
    }
    found = drift(replace(twin, card={"backtest": {"cvs": {"temperature": cv}}}), telemetry())
    assert (found["status"], found["reasons"]) == ("stable", [])
    told = found["cvs"]["temperature"]
    assert told["ratio"]["mean"] == pytest.approx(1, abs=0.05)
    assert told["coverage"]["report"] == pytest.approx(0.9)
    assert told["rmse"]["report"] == pytest.approx(USUAL[seldom].mean())


def test_without_a_measured_value_nothing_is_called_stable(twin):
    rows = telemetry()
    silent = replace(rows, values=np.where([False, False, True], np.nan, rows.values))
    assert drift(twin, silent)["status"] == "unknown"


def test_it_is_told_since_when(twin):
    rows = 3000
    half = np.where(np.arange(rows) < rows / 2, GAIN, 4.0)
    found = drift(twin, telemetry(rows, gain=half))
    grew = next(r for r in found["reasons"] if r["code"] == "error_grew")
    since, changed = pd.Timestamp(grew["since"]), pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(15000, "s")
    assert abs(since - changed) <= pd.Timedelta(rows * 10 / 8, "s")


def test_a_sensor_that_reads_high_is_a_bias_in_degc(twin):
    found = drift(twin, telemetry(offset=6.0))
    biased = next(r for r in found["reasons"] if r["code"] == "biased")
    # 6 degC above its equation's rest: a forecast falls back toward it by (1 - KEEP^k) of them.
    assert biased["value"] == pytest.approx(6 * (1 - KEEP**STEPS).mean(), abs=0.15)
    assert found["cvs"]["temperature"]["bias"] == biased["value"]


def test_inputs_beyond_the_trained_range_are_to_be_watched_where_the_forecasts_are_right(twin):
    rows = telemetry(reach=4.0)
    found = drift(twin, rows)
    assert found["status"] == "watch"
    flow = rows.values[:, 0]
    assert found["beyond"]["flow"] == pytest.approx(((flow < 18) | (flow > 62)).mean())
    assert {r["code"] for r in found["reasons"]} >= {"beyond_trained_range"}


def test_too_little_telemetry_is_unknown(twin):
    assert drift(twin, telemetry(40))["status"] == "unknown"
    assert drift(twin, Telemetry.empty(PLANT))["status"] == "unknown"
    assert drift(replace(twin, card={}), telemetry())["status"] == "unknown"


def test_forecasts_that_share_their_rows_are_no_certainty(twin):
    """80 rows hold 57 forecasts, but hardly three horizons."""
    found = drift(twin, telemetry(80, gain=3.0))
    assert (found["windows"], len(found["timeline"]["times"])) == (57, 3)
    one = drift(twin, telemetry(48, gain=3.0))
    assert len(one["timeline"]["times"]) == 2
    assert [r for r in one["reasons"] if r["certain"]] == []
    json.dumps(backtest([(twin, telemetry(48)), (weaker(twin, 0.5), telemetry(48))]), allow_nan=False)


def weaker(twin, gain):
    member = arx(np.array([[[KEEP]]]), np.array([[[(1 - KEEP) * gain, 0.0]]]), np.zeros(1), HISTORY)
    dynamics = Ensemble(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), member), None, twin.region)
    return replace(twin, id=f"gain-{gain:g}", dynamics=dynamics)


def test_the_better_twin_is_named_where_the_rows_tell(twin):
    rows, other = telemetry(), weaker(twin, 0.5)
    start = pd.Timestamp("2026-01-01T02:00:00Z")
    found = backtest([(twin, rows), (other, rows)], start)
    assert found["start"] == "2026-01-01T02:00:00+00:00"
    new = rows.values[719 - HISTORY + 1 :]  # the first forecast begins at the last row before the start
    later = replace(rows, times=rows.times[-len(new) :], values=new, run=rows.run[-len(new) :])
    for name, gain in ((twin.id, GAIN), (other.id, 0.5)):
        rmse = found["twins"][name]["cvs"]["temperature"]["rmse"]["twin"]
        np.testing.assert_allclose(rmse, np.sqrt((errors(later, gain) ** 2).mean(axis=0)), rtol=0.1)
    told = found["comparisons"][0]
    assert (told["twin"], told["against"], told["better"]) == (other.id, twin.id, twin.id)
    assert 1 < told["ratio"]["low"] < told["ratio"]["mean"] < told["ratio"]["high"]
    held = found["twins"][twin.id]["cvs"]["temperature"]["rmse"]["persistence"]
    y = later.values[:, 2]
    apart = [
        np.sqrt(np.mean((y[HISTORY - 1 + k : len(y) - HORIZON + k] - y[HISTORY - 1 : -HORIZON]) ** 2)) for k in (1, 20)
    ]
    np.testing.assert_allclose([held[0], held[-1]], apart, rtol=0.1)


def test_a_twin_like_the_other_is_not_better(twin):
    rows = telemetry(seed=3)
    told = backtest([(twin, rows), (weaker(twin, GAIN), rows)])["comparisons"][0]
    assert told["better"] is None
    assert told["ratio"]["mean"] == pytest.approx(1, abs=1e-4)


def test_what_cannot_be_compared_is_refused(twin):
    rows = telemetry()
    slower = replace(twin, plant=replace(PLANT, sample_period_s=20.0))
    with pytest.raises(QuestionError, match="sample periods"):
        backtest([(twin, rows), (slower, rows)])
    with pytest.raises(TelemetryError, match="24 are needed"):
        backtest([(twin, rows)], pd.Timestamp("2026-02-01", tz="UTC"))
