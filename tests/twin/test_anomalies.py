"""Spikes, jumps of level and odd times put into telemetry on purpose are found where they are, and nothing else is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twin.anomalies import Jump, clock, jumps, spikes
from twin.plant import Plant, Role, Tag
from twin.quality import assess
from twin.storage.batch import of_frame
from twin.store import Store
from twin.telemetry import Telemetry
from twin.training.folds import HISTORY, ROWS
from twin.training.readiness import readiness

N = 3000
RUN = np.zeros(N, np.int64)
T0 = pd.Timestamp("2026-01-01", tz="UTC")
PLANT = Plant("p", 1.0, (Tag("u", Role.MV, "%", 0.0, 10.0), Tag("y", Role.CV, "degC")))


def wave(noise: float = 0.1, seed: int = 1) -> np.ndarray:
    """A slow wave with noise, and quick steps as a process makes them: over ten rows."""
    rng = np.random.default_rng(seed)
    steps = np.repeat(rng.uniform(0, 5, N // 100), 100)
    slow = pd.Series(steps).ewm(alpha=0.2).mean().to_numpy()
    return 20 + slow + rng.normal(0, noise, N)


def test_healthy_signals_have_neither_spikes_nor_jumps() -> None:
    for values in (wave(), wave(0.0), np.sin(np.arange(N) / 3), np.full(N, 4.0), np.round(wave(), 0)):
        assert not spikes(values, RUN).any()
        assert jumps(values, RUN, "degC") == []


def test_spikes_are_found_row_by_row() -> None:
    values = wave()
    for row, height, rows in ((500, 40.0, 1), (1200, -35.0, 2), (2000, 60.0, 3)):
        values[row : row + rows] += height
    assert np.flatnonzero(spikes(values, RUN)).tolist() == [500, 1200, 1201, 2000, 2001, 2002]


def test_a_longer_excursion_and_the_edge_of_a_run_are_no_spikes() -> None:
    values = wave()
    values[1000:1008] += 40.0
    run = RUN.copy()
    run[1500:] = 1
    values[1500:] += 30.0
    assert not spikes(values, run).any()


def test_another_unit_is_named_and_another_range_is_not() -> None:
    values = wave()
    values[1750:] = 1.8 * values[1750:] + 32
    [jump] = jumps(values, RUN, "degC")
    assert (jump.row, jump.unit) == (1750, "degF")
    assert jump.after == pytest.approx(1.8 * jump.before + 32, rel=0.05)
    other = wave()
    other[900:] += 17.0
    [jump] = jumps(other, RUN, "degC")
    assert (jump.row, jump.unit) == (900, None)


def test_what_comes_back_is_no_jump() -> None:
    values = wave()
    values[1000:1010] += 30.0
    assert jumps(values, RUN, "degC") == []
    assert isinstance(Jump(1, 0.0, 1.0, None), Jump)


def stamps(seconds: np.ndarray) -> np.ndarray:
    return T0.tz_localize(None).to_datetime64().astype("datetime64[ns]") + (seconds * 1e9).astype("timedelta64[ns]")


def test_times_on_the_grid_are_quiet() -> None:
    found = clock(stamps(np.arange(200) * 5.0), 5.0)
    assert found == {
        "usual_period_s": 5.0,
        "jitter_s": 0.0,
        "jittery_rows": 0,
        "crowded_rows": 0,
        "hours": [],
    }


def test_jitter_another_period_and_a_lost_hour_are_found() -> None:
    seconds = np.arange(400) * 5.0
    seconds[10] += 2.0  # 0.4 of the period off
    assert clock(stamps(seconds), 5.0)["jittery_rows"] == 1
    assert clock(stamps(np.arange(400) * 10.0), 5.0)["usual_period_s"] == 10.0
    assert clock(stamps(np.arange(400) * 1.0), 5.0)["jittery_rows"] == 0  # faster rows are averaged, on no grid
    crowded = np.sort(np.r_[np.arange(100) * 5.0, 50.3])
    assert clock(stamps(crowded), 5.0)["crowded_rows"] == 1
    lost = np.arange(400) * 5.0
    lost[200:] += 3600.0
    assert clock(stamps(lost), 5.0)["hours"] == [(T0 + pd.Timedelta(seconds=1000 + 3600)).isoformat()]


def test_the_report_tells_them_in_sentences(tmp_path: object) -> None:
    values = wave()
    values[700] += 50.0
    values[1750:] = 1.8 * values[1750:] + 32
    frame = pd.DataFrame({"u": np.repeat(np.arange(N // 60) % 10.0, 60), "y": values})
    frame.index = T0 + pd.to_timedelta(np.arange(N), unit="s")
    table = Store(str(tmp_path)).plant("p")
    table.append(of_frame(frame))
    ahead = frame.iloc[:5].set_axis(pd.Timestamp.now(tz="UTC").ceil("s") + pd.to_timedelta(np.arange(1, 6), unit="h"))
    receipt = table.append(of_frame(ahead))
    bad = {"y": [(T0, T0 + pd.Timedelta(seconds=30))]}
    found = assess(Telemetry.from_frame(PLANT, frame), table.uploads(), None, bad)
    told = {warning["code"]: warning["detail"] for warning in found["warnings"]}
    assert told["spikes"] == "y: 1 spikes of a few rows each"
    assert "as if degF had been sent" in told["level_shift"]
    assert f"in upload {receipt.upload}: a clock is ahead" in told["clock_ahead"]
    assert told["bad_quality"] == "y: was sent with bad quality in 1 spans, 30 s"


def test_what_training_would_use_and_drop() -> None:
    rows, short = 900, 40
    seconds = np.r_[np.arange(rows), 2000 + np.arange(short), 5000 + np.arange(rows)].astype(float)
    frame = pd.DataFrame({"u": 3.0, "y": wave()[: len(seconds)]}, index=T0 + pd.to_timedelta(seconds, unit="s"))
    frame.iloc[100, 1] = np.nan
    found = readiness(Telemetry.from_frame(PLANT, frame))
    window = HISTORY + ROWS
    assert (found["can_train"], found["why"]) == (True, None)
    assert (found["history_rows"], found["horizon_rows"]) == (HISTORY, ROWS)
    assert (found["rows_used"], found["rows_dropped"], found["filled_rows"]) == (2 * rows, short, 1)
    assert found["windows"] == 2 * (rows - window + 1)
    assert [span["rows"] for span in found["dropped"]] == [short]
    assert found["never_moved"] == ["u"]
    few = readiness(Telemetry.from_frame(PLANT, frame.iloc[:30]))
    assert not few["can_train"]
    assert "too few rows" in few["why"]
    frame["y"] = np.nan
    assert "no measured value of y" in readiness(Telemetry.from_frame(PLANT, frame))["why"]
