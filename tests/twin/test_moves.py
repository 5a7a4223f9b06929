"""MV values keep their limits and rate limits as a checker in float64 would compute them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.moves import Envelope, strict
from twin.plant import Role, Tag

values = st.floats(-1e9, 1e9, allow_subnormal=True)
asked_values = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def envelopes(draw):
    low, high = sorted((draw(values), draw(values)))
    rate = draw(st.one_of(st.just(math.inf), st.floats(1e-12, 1e9)))
    return Envelope(low, high, rate, draw(st.floats(1e-3, 1e5)))


@settings(max_examples=400, deadline=None)
@given(asked=st.lists(asked_values, min_size=1, max_size=20), present=values, envelope=envelopes())
def test_bounds_and_rates_hold_exactly(asked, present, envelope):
    kept = strict(asked, present, envelope)
    reach = envelope.rate_per_s * envelope.period_s
    previous = present
    for value in kept.tolist():
        assert abs(value - previous) <= reach
        assert abs(value - previous) / envelope.period_s <= envelope.rate_per_s
        inside = envelope.low <= value <= envelope.high
        came_back = abs(value - previous) >= reach * (1 - 1e-9) - 4 * np.spacing(abs(previous))
        assert inside or (came_back and not envelope.low <= previous <= envelope.high)
        assert envelope.admits(value, previous)
        previous = value


def test_plain_clipping_breaks_the_rate_limit_where_strict_keeps_it():
    """The reason for this module: a clipped step is often one unit in the last place too long."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(2000):
        previous, reach = rng.uniform(-100, 100), rng.uniform(0.01, 3)
        plain = np.clip(1e3, previous - reach, previous + reach)
        broken += abs(plain - previous) > reach
        kept = strict([1e3], previous, Envelope(-1e4, 1e4, reach, 1.0))[0]
        assert abs(kept - previous) <= reach
        assert kept == pytest.approx(plain, abs=1e-12)
    assert broken > 100


def test_values_within_the_envelope_are_untouched():
    asked = [50.0, 51.5, 50.25, 49.0]
    assert strict(asked, 50.0, Envelope(0.0, 100.0, 2.0, 1.0)).tolist() == asked


def test_it_ramps_at_the_rate_limit():
    assert strict([9.0] * 4, 1.0, Envelope(0.0, 10.0, 0.5, 4.0)).tolist() == [3.0, 5.0, 7.0, 9.0]


def test_a_present_value_outside_returns_at_the_full_rate():
    kept = strict([90.0] * 4, 107.0, Envelope(0.0, 100.0, 1.0, 3.0))
    assert kept.tolist() == [104.0, 101.0, 98.0, 95.0]
    held = strict([107.0] * 4, 107.0, Envelope(0.0, 100.0, 1.0, 3.0))
    assert held.tolist() == [104.0, 101.0, 100.0, 100.0]


def test_a_missing_number_asks_for_the_previous_value():
    assert strict([math.nan, 4.0, math.nan], 3.0, Envelope(0.0, 10.0, math.inf, 1.0)).tolist() == [3.0, 4.0, 4.0]


def test_admits_refuses_what_a_checker_would():
    envelope = Envelope(0.0, 10.0, 1.0, 2.0)
    assert envelope.admits(7.0, 5.0)
    assert not envelope.admits(math.nextafter(7.0, 8.0), 5.0)
    assert not envelope.admits(10.5, 9.0)
    assert envelope.admits(12.0, 14.0)
    assert not envelope.admits(13.0, 14.0)


def test_of_reads_the_plants_limits():
    assert Envelope.of(Tag("q", Role.MV, low=1, high=2), 5.0) == Envelope(1, 2, math.inf, 5.0)
    assert Envelope.of(Tag("q", Role.MV, rate_limit_per_s=0.5), 5.0) == Envelope(-math.inf, math.inf, 0.5, 5.0)
