"""The common model: its vector, what a unit's rows do to it, and which units fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.twin.fleet.units import KEEP, plant, unit
from twin.errors import QuestionError, TrainingError
from twin.fleet.common import Common, Unit, local_steps, loss
from twin.fleet.shape import Shape, converted, matched
from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry

SHAPE = Shape.of(plant("first"), history=8, horizon=12, lags=2, input_rows=2)
SAME = Scaler(np.zeros(1), np.ones(1), np.zeros(2), np.ones(2))


def test_a_vector_carries_the_whole_model() -> None:
    common = Common.fresh(SHAPE)
    vector = common.vector()
    assert vector.dtype == np.float32
    changed = common.from_vector(vector + 1)
    np.testing.assert_array_equal(changed.vector(), vector + 1)
    np.testing.assert_array_equal(changed.parameters.linear, np.asarray(common.parameters.linear) + 1)
    with pytest.raises(QuestionError, match="this model's"):
        common.from_vector(vector[1:])


def test_a_fresh_model_holds_the_last_value() -> None:
    of = Unit.of(SHAPE, unit("a", 400, 1.5, 0), scaler=SAME)
    ends = of.grid.ends(8, 12)
    ends = ends[np.linspace(0, len(ends) - 1, 256).round().astype(int)]
    y = of.grid.y[:, 0]
    changes = np.stack([y[ends + k] - y[ends] for k in range(1, 13)], axis=1)
    assert loss(Common.fresh(SHAPE), of) == pytest.approx(np.sqrt((changes**2).mean(axis=0)).mean(), rel=1e-5)


def test_the_linear_part_becomes_the_units_equation() -> None:
    common, of = Common.fresh(SHAPE), Unit.of(SHAPE, unit("a", 600, 1.5, 0), scaler=SAME)
    for _ in range(60):  # each call leaves a part of where it was
        common = local_steps(common, of, 0, seed=0)
    level_1, level_2, flow_0, ambient_0, flow_1, ambient_1, constant = np.asarray(common.parameters.linear)[:, 0]
    # ARX(2, 2) writes the first-order equation in many ways: what a step does in the end is the same in all
    through = 1 - level_1 - level_2
    assert (flow_0 + flow_1) / through == pytest.approx(1.5, rel=0.02)
    assert (ambient_0 + ambient_1) / through == pytest.approx(0.1 / (1 - KEEP), rel=0.02)
    assert constant == pytest.approx(0.0, abs=1e-3)
    assert loss(common, of) < 0.02


def test_an_anchor_holds_the_model() -> None:
    start, of = Common.fresh(SHAPE), Unit.of(SHAPE, unit("a", 400, 1.5, 0), scaler=SAME)
    near, free = local_steps(start, of, 20, 0, rho=1e4), local_steps(start, of, 20, 0)
    moved = [float(np.linalg.norm(m.parameters.linear - start.parameters.linear)) for m in (near, free)]
    assert moved[0] < 1e-2 * moved[1]


def test_steps_learn_what_is_not_linear() -> None:
    of = Unit.of(SHAPE, unit("a", 800, 1.0, 0, bend=0.7), scaler=SAME)
    linear = local_steps(Common.fresh(SHAPE), of, 0, 0)
    linear = local_steps(linear, of, 0, 0)
    assert loss(local_steps(linear, of, 300, 0), of) < 0.7 * loss(linear, of)


def test_tags_are_mapped_to_the_fleets_order() -> None:
    other = Plant("b", 10.0, plant("b", ("FIC-1", "TI-2", "LI-3")).tags[::-1])
    rows = unit("b", 200, 1.0, 1, of=plant("b", ("FIC-1", "TI-2", "LI-3")))
    rows = replace(rows, plant=other, values=rows.values[:, ::-1])
    found = matched(SHAPE, rows, {"flow": "FIC-1", "ambient": "TI-2", "level": "LI-3"})
    assert found.plant.names == ("FIC-1", "TI-2", "LI-3")
    np.testing.assert_array_equal(found.values, rows.values[:, ::-1])


def test_a_tag_may_be_calculated_from_others_that_the_fleet_does_not_know() -> None:
    flow, ambient, level = plant("b").tags
    probe = Tag("probe", Role.DV, "m")
    of = Plant("b", 10.0, (flow, ambient, probe, replace(level, formula="100 * probe")))
    rows = unit("b", 50, 1.0, 1)
    measured = rows.frame().rename(columns={"level": "probe"}).assign(probe=rows.values[:, 2] / 100)
    found = matched(SHAPE, Telemetry.from_frame(of, measured))
    np.testing.assert_allclose(found.values, rows.values, rtol=1e-12)


def test_scales_follow_the_units_of_engineering() -> None:
    here = Plant("b", 10.0, tuple(replace(t, unit=u) for t, u in zip(plant("b").tags, ("l/h", "K", "m"), strict=True)))
    mean, scale = converted(SHAPE, here, np.array([2.0, 20.0, 50.0]), np.array([1.0, 5.0, 10.0]))
    np.testing.assert_allclose(mean, [2000.0, 293.15, 0.5])
    np.testing.assert_allclose(scale, [1000.0, 5.0, 0.1])


@pytest.mark.parametrize(
    ("tags", "change", "said"),
    [
        ({"flow": "FIC-1"}, {}, "no tag 'FIC-1'"),
        ({"flo": "flow"}, {}, "did you mean flow"),
        ({"flow": "ambient", "ambient": "flow"}, {}, "is a DV, the fleet's a MV"),
        ({"ambient": "flow"}, {}, "two of the fleet's tags"),
        ({}, {"sample_period_s": 5.0}, "the fleet's 10 s"),
        ({}, {"unit": "kPa"}, "the fleet's in m3/h"),
    ],
)
def test_units_that_do_not_fit_are_refused(tags: dict[str, str], change: dict, said: str) -> None:
    rows = unit("b", 200, 1.0, 1)
    first, *others = rows.plant.tags
    first = replace(first, unit=change.get("unit", first.unit))
    of = Plant("b", change.get("sample_period_s", 10.0), (first, *others))
    with pytest.raises(QuestionError, match=said):
        matched(SHAPE, replace(rows, plant=of), tags)


@pytest.mark.parametrize("column", range(3))
def test_a_tag_that_was_never_measured_is_refused_by_name(column: int) -> None:
    rows = unit("a", 100, 1.0, 0)
    rows.values[:, column] = np.nan
    with pytest.raises(TrainingError, match=f"a: no measured value of {rows.plant.names[column]}$"):
        Unit.of(SHAPE, rows)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(TrainingError, match="20 without a gap"):
        Unit.of(SHAPE, unit("a", 19, 1.0, 0))
