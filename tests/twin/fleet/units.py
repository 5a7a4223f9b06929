"""Units of a fleet whose equation is known: level' = KEEP level + (1 − KEEP) g(flow) + 0.1 ambient in deviations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from twin.plant import Plant, Role, Tag
from twin.telemetry import Telemetry

KEEP = 0.8


def plant(name: str, names: tuple[str, str, str] = ("flow", "ambient", "level"), period_s: float = 10.0) -> Plant:
    """With the tags' names and the MV's in m3/h."""
    roles, units = (Role.MV, Role.DV, Role.CV), ("m3/h", "degC", "cm")
    return Plant(name, period_s, tuple(Tag(n, r, u) for n, r, u in zip(names, roles, units, strict=True)))


def unit(
    name: str, rows: int, gain: float, seed: int, bend: float = 0.0, of: Plant | None = None, noise: float = 0.0
) -> Telemetry:
    """Rows of steps in the MV; `bend` is of the square of the MV's deviation."""
    rng = np.random.default_rng(seed)
    flow, ambient = np.repeat(rng.standard_normal((-(-rows // 10), 2)), 10, axis=0)[:rows].T
    level = np.zeros(rows)
    for k in range(1, rows):
        level[k] = KEEP * level[k - 1] + (1 - KEEP) * (gain * flow[k] + bend * flow[k] ** 2) + 0.1 * ambient[k]
    of = of or plant(name)
    index = pd.date_range("2026-01-01", periods=rows, freq=pd.Timedelta(of.sample_period_s, "s"), tz="UTC")
    measured = level + noise * rng.standard_normal(rows)
    frame = pd.DataFrame(np.stack([flow, ambient, measured], axis=1), index, list(of.names))
    return Telemetry.from_frame(of, frame)
