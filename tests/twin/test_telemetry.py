"""Measured rows to a regular grid: against rules worked out row by row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import QuestionError, TelemetryError
from twin.plant import Plant, Role, Tag
from twin.telemetry import BRIDGE, Telemetry

PLANT = Plant("p", 10.0, (Tag("y", Role.CV), Tag("u", Role.MV), Tag("d", Role.DV)))
T0 = pd.Timestamp("2026-01-01", tz="UTC")


def frame(seconds: list[float], **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=T0 + pd.to_timedelta(seconds, unit="s"), dtype=float)


def seconds(telemetry: Telemetry) -> list[float]:
    return ((pd.DatetimeIndex(telemetry.times, tz="UTC") - T0) / pd.Timedelta("1s")).tolist()


def test_columns_stand_in_the_order_of_the_plant_and_absent_ones_are_missing() -> None:
    telemetry = Telemetry.from_frame(PLANT, frame([0, 10], u=[1, 2], y=[3, 4]))
    np.testing.assert_array_equal(telemetry.values, [[3, 1, np.nan], [4, 2, np.nan]])
    np.testing.assert_array_equal(telemetry.y, [[3], [4]])
    np.testing.assert_array_equal(telemetry.w, [[1, np.nan], [2, np.nan]])
    assert telemetry.at == T0 + pd.Timedelta("10s")


def test_short_holes_are_bridged_and_long_ones_end_the_run() -> None:
    bridged = 10 * (BRIDGE + 1)  # so many seconds from row to row leave BRIDGE rows out
    telemetry = Telemetry.from_frame(PLANT, frame([0, bridged, 2 * bridged + 10], y=[1, 2, 3]))
    assert telemetry.run.tolist() == [0] * (BRIDGE + 2) + [1]
    assert seconds(telemetry) == [*range(0, bridged + 1, 10), 2 * bridged + 10]
    np.testing.assert_array_equal(telemetry.y[:, 0], [1, *[np.nan] * BRIDGE, 2, 3])


def test_rows_six_times_as_fast_are_averaged_by_sixes_and_a_frozen_value_stays_itself() -> None:
    """A ramp of one a row, 10 s apart, on a grid of 60 s: 3 rows up to the first edge, then 6 each."""
    plant = Plant("p", 60.0, (Tag("u", Role.MV), Tag("y", Role.CV), Tag("stuck", Role.CV)))
    index = pd.date_range("2026-01-01", periods=303, freq="10s", tz="UTC")
    ramp = np.arange(303.0)
    found = Telemetry.from_frame(plant, pd.DataFrame({"u": ramp, "y": ramp, "stuck": 192.5737}, index))
    assert found.values[:, 1].tolist() == [1.0, *(5.5 + 6 * np.arange(50))]
    assert found.values[:, 0].tolist() == [2.0, *(8.0 + 6 * np.arange(50))]  # of an MV the value in force
    assert set(found.values[:, 2]) == {192.5737}


@given(st.lists(st.floats(-4.9, 4.9), min_size=2, max_size=30))
def test_jitter_of_less_than_half_a_period_changes_nothing(jitter: list[float]) -> None:
    jitter[0] = 0.0
    at = [10 * i + j for i, j in enumerate(jitter)]
    telemetry = Telemetry.from_frame(PLANT, frame(at, y=list(range(len(at)))))
    assert seconds(telemetry) == [10 * i for i in range(len(at))]
    assert telemetry.y[:, 0].tolist() == list(range(len(at)))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2000),
            st.one_of(st.just(np.nan), st.floats(-10, 10)),
            st.one_of(st.just(np.inf), st.floats(-1, 1)),
        ),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=60)
def test_any_rows_become_runs_on_a_grid(rows: list[tuple[int, float, float]]) -> None:
    at = [r[0] / 2 for r in rows]
    telemetry = Telemetry.from_frame(PLANT, frame(at, y=[r[1] for r in rows], u=[r[2] for r in rows]))
    times = np.array(seconds(telemetry))
    assert (np.diff(times) > 0).all()
    inside = np.diff(telemetry.run) == 0
    np.testing.assert_allclose(np.diff(times)[inside], 10.0)
    assert (np.diff(times)[~inside] > 10 * (BRIDGE + 0.5)).all()
    assert not np.isinf(telemetry.values).any()
    # every finite value given is found within half a period of its time, or was overruled there by a later one
    for second, y, _ in rows:
        nearest = int(np.abs(times - second / 2).argmin())
        assert abs(times[nearest] - second / 2) <= 5.0
        if np.isfinite(y):  # half a period may go to either side
            assert np.isfinite(telemetry.y[max(nearest - 1, 0) : nearest + 2, 0]).any()
    found, told = telemetry.y[np.isfinite(telemetry.y)], [r[1] for r in rows if np.isfinite(r[1])]
    if len(found):  # values as they were given, or their means
        assert min(told) - 1e-9 <= found.min() <= found.max() <= max(told) + 1e-9


def test_of_two_rows_on_one_grid_point_the_last_value_that_is_not_missing_wins() -> None:
    telemetry = Telemetry.from_frame(PLANT, frame([0, 10, 11, 12], y=[0, 1, 2, np.nan], u=[5, 6, np.nan, np.nan]))
    np.testing.assert_array_equal(telemetry.values[:, :2], [[0, 5], [2, 6]])


def test_what_is_measured_faster_than_the_grid_is_averaged_and_mvs_keep_the_value_in_force() -> None:
    at = [0, 2, 8, 10, 12, 18, 20, 22]  # grid points 0, 10 and 20: rows within 5 s of each
    rows = frame(at, y=[1, 3, 4, 6, np.nan, 9, 7, 2], u=[5, 6, 6, 7, 8, 8, 9, 9], d=[np.nan] * 7 + [3])
    telemetry = Telemetry.from_frame(PLANT, rows)
    assert seconds(telemetry) == [0, 10, 20]
    np.testing.assert_allclose(telemetry.y[:, 0], [2, 5, 6])  # of (1, 3), (4, 6) and (9, 7, 2)
    np.testing.assert_array_equal(telemetry.w[:, 0], [6, 8, 9])
    np.testing.assert_array_equal(telemetry.w[:, 1], [np.nan, np.nan, 3])


@pytest.mark.parametrize("jitter", [0.0, 0.4])
def test_what_is_measured_exactly_twice_a_period_is_averaged_and_once_a_period_is_not(jitter: float) -> None:
    """A value every 5 s, where the plant says 10 s: those of 5 and 10 s, of 15 and 20 s, …"""
    n, rng = 1000, np.random.default_rng(2)
    at = 5.0 * np.arange(n) + np.where(np.arange(n) % 2, rng.uniform(0, jitter, n), 0.0)
    telemetry = Telemetry.from_frame(PLANT, frame(at.tolist(), y=list(range(n)), d=[0.0, *[np.nan, 1.0] * 499, 2.0]))
    np.testing.assert_allclose(telemetry.y[1:-1, 0], 2.0 * np.arange(1, n // 2) - 0.5)
    once = [10.0 * k for k in range(50)]
    slow = Telemetry.from_frame(PLANT, frame(sorted([*once, 251.0]), y=[*range(26), 99.0, *range(26, 50)]))
    assert slow.y[25, 0] == 99.0  # the last value wins


def test_rows_in_any_order_give_the_same() -> None:
    rows = frame([0, 10, 20, 500], y=[1, 2, 3, 4])
    np.testing.assert_array_equal(
        Telemetry.from_frame(PLANT, rows.iloc[[3, 1, 0, 2]]).values, Telemetry.from_frame(PLANT, rows).values
    )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_resolution_of_the_index_does_not_matter(unit: str) -> None:
    rows = frame([0, 10, 20], y=[1, 2, 3])
    rows.index = rows.index.as_unit(unit).tz_convert("Asia/Tokyo")
    assert seconds(Telemetry.from_frame(PLANT, rows)) == [0, 10, 20]


def test_a_long_run_of_a_period_that_is_no_whole_nanosecond_stays_in_step() -> None:
    plant = Plant("p", 1 / 3, PLANT.tags)
    n = 100_000
    rows = frame([i / 3 for i in range(n)], y=list(range(n)))
    assert Telemetry.from_frame(plant, rows).y[:, 0].tolist() == list(range(n))


def test_a_clock_that_drifts_is_followed() -> None:
    """A row every 10.002 s, where the plant says 10 s: after 5,000 rows the grid is half a period off."""
    n = 20_000
    rows = frame([i * 10.002 for i in range(n)], y=list(range(n)))
    telemetry = Telemetry.from_frame(PLANT, rows)
    assert np.isfinite(telemetry.y[:, 0]).sum() == n


def test_parts_of_telemetry() -> None:
    telemetry = Telemetry.from_frame(PLANT, frame([0, 10, 20, 500, 510], y=[1, 2, 3, 4, 5]))
    assert telemetry.last_run(10).y[:, 0].tolist() == [4, 5]
    assert telemetry.last_run(1).y[:, 0].tolist() == [5]
    assert telemetry.last_run(2).run.tolist() == [1, 1]
    part = telemetry.between(T0 + pd.Timedelta("10s"), (T0 + pd.Timedelta("500s")).tz_convert("Europe/Berlin"))
    assert part.y[:, 0].tolist() == [2, 3, 4]
    pd.testing.assert_index_equal(part.frame().index, pd.DatetimeIndex(part.times, tz="UTC", name="time"))


def test_no_rows() -> None:
    telemetry = Telemetry.from_frame(PLANT, frame([], y=[]))
    assert (len(telemetry), len(telemetry.last_run(3)), len(telemetry.between(T0, None))) == (0, 0, 0)
    with pytest.raises(TelemetryError, match="no telemetry"):
        _ = telemetry.at


def test_what_is_no_telemetry_is_refused() -> None:
    with pytest.raises(TelemetryError, match="time-zone-aware"):
        Telemetry.from_frame(PLANT, pd.DataFrame({"y": [1.0]}, index=pd.DatetimeIndex(["2026-01-01"])))
    with pytest.raises(TelemetryError, match="time-zone-aware"):
        Telemetry.from_frame(PLANT, pd.DataFrame({"y": [1.0]}))
    with pytest.raises(QuestionError, match="unknown tag 'x'"):
        Telemetry.from_frame(PLANT, frame([0], x=[1]))
    with pytest.raises(TelemetryError, match="3 tags"):
        Telemetry(PLANT, np.zeros(2, "datetime64[ns]"), np.zeros((2, 2)), np.zeros(2, int))
