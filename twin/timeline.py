"""The rows after `at`: their times, and values given as steps in time.

Row k = 1, 2, … lies k sample periods after `at`. A row's inputs are those in force when it was recorded, and act on
that row's CVs. A step at `after_s` is in force from the first row k ≥ 1 with (k − 1) T ≥ after_s; values hold until
the next step, and past the last one (the REST contract).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.errors import Location, QuestionError

MAX_HORIZON = 20  # times the calibrated horizon


@dataclass(frozen=True)
class Step:
    """A value in engineering units from `after_s` seconds after `at` on."""

    after_s: float
    value: float


Steps = Mapping[str, Sequence[Step]]


def horizon_rows(twin: Twin, horizon_s: float) -> int:
    """Rows in a horizon.

    Raises:
        QuestionError: it is not positive, or longer than `MAX_HORIZON` times the calibrated one.
    """
    longest = MAX_HORIZON * twin.horizon_s
    if not (math.isfinite(horizon_s) and 0 < horizon_s <= longest):
        msg = f"must be above 0 and at most {longest:g} s for this twin (calibrated to {twin.horizon_s:g} s)"
        raise QuestionError.at(("horizon_s",), msg)
    return max(1, math.ceil(horizon_s / twin.plant.sample_period_s - 1e-9))


def future_times(twin: Twin, at: pd.Timestamp, rows: int) -> pd.DatetimeIndex:
    """The times of the rows after `at`."""
    period = round(twin.plant.sample_period_s * 1e9)
    return pd.DatetimeIndex((at.value + period * np.arange(1, rows + 1)).view("datetime64[ns]"), tz="UTC")


def iso(times: pd.DatetimeIndex) -> list[str]:
    """RFC 3339 with offset, at the precision the times need."""
    stamps: np.ndarray = times.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ns]")
    whole = not (stamps.astype(np.int64) % 10**9).any()
    return [f"{text}+00:00" for text in np.datetime_as_string(stamps, unit="s" if whole else "us")]


def staircase(steps: Sequence[Step], present: float, rows: int, period_s: float, loc: Location) -> np.ndarray:
    """(rows,) values that hold from each step's first row (the first k ≥ 1 with (k − 1) T ≥ after_s) on."""
    values = np.full(rows, present)
    for step in sorted(steps, key=lambda step: step.after_s):
        if not (math.isfinite(step.after_s) and step.after_s >= 0 and math.isfinite(step.value)):
            raise QuestionError.at(loc, "a step needs a finite value and after_s of 0 or more")
        first = math.ceil(step.after_s / period_s - 1e-9)
        values[min(first, rows) :] = step.value
    return values
