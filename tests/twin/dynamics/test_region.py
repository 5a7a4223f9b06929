"""The trained region: distances a Gaussian cloud must have, and the gate they give."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from twin.dynamics.region import Region
from twin.windows import Window

ROWS, HISTORY, HORIZON = 4000, 3, 4


def _cloud() -> tuple[Window, np.ndarray]:
    """Windows that are constant along time, so that their means are known: y ~ N(5, 2²), w and its plan ~ N(0, 1)."""
    rng = np.random.default_rng(7)
    y, w, plan = (rng.standard_normal((ROWS, 1, 1)).astype(np.float32) for _ in range(3))
    still = np.ones((1, HISTORY, 1), np.float32)
    window = Window(5 + 2 * y * still, w * still, np.ones((ROWS, HISTORY, 1), np.float32))
    return window, plan * np.ones((1, HORIZON, 1), np.float32)


def _at(y: float, w: float, plan: float) -> tuple[Window, jnp.ndarray]:
    window = Window(*(np.full((HISTORY, 1), value, np.float32) for value in (y, w, 1.0)))
    return window, jnp.full((HORIZON, 1), plan)


@pytest.fixture(scope="module")
def region() -> Region:
    return Region.fit(*_cloud())


def test_distance_one_is_the_99_percent_shell_of_three_dimensions(region: Region) -> None:
    # chi with 3 degrees of freedom: 99 % lie within 3.368 deviations, in each direction alike
    for point in (_at(5 + 2 * 3.368, 0, 0), _at(5, -3.368, 0), _at(5, 0, 3.368)):
        assert float(region.distance(*point)) == pytest.approx(1.0, rel=0.08)


def test_the_gate_is_open_inside_and_falls_with_the_fourth_power(region: Region) -> None:
    assert float(region.gate(*_at(5.5, 0.2, 0.1))) == 1.0
    far = _at(5 + 2 * 3.368 * 2, 0, 0)
    assert float(region.gate(*far)) == pytest.approx(float(region.distance(*far)) ** -4, rel=1e-4)
    assert float(region.gate(*far)) == pytest.approx(1 / 16, rel=0.35)


def test_an_input_that_never_moved_does_not_make_distances_infinite() -> None:
    window, plan = _cloud()
    region = Region.fit(Window(window.y, 0 * window.w, window.mask), 0 * plan)
    assert float(region.distance(*_at(5, 0, 0))) < 0.1
    assert 1 < float(region.distance(*_at(5, 1, 1))) < 1e3
