"""Calibrations of the twin made by hand: errors, quantiles and reaction worked out apart."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.twin.conftest import GAINS, KEEP, PLANT, history_of
from twin.calibrate import _stretched, calibrate, reaction, renew
from twin.dynamics.offset_free import ROWS
from twin.errors import QuestionError, TrainingError
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.planning.backoff import BackOff
from twin.telemetry import Telemetry
from twin.trust import Bands

GAIN = sum(GAINS) / 2
NOISE = 0.3  # of a reading, model units


@pytest.fixture(scope="module")
def twin(hand_made):
    """The same with four members, one a fold."""
    dynamics = hand_made.dynamics
    four = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), dynamics.backbones)
    return replace(hand_made, dynamics=replace(dynamics, backbones=four))


@pytest.fixture(scope="module")
def record(twin):
    return calibrate(twin, telemetry(4000, NOISE))


def telemetry(rows, noise, seed=0):
    """The plant with the mean gain, its flow in random steps, read with noise."""
    rng = np.random.default_rng(seed)
    u = np.repeat(rng.uniform(-1, 1, rows // 15 + 1), 15)[:rows]
    y, path = 0.0, []
    for value in u:
        y = KEEP * y + (1 - KEEP) * GAIN * value
        path.append(y)
    read = 50 + 2 * (np.array(path) + noise * rng.normal(size=rows))
    values = np.column_stack([40 + 10 * u, np.full(rows, 20.0), read])
    times = np.datetime64("2026-01-01", "ns") + np.arange(rows) * np.timedelta64(10, "s")
    return Telemetry(PLANT, times, values, np.zeros(rows, np.int64))


def errors(rows, horizon, gain=GAIN):
    """(n, horizon) measured less forecast, by the formulas of the offset-free estimate written out in float64."""
    y, u = (rows.values[:, 2] - 50) / 2, (rows.values[:, 0] - 40) / 10
    one_step = y[1:] - KEEP * y[:-1] - (1 - KEEP) * gain * u[1:]
    weight = 0.9 ** np.arange(ROWS)
    found = []
    for t in range(ROWS + 4, len(y) - horizon):
        drift = weight @ one_step[t - 1 - np.arange(ROWS)] / weight.sum()
        state, path = y[t], []
        for k in range(1, horizon + 1):
            state = KEEP * state + (1 - KEEP) * gain * u[t + k] + drift
            path.append(y[t + k] - state)
        found.append(path)
    return np.array(found)


def test_margins_are_the_quantiles_of_the_planners_errors(twin, record):
    rows = telemetry(4000, NOISE)
    low, high = record.margins(0.9, 20)
    apart = np.quantile(errors(rows, 5), [0.1, 0.9], axis=0)
    # Blocks of one telemetry differ by chance, and bands are stretched until they hold in each: never narrower.
    first = record.reaction[0] - 1
    for k in range(int(record.reaction[0])):
        assert high[k, 0] == pytest.approx(apart[1, : k + 1].max(), rel=0.15)
        assert low[k, 0] == pytest.approx(-apart[0, : k + 1].min(), rel=0.15)
    assert (high[first:] == high[first]).all()
    assert (record.source, record.twin, record.windows) == ("training", twin.id, 1200)
    assert (record.start, record.end) == (rows.rows(slice(1)).at, rows.at)


def test_the_reaction_is_when_an_mv_has_undone_the_band(twin):
    """At 5 m3/h a row the CV has moved (1 − KEEP) GAIN (0.5 k − …) until it rests at 2 (the trained range ends)."""
    y, path = 0.0, []
    for k in range(1, 21):
        y = KEEP * y + (1 - KEEP) * GAIN * min(0.5 * k, 2.0)
        path.append(y)
    for width in (0.1, 0.4, 1.0):
        assert reaction(twin, of_width(width))[0] == np.argmax(np.array(path) >= width) + 1
    assert reaction(twin, of_width(9.0))[0] == twin.horizon


def of_width(width):
    """Bands of ± that width at every level from 0.9 on."""
    levels = np.array([0.01, 0.1, 0.5, 0.9, 0.99])
    return Bands(levels, np.array([-width, -width, 0.0, width, width])[:, None, None] * np.ones((5, 20, 1)))


@pytest.mark.parametrize(("noise", "share"), [(2 * NOISE, 2.0), (0.75 * NOISE, 0.75), (0.1 * NOISE, 0.5)])
def test_live_telemetry_stretches_and_shrinks_the_bands(twin, record, noise, share):
    after = renew(twin, record, telemetry(3000, noise, seed=7))
    ratio = after.margins(0.9, 10)[1] / record.margins(0.9, 10)[1]
    np.testing.assert_allclose(ratio, share, rtol=0.2)
    assert (after.source, after.windows) == ("live", 1200)
    assert after.id != record.id


def test_too_little_live_telemetry_is_refused(twin, record):
    with pytest.raises(TrainingError, match="100 are needed"):
        renew(twin, record, telemetry(100, NOISE))


def test_a_plan_keeps_the_margin_of_its_calibration_and_names_it(twin, record):
    asked = Objective({"temperature": Setpoint(56.0)})
    answer = plan(twin, history_of(40.0, 50.0), asked, {"temperature": Limit(high=54.0)}, horizon_s=200.0,
                  coverage=0.9, back_off=record)  # fmt: skip
    margin = 2 * record.margins(0.9, 20)[1][:, 0]
    assert answer.calibration == record.id
    np.testing.assert_allclose(answer.cvs["temperature"].high - answer.cvs["temperature"].mean, margin, rtol=1e-9)
    assert answer.cvs["temperature"].mean[-1] == pytest.approx(54 - margin[-1], abs=0.03)
    with pytest.raises(QuestionError, match="calibration"):
        plan(twin, history_of(40.0, 50.0), asked, horizon_s=200.0, back_off=replace(record, twin="another"))


def test_a_record_travels_as_json(record):
    again = BackOff.from_json(json.loads(json.dumps(record.to_json())))
    for ours, theirs in zip(record.margins(0.95, 30), again.margins(0.95, 30), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (again.id, again.start, again.created) == (record.id, record.start, record.created)


def test_one_live_value_of_a_cv_that_is_measured_rarely_does_not_narrow_its_band() -> None:
    bands = Bands.fit(np.random.default_rng(0).normal(size=(2000, 4, 1)), np.ones((2000, 4, 1)))
    mask = np.zeros((200, 4, 1))
    mask[50, 2] = 1
    kept = _stretched(bands, np.array([4]), 0.1 * mask, mask)
    assert kept.quantiles.tolist() == bands.quantiles.tolist()
    wider = _stretched(bands, np.array([4]), 5.0 * mask, mask)
    assert wider.at(0.9, 4)[2, 0] == pytest.approx(5.0)
    narrowed = _stretched(bands, np.array([4]), np.zeros((200, 4, 1)), np.ones((200, 4, 1)))
    assert narrowed.quantiles == pytest.approx(0.5 * bands.quantiles)
