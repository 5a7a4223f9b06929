"""What a twin is worth: the backtest, its step responses, what its residuals still tell, and the model card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from twin.artifact import Twin
from twin.diagnostics import diagnostics
from twin.responses import gain_map, step_responses
from twin.telemetry import Telemetry


def report(twin: Twin, telemetry: Telemetry) -> dict[str, Any]:
    """The model card: what the twin was trained on, how well it forecasts, and what it says of the process.

    Args:
        twin: a trained twin.
        telemetry: what it was trained on.

    Returns:
        JSON: twin, created, plant, data, history, horizon_s, min_history_rows, unknown_effects, training (backbone,
        residual, curve, collapse metrics), identifiability, backtest (by CV and horizon, coverage), step_responses,
        gain_map, inferred (CV → the vector tag that tells it between its measurements) and diagnostics.
    """
    telemetry = twin.reads(telemetry)
    first, last = (pd.Timestamp(telemetry.times[i], tz="UTC").isoformat() for i in (0, -1))
    return {
        "twin": twin.id,
        "created": pd.Timestamp.now("UTC").isoformat(timespec="seconds"),
        "plant": twin.plant.to_json(),
        "inferred": {cv: branch.vector for branch in twin.plant.branches for cv in branch.told},
        "data": {"rows": len(telemetry), "runs": len(np.unique(telemetry.run)), "start": first, "end": last},
        "history": twin.history,
        "min_history_rows": twin.min_history_rows,
        "horizon_s": twin.horizon_s,
        **twin.card,
        "step_responses": step_responses(twin),
        "gain_map": gain_map(twin),
        "diagnostics": diagnostics(twin, telemetry),
    }
