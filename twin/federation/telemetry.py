"""A site's telemetry in the common sample period."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from twin.errors import FederationError
from twin.plant import Plant
from twin.telemetry import BRIDGE, Telemetry

SLOWEST = BRIDGE + 1  # times the common period: between two of its rows the others are missing, and are bridged


def resampled(plant: Plant, frame: pd.DataFrame, period_s: float) -> Telemetry:
    """Rows as a site measured them, on the common grid.

    A site that samples faster has its CVs and DVs averaged over the common period, and the MV in force at its end; one
    that samples slower has missing CVs in between, over which the loss does not count, and inputs that hold.

    Args:
        plant: the site's own description; its sample period is how often it measures.
        frame: a time-zone-aware index and a column a tag.
        period_s: the common sample period.

    Raises:
        FederationError: the site samples too slowly for the common period.
        TelemetryError: the frame has no time zone or columns that are no tags.
    """
    if plant.sample_period_s > SLOWEST * period_s:
        raise FederationError(
            f"{plant.name}: it samples every {plant.sample_period_s:g} s, and the common model every {period_s:g} s; "
            f"a site may be {SLOWEST} times slower at most"
        )
    telemetry = Telemetry.from_frame(replace(plant, sample_period_s=period_s), frame)
    inputs = plant.columns(plant.inputs)
    held = pd.DataFrame(telemetry.values[:, inputs]).groupby(telemetry.run).ffill(limit=BRIDGE)
    telemetry.values[:, inputs] = held.to_numpy()
    return telemetry
