"""Certificates of small plans, worked out by hand."""

import numpy as np
import pandas as pd

from twin.limits import Limit, merge
from twin.planning.certificate import certify
from twin.plant import Plant, Role, Tag

PLANT = Plant(
    "p",
    2.0,
    (
        Tag("q", Role.MV, "m3/h", 0.0, 100.0, rate_limit_per_s=1.5),
        Tag("t", Role.CV, "degC", limit_high=80.0),
        Tag("x", Role.CV, "mol%"),
    ),
)
TIMES = pd.date_range("2026-01-01", periods=4, freq="2s", tz="UTC")


def entries(limits, low, high, mvs):
    merged_mvs, cvs = merge(PLANT, limits)
    bands = np.column_stack([low, low]), np.column_stack([high, high])
    found = certify(PLANT, TIMES, bands, cvs, np.array(mvs, float)[:, None], merged_mvs, 0.9)
    return {(entry.tag, entry.side): entry for entry in found}


def test_margins_and_spans():
    got = entries({"x": Limit(low=70.0, rank=4, hard=True)}, [71, 69, 66, 75], [78, 79, 82, 80], [50, 51, 54, 53, 50])
    high = got["t", "high"]
    assert (high.worst, high.margin, high.kept, high.coverage, high.rank) == (82.0, -2.0, False, 0.9, 1)
    assert high.span == (TIMES[2], TIMES[2])
    low = got["x", "low"]
    assert (low.worst, low.margin, low.rank, low.hard) == (66.0, -4.0, 4, True)
    assert low.span == (TIMES[1], TIMES[2])
    body = low.to_json()
    assert body["relaxed_by"] == 4.0
    assert body["span"] == {"start": "2026-01-01T00:00:02+00:00", "end": "2026-01-01T00:00:04+00:00"}
    assert ("t", "low") not in got  # no such limit


def test_a_limit_met_exactly_is_kept():
    got = entries({}, [0] * 4, [80] * 4, [50] * 5)
    assert got["t", "high"].kept
    assert got["t", "high"].to_json()["relaxed_by"] == 0.0
    assert got["t", "high"].span is None


def test_mv_limits_and_rates_are_exact():
    got = entries({"q": Limit(high=53.0)}, [0] * 4, [0] * 4, [50, 51, 54, 53, 50])
    assert (got["q", "high"].worst, got["q", "high"].kept, got["q", "high"].span) == (54.0, False, (TIMES[1], TIMES[1]))
    assert (got["q", "low"].worst, got["q", "low"].margin) == (50.0, 50.0)
    rate = got["q", "rate"]
    assert (rate.limit, rate.worst, rate.kept, rate.coverage) == (1.5, 1.5, True, 1.0)
    assert not entries({"q": Limit(rate_per_s=1.4)}, [0] * 4, [0] * 4, [50, 51, 54, 53, 50])["q", "rate"].kept


def test_limits_that_cross_are_both_told():
    got = entries({"q": Limit(low=60.0, high=40.0)}, [0] * 4, [0] * 4, [50] * 5)
    assert (got["q", "low"].margin, got["q", "high"].margin) == (-10.0, -10.0)
    assert "q breaks its low limit 60 by up to 10 from 2026-01-01T00:00:00+00:00" in str(got["q", "low"])
