"""Blocks of moves, and the ramps inside them."""

import numpy as np
import pytest

from twin.planning.blocking import blocking, starts


def test_blocks_start_geometrically_and_within_the_control_horizon():
    assert starts(60, 6).tolist() == [0, 1, 4, 11, 25, 59]
    assert starts(3, 8).tolist() == [0, 1, 2]
    assert starts(1, 8).tolist() == [0]


def test_without_a_rate_limit_each_block_holds_its_level():
    block = blocking(np.array([0, 1, 3]), 6, 6, 4, 0.0)
    assert (block.rows @ [5.0, 7.0, 9.0, 100.0]).tolist() == [5, 7, 7, 9, 9, 9]
    assert block.ramp.tolist() == [1, 1, 1, 0]


def test_a_slow_mv_ramps_as_long_as_its_widest_move_takes():
    block = blocking(np.array([0, 2, 6]), 10, 10, 3, 3.0)
    np.testing.assert_allclose(block.rows @ [2.0, 8.0, -1.0], [1, 2, 4, 6, 8, 8, 5, 2, -1, -1])
    assert block.ramp.tolist() == [2, 3, 3]


def test_past_the_control_horizon_an_mv_rests():
    block = blocking(np.array([0, 2]), 4, 8, 2, 100.0)
    np.testing.assert_allclose(block.rows @ [2.0, 4.0], [1, 2, 3, 4, 4, 4, 4, 4])


@pytest.mark.parametrize("slowest", [0.0, 2.5, 7.0, np.inf])
def test_a_level_change_within_ramp_times_rate_keeps_the_rate_in_every_row(slowest):
    rng = np.random.default_rng(0)
    block = blocking(starts(40, 9), 40, 50, 9, slowest)
    for _ in range(50):
        levels = np.cumsum(rng.uniform(-1, 1, 9) * block.ramp)
        rows = block.rows @ levels
        assert np.abs(np.diff(rows, prepend=0.0)).max() <= 1 + 1e-9
        assert rows[-1] == pytest.approx(levels[block.ramp > 0][-1])
