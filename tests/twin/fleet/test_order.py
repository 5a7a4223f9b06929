"""A fleet in the order of another plant's tags forecasts what it did."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from twin.dynamics.region import Region
from twin.fleet.common import Common, Unit, equations, loss
from twin.fleet.fleet import Fleet
from twin.fleet.order import reordered
from twin.fleet.prior import Equations, Prior
from twin.fleet.shape import Shape
from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry

TAGS = (Tag("m1", Role.MV), Tag("m2", Role.MV), Tag("d1", Role.DV), Tag("d2", Role.DV),
        Tag("c1", Role.CV), Tag("c2", Role.CV), Tag("c3", Role.CV))  # fmt: skip
ORDER = (1, 0, 3, 2, 6, 4, 5)
SHAPE = Shape.of(Plant("a", 1.0, TAGS), history=9, horizon=6, lags=3, input_rows=2)


def _telemetry() -> Telemetry:
    values = np.random.default_rng(0).standard_normal((120, 7)).cumsum(axis=0) * 0.1
    times = np.arange(120).astype("datetime64[s]").astype("datetime64[ns]")
    return Telemetry(Plant("a", 1.0, TAGS), times, values, np.zeros(120, np.int64))


def _fleet() -> Fleet:
    """Every number drawn at random."""
    rng = np.random.default_rng(1)
    fresh = Common.fresh(SHAPE, members=4)
    common = fresh.from_vector((0.05 * rng.standard_normal(fresh.vector().shape)).astype(np.float32))
    roots = rng.standard_normal((3, SHAPE.coefficients, SHAPE.coefficients))
    prior = Prior(np.asarray(common.parameters.linear, np.float64), roots @ roots.swapaxes(1, 2), rng.random(3) + 0.1)
    scaler = Scaler(rng.random(3), rng.random(3) + 0.5, rng.random(4), rng.random(4) + 0.5)
    region = Region(jnp.asarray(rng.random(11), jnp.float32), jnp.asarray(rng.random((11, 11)), jnp.float32))
    return Fleet("f", common, prior, scaler, True, region, {"units": []})


def test_another_order_changes_no_answer() -> None:
    fleet, rows = _fleet(), _telemetry()
    order = np.array(ORDER)
    other = Plant("a", 1.0, tuple(TAGS[i] for i in ORDER))
    moved_rows = replace(rows, plant=other, values=rows.values[:, order])
    moved = reordered(fleet, np.array([1, 0, 3, 2]), np.array([2, 0, 1]))
    assert (moved.shape.mvs, moved.shape.dvs, moved.shape.cvs) == (("m2", "m1"), ("d2", "d1"), ("c3", "c1", "c2"))
    here = Unit.of(fleet.shape, rows, scaler=fleet.scaler_of(rows))
    there = Unit.of(moved.shape, moved_rows, scaler=moved.scaler_of(moved_rows))
    np.testing.assert_array_equal(there.grid.y, here.grid.y[:, [2, 0, 1]])
    np.testing.assert_allclose(loss(moved.common, there), loss(fleet.common, here), rtol=1e-5)

    def solved(fleet: Fleet, unit: Unit) -> np.ndarray:
        found: Equations = equations(fleet.shape, unit.grid, unit.grid.ends(3, 1))
        return fleet.prior.posterior(found, 2.0)

    mine, theirs = solved(fleet, here), solved(moved, there)
    np.testing.assert_allclose(theirs[-1], mine[-1][[2, 0, 1]], rtol=1e-6)  # the constants
    np.testing.assert_allclose(theirs[:3], mine[[2, 0, 1]][:, [2, 0, 1]], rtol=1e-6)  # the first lag
    ends = np.array([40, 60])
    distances = [
        jax.vmap(f.region.distance)(u.grid.window(ends, 9), u.grid.future(ends, 6).w)
        for f, u in ((fleet, here), (moved, there))
    ]
    np.testing.assert_allclose(distances[1], distances[0], rtol=1e-5)
