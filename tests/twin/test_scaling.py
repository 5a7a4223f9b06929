"""Scales of tags in units small and large."""

from __future__ import annotations

import numpy as np
import pytest

from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry

PLANT = Plant("p", 1.0, (Tag("u", Role.MV), Tag("y", Role.CV)))


@pytest.mark.parametrize("size", [1e-18, 1e-9, 1.0, 1e7])
def test_a_tag_that_moves_has_its_deviation_in_any_unit_and_a_constant_has_one(size: float) -> None:
    values = np.column_stack([np.full(4, 0.3 * size), size * np.array([1.0, 2.0, 3.0, 6.0])])
    rows = Telemetry(PLANT, np.arange(4).view("datetime64[ns]"), values, np.zeros(4, np.int64))
    scaler = Scaler.fit(rows)
    assert scaler.y_mean[0] == pytest.approx(3 * size)
    assert scaler.y_scale[0] == pytest.approx(size * np.sqrt(3.5))  # squares of -2, -1, 0 and 3 are 14
    assert scaler.w_scale[0] == 1.0
