"""Figures: time in a unit that a person pictures, lines at the values that they tell of, one legend above all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from twin.plant import Plant, Role, Tag
from twin.predict import Band, Forecast, ScenarioForecast
from twin.sandbox import figures
from twin.sandbox.loop import Outcome, Trace
from twin.telemetry import Telemetry
from twin.trust import Trust

PLANT = Plant(
    "heater",
    60.0,
    (
        Tag("flow", Role.MV, "%", low=0.0, high=100.0),
        Tag("temperature", Role.CV, "degC", limit_high=80.0),
        Tag("ratio", Role.CV, "1"),
    ),
)
START = pd.Timestamp("2026-01-01T06:00:00Z")
ROWS = 121


def outcome(controller: str, lift: float) -> Outcome:
    """Two hours at a row a minute: the temperature rises by one degree an hour."""
    at = np.arange(ROWS)
    truth = np.stack([60.0 + lift + at / 60, np.full(ROWS, 0.5)], axis=1)
    mvs = np.where(at < 60, 90.0, 98.0)[:, None] + lift
    wanted = np.stack([np.where(at < 60, 60.0, 62.0), np.full(ROWS, np.nan)], axis=1)
    high = np.stack([np.full(ROWS, 62.5), np.full(ROWS, np.inf)], axis=1)
    status = ("optimal",) * 100 + ("relaxed",) * 21 if controller == "twin" else (None,) * ROWS
    times = pd.DatetimeIndex(START + pd.to_timedelta(60 * at, unit="s"))
    trace = Trace(PLANT, times, truth, truth, mvs, wanted, np.full_like(high, -np.inf), high, status)
    return Outcome("steps", controller, 0.0, 0.0, None, 0, 0.0, 0, 0.0, {}, 0.0, 0.0, trace)


@pytest.mark.parametrize(
    ("span_s", "name"),
    [(6.0, "seconds"), (181.0, "minutes"), (3 * 3600.0, "minutes"), (4 * 3600.0, "hours"), (10 * 86400.0, "days")],
)
def test_time_is_told_in_a_unit_that_a_person_pictures(span_s, name):
    assert figures.unit(span_s).name == name


def test_trials_over_minutes_from_their_start():
    figure = figures.trials([outcome("hold", 0.0), outcome("twin", 0.1)], ["temperature", "flow"], by=("twin", "hold"))
    cv, mv = figure.axes
    lines = {line.get_label(): line for line in cv.get_lines()}
    np.testing.assert_allclose(lines["twin"].get_xdata(), np.arange(ROWS))
    np.testing.assert_allclose(lines["twin"].get_ydata()[[0, 60, 120]], [60.1, 61.1, 62.1])
    np.testing.assert_allclose(lines["setpoint"].get_ydata()[[0, 120]], [60.0, 62.0])
    np.testing.assert_allclose(lines["limit"].get_ydata(), 62.5)
    np.testing.assert_allclose(lines["twin, plan not optimal"].get_xdata(), np.arange(100, ROWS))
    limits = [line.get_ydata() for line in mv.get_lines() if line.get_label() == "limit"]
    assert np.isnan(limits[0]).all()  # zero is far away
    np.testing.assert_allclose(limits[1], 100.0)
    assert (cv.get_ylabel(), mv.get_ylabel()) == ("temperature\ndegC", "flow\n%")
    assert mv.get_xlabel() == "minutes from the start"
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["setpoint", "limit", "twin", "hold", "twin, plan not optimal"]
    assert all(ax.get_legend() is None for ax in figure.axes)


def test_labels_of_time_do_not_touch():
    figure = figures.trials([outcome("hold", 0.0)] * 1 + [outcome("twin", 0.0)])
    figure.canvas.draw()
    for ax in figure.axes[-1:]:
        low, high = ax.get_xlim()
        ticks = [label for label in ax.get_xticklabels() if low <= label.get_position()[0] <= high]
        boxes = [label.get_window_extent() for label in ticks]
        assert 3 <= len(boxes) <= figures.TICKS + 1
        assert all(left.x1 + 4 < right.x0 for left, right in pairwise(boxes))


def telemetry(rows: int) -> Telemetry:
    index = pd.date_range(START, periods=rows, freq="60s")
    values = np.stack([np.full(rows, 50.0), np.linspace(60, 61, rows), np.full(rows, 0.5)], axis=1)
    return Telemetry.from_frame(PLANT, pd.DataFrame(values, index, list(PLANT.names)))


def test_recorded_tags_over_hours():
    figure = figures.recorded(telemetry(361))
    assert [ax.get_ylabel() for ax in figure.axes] == ["flow\n%", "temperature\ndegC", "ratio"]
    assert figure.axes[-1].get_xlabel() == "hours after 2026-01-01 06:00:00 UTC"
    (line,) = figure.axes[1].get_lines()
    assert line.get_xdata()[-1] == pytest.approx(6.0)


def test_a_what_if_over_time_from_now():
    history = telemetry(50)
    times = history.at + pd.to_timedelta(60.0 * np.arange(1, 31), unit="s")
    mean = np.full(30, 61.0)
    bands = {name: Band(mean, mean - 0.5, mean + 0.5) for name in ("temperature", "ratio")}
    trust = Trust(True, 1.0, True)
    moved = ScenarioForecast("up", {"flow": np.full(30, 60.0)}, {}, (), bands, {}, (), trust)
    answer = Forecast("t", history.at, times, 0.8, {}, bands, trust, (moved,))
    came = pd.DataFrame({"temperature": mean + 0.1}, times)
    figure = figures.what_if(history, answer, came, ["flow", "temperature"], past=11)
    mv, cv = figure.axes
    lines = {line.get_label(): line for line in cv.get_lines()}
    assert lines["measured until now"].get_xdata()[[0, -1]].tolist() == [-10.0, 0.0]
    np.testing.assert_allclose(lines["forecast if it moves"].get_xdata(), np.arange(1, 31))
    np.testing.assert_allclose(mv.get_lines()[-1].get_ydata(), 60.0)
    assert cv.get_xlabel() == "minutes from now"
    assert "80% band of that forecast" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_what_if_draws_a_dv_as_it_is_supposed():
    plant = Plant("heater", 60.0, (*PLANT.tags[:2], Tag("ambient", Role.DV, "degC")))
    index = pd.date_range(START, periods=50, freq="60s", tz="UTC", name="time")
    rows = pd.DataFrame({"flow": 60.0, "temperature": 61.0, "ambient": 12.0}, index)
    history = Telemetry.from_frame(plant, rows)
    times = history.at + pd.to_timedelta(60.0 * np.arange(1, 31), unit="s")
    bands = {"temperature": Band(*np.full((3, 30), 61.0))}
    returns = {"ambient": np.linspace(12.0, 15.0, 30)}
    trust = Trust(True, 1.0, True)
    moved = ScenarioForecast("up", {"flow": np.full(30, 60.0)}, returns, ("ambient",), bands, {}, (), trust)
    answer = Forecast("t", history.at, times, 0.9, returns, bands, trust, (moved,))
    came = pd.DataFrame({"temperature": np.full(30, 61.0)}, times)
    dv = figures.what_if(history, answer, came, ["ambient", "temperature"]).axes[0]
    np.testing.assert_allclose(dv.get_lines()[-1].get_ydata(), returns["ambient"])
