"""A twin made by hand, whose every answer can be worked out on paper."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twin.artifact import Twin
from twin.dynamics.ensemble import Ensemble
from twin.dynamics.lti import arx
from twin.dynamics.region import Region
from twin.plant import Plant, Role, Tag
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.trust import Calibration, Seen
from twin.windows import Window

HISTORY, HORIZON = 4, 20
KEEP, GAINS = 0.8, (1.45, 1.55)  # y' = KEEP y + (1 − KEEP) g u, of two members in model units
PLANT = Plant(
    "By hand",
    10.0,
    (
        Tag("flow", Role.MV, "m3/h", 0.0, 100.0, rate_limit_per_s=0.5),
        Tag("ambient", Role.DV, "degC"),
        Tag("temperature", Role.CV, "degC", 0.0, 200.0),
    ),
)


@pytest.fixture(scope="session")
def hand_made() -> Twin:
    """temperature − 50 follows 2 · mean(GAINS) · (flow − 40) / 10, with the factor KEEP a row; ambient does nothing."""
    members = [
        arx(np.array([[[KEEP]]]), np.array([[[(1 - KEEP) * gain, 0.0]]]), np.zeros(1), HISTORY) for gain in GAINS
    ]
    region = Region(jnp.zeros(5), 0.1 * jnp.eye(5))
    dynamics = Ensemble(jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), None, region)
    residuals = np.tile(np.linspace(-1, 1, 999)[:, None, None], (1, HORIZON, 1))
    return Twin(
        id="by-hand",
        plant=PLANT,
        scaler=Scaler(np.array([50.0]), np.array([2.0]), np.array([40.0, 20.0]), np.array([10.0, 5.0])),
        dynamics=dynamics,
        history=HISTORY,
        horizon=HORIZON,
        seen=Seen(np.array([20.0, 10.0]), np.array([60.0, 30.0]), np.array([100, 100, 100]), np.array([0, 0, 0])),
        calibration=Calibration.fit(residuals, np.ones_like(residuals), np.zeros(999, int)),
        correction=(0.0, 0.0),
        reference=Window(np.zeros((4, 1), np.float32), np.zeros((4, 2), np.float32), np.ones((4, 1), np.float32)),
        card={},
    )


def history_of(flow: float | list[float], temperature: float | list[float], rows: int = 20) -> Telemetry:
    """`rows` rows, 10 s apart, ending on 2026-01-01 at 00:03:10 where there are 20."""
    index = pd.date_range("2026-01-01", periods=rows, freq="10s", tz="UTC", name="time")
    data = {"flow": flow, "ambient": 20.0, "temperature": temperature}
    return Telemetry.from_frame(PLANT, pd.DataFrame(data, index=index))
