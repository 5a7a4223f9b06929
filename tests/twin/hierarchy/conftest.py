"""A store made by hand at two time scales: what its fast and its slow twin say can be worked out on paper."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twin.artifact import Twin
from twin.calibrate import reaction
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.lti import arx
from twin.dynamics.region import Region
from twin.hierarchy.stride import coarse
from twin.hierarchy.training import BACK_OFF
from twin.planning.backoff import BackOff
from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.trust import Calibration, Seen
from twin.windows import Window

STRIDE, HISTORY, HORIZON = 5, 4, 20
RATE = 0.1  # of the level, a row, where one more unit flows in than out
STORE = Plant(
    "Store",
    60.0,
    (
        Tag("charge", Role.MV, "kW", 0.0, 2.0, rate_limit_per_s=0.01),
        Tag("draw", Role.DV, "kW"),
        Tag("level", Role.CV, "kWh", 0.0, 10.0, 1.0, 9.0),
    ),
)


def stored(charge: float | list[float], level: float | list[float], rows: int = 150) -> Telemetry:
    """`rows` rows a minute apart, under a draw of 1 kW."""
    index = pd.date_range("2026-01-01", periods=rows, freq="60s", tz="UTC", name="time")
    return Telemetry.from_frame(STORE, pd.DataFrame({"charge": charge, "draw": 1.0, "level": level}, index=index))


def _twin(plant: Plant, gains: list[float], error: float) -> Twin:
    """level' = level + Σ gains[j] (charge − draw) j rows before, in model units that are engineering units."""
    lags = np.array([[[gain, -gain]] for gain in gains])
    member = arx(np.array([[[1.0]]]), lags, np.zeros(1), HISTORY)
    dynamics = Ensemble(
        jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), member), None, Region(jnp.zeros(5), 0.01 * jnp.eye(5))
    )
    residuals = error * np.tile(np.linspace(-1, 1, 999)[:, None, None], (1, HORIZON, 1))
    calibration = Calibration.fit(residuals, np.ones_like(residuals), np.zeros(999, int))
    calibration = replace(calibration, shift=None)
    twin = Twin(
        id=f"store-{len(gains)}",
        plant=plant,
        scaler=Scaler(np.zeros(1), np.ones(1), np.zeros(2), np.ones(2)),
        dynamics=dynamics,
        history=HISTORY,
        horizon=HORIZON,
        seen=Seen(np.array([0.0, 1.0]), np.array([2.0, 1.0]), np.array([1000, 1000, 1000]), np.array([0, 0, 0])),
        calibration=calibration,
        correction=(0.0, 0.0),
        reference=Window(np.zeros((4, 1), np.float32), np.zeros((4, 2), np.float32), np.ones((4, 1), np.float32)),
        card={},
    )
    now = pd.Timestamp("2026-01-01T00:00:00Z")
    bands = calibration.bands
    record = BackOff("by-hand", twin.id, bands, reaction(twin, bands), "training", 999, now, now, now)
    return replace(twin, card={BACK_OFF: record.to_json()})


@pytest.fixture(scope="session")
def store() -> Twin:
    """A fast twin, and a slow one of averages over 5 rows.

    Of a level that rises by r a row, averages over 5 rows rise by 3 r of their own row and 2 r of the row before.
    """
    slow = _twin(coarse(STORE, STRIDE), [3 * RATE, 2 * RATE], 0.02)
    return replace(_twin(STORE, [RATE], 0.01), slow=slow)


@pytest.fixture(scope="session")
def slower() -> Twin:
    """The same with a slow one of averages over 20 rows, which rise by 10.5 r and 9.5 r."""
    slow = _twin(coarse(STORE, 20), [10.5 * RATE, 9.5 * RATE], 0.02)
    return replace(_twin(STORE, [RATE], 0.01), slow=slow)


@pytest.fixture(scope="session")
def after_an_outage() -> Telemetry:
    """400 rows, without those of an hour, 7 rows before the last: enough for the fast twin, too few for an average."""
    whole = stored(1.0, 5.0, rows=400).frame()
    return Telemetry.from_frame(STORE, whole.drop(whole.index[332:392]))
