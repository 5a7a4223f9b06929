"""Rows answered and judged, against a model that goes row by row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.storage.merge import SEQUENCE, Rows, answer, judge

TAGS = ("a", "b")
CELL = st.one_of(st.none(), st.tuples(st.sampled_from([1.0, 2.0]), st.sampled_from([192, 64, 0])))
ROW = st.tuples(st.integers(0, 4), CELL, CELL)


def rows(given_rows: list, first: int = 0) -> Rows:
    """Rows in the order of ingest, sorted as `Rows.of` sorts them."""
    times = np.array([r[0] for r in given_rows], np.int64)
    values = np.array([[np.nan if c is None else c[0] for c in r[1:]] for r in given_rows]).reshape(-1, 2)
    codes = np.array([[np.nan if c is None else c[1] for c in r[1:]] for r in given_rows]).reshape(-1, 2)
    order = np.argsort(times, kind="stable")
    return Rows(TAGS, times, first + np.arange(len(times)), values, codes).at(order)


def known(given_rows: list) -> dict:
    """What is known after the rows: time → tag → (value, quality)."""
    state: dict = {}
    for time, *cells in given_rows:
        row = state.setdefault(time, {})
        row.update({tag: cell for tag, cell in zip(TAGS, cells, strict=True) if cell is not None})
    return state


@given(st.lists(ROW, max_size=12))
def test_the_latest_value_given_wins_and_a_missing_one_erases_nothing(uploaded: list) -> None:
    answered = answer(rows(uploaded))
    expected = known(uploaded)
    assert answered.times.tolist() == sorted(expected)
    for time, values, codes in zip(answered.times, answered.values, answered.quality, strict=True):
        for tag, value, code in zip(TAGS, values, codes, strict=True):
            cell = expected[time].get(tag)
            assert (None if np.isnan(value) else (value, code)) == cell


@given(st.lists(ROW, max_size=8), st.lists(ROW, min_size=1, max_size=8))
@settings(max_examples=200)
def test_new_rows_are_judged_against_all_that_was_known_before_each(old: list, new: list) -> None:
    fresh = rows(new)
    verdict = judge(fresh, answer(rows(old)))
    order = np.argsort([r[0] for r in new], kind="stable")
    for place, index in enumerate(order):
        time, *cells = new[index]
        before = known(old + new[:index])
        assert verdict.seen[place] == (time in before)
        for column, (tag, cell) in enumerate(zip(TAGS, cells, strict=True)):
            prior = before.get(time, {}).get(tag)
            assert verdict.same[place, column] == (cell is not None and cell == prior)
            assert verdict.changed[place, column] == (cell is not None and prior is not None and cell != prior)


def test_a_table_comes_back_as_it_went() -> None:
    original = rows([(3, (1.0, 192), None), (1, None, (2.0, 0)), (1, (5.0, 64), (2.0, 192))])
    table = original.table()
    assert table.column_names == ["time", SEQUENCE, "a", "a__quality", "b", "b__quality"]
    again = Rows.of(table, TAGS)
    np.testing.assert_array_equal(again.times, original.times)
    np.testing.assert_array_equal(again.values, original.values)
    np.testing.assert_array_equal(again.quality, original.quality)


def test_a_bad_value_reads_as_missing_and_an_uncertain_one_does_not() -> None:
    read = rows([(1, (7.0, 0), (8.0, 64))]).readable()
    np.testing.assert_array_equal(read, [[np.nan, 8.0]])


def test_rows_without_time_order_are_sorted_by_time_and_ingest() -> None:
    times = pa.array([5, 3, 5], pa.int64()).cast(pa.timestamp("us", "UTC"))
    table = pa.table({"time": times, SEQUENCE: [2, 1, 0], "a": [1.0, 2.0, 3.0]})
    assert Rows.of(table, ("a",)).values[:, 0].tolist() == [2.0, 3.0, 1.0]
