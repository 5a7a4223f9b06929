"""A fleet from units that differ in gain, and a new unit that starts from it with few rows."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.twin.fleet.units import plant, unit
from twin.artifact import Twin
from twin.calibrate import calibrate
from twin.errors import ArtifactError, QuestionError, TrainingError
from twin.fleet import fleet as fleets
from twin.fleet.common import Unit
from twin.fleet.fleet import Fleet
from twin.fleet.learn import Learning, Source, _last_rows, _nominal, learn
from twin.fleet.prior import STRENGTHS
from twin.fleet.shape import Shape
from twin.fleet.start import Joining, Start
from twin.plant import Plant, Role, Tag
from twin.predict import Scenario, forecast
from twin.telemetry import Telemetry
from twin.timeline import Step
from twin.train import Options, fit
from twin.windows import Grid

GAINS = (0.8, 1.0, 1.2, 1.4, 1.7, 2.0)
BEND, NOISE = 0.5, 0.05
QUICK = Options(budget_s=2.0)
FEW = 160


def _other(rows: int, seed: int = 50) -> Telemetry:
    """A unit that the fleet has not seen, under other names, in m."""
    first, ambient, level = plant("new", ("FIC-1", "TI-2", "LI-3")).tags
    telemetry = unit("new", rows, 1.5, seed, BEND, Plant("new", 10.0, (first, ambient, level)), NOISE)
    values = telemetry.values * np.array([1.0, 1.0, 0.01])
    return replace(telemetry, plant=Plant("new", 10.0, (first, ambient, replace(level, unit="m"))), values=values)


TAGS = {"flow": "FIC-1", "ambient": "TI-2", "level": "LI-3"}


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    sources = {f"u{i}": Source(unit(f"u{i}", 400, gain, i, BEND, None, NOISE)) for i, gain in enumerate(GAINS)}
    return learn(sources, Learning(horizon=16, budget_s=14.0), clock=time.process_time)


@pytest.fixture(scope="module")
def new(fleet: Fleet) -> Twin:
    return fit(_other(FEW), QUICK, clock=time.process_time, fleet=Joining(fleet, TAGS))


def _error(twin: Twin) -> float:
    """RMSE of forecasts over the horizon, over the deviation of the CV."""
    rows = _other(600, 51)
    errors = []
    for at in range(60, 560, 20):
        moves = {"FIC-1": [Step(k * 10.0, float(rows.w[at + 1 + k, 0])) for k in range(16)]}
        ambient = {"TI-2": [Step(k * 10.0, float(rows.w[at + 1 + k, 1])) for k in range(16)]}
        found = forecast(twin, rows.rows(slice(at + 1)), 160.0, [Scenario("as it was", moves, ambient)])
        errors.append(np.asarray(found.scenarios[0].cvs["LI-3"].mean) - rows.y[at + 1 : at + 17, 0])
    return float(np.sqrt(np.mean(np.square(errors))) / rows.y.std())


def test_the_residual_pays_on_units_held_out(fleet: Fleet) -> None:
    assert fleet.shared
    assert fleet.card["residual"]["out_of_unit"] < 0.8
    assert [one["rows"] for one in fleet.card["units"]] == [400] * 6
    assert fleet.card["how"].endswith("the rest forecast")


def test_a_fleet_is_stored_whole(fleet: Fleet, tmp_path: Path) -> None:
    fleets.save(fleet, tmp_path / "pumps")
    again = fleets.load(tmp_path / "pumps")
    np.testing.assert_array_equal(again.common.vector(), fleet.common.vector())
    np.testing.assert_array_equal(again.prior.precision, fleet.prior.precision)
    assert (again.id, again.shape, again.card) == (fleet.id, fleet.shape, fleet.card)
    weights = tmp_path / "pumps" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="damaged"):
        fleets.load(tmp_path / "pumps")


def test_a_new_unit_starts_from_the_fleet(fleet: Fleet, new: Twin) -> None:
    told = new.card["training"]["common"]
    assert (told["fleet"], told["units"], told["kept"]) == (fleet.id, 6, "common")
    assert told["out_of_fold"]["common"] < told["out_of_fold"]["own"]
    assert new.plant.names == ("FIC-1", "TI-2", "LI-3")
    record = calibrate(new, _other(FEW))
    assert (record.source, record.windows) == ("training", 1200)
    own = fit(_other(FEW), QUICK, clock=time.process_time)
    assert _error(new) < 0.8 * _error(own)


def test_how_strongly_the_prior_counts_is_told_by_the_fleet_while_rows_are_few(fleet: Fleet) -> None:
    """Both speak in proportion to their rows: 160 of the unit, and 400 of a unit of the fleet."""
    told = fleet.card["strengths"]
    assert (told["rows"], len(told["log_error"])) == (400.0, len(STRENGTHS))

    def chosen(log_error: list[float]) -> float:
        card = fleet.card | {"strengths": {"log_error": log_error, "rows": 400.0}}
        start = Start.of(Joining(replace(fleet, card=card), TAGS), _other(FEW))
        return start.scores(Grid.of(_other(FEW), start.scaler))[0].candidate.strength

    for wanted in (0.01, 3.0, np.inf):  # e to the power of 5 is 148: no error of this unit differs as much from another
        assert chosen([0.0 if strength == wanted else 5.0 for strength in STRENGTHS]) == wanted
    assert chosen([0.0] * len(STRENGTHS)) < np.inf  # its gain is not the fleet's mean


def test_a_unit_that_the_fleet_knows_starts_from_a_member_that_does_not(fleet: Fleet) -> None:
    rows = unit("u3", 400, GAINS[3], 3, BEND, None, NOISE)
    start = Start.of(Joining(fleet, unit="u3"), rows)
    held_by = fleet.card["units"][3]["held_out_by"]
    kernel, mine = fleet.common.parameters.residual.f1.kernel[...], start.residuals.f1.kernel[...]
    np.testing.assert_array_equal(mine, np.stack([kernel[held_by]] * 4))
    np.testing.assert_array_equal(Start.of(Joining(fleet), rows).residuals.f1.kernel[...], kernel)


def test_fewer_rows_than_training_takes_do_from_a_fleet(fleet: Fleet) -> None:
    with pytest.raises(TrainingError, match="too few rows"):
        fit(_other(100), QUICK)
    twin = fit(_other(100), QUICK, clock=time.process_time, fleet=Joining(fleet, TAGS))
    assert (twin.history, twin.horizon) == (32, 11)  # four blocks of 17 rows behind the first history
    with pytest.raises(TrainingError, match="too few rows"):
        fit(_other(70), QUICK, fleet=Joining(fleet, TAGS))


def test_what_does_not_fit_is_refused(fleet: Fleet, new: Twin) -> None:
    rows = _other(FEW)
    with pytest.raises(QuestionError, match="map it: flow=its tag"):
        fit(rows, QUICK, fleet=Joining(fleet))
    with pytest.raises(QuestionError, match="not from both"):
        fit(rows, QUICK, start=new, fleet=Joining(fleet, TAGS))
    with pytest.raises(QuestionError, match="horizon_s"):
        fit(rows, replace(QUICK, horizon_s=100.0), fleet=Joining(fleet, TAGS))
    more = Plant("new", 10.0, (*rows.plant.tags, Tag("valve", Role.MV)))
    values = np.column_stack([rows.values, np.zeros(len(rows))])
    with pytest.raises(QuestionError, match="no tag for valve"):
        fit(replace(rows, plant=more, values=values), QUICK, fleet=Joining(fleet, TAGS))
    with pytest.raises(QuestionError, match="needs two or more"):
        learn({"u0": Source(rows)})


def test_the_residual_is_trained_however_long_the_linear_parts_took() -> None:
    """Each look at the clock takes a second, the budget is half of one: two evaluations, the second behind training."""
    sources = {f"u{i}": Source(unit(f"u{i}", 200, gain, i, BEND, None, NOISE)) for i, gain in enumerate(GAINS[:2])}
    clock, told = itertools.count(), list[float]()
    found = learn(sources, Learning(16, 0.5), lambda done, *_: told.append(done), clock=lambda: float(next(clock)))
    assert [one["step"] for one in found.card["residual"]["curve"]] == [0, 25]
    assert "the prior of linear parts knows them" in found.card["how"]
    assert told == sorted(told)


def test_tags_of_small_numbers_share_a_scaler_as_others_do() -> None:
    """A concentration in mol/l of 1e-12 is none that never moved."""
    large = [unit(f"u{i}", 200, gain, i) for i, gain in enumerate(GAINS[:3])]
    small = [replace(one, values=one.values * np.array([1.0, 1.0, 1e-12])) for one in large]
    shape = Shape.of(plant("a"))
    (there, shared), (here, alike) = _nominal(shape, large), _nominal(shape, small)
    assert shared is alike is True
    np.testing.assert_allclose(here.y_scale, 1e-12 * there.y_scale, rtol=1e-12)
    still = [replace(one, values=np.where([True, True, False], one.values, 273.15)) for one in large]
    assert _nominal(shape, still)[0].y_scale == 1.0


def test_an_order_is_judged_by_units_whose_first_rows_show_nothing() -> None:
    """A sensor that came for the last 90 rows, and a first part in runs that hold no equation."""
    shape = Shape.of(plant("a"), history=32, horizon=16, lags=4, input_rows=4)
    late = unit("a", 400, 1.0, 0)
    late.values[:310, 2] = np.nan
    whole = unit("b", 400, 1.0, 1)
    run = np.minimum(np.arange(400) // 4, 80)
    runs = replace(whole, run=run, times=whole.times + run * np.timedelta64(3600, "s"))
    for rows in (late, runs):
        assert 0 < _last_rows(shape, Unit.of(shape, rows)) < 1.0
