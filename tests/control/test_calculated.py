"""Calculated CVs in a controller: they are computed from what was read, and drop out with it."""

from __future__ import annotations

import math

import pytest

from tests.control.support import AT_REST, PLANT, START, rig
from twin.plant import Plant, Role, Tag

WITH_DUTY = Plant(
    PLANT.name,
    PLANT.sample_period_s,
    (*PLANT.tags, Tag("duty", Role.CV, "kW", formula="flow * (temperature - ambient) / 10")),
)
DUTY = 50.0 * (75.0 - 20.0) / 10


async def test_a_calculated_cv_needs_no_source_and_goes_into_the_history() -> None:
    made = rig(described=WITH_DUTY, setpoints={"duty": {"value": 300.0}})
    record = await made.cycle()
    assert record["ok"], record["fault"]
    assert made.planner.asked[-1]["history"]["values"]["duty"][-1] == pytest.approx(DUTY)


async def test_it_is_out_with_a_tag_that_it_needs() -> None:
    made = rig(described=WITH_DUTY, setpoints={"temperature": {"value": 80.0}, "duty": {"value": 300.0}})
    inputs = made.controller._inputs
    good = await inputs.take(START, START, {}, {}, 1.0)
    assert good.row["duty"] == pytest.approx(DUTY)
    assert "duty" not in good.dropped
    made.plant.set({"temperature": AT_REST["temperature"]}, quality=0)
    later = await inputs.take(START + 1, START + 1, {}, {}, 1.0)
    assert math.isnan(later.row["duty"])
    assert later.dropped["duty"] == later.dropped["temperature"]
    assert "duty" not in later.good
