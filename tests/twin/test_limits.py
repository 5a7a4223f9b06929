"""A request tightens the plant's limits, and can never widen them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import QuestionError
from twin.limits import Limit, merge, penalties
from twin.plant import Plant, Role, Tag

PLANT = Plant(
    "p",
    2.0,
    (
        Tag("q", Role.MV, "m3/h", 0.0, 100.0, rate_limit_per_s=0.5),
        Tag("v", Role.MV, "%", -10.0, 10.0),
        Tag("d", Role.DV),
        Tag("t", Role.CV, "degC", 0.0, 200.0, limit_low=20.0, limit_high=80.0),
        Tag("x", Role.CV, "mol%"),
    ),
)


def test_without_a_request_the_plants_limits_stand():
    (q, v), cvs = merge(PLANT, {})
    assert (q.envelope.low, q.envelope.high, q.envelope.rate_per_s, q.envelope.period_s) == (0.0, 100.0, 0.5, 2.0)
    assert v.envelope.rate_per_s == math.inf
    assert cvs.low.tolist() == [20.0, -math.inf]
    assert cvs.high.tolist() == [80.0, math.inf]


def test_a_request_tightens():
    (q, v), cvs = merge(
        PLANT,
        {"q": Limit(10, 60, 0.1), "v": Limit(rate_per_s=2), "t": Limit(high=70), "x": Limit(1, 2, rank=3, hard=True)},
    )
    assert (q.envelope.low, q.envelope.high, q.envelope.rate_per_s) == (10, 60, 0.1)
    assert (v.envelope.low, v.envelope.high, v.envelope.rate_per_s) == (-10, 10, 2)
    assert cvs.low.tolist() == [20, 1]
    assert cvs.high.tolist() == [70, 2]
    assert cvs.rank.tolist() == [1, 3]
    assert cvs.hard.tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "limit", "place", "word"),
    [
        ("q", Limit(low=-1), ("limits", "q", "low"), "wider"),
        ("q", Limit(high=100.0000001), ("limits", "q", "high"), "wider"),
        ("q", Limit(rate_per_s=0.51), ("limits", "q", "rate_per_s"), "wider"),
        ("t", Limit(low=19), ("limits", "t", "low"), "wider"),
        ("t", Limit(high=81), ("limits", "t", "high"), "wider"),
        ("t", Limit(rate_per_s=1), ("limits", "t", "rate_per_s"), "only an MV"),
        ("q", Limit(rate_per_s=-1), ("limits", "q", "rate_per_s"), "negative"),
        ("x", Limit(high=math.nan), ("limits", "x", "high"), "finite"),
        ("x", Limit(low=-math.inf), ("limits", "x", "low"), "finite"),
        ("x", Limit(rank=0), ("limits", "x", "rank"), "from 1"),
        ("d", Limit(high=1), ("limits", "d"), "is a DV"),
        ("tt", Limit(high=1), ("limits", "tt"), "did you mean t"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(name, limit, place, word):
    with pytest.raises(QuestionError, match=word) as refused:
        merge(PLANT, {name: limit})
    assert refused.value.problems[0].loc == place


def test_every_problem_is_named():
    with pytest.raises(QuestionError, match="1 more") as refused:
        merge(PLANT, {"q": Limit(low=-1), "t": Limit(high=300)})
    assert [problem.loc for problem in refused.value.problems] == [("limits", "q", "low"), ("limits", "t", "high")]


def test_an_mv_without_limits_cannot_be_optimized():
    plant = Plant("p", 1.0, (Tag("q", Role.MV, low=0.0), Tag("t", Role.CV)))
    with pytest.raises(QuestionError, match="needs low and high"):
        merge(plant, {})


def test_mv_limits_that_cross_leave_what_lies_between_them():
    (q, _), _ = merge(PLANT, {"q": Limit(low=60, high=40)})
    assert (q.envelope.low, q.envelope.high) == (40, 60)
    assert q.asked == (60, 40)
    (q, _), _ = merge(PLANT, {"q": Limit(low=150)})  # above the plant's high limit
    assert (q.envelope.low, q.envelope.high) == (100, 100)


@given(
    low=st.one_of(st.none(), st.floats(0, 1e6)),
    high=st.one_of(st.none(), st.floats(-1e6, 100)),
    rate=st.one_of(st.none(), st.floats(0, 0.5)),
)
def test_whatever_is_asked_the_envelope_lies_inside_the_plants(low, high, rate):
    (q, _), _ = merge(PLANT, {"q": Limit(low, high, rate)})
    assert 0 <= q.envelope.low <= q.envelope.high <= 100
    assert q.envelope.rate_per_s <= 0.5
    if low is not None and high is not None and 0 <= low <= high <= 100:
        assert (q.envelope.low, q.envelope.high) == (low, high)


def test_penalties_rise_tenfold_a_rank_and_hard_ones_above_all():
    _, cvs = merge(PLANT, {"t": Limit(rank=7), "x": Limit(rank=2, low=0)})
    np.testing.assert_allclose(penalties(cvs), [100.0, 1000.0])
    _, cvs = merge(PLANT, {"t": Limit(rank=7, hard=True), "x": Limit(rank=2, low=0)})
    np.testing.assert_allclose(penalties(cvs), [10000.0, 1000.0])
