"""Telemetry as it should not be: each kind has a defined answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twin.errors import HistoryError, TrainingError
from twin.history import recent_windows
from twin.plant import Plant, Role, Tag
from twin.predict import Scenario, forecast
from twin.quality import assess
from twin.telemetry import Telemetry
from twin.timeline import Step
from twin.train import Options, fit

QUICK = Options(budget_s=1e-3)
PLANT = Plant(
    "Odd",
    10.0,
    (
        Tag("valve", Role.MV, low=-5.0, high=5.0),
        Tag("twin_valve", Role.MV, low=-5.0, high=5.0),
        Tag("still", Role.DV),
        Tag("level", Role.CV),
        Tag("flat", Role.CV),
        Tag("rare", Role.CV),
    ),
)


def frame(rows=700):
    """Two MVs that are one, a DV and a CV that never move, a CV with five values, and a CV that follows the valve."""
    rng = np.random.default_rng(4)
    valve = np.repeat(rng.uniform(-1, 1, rows // 10 + 1), 10)[:rows]
    level = np.zeros(rows)
    for t in range(1, rows):
        level[t] = 0.8 * level[t - 1] + 0.2 * 2.0 * valve[t]
    level += 0.01 * rng.normal(size=rows)
    rare = np.full(rows, np.nan)
    rare[::150] = level[::150]
    index = pd.date_range("2026-01-01", periods=rows, freq="10s", tz="UTC", name="time")
    columns = {"valve": valve, "twin_valve": valve, "still": 3.0, "level": level, "flat": 7.0, "rare": rare}
    return pd.DataFrame(columns, index)


@pytest.fixture(scope="module")
def twin():
    return fit(Telemetry.from_frame(PLANT, frame()), QUICK)


def test_constant_tags_train_and_stay_what_they_are(twin):
    rows = Telemetry.from_frame(PLANT, frame())
    answer = forecast(twin, rows, 300.0)
    np.testing.assert_allclose(answer.baseline["flat"].mean, 7.0, atol=1e-3)
    assert "still" in twin.card["unknown_effects"]
    found = {(w["tag"], w["code"]) for w in assess(rows)["warnings"]}
    assert {("flat", "constant"), ("still", "constant")} <= found


def test_a_cv_with_five_values_trains_and_its_forecasts_are_finite(twin):
    answer = forecast(twin, Telemetry.from_frame(PLANT, frame()), 300.0)
    band = answer.baseline["rare"]
    assert np.isfinite([band.mean, band.low, band.high]).all()
    found = {(w["tag"], w["code"]) for w in assess(Telemetry.from_frame(PLANT, frame()))["warnings"]}
    assert ("rare", "missing") in found


def test_a_rarely_measured_cv_holds_its_last_value_from_however_far_back(twin):
    rows = Telemetry.from_frame(PLANT, frame())  # the last value of "rare" is that of row 600, 99 rows ago
    window = recent_windows(twin, rows)[0]
    held = (frame()["rare"].iloc[600] - twin.scaler.y_mean[2]) / twin.scaler.y_scale[2]
    np.testing.assert_allclose(window.y[-1, :, 2], held, rtol=1e-5)
    assert window.mask[-1, 1:, 2].sum() == 0
    recent = frame()
    recent.iloc[-80:, 3] = np.nan
    with pytest.raises(HistoryError, match="level"):  # it always had values in training
        forecast(twin, Telemetry.from_frame(PLANT, recent), 300.0)


def test_two_mvs_that_are_one_share_the_effect_and_are_told(twin):
    rows = Telemetry.from_frame(PLANT, frame())
    both = {name: [Step(0.0, 1.0)] for name in ("valve", "twin_valve")}
    one = {"valve": [Step(0.0, 1.0)], "twin_valve": [Step(0.0, -1.0)]}
    together, apart = forecast(twin, rows, 600.0, [Scenario("both", both), Scenario("apart", one)]).scenarios
    assert together.cvs["level"].mean[-1] == pytest.approx(2.0, abs=0.1)  # 2 · valve at rest
    assert {r.code for r in apart.trust.reasons} >= {"unidentifiable_effect"}
    assert "unidentifiable_effect" not in {r.code for r in together.trust.reasons}
    assert twin.card["identifiability"]["mvs"]["valve"]["verdict"] == "unidentifiable"


def test_a_column_without_a_value_is_refused_by_name():
    with pytest.raises(TrainingError, match="no measured value of rare"):
        fit(Telemetry.from_frame(PLANT, frame().assign(rare=np.nan)), QUICK)


def test_clocks_that_jump_back_put_rows_where_their_stamps_say():
    good, jumped = frame(200), frame(200)
    order = np.r_[0:100, 150:200, 100:150]  # as it arrived: the clock went back by 500 s
    jumped = jumped.iloc[order]
    a, b = (Telemetry.from_frame(PLANT, f) for f in (good, jumped))
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.times, b.times)
    again = pd.concat([good, good.iloc[50:60].assign(level=99.0)])  # the same stamps twice: the last value wins
    assert (Telemetry.from_frame(PLANT, again).frame()["level"].iloc[50:60] == 99.0).all()


def test_one_row_is_refused_with_what_is_needed():
    with pytest.raises(TrainingError, match=r"too few rows to train: 1 in 1 run.*at least 128 rows"):
        fit(Telemetry.from_frame(PLANT, frame(1)), QUICK)
    assert assess(Telemetry.from_frame(PLANT, frame(1)))["rows"] == 1


def test_a_unit_that_changed_half_way_is_flagged_with_when_and_a_step_test_is_not():
    shifted = frame(600)
    shifted["level"] = 80 + 2 * shifted["level"]
    shifted.iloc[360:, 3] = 1.8 * shifted.iloc[360:, 3] + 32  # degC to degF
    tags = tuple(Tag(t.name, t.role, "degC" if t.name == "level" else "1") for t in PLANT.tags)
    found = assess(Telemetry.from_frame(Plant("Odd", 10.0, tags), shifted))
    shift = found["tags"]["level"]["level_shifts"]["first"][0]
    assert shift["at"] == shifted.index[360].isoformat()
    assert (shift["before"], shift["after"]) == (pytest.approx(80, abs=3), pytest.approx(176, abs=6))
    assert [w["tag"] for w in found["warnings"] if w["code"] == "level_shift"] == ["level"]
    plain = assess(Telemetry.from_frame(PLANT, frame(600)))
    assert [w for w in plain["warnings"] if w["code"] == "level_shift"] == []
