"""Answers where nobody says what DVs will do: what is supposed, how wide bands are, how far plans stay from limits."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from tests.twin.conftest import GAINS, HISTORY, HORIZON, KEEP, PLANT, history_of
from twin.artifact import Twin, load, save
from twin.calibrate import calibrate
from twin.dynamics.disturbances import DisturbanceModel
from twin.dynamics.lti import arx
from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.planning.backoff import BackOff
from twin.predict import Scenario, forecast
from twin.telemetry import Telemetry
from twin.timeline import Step
from twin.train import Options, fit
from twin.trust import Bands

MEAN, RETURNS, EFFECT = 20.0, 0.5, 3.0
STEP_S = PLANT.sample_period_s


@pytest.fixture(scope="module")
def windy(hand_made: Twin) -> Twin:
    """The twin made by hand, but ambient acts (EFFECT model units of temperature a unit) and halves its way to 20 degC
    each row; bands are three times as wide where it is not announced."""
    members = [
        arx(np.array([[[KEEP]]]), np.array([[[(1 - KEEP) * g, (1 - KEEP) * EFFECT]]]), np.zeros(1), HISTORY)
        for g in GAINS
    ]
    dynamics = replace(hand_made.dynamics, backbones=jax.tree.map(lambda *leaves: jnp.stack(leaves), *members))
    bands = hand_made.calibration.bands
    calibration = replace(hand_made.calibration, unannounced=Bands(bands.levels, 3 * bands.quantiles))
    model = DisturbanceModel(np.array([MEAN]), np.array([[RETURNS]]), np.array([10.0]), np.array([30.0]))
    return replace(hand_made, dynamics=dynamics, calibration=calibration, disturbances=model)


def blowing(ambient: float, rows: int = 20) -> Telemetry:
    """The history at rest with MV at 40, but for the last row of ambient and what that did to the temperature."""
    history = history_of(40.0, 50.0, rows)
    values = history.values.copy()
    values[-1, PLANT.names.index("ambient")] = ambient
    values[-1, PLANT.names.index("temperature")] = temperature_of(np.array([ambient]))[0]
    return replace(history, values=values)


def temperature_of(ambient: np.ndarray, present: float = 50.0) -> np.ndarray:
    """What the hand-made recursion makes of ambient (K,), degC, with the MV at rest."""
    y, out = (present - 50.0) / 2.0, []
    for value in ambient:
        y = KEEP * y + (1 - KEEP) * EFFECT * (value - MEAN) / 5.0
        out.append(50.0 + 2.0 * y)
    return np.array(out)


def test_the_baseline_supposes_that_it_returns(windy: Twin) -> None:
    found = forecast(windy, blowing(28.0), HORIZON * STEP_S)
    now = temperature_of(np.array([28.0]))[0]
    returned = MEAN + 8.0 * RETURNS ** np.arange(1, HORIZON + 1)
    assert found.disturbances["ambient"] == pytest.approx(returned, rel=1e-12)
    assert found.baseline["temperature"].mean == pytest.approx(temperature_of(returned, now), abs=1e-3)


def test_twins_of_before_hold(windy: Twin) -> None:
    found = forecast(replace(windy, disturbances=None), blowing(28.0), HORIZON * STEP_S)
    assert (found.disturbances["ambient"] == 28.0).all()
    assert found.baseline["temperature"].mean == pytest.approx(temperature_of(np.full(HORIZON + 1, 28.0))[1:], abs=1e-3)


def test_bands_are_those_of_what_is_known(windy: Twin) -> None:
    """Announced: residuals are even over ±1 model unit, ±2 degC, so that 0.9 lies within 1.8. Unannounced: 3 times."""
    announced = Scenario("told", disturbances={"ambient": [Step(0.0, 25.0)]})
    held = Scenario("stays", disturbances={"ambient": []})
    silent = Scenario("moved", moves={"flow": [Step(0.0, 45.0)]})
    found = forecast(windy, blowing(28.0), 5 * STEP_S, [announced, held, silent])
    half = [(band.high - band.low)[0] / 2 for band in (s.cvs["temperature"] for s in found.scenarios)]
    assert half == pytest.approx([1.8, 1.8, 5.4], rel=0.01)
    assert [s.unannounced for s in found.scenarios] == [(), (), ("ambient",)]
    assert (found.scenarios[0].disturbances["ambient"] == 25.0).all()
    assert (found.scenarios[1].disturbances["ambient"] == 28.0).all()
    baseline = found.baseline["temperature"]
    assert (baseline.high - baseline.low)[0] / 2 == pytest.approx(5.4, rel=0.01)
    assert found.scenarios[2].change["temperature"][0] == pytest.approx(0.2 * 1.5 * 0.5 * 2, abs=1e-3)


def test_plans_suppose_the_same_and_stay_further_from_limits(windy: Twin) -> None:
    """By a calibration of the closed loop whose bands are three times as wide where a DV is not announced."""
    objective = Objective({"temperature": Setpoint(value=60.0)})
    limits = {"temperature": Limit(high=58.0)}
    now, bands = pd.Timestamp("2026-01-01", tz="UTC"), windy.calibration.bands
    reaction, wider = np.array([HORIZON]), windy.calibration.unannounced
    record = BackOff("made", windy.id, bands, reaction, "training", 999, now, now, now, unannounced=wider)
    record = BackOff.from_json(record.to_json())
    asked = {"horizon_s": HORIZON * STEP_S, "coverage": 0.9}
    silent = plan(windy, blowing(20.0), objective, limits, back_off=record, **asked)
    told = plan(windy, blowing(20.0), objective, limits, back_off=record, disturbances={"ambient": []}, **asked)
    assert (silent.unannounced, told.unannounced) == (("ambient",), ())
    assert silent.disturbances["ambient"] == pytest.approx(np.full(HORIZON, 20.0))
    # one-sided 0.9 of even residuals over ±2 degC is 1.6; three times that is 4.8
    assert told.cvs["temperature"].mean[-1] == pytest.approx(58.0 - 1.6, abs=0.1)
    assert silent.cvs["temperature"].mean[-1] == pytest.approx(58.0 - 4.8, abs=0.1)
    alone = plan(windy, blowing(20.0), objective, limits, **asked)  # nobody knows how soon plans answer
    assert alone.cvs["temperature"].mean[-1] == pytest.approx(58.0 - 1.6, abs=0.1)


def test_a_plan_makes_up_for_what_is_expected(windy: Twin) -> None:
    """An ambient that returns lets the flow return to 40; one at 24 asks for 40 − 4 · (EFFECT / 5) · 10 / 1.5."""
    objective = Objective({"temperature": Setpoint(value=50.0)}, move_suppression={"flow": 0.0})
    returns = plan(windy, blowing(24.0), objective, horizon_s=HORIZON * STEP_S)
    stays = plan(windy, blowing(24.0), objective, disturbances={"ambient": []}, horizon_s=HORIZON * STEP_S)
    assert returns.moves["flow"] is not None
    assert stays.moves["flow"] is not None
    assert returns.moves["flow"][-1] == pytest.approx(40.0, abs=0.5)
    assert stays.moves["flow"][-1] == pytest.approx(24.0, abs=0.5)


def test_kept_with_the_twin(windy: Twin, tmp_path) -> None:
    save(windy, tmp_path / "windy")
    again = load(tmp_path / "windy")
    assert again.disturbances is not None
    assert again.calibration.unannounced is not None
    assert (again.disturbances.coefficients == [[RETURNS]]).all()
    assert (again.calibration.unannounced.quantiles == 3 * windy.calibration.bands.quantiles).all()


@pytest.fixture(scope="module")
def rows() -> Telemetry:
    """A first-order temperature under a flow that steps and an ambient that pulses: one row in ten, unforeseeable."""
    rng = np.random.default_rng(5)
    n = 2400
    flow = 40 + 5 * np.repeat(np.arange(n // 40) % 4 // 2 + rng.integers(0, 2, n // 40) - 1, 40)
    ambient = np.where(rng.random(n) < 0.1, 28.0, 20.0)
    y = np.zeros(n)
    for k in range(1, n):
        y[k] = KEEP * y[k - 1] + (1 - KEEP) * (1.5 * (flow[k] - 40) / 10 + EFFECT * (ambient[k] - 20) / 5)
    index = pd.date_range("2026-01-01", periods=n, freq="10s", tz="UTC", name="time")
    data = {"flow": flow, "ambient": ambient, "temperature": 50 + 2 * y + 0.05 * rng.normal(size=n)}
    return Telemetry.from_frame(PLANT, pd.DataFrame(data, index=index))


def test_training_calibrates_both_cases(rows: Telemetry) -> None:
    """Bands hold 90 % of new rows whether the pulses are announced or not, and both are as narrow as they may be."""
    cut = 1800
    twin = fit(replace(rows, times=rows.times[:cut], values=rows.values[:cut], run=rows.run[:cut]), Options(budget_s=5))
    assert twin.card["disturbances"]["ambient"]["order"] > 0  # a pulse ends
    record = calibrate(twin, replace(rows, times=rows.times[:cut], values=rows.values[:cut], run=rows.run[:cut]))
    inside: dict[str, list[np.ndarray]] = {"told": [], "silent": []}
    for at in range(cut, len(rows.times) - 30, 7):
        history = replace(rows, times=rows.times[: at + 1], values=rows.values[: at + 1], run=rows.run[: at + 1])
        came = {tag: rows.values[at + 1 : at + 31, PLANT.names.index(tag)] for tag in PLANT.names}
        steps = {tag: [Step(k * STEP_S, float(v)) for k, v in enumerate(came[tag])] for tag in ("flow", "ambient")}
        moves, told = {"flow": steps["flow"]}, {"ambient": steps["ambient"]}
        found = forecast(twin, history, 30 * STEP_S, [Scenario("told", moves, told), Scenario("silent", moves)])
        for scenario in found.scenarios:
            band = scenario.cvs["temperature"]
            inside[scenario.name].append((came["temperature"] >= band.low) & (came["temperature"] <= band.high))
    shares = {name: np.mean(each) for name, each in inside.items()}
    assert shares["told"] == pytest.approx(0.9, abs=0.06)
    assert shares["silent"] == pytest.approx(0.9, abs=0.06)
    known, unknown = (b.interval(0.9, 30) for b in (twin.calibration.bands, twin.calibration.unannounced))
    assert ((unknown[1] - unknown[0]) > 5 * (known[1] - known[0]))[5:].all()
    far, near = (record.margins(0.9, 30, unannounced)[1][-1, 0] for unannounced in (True, False))
    assert far > 3 * near
