"""Which histories nothing can be planned from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.twin.conftest import history_of
from twin.planning.doubts import doubts


@pytest.fixture
def lively(hand_made):
    """Its temperature never stood still for more than three rows."""
    return replace(hand_made, seen=replace(hand_made.seen, still=np.array([3, 3, 3])))


def codes(twin, history, watched=("temperature",), max_age_s=None, now=None):
    return [(reason.code, reason.tag) for reason in doubts(twin, history, watched, max_age_s, now)]


def test_a_plant_at_rest_is_no_frozen_sensor(lively):
    assert codes(lively, history_of(40.0, 50.0, rows=40)) == []


def test_a_cv_that_ignores_moves_is_frozen(lively):
    moved = history_of([40.0] * 15 + [44.0] * 25, 50.0, rows=40)
    assert codes(lively, moved) == [("frozen", "temperature")]
    assert codes(lively, moved, watched=()) == []  # a plan that is not about it goes on


def test_a_cv_may_take_some_rows_to_answer(lively):
    assert codes(lively, history_of([40.0] * 35 + [44.0] * 5, 50.0, rows=40)) == []


def test_a_given_now_allows_the_age_that_can_be_bridged(lively):
    history = history_of(40.0, 50.0)
    assert codes(lively, history, now=history.at + pd.Timedelta(seconds=40)) == []
    assert codes(lively, history, now=history.at + pd.Timedelta(seconds=41)) == [("stale", None)]
