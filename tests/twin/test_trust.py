"""Bands, surprise and the verdict, against values worked out by hand or by construction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twin.errors import QuestionError
from twin.plant import Plant, Role, Tag
from twin.shift import Shift, mean_errors
from twin.telemetry import Telemetry
from twin.trust import HINDCAST, Bands, Reason, Seen, Surprise, verdict

PLANT = Plant("p", 1.0, (Tag("u", Role.MV), Tag("y", Role.CV)))


def telemetry(u: list[float], y: list[float]) -> Telemetry:
    index = pd.date_range("2026-01-01", periods=len(u), freq="s", tz="UTC", name="time")
    return Telemetry.from_frame(PLANT, pd.DataFrame({"u": u, "y": y}, index=index))


def test_a_band_is_the_conformal_order_statistic() -> None:
    residuals = np.random.default_rng(0).permutation(np.arange(1.0, 1000.0))[:, None, None]  # 1 … 999
    bands = Bands.fit(residuals, np.ones_like(residuals))
    assert bands.at(0.9, 1)[0, 0] == 900  # rank ⌈1000 · 0.9⌉
    assert bands.at(0.1, 1)[0, 0] == 100
    assert bands.at(0.925, 1)[0, 0] == pytest.approx(925)  # halfway between the ranks of 0.90 and 0.95


def test_what_was_not_measured_does_not_count() -> None:
    residuals = np.concatenate([np.arange(1.0, 100.0), np.full(50, 1e6)])[:, None, None]
    mask = np.concatenate([np.ones(99), np.zeros(50)])[:, None, None]
    assert Bands.fit(residuals, mask).at(0.95, 1)[0, 0] == 95


def rarely(every: int, seed: int, windows: int = 1200, rows: int = 60) -> np.ndarray:
    """Where a CV that a laboratory measures every so many rows has values, in windows that start anywhere."""
    start = np.random.default_rng(seed).integers(0, 10**6, windows)
    measured: np.ndarray = ((start[:, None] + np.arange(rows)) % every == 0)[:, :, None].astype(float)
    return measured


@pytest.mark.parametrize("every", [60, 240, 480, 1440])
def test_the_band_of_a_cv_that_is_measured_rarely_holds_and_is_no_wider_than_it_must(every: int) -> None:
    rng, mask, fold = np.random.default_rng(7), rarely(every, 8), np.arange(1200) // 300
    low, high = Bands.across(rng.normal(size=mask.shape) * mask, mask, fold).interval(0.9, 60)
    fresh = rng.normal(size=(10_000, 60, 1))
    assert ((fresh >= low) & (fresh <= high)).mean() == pytest.approx(0.9, abs=0.07)
    assert (high > 0.6).all()  # a normal deviate is within 1.645 nine times of ten
    assert (low < -0.6).all()
    assert (high - low).max() < 2 * 2 * 1.645


def test_the_band_of_a_cv_that_was_never_measured_is_as_wide_as_it_varies() -> None:
    never = np.zeros((1200, 4, 1))
    low, high = Bands.across(never, never, np.arange(1200) // 300).interval(0.9, 4)
    assert high == pytest.approx(np.full((4, 1), 1.645), abs=1e-3)
    assert low == pytest.approx(-high)


def test_a_value_of_a_cv_that_is_measured_rarely_is_no_surprise_where_it_is_as_usual() -> None:
    rng = np.random.default_rng(9)
    for every in (480, 1440, 20_000):
        mask = rarely(every, 10)
        surprise = Surprise.fit(rng.normal(size=mask.shape) * mask, mask)
        one = np.arange(HINDCAST)[:, None] == rng.integers(HINDCAST)
        usual = [surprise.ratio(rng.normal() * one, one.astype(float))[0] > 1 for _ in range(500)]
        assert np.mean(usual) < 0.05
        assert surprise.ratio(6.0 * one, one.astype(float))[0] > 1


def test_a_cv_that_is_measured_rarely_hides_no_shift_of_another() -> None:
    rng, mask = np.random.default_rng(11), np.ones((3000, 20, 2))
    mask[:, :, 1:] = rarely(2000, 12, 3000, 20)  # in one window of a hundred
    errors = np.stack([rng.normal(size=(3000, 1)) + np.zeros((3000, 20)), rng.normal(size=(3000, 20))], axis=2)
    shift = Shift.fit(errors, mask)
    assert shift.size == pytest.approx([1.0, 1.0], abs=0.35)  # some thirty values tell the second
    assert (shift.ratio(mean_errors(errors, mask)) > 1).mean() < 0.005
    assert shift.ratio(np.array([[5.0, 0.0]]))[0] > 1  # 25 / 2, against what 0.2 % of χ² / 2 exceed with a margin, 5.7


def test_a_band_holds_what_it_promises_on_fresh_exchangeable_residuals() -> None:
    rng = np.random.default_rng(1)
    bands = Bands.fit(rng.standard_t(4, (2000, 3, 2)), np.ones((2000, 3, 2)))
    low, high = bands.interval(0.9, 3)
    fresh = rng.standard_t(4, (20_000, 3, 2))
    inside = ((fresh >= low) & (fresh <= high)).mean(axis=0)
    assert inside == pytest.approx(np.full((3, 2), 0.9), abs=0.025)  # 3.5 standard errors of the fit


def test_past_the_calibrated_horizon_a_band_grows_like_a_random_walk() -> None:
    residuals = np.random.default_rng(2).normal(size=(500, 4, 1))
    bands = Bands.fit(residuals, np.ones_like(residuals))
    wide = bands.at(0.95, 16)
    assert wide[:4] == pytest.approx(bands.at(0.95, 4))
    assert wide[15] == pytest.approx(2 * wide[3])


def test_a_coverage_that_was_not_calibrated_is_refused() -> None:
    bands = Bands.fit(np.zeros((10, 1, 1)), np.ones((10, 1, 1)))
    with pytest.raises(QuestionError, match="coverage"):
        bands.at(0.9999, 1)


def test_a_sensor_bias_is_a_surprise_and_healthy_rows_are_not() -> None:
    rng = np.random.default_rng(3)
    surprise = Surprise.fit(rng.normal(size=(3000, 20, 2)), np.ones((3000, 20, 2)))
    measured = np.ones((HINDCAST, 2))
    alarms = [surprise.ratio(rng.normal(size=(HINDCAST, 2)), measured) > 1 for _ in range(500)]
    assert np.mean(alarms) < 0.005
    biased = rng.normal(size=(HINDCAST, 2)) + [0.0, 3.0]
    assert (surprise.ratio(biased, measured) > 1).tolist() == [False, True]
    assert surprise.ratio(1e6 * np.ones((HINDCAST, 2)), np.zeros((HINDCAST, 2))).tolist() == [0.0, 0.0]


def test_a_sensor_that_stands_still_for_longer_than_ever_is_frozen() -> None:
    seen = Seen.of(telemetry(list(range(20)), [1.0, 1.0, 1.0, 2.0, *range(3, 19)]))
    assert seen.still.tolist() == [0, 2]
    moving = telemetry(list(range(10)), list(range(10)))
    stuck = telemetry(list(range(10)), [0.0, 1.0, *([2.0] * 8)])  # 7 rows without a change: more than 2 · 2 + 2
    assert seen.frozen(moving) == []
    assert seen.frozen(stuck) == ["y"]


def test_a_freeze_in_training_does_not_teach_that_standing_still_is_usual() -> None:
    """40 rows of one value among 400 that never repeat: the sensor stuck. The MV rests as it likes."""
    y = np.arange(400.0)
    y[200:240] = y[200]
    seen = Seen.of(telemetry([0.0] * 400, list(y)))
    assert seen.still.tolist() == [399, 0]
    stuck = telemetry(list(range(10)), [0.0, 1.0, *([2.0] * 8)])
    assert seen.frozen(stuck) == ["y"]


def test_a_tag_that_rests_at_an_end_of_its_range_may_do_so_again() -> None:
    """A vessel that was empty for 41 rows: that is how still its level may stand."""
    y = np.maximum(np.abs(np.arange(400.0) - 200.0) - 20.0, 0.0)
    seen = Seen.of(telemetry([0.0] * 400, list(y)))
    assert seen.still.tolist() == [399, 40]


def test_a_tag_without_values_for_longer_than_usual_is_stale() -> None:
    nan = float("nan")
    seen = Seen.of(telemetry([0.0] * 8, [1.0, nan, nan, nan, nan, 2.0, nan, 3.0]))  # once four rows without
    history = telemetry([0.0] * 8, [1.0, 2.0, nan, nan, nan, nan, nan, nan])
    assert seen.stale(history) == {"y": 6}
    assert seen.stale(history.rows(slice(0, 6))) == {}


def test_a_verdict_with_nothing_against_it_trusts() -> None:
    trust = verdict(distance=0.5, surprise={"y": 0.3})
    assert (trust.in_distribution, trust.score, trust.calibrated, trust.reasons) == (True, 1.0, True, ())


@pytest.mark.parametrize(
    "told",
    [
        {"distance": float("nan"), "surprise": {}},
        {"distance": 0.5, "surprise": {"y": float("nan")}},
        {"distance": 0.5, "surprise": {}, "shift": (float("nan"), {})},
        {"distance": 0.5, "surprise": {}, "lasting": {"y": float("nan")}},
    ],
)
def test_a_verdict_trusts_nothing_that_is_no_number(told) -> None:
    trust = verdict(**told)
    assert (trust.in_distribution, trust.score, trust.calibrated) == (False, 0.0, False)


def test_a_verdict_names_what_was_asked_outside_the_trained_range() -> None:
    trust = verdict(distance=0.9, surprise={"y": 4.0}, beyond={"u": (120.0, 0.0, 100.0)})
    assert not trust.in_distribution
    assert not trust.calibrated
    assert [(r.code, r.tag) for r in trust.reasons] == [("surprise", "y"), ("beyond_trained_range", "u")]
    assert trust.score == pytest.approx(0.25 / 1.8, abs=1e-4)  # 1/4, and 1 / (1 + 4 · 20 %)


@pytest.mark.parametrize("unit", [1e-14, 1e7])
def test_how_far_beyond_the_trained_range_is_judged_in_any_unit(unit: float) -> None:
    trust = verdict(distance=0.5, surprise={}, beyond={"u": (1.5 * unit, 0.0, unit)})
    assert trust.score == pytest.approx(1 / 3, abs=1e-4)  # 1 / (1 + 4 · 50 %)
    never = verdict(distance=0.5, surprise={}, beyond={"u": (1.5 * unit, unit, unit)})
    assert (never.in_distribution, never.score) == (False, 0.0)


def test_past_the_calibrated_horizon_bands_are_not_called_calibrated() -> None:
    trust = verdict(distance=0.5, surprise={}, beyond_horizon_s=60)
    assert trust.in_distribution
    assert not trust.calibrated


def test_a_small_lasting_shift_alarms_where_single_rows_do_not_and_healthy_windows_hardly_do() -> None:
    rng = np.random.default_rng(4)

    def windows(n: int, off: float) -> np.ndarray:
        """Errors of two CVs that err together row by row, with a wander of the whole window; the second one is off."""
        shared = rng.normal(size=(n, 20, 1))
        return shared + 0.3 * rng.normal(size=(n, 20, 2)) + 0.2 * rng.normal(size=(n, 1, 1)) + [0.0, off]

    every = np.ones((3000, 20, 2))
    shift = Shift.fit(windows(3000, 0.0), every)
    healthy = shift.ratio(mean_errors(windows(3000, 0.0), every))
    assert (healthy > 1).mean() < 0.005
    # Off by 0.8 against its neighbour: less than a row's deviation of 1.04, eight times 0.3 √2 / √20 of the difference.
    faulty = shift.ratio(mean_errors(windows(300, 0.8), every[:300]))
    assert (faulty > 1).mean() > 0.8
    surprise = Surprise.fit(windows(3000, 0.0), every)
    rows = len(surprise.size)
    single = [surprise.ratio(w[:rows], np.ones((rows, 2)))[1] > 1 for w in windows(300, 0.8)]
    assert np.mean(single) < 0.1


def test_a_shift_is_a_reason_with_the_cv_and_its_size() -> None:
    trust = verdict(distance=0.5, surprise={}, shift=(4.0, {"y": "+0.3 bar"}))
    (reason,) = trust.reasons
    assert (reason.code, reason.tag, trust.in_distribution, trust.score) == ("shift", "y", False, 0.25)
    assert "y by +0.3 bar" in reason.detail


def test_a_plan_that_makes_up_for_a_change_loses_half_of_its_score_once() -> None:
    changed = {"surprise": {"y": 100.0, "z": 9.0}, "shift": (25.0, {"y": "+0.3 bar"})}
    assert verdict(distance=0.5, **changed).score == pytest.approx(1 / 100 / 9 / 25, abs=1e-4)
    trust = verdict(distance=0.5, **changed, lasting={"y": 0.9, "z": 0.1})
    assert (trust.score, trust.in_distribution, trust.calibrated) == (0.5, False, False)
    assert [reason.code for reason in trust.reasons] == ["surprise", "shift", "surprise"]
    assert verdict(distance=0.5, surprise={"y": 0.5}, lasting={"y": 0.9}).score == 1.0


def test_a_plan_that_does_not_make_up_for_a_change_says_which_cv_it_is() -> None:
    trust = verdict(distance=0.5, surprise={"y": 100.0}, lasting={"y": 4.0, "z": 0.1})
    assert trust.score == 0.125  # 1/2 and 1/4
    assert [(r.code, r.tag) for r in trust.reasons] == [("not_made_up_for", "y"), ("surprise", "y")]
    assert "2.0 times" in trust.reasons[0].detail


def test_a_plan_that_may_steer_the_wrong_way_loses_half_of_its_score() -> None:
    trust = verdict(distance=2.0, surprise={}, effects=[Reason("unknown_direction", "more of u", "y")])
    assert trust.score == 0.25  # 1/2 and 1/2
    assert {reason.code for reason in trust.reasons} == {"outside_region", "unknown_direction"}
