"""What an answer needs of the rows up to `at`."""

from __future__ import annotations

import numpy as np

from twin.artifact import Twin
from twin.dynamics.offset_free import ROWS
from twin.errors import HistoryError
from twin.telemetry import Telemetry
from twin.trust import HINDCAST
from twin.windows import Window, latest


def check_history(twin: Twin, history: Telemetry) -> Telemetry:
    """The rows of history that an answer uses: one run, long enough, every tag measured somewhere in it.

    Raises:
        HistoryError: otherwise; it says which rows or tags are missing.
    """
    recent = history.last_run(twin.min_history_rows + HINDCAST)
    if len(recent) < twin.min_history_rows:
        period = twin.plant.sample_period_s
        msg = (
            f"{len(recent)} rows without a gap before `at`; this twin needs {twin.min_history_rows} rows,"
            f" {twin.min_history_rows * period:g} s, {period:g} s apart"
        )
        raise HistoryError.at(("history",), msg)
    window = recent.values[-twin.min_history_rows :]
    absent = [tag for tag, known in zip(twin.plant.names, np.isfinite(window).any(axis=0), strict=True) if not known]
    if absent:
        raise HistoryError.at(("history", absent[0]), f"no value in the last {twin.min_history_rows} rows")
    return recent


def present_inputs(twin: Twin, history: Telemetry) -> np.ndarray:
    """(inputs,) the last known value of each MV and DV, engineering units."""
    recent = check_history(twin, history)
    known = np.isfinite(recent.w)
    last = len(recent) - 1 - np.argmax(known[::-1], axis=0)
    values: np.ndarray = recent.w[last, np.arange(recent.w.shape[1])]
    return values


def recent_windows(twin: Twin, history: Telemetry) -> tuple[Window, np.ndarray]:
    """The windows (ROWS + 1, L, ·) at the last rows, oldest first, and which of them are all history (1 or 0)."""
    recent = history.last_run(twin.history + ROWS)
    windows = latest(recent, twin.scaler, twin.history, ROWS + 1)
    whole = np.arange(ROWS, -1, -1) <= len(recent) - twin.history
    return windows, whole.astype(np.float32)


def reference_history(twin: Twin) -> Telemetry:
    """The twin's reference window as telemetry."""
    rows = len(twin.reference.y)
    values = np.empty((rows, len(twin.plant.tags)))
    values[:, twin.plant.columns(twin.plant.cvs)] = twin.scaler.y_out(twin.reference.y)
    values[:, twin.plant.columns(twin.plant.inputs)] = twin.scaler.w_out(twin.reference.w)
    times = (round(twin.plant.sample_period_s * 1e9) * np.arange(rows)).view("datetime64[ns]")
    return Telemetry(twin.plant, times, values, np.zeros(rows, np.int64))
