"""What training would make of telemetry, told before it trains: what it uses, what it drops and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from twin.errors import TrainingError
from twin.telemetry import Telemetry
from twin.training.folds import COUNT, ROWS, sizes, split

LISTED = 20


def readiness(telemetry: Telemetry, horizon_s: float | None = None) -> dict[str, Any]:
    """What `train.fit` would use of these rows, ready for JSON.

    Args:
        horizon_s: as in `train.Options`.

    Returns:
        can_train, and `why` where it cannot.
        history_rows, horizon_rows: the window that fits; rows_used: rows that lie in a window, windows: how many.
        dropped: runs too short for a window, the longest first; rows_dropped: rows in them.
        filled_rows: rows used in which some tag has no value: it is held, and masked.
        never_measured, never_moved: CVs without any value; inputs whose effect cannot be learnt.
    """
    period = telemetry.plant.sample_period_s
    wished = ROWS if horizon_s is None else max(2, round(horizon_s / period))
    answer: dict[str, Any] = {
        "can_train": False,
        "why": None,
        "rows": len(telemetry),
        "never_measured": _unmeasured(telemetry),
        "never_moved": _unmoved(telemetry),
    }
    try:
        history, horizon = sizes(telemetry.run, wished)
    except TrainingError as error:
        return answer | {"why": error.detail}
    folds = split(telemetry.run, history, horizon)
    ends = folds.ends(np.ones(len(telemetry), bool), history, horizon)
    runs, starts, lengths = np.unique(telemetry.run, return_index=True, return_counts=True)
    short = np.flatnonzero(lengths < history + horizon)
    used = ~np.isin(telemetry.run, runs[short])
    worst = short[np.argsort(-lengths[short], kind="stable")][:LISTED]
    answer |= {
        "history_rows": history,
        "horizon_rows": horizon,
        "windows": len(ends),
        "rows_used": int(used.sum()),
        "rows_dropped": int((~used).sum()),
        "filled_rows": int((used & ~np.isfinite(telemetry.values).all(axis=1)).sum()),
        "dropped": [
            {
                "start": _iso(telemetry.times[starts[i]]),
                "end": _iso(telemetry.times[starts[i] + lengths[i] - 1]),
                "rows": int(lengths[i]),
                "why": f"a run of {lengths[i]} rows; a window takes {history + horizon}",
            }
            for i in worst
        ],
    }
    if answer["never_measured"]:
        why = f"no measured value of {', '.join(answer['never_measured'])}: upload some, or leave the tag out"
    elif not all(len(folds.training(fold)) and len(folds.held_out(fold)) for fold in range(COUNT)):
        why = f"{len(telemetry)} rows in {len(runs)} runs: the runs are too short"
    else:
        why = None
    return answer | {"can_train": why is None, "why": why}


def _unmeasured(telemetry: Telemetry) -> list[str]:
    measured = np.isfinite(telemetry.y).any(axis=0)
    return [tag.name for tag, known in zip(telemetry.plant.cvs, measured, strict=True) if not known]


def _unmoved(telemetry: Telemetry) -> list[str]:
    found = []
    for tag, values in zip(telemetry.plant.inputs, telemetry.w.T, strict=True):
        known = values[np.isfinite(values)]
        if not len(known) or known.min() == known.max():
            found.append(tag.name)
    return found


def _iso(time: np.datetime64) -> str:
    return pd.Timestamp(time, tz="UTC").isoformat()
