"""Blocks, folds and windows."""

from __future__ import annotations

import numpy as np
import pytest

from twin.errors import TrainingError
from twin.training.folds import COUNT, narrow, sizes, split, spread


def test_no_window_crosses_a_gap_or_touches_what_its_fold_must_not_see() -> None:
    run = np.repeat([0, 1], [700, 520])
    folds = split(run, 12, 20)
    for fold in range(COUNT):
        for ends, mine in ((folds.held_out(fold), True), (folds.training(fold), False)):
            assert len(ends)
            rows = ends[:, None] + np.arange(-11, 21)
            assert np.ptp(run[rows], axis=1).max() == 0
            assert ((folds.label[rows] == fold) == mine).all()


def test_every_fold_holds_out_about_a_quarter() -> None:
    for lengths in ([5000], [300, 300, 300, 300, 280], [900, 400]):
        run = np.repeat(np.arange(len(lengths)), lengths)
        shares = np.bincount(split(run, 8, 12).label, minlength=COUNT) / len(run)
        assert shares.min() > 0.15
        assert shares.max() < 0.42


def test_with_many_runs_whole_runs_are_held_out() -> None:
    run = np.repeat(np.arange(8), 200)
    label = split(run, 8, 12).label
    assert all(len(np.unique(label[run == number])) == 1 for number in range(8))


def test_windows_keep_their_wished_length_where_eight_fit_and_shrink_where_not() -> None:
    assert sizes(np.zeros(8 * 92, int), 60) == (32, 60)
    history, horizon = sizes(np.zeros(300, int), 60)
    assert 8 <= history < 32
    assert 8 <= horizon < 60
    assert 300 // (history + horizon) >= 8


def test_too_few_rows_say_how_many_there_are_and_are_needed() -> None:
    with pytest.raises(TrainingError, match=r"too few rows to train: 120 in 1 run.* at least 128 rows"):
        sizes(np.zeros(120, int), 60)


def test_spread_keeps_its_shape_with_fewer_windows_than_asked() -> None:
    np.testing.assert_array_equal(spread(np.array([4, 9]), 4), [4, 4, 9, 9])
    np.testing.assert_array_equal(spread(np.arange(101), 3), [0, 50, 100])


def test_rows_keep_the_fold_that_held_them_out_before() -> None:
    run = np.r_[np.zeros(1500, int), np.ones(900, int)]
    before = split(run[:2000], 16, 20)  # the second run was cut short
    after = split(run, 16, 20, np.r_[before.label, np.full(400, -1)])
    np.testing.assert_array_equal(after.label[:2000], before.label)
    held = np.bincount(after.label, minlength=COUNT) / len(run)
    assert held.min() > 0.17
    for fold in range(COUNT):
        for end in after.held_out(fold):
            assert set(after.label[end - 15 : end + 21]) == {fold}


def test_few_rows_hold_out_only_what_is_forecast() -> None:
    folds = narrow(np.zeros(112, int), 32, 60)  # 80 rows behind the first history: four blocks of 20, 13 of them ahead
    assert folds.horizon == 13
    label = np.r_[np.zeros(32, int), np.repeat(np.arange(4), 20)]
    np.testing.assert_array_equal(folds.label, label)
    for fold in range(4):
        ahead = folds.held_out(fold)[:, None] + np.arange(1, 14)
        assert (label[ahead] == fold).all()
        np.testing.assert_array_equal(ahead[:, 0], 32 + 20 * fold + np.arange(8))
        learnt = folds.training(fold)[:, None] + np.arange(1, 14)
        assert (label[learnt] != fold).all()
    with pytest.raises(TrainingError, match="80 without a gap"):
        narrow(np.zeros(70, int), 32, 60)
