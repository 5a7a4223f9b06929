"""What an answer needs of the rows up to `at`."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

import numpy as np

from twin.artifact import Twin
from twin.dynamics.offset_free import ROWS
from twin.errors import HistoryError
from twin.plant import Role
from twin.telemetry import Telemetry
from twin.trust import HINDCAST
from twin.windows import Window, hold, latest


def check_history(twin: Twin, history: Telemetry) -> Telemetry:
    """The rows of history that an answer uses: one run, long enough, every tag measured in it, but for CVs that were
    as rarely measured in training.

    Raises:
        HistoryError: otherwise; it says which rows or tags are missing.
    """
    recent = recent_rows(twin, history, twin.min_history_rows + HINDCAST)
    if len(recent) < twin.min_history_rows:
        period = twin.plant.sample_period_s
        msg = (
            f"{len(recent)} rows without a gap before `at`; this twin needs {twin.min_history_rows} rows,"
            f" {twin.min_history_rows * period:g} s, {period:g} s apart"
        )
        raise HistoryError.at(("history",), msg)
    window = recent.values[-twin.min_history_rows :]
    known = np.isfinite(window).any(axis=0)
    if known.all():
        return recent
    known |= _rare(twin)
    absent = [tag for tag, some in zip(twin.plant.names, known, strict=True) if not some]
    if absent:
        raise HistoryError.at(("history", absent[0]), f"no value in the last {twin.min_history_rows} rows")
    return recent


def recent_rows(twin: Twin, history: Telemetry, rows: int) -> Telemetry:
    """The last `rows` rows of the last run. A CV that is measured more rarely than that holds its last value, from
    however far back, as in training; without any in the history it is unknown."""
    recent = history.last_run(rows)
    missing = ~np.isfinite(recent.values).any(axis=0)
    if not len(recent) or not missing.any():
        return recent
    missing &= _rare(twin)
    values = recent.values.copy()
    for column in np.flatnonzero(missing):
        known = np.flatnonzero(np.isfinite(history.values[:, column]))
        if len(known):
            values[0, column] = history.values[known[-1], column]
    return replace(recent, values=values)


def _rare(twin: Twin) -> np.ndarray:
    """(tags,) which CVs were without a value for as long as a window in training, or would be if frames did not tell
    them."""
    cvs = np.array([tag.role is Role.CV for tag in twin.plant.tags])
    told = {name for branch in twin.plant.branches for name in branch.told}
    inferred = np.array([tag.name in told for tag in twin.plant.tags])
    rare: np.ndarray = cvs & (twin.seen.absent >= twin.min_history_rows) | inferred | _of_vectors(twin)
    return rare


def _of_vectors(twin: Twin) -> np.ndarray:
    """(tags,) which are elements or components of a vector tag: an answer does without when the camera is down."""
    return np.array([tag.vector is not None for tag in twin.plant.tags])


def present_inputs(twin: Twin, history: Telemetry) -> np.ndarray:
    """(inputs,) the last known value of each MV and DV, engineering units."""
    return _present(check_history(twin, history))


def _present(recent: Telemetry) -> np.ndarray:
    known = np.isfinite(recent.w)
    last = len(recent) - 1 - np.argmax(known[::-1], axis=0)
    values: np.ndarray = recent.w[last, np.arange(recent.w.shape[1])]
    return values


def expected_inputs(twin: Twin, history: Telemetry, rows: int) -> np.ndarray:
    """(rows, inputs) after the history if nobody moves or says anything: MVs stay, DVs do what the twin expects;
    engineering units."""
    recent = check_history(twin, history)
    out = np.tile(_present(recent), (rows, 1))
    if twin.disturbances is not None:
        mvs = len(twin.plant.mvs)
        past = hold(recent.w, recent.run)[:, mvs:]
        out[:, mvs:] = twin.disturbances.forecast(past, rows)
    return out


def expected_dvs(twin: Twin, announced: Container[str]) -> tuple[str, ...]:
    """The DVs whose course is not announced, so that the twin says what it expects of them."""
    return tuple(tag.name for tag in twin.plant.dvs if tag.name not in announced)


def recent_windows(twin: Twin, history: Telemetry) -> tuple[Window, np.ndarray]:
    """The windows (ROWS + 1, L, ·) at the last rows, oldest first, and which of them are all history (1 or 0)."""
    recent = recent_rows(twin, history, twin.history + ROWS)
    windows = latest(recent, twin.scaler, twin.history, ROWS + 1)
    whole = np.arange(ROWS, -1, -1) <= len(recent) - twin.history
    return windows, whole.astype(np.float32)


def reference_history(twin: Twin) -> Telemetry:
    """The twin's reference window as telemetry, over and over, for as long as any answer looks back."""
    window = len(twin.reference.y)
    needed = twin.history + ROWS + max(twin.horizon, HINDCAST + ROWS)
    rows = window * -(-needed // window)
    values = np.full((rows, len(twin.plant.tags)), np.nan)
    y, w = twin.scaler.y_out(twin.reference.y), twin.scaler.w_out(twin.reference.w)
    values[:, twin.plant.columns(twin.plant.cvs)] = np.resize(y, (rows, y.shape[1]))
    values[:, twin.plant.columns(twin.plant.inputs)] = np.resize(w, (rows, w.shape[1]))
    times = (round(twin.plant.sample_period_s * 1e9) * np.arange(rows)).view("datetime64[ns]")
    return Telemetry(twin.plant, times, values, np.zeros(rows, np.int64))
