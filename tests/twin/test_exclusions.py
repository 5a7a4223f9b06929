"""Exclusions by mark and by condition: which rows go, and that no window crosses the cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.twin.conftest import PLANT
from twin.errors import QuestionError
from twin.exclusions import Exclusion, learnt_from, without
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.windows import Grid

FIRST = pd.Timestamp("2026-01-01", tz="UTC")


def telemetry():
    """100 rows, 10 s apart, in two runs of 60 and 40; the flow is the number of the row, row 20 without a value."""
    values = np.column_stack([np.arange(100.0), np.full(100, 20.0), np.full(100, 50.0)])
    values[20, 0] = np.nan
    seconds = 10 * np.arange(100) + 3600 * (np.arange(100) >= 60)
    times = (FIRST.tz_localize(None) + pd.to_timedelta(seconds, unit="s")).to_numpy().astype("datetime64[ns]")
    return Telemetry(PLANT, times, values, (np.arange(100) >= 60).astype(int))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("flow<5", range(5)),
        ("flow > 97", (98, 99)),
        ("flow<5+20s", range(7)),  # and two rows behind
        ("flow<1e9", range(100)),
        ("2026-01-01T00:01:00Z/2026-01-01T00:01:30Z", (6, 7, 8, 9)),
        ("2026-01-01T01:16:00+00:00/", range(96, 100)),
        ("/2026-01-01T00:00:05Z", (0,)),
    ],
)
def test_rows_are_named_by_a_span_or_a_condition(text, rows):
    exclusion = Exclusion.parse(text)
    assert np.flatnonzero(exclusion.rows(telemetry())).tolist() == list(rows)
    assert Exclusion.from_json(exclusion.to_json()) == exclusion


def test_a_missing_value_is_the_one_before():
    between = Exclusion(tag="flow", below=20, above=21.5)
    assert not between.rows(telemetry())[21]
    assert between.rows(telemetry())[20]  # it holds 19
    late = Exclusion(tag="flow", above=58.5, after_s=1e4)
    gone = np.flatnonzero(late.rows(telemetry())).tolist()
    assert gone == list(range(59, 100))
    short = Exclusion(tag="flow", above=58.5, below=None, after_s=1e4)
    rows = replace(telemetry(), values=np.where(np.arange(100)[:, None] >= 60, 0.0, telemetry().values))
    assert np.flatnonzero(short.rows(rows)).tolist() == [59]  # it does not reach across a gap


def test_no_window_crosses_a_cut():
    kept, told = learnt_from(
        telemetry(), [{"tag": "flow", "below": 5.0}, {"start": "2026-01-01T00:05:00Z", "end": "2026-01-01T00:05:00Z"}]
    )
    assert [rule["rows"] for rule in told] == [5, 1]
    assert len(kept) == 94
    assert np.unique(kept.run, return_counts=True)[1].tolist() == [25, 29, 40]
    grid = Grid.of(kept, Scaler.fit(kept))
    for end in grid.ends(4, 3):
        flow = kept.times[end - 3 : end + 4]
        assert (np.diff(flow) == np.timedelta64(10, "s")).all()
    same, _ = without(telemetry(), [Exclusion(tag="flow", above=1000.0)])
    assert len(same) == 100


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tag": "flow"},
        {"below": 3.0},
        {"tag": "flow", "below": 1.0, "start": "2026-01-01T00:00:00Z"},
        {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
        {"start": "2026-01-02T00:00:00"},
    ],
)
def test_what_is_neither_is_refused(body):
    with pytest.raises(QuestionError):
        Exclusion.from_json(body)


def test_what_cannot_be_read_is_refused():
    for text in ("flow=3", "yesterday/today", "flow<"):
        with pytest.raises(QuestionError):
            Exclusion.parse(text)
    with pytest.raises(QuestionError, match="unknown tag"):
        without(telemetry(), [Exclusion.parse("flwo<3")])


def test_a_span_without_an_offset_is_refused_in_plain_words() -> None:
    with pytest.raises(QuestionError, match=r"^a time has no offset; add Z"):
        Exclusion.parse("2026-10-24T17:00/2026-10-24T18:00")
