"""Each check of one reading: what passes, what does not, and where the line is."""

from __future__ import annotations

import math

import pytest

from api.control.checks import Memory, Reading, check
from api.control.configuration import Input
from api.control.roster import Roster
from twin.plant import Role

NOW = 1_000_000 * 10**9
ASKED = Input("level", Role.CV, True, 30.0, 0.0, 10.0, max_step=0.5, frozen_after_s=60.0)


def ago(seconds: float) -> int:
    return NOW - round(seconds * 1e9)


def found(reading: Reading | None, past: Memory = Memory()) -> str | None:
    finding = check(reading, ASKED, past, NOW, 10.0)
    return finding and finding.code


@pytest.mark.parametrize(
    ("reading", "code"),
    [
        (Reading(NOW, 5.0, 192), None),
        (Reading(NOW, 5.0, 216), None),  # good, local override: the plant itself says that it may be used
        (None, "missing"),
        (Reading(NOW, math.nan, 192), "missing"),
        (Reading(NOW, 5.0, 0), "bad_quality"),
        (Reading(NOW, 5.0, 64), "bad_quality"),
        (Reading(NOW, 5.0, 24), "bad_quality"),  # bad, communication failure
        (Reading(NOW, math.inf, 192), "out_of_range"),
        (Reading(ago(30.0), 5.0, 192), None),
        (Reading(ago(30.1), 5.0, 192), "stale"),
        (Reading(ago(-29.0), 5.0, 192), None),
        (Reading(ago(-31.0), 5.0, 192), "future"),
        (Reading(NOW, 0.0, 192), None),
        (Reading(NOW, 10.0, 192), None),
        (Reading(NOW, 10.001, 192), "out_of_range"),
        (Reading(NOW, -0.001, 192), "out_of_range"),
    ],
)
def test_a_reading_by_itself(reading: Reading | None, code: str | None) -> None:
    assert found(reading) == code


@pytest.mark.parametrize(
    ("value", "seconds_since", "code"),
    [
        (5.5, 10.0, None),
        (5.51, 10.0, "spike"),
        (4.49, 10.0, "spike"),
        (6.5, 30.0, None),  # three periods have passed since the last good value: three steps are credible
        (6.51, 30.0, "spike"),
    ],
)
def test_a_spike_is_a_step_that_is_not_credible(value: float, seconds_since: float, code: str | None) -> None:
    assert found(Reading(NOW, value, 192), Memory(5.0, ago(seconds_since), ago(seconds_since))) == code


def test_frozen_is_the_same_value_to_the_last_bit_for_too_long() -> None:
    assert found(Reading(NOW, 5.0, 192), Memory(5.0, ago(10), ago(59))) is None
    assert found(Reading(NOW, 5.0, 192), Memory(5.0, ago(10), ago(60))) == "frozen"
    assert found(Reading(NOW, math.nextafter(5.0, 6.0), 192), Memory(5.0, ago(10), ago(600))) is None


def test_memory_keeps_since_when_a_value_stands() -> None:
    memory = Memory().with_good(5.0, 10).with_good(5.0, 20)
    assert (memory.value, memory.time, memory.since) == (5.0, 20, 10)
    assert memory.with_good(6.0, 30) == Memory(6.0, 30, 30)


def test_a_tag_returns_after_so_many_good_cycles_in_a_row() -> None:
    roster = Roster(3)
    assert roster.update({}) == {}
    assert roster.update({"a": "stale"}) == {"a": "stale"}
    assert roster.update({}) == {"a": "stale"}
    assert roster.update({}) == {"a": "stale"}
    assert roster.update({"a": "spike"}) == {"a": "spike"}  # bad again: the count begins again
    assert roster.update({}) == {"a": "spike"}
    assert roster.update({}) == {"a": "spike"}
    assert roster.update({}) == {}
