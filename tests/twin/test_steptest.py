"""Step tests: inside limits and rates to the last bit, uncorrelated, long enough; CV limits kept by the response."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.conftest import KEEP, history_of
from twin.artifact import Twin
from twin.errors import QuestionError
from twin.moves import Envelope
from twin.plant import Plant, Role, Tag
from twin.steptest import LENGTH, _maximal, design

AT = pd.Timestamp("2026-01-01", tz="UTC")
PLANT = Plant(
    "p",
    10.0,
    (
        Tag("a", Role.MV, "%", 0.0, 100.0, rate_limit_per_s=0.3),
        Tag("b", Role.MV, "%", 0.0, 50.0),
        Tag("c", Role.MV, "%", -1.0, 1.0, rate_limit_per_s=0.01),
        Tag("y", Role.CV),
    ),
)
PRESENT = {"a": 97.0, "b": 20.0, "c": 0.0}


@pytest.mark.parametrize("order", [3, 4, 5, 6, 7, 9, 10, 11])
def test_a_sequence_of_maximal_length_has_its_two_valued_autocorrelation(order: int) -> None:
    sequence = _maximal(order)
    n = len(sequence)
    products = [round(float(sequence @ np.roll(sequence, k))) for k in range(n)]
    assert products == [n] + [-1] * (n - 1)  # Godfrey 1993: N, then −1 everywhere


@settings(max_examples=40, deadline=None)
@given(st.floats(-20, 120), st.floats(0, 50), st.floats(50, 2000), st.sampled_from(["gbn", "prbs"]), st.integers(0, 9))
def test_every_value_is_inside_limits_and_rates(a: float, b: float, settling: float, signal: str, seed: int) -> None:
    test = design(PLANT, {"a": a, "b": b, "c": 0.5}, AT, settling_s=settling, signal=signal, seed=seed)
    for tag in PLANT.mvs:
        before = {"a": a, "b": b, "c": 0.5}[tag.name]
        for value in test.moves[tag.name].tolist():
            assert Envelope.of(tag, 10.0).admits(value, before)
            before = value


@pytest.mark.parametrize("signal", ["gbn", "prbs"])
def test_length_levels_and_correlation_are_as_said(signal: str) -> None:
    test = design(PLANT, PRESENT, AT, settling_s=300.0, signal=signal)
    assert len(test.times) == (LENGTH + 1) * 30
    assert test.times[0] == AT + pd.Timedelta(seconds=10)
    assert (test.mvs["a"].low, test.mvs["a"].high) == (80.0, 100.0)  # a tenth of the range, pushed back inside
    assert (test.mvs["b"].low, test.mvs["b"].high) == (15.0, 25.0)
    assert np.ptp(test.moves["b"][-30:]) == 0  # the last switch has time to show
    moves = np.stack([test.moves[name] for name in "abc"])
    assert np.abs(np.corrcoef(moves) - np.eye(3)).max() < 0.25
    assert 20 < test.mvs["b"].switches < 200


def test_gbn_switches_as_often_as_tulleken_says() -> None:
    test = design(PLANT, PRESENT, AT, settling_s=600.0, length_s=600_000.0, mvs=["b"])
    # A mean of a third of the settling time, 200 s, in slots of a fifteenth, 40 s.
    assert test.mvs["b"].switching_s == pytest.approx(200.0, rel=0.1)
    runs = np.diff(np.flatnonzero(np.diff(test.moves["b"])))
    assert runs.min() == 4
    assert (runs % 4 == 0).all()


def test_an_mv_that_is_not_tested_holds_and_an_amplitude_asked_is_kept() -> None:
    test = design(PLANT, PRESENT, AT, settling_s=300.0, mvs=["b"], amplitude={"b": 2.5})
    assert set(test.moves["a"]) == {97.0}
    assert set(test.moves["b"]) == {17.5, 22.5, 20.0}
    frame = pd.read_csv(io.StringIO(test.to_csv()))
    assert frame["b"].tolist() == test.moves["b"].tolist()
    assert pd.DatetimeIndex(frame["time"]).tz_convert("UTC").equals(test.times)


def test_what_cannot_be_designed_is_refused_by_name() -> None:
    with pytest.raises(QuestionError, match="settling_s, or train a twin"):
        design(PLANT, PRESENT, AT)
    with pytest.raises(QuestionError, match="y is a CV"):
        design(PLANT, PRESENT, AT, settling_s=300.0, mvs=["y"])
    with pytest.raises(QuestionError, match="ask for gbn"):
        design(PLANT, PRESENT, AT, settling_s=300.0, length_s=1300.0, signal="prbs")
    with pytest.raises(QuestionError, match="leave nothing"):
        design(PLANT, PRESENT, AT, settling_s=300.0, limits={"a": (60.0, 50.0)})
    open_ended = replace(PLANT, tags=(Tag("a", Role.MV), *PLANT.tags[1:]))
    with pytest.raises(QuestionError, match="needs low and high"):
        design(open_ended, PRESENT, AT, settling_s=300.0)


def test_cv_limits_are_kept_by_the_response_that_the_twin_foresees(hand_made: Twin) -> None:
    """temperature goes 0.3 degC per m3/h: the band is ±1.9 degC (95 %), the limit at +2.5 leaves 0.6, 2 m3/h up."""
    history = history_of(40.0, 50.0)
    ask = {"settling_s": 140.0, "amplitude": {"flow": 10.0}, "twin": hand_made, "history": history}
    free = design(hand_made.plant, {"flow": 40.0}, history.at, **ask)
    assert (free.mvs["flow"].low, free.mvs["flow"].high) == (30.0, 50.0)
    assert free.cvs["temperature"][1] == pytest.approx(50 + 3.0 * (1 - KEEP**20) + 1.9, abs=0.15)
    kept = design(hand_made.plant, {"flow": 40.0}, history.at, limits={"temperature": (None, 52.5)}, **ask)
    assert kept.cvs["temperature"][1] <= 52.5
    assert kept.mvs["flow"].high == pytest.approx(42.0, abs=0.3)
    assert "temperature" in kept.notes[0]
    lost = design(hand_made.plant, {"flow": 40.0}, history.at, limits={"temperature": (None, 50.0)}, **ask)
    assert "already lies too near" in lost.notes[0]


def test_settling_times_come_from_the_twin(hand_made: Twin) -> None:
    history = history_of(40.0, 50.0)
    test = design(hand_made.plant, {"flow": 40.0}, history.at, twin=hand_made, history=history)
    assert test.mvs["flow"].settling_s == 140.0  # 0.8^14 < 5 %


@pytest.mark.parametrize("size", [1.0, 1e-14])
def test_an_amplitude_shows_above_the_noise_in_any_unit_and_where_the_first_row_was_never_measured(
    hand_made: Twin, size: float
) -> None:
    """temperature goes 0.3 degC per m3/h: three times a noise of 0.5 degC takes 5 m3/h."""
    scaler = replace(hand_made.scaler, y_mean=size * hand_made.scaler.y_mean, y_scale=size * hand_made.scaler.y_scale)
    rmse = {"twin": [0.0, 0.0, *[0.5 * size] * 18]}  # of a CV that is measured rarely
    twin = replace(hand_made, scaler=scaler, card={"backtest": {"cvs": {"temperature": {"rmse": rmse}}}})
    test = design(twin.plant, {"flow": 40.0}, AT, settling_s=140.0, twin=twin)
    assert (test.mvs["flow"].low, test.mvs["flow"].high) == pytest.approx((35.0, 45.0), rel=0.002)
