"""A level that integrates, controlled by a twin that has its gain wrong: no offset, whatever flows in unmeasured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.lti import Lti, arx
from twin.dynamics.region import Region
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.plants.simulator import Simulator
from twin.plants.surge_tank import PERIOD_S, PLANT, SurgeTank
from twin.sandbox.processes import Altered, TwinProcess, truth
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.trust import Calibration, Seen
from twin.windows import Window

HISTORY, ROWS = 8, 60
SPAN = 4.0  # m
GAIN = PERIOD_S / 3600.0 / 4.0  # m a row, of 1 m3/h


def twin_of(backbone: Lti) -> Twin:
    """A twin of the surge tank with that backbone as its one member, in engineering units."""
    members = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], backbone)
    wide = np.tile(np.linspace(-0.01, 0.01, 99)[:, None, None], (1, ROWS, 1))
    return Twin(
        id="integrator",
        plant=PLANT,
        scaler=Scaler(np.zeros(1), np.ones(1), np.zeros(2), np.ones(2)),
        dynamics=Ensemble(members, None, Region(jnp.zeros(5), 1e-3 * jnp.eye(5))),
        history=HISTORY,
        horizon=ROWS,
        seen=Seen(np.array([0.0, 0.0]), np.array([60.0, 60.0]), np.full(3, 10_000), np.zeros(3, int)),
        calibration=Calibration.fit(wide, np.ones_like(wide), np.zeros(99, int)),
        correction=(0.0, 0.0),
        reference=Window(
            np.full((HISTORY, 1), 2.0, np.float32),
            np.full((HISTORY, 2), 30.0, np.float32),
            np.ones((HISTORY, 1), np.float32),
        ),
        card={},
    )


def test_a_twin_that_integrates_rests_where_its_level_stands():
    """33 m3/h in and 30 out in its reference: as a plant it starts with what balances the feed, not on the run."""
    twin = twin_of(in_levels())
    inflow = [tag.name for tag in PLANT.inputs].index("feed")
    twin.reference.w[:, inflow] = 33.0
    process = TwinProcess(twin)
    assert process.moves == pytest.approx((33.0,), abs=1e-3)
    simulator = Simulator(Altered(process, (1.0,), 0.0, 0.0), 0)
    simulator.run(np.tile(process.moves, (300, 1)))
    assert truth(process, simulator.state)[0] == pytest.approx(2.0, abs=0.01)


def in_levels() -> Lti:
    """level' = level + GAIN (feed − outflow): the state is the level."""
    return arx(np.ones((1, 1, 1)), np.array([[[-GAIN, GAIN]]]), np.zeros(1), HISTORY)


def in_differences() -> Lti:
    """level' = 1.6 level − 0.6 level before + …: it carries its own slope on, as models fitted in differences do."""
    w = 0.4 * GAIN
    return arx(np.array([[[1.6]], [[-0.6]]]), np.array([[[-w, w]]]), np.zeros(1), HISTORY)


@dataclass(frozen=True)
class Quiet(SurgeTank):
    """Without noise and wander."""

    noise = (0.0,)
    disturbances = tuple(replace(d, deviation=0.0) for d in SurgeTank.disturbances)


def controlled(twin: Twin, process: SurgeTank, rows: int, setpoint: float, stream) -> np.ndarray:
    """The level by row; `stream` is the unmeasured inflow, m3/h, as a function of the row."""
    simulator = Simulator(process, 0)
    data = list(simulator.run(np.full((40, 1), 30.0 / process.pump)).values)
    for row in range(rows):
        simulator.disturb(stream=stream(row))
        values = np.array(data[-40:])
        end = np.datetime64(simulator.time.tz_localize(None), "ns")
        times = end - np.timedelta64(10, "s") * np.arange(len(values) - 1, -1, -1)
        history = Telemetry(PLANT, times, values, np.zeros(len(values), np.int64))
        answer = plan(twin, history, Objective({"level": Setpoint(setpoint)}), horizon_s=ROWS * PERIOD_S)
        assert answer.status != "abstained", answer.detail
        row_values = simulator.advance(answer.next)
        data.append(np.array([row_values[name] for name in PLANT.names]))
    return np.array(data)[40:, 2]


@pytest.mark.parametrize("backbone", [in_levels, in_differences])
@pytest.mark.parametrize("area", [8.0, 4.0, 2.0])  # gains of half, once and twice the twin's
def test_no_offset_after_a_step_of_an_unmeasured_inflow(backbone, area):
    """2 m3/h more from row 120 on: without an integrator the level would rise for ever."""
    process = Quiet(area=area)
    level = controlled(twin_of(backbone()), process, 300, 2.3, lambda row: 2.0 * (row >= 120))
    assert np.abs(level[110:120] - 2.3).max() < 1e-3 * SPAN  # the new setpoint is reached before
    assert np.abs(level[122:150] - 2.3).max() > 5e-4  # the inflow was there
    assert np.abs(level[-20:] - 2.3).max() < 1e-3 * SPAN
