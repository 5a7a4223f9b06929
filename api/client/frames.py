"""DataFrames in and out. Only what asks for a frame loads pandas.

A frame of telemetry has the times as its index, in UTC, and a column a tag; a forecast has its times as index, and
columns of (scenario, CV, mean | low | high).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from api.client.types import BandAnswer, OptimizeAnswer, PredictAnswer, SeriesAnswer, StepResponsesAnswer

BASELINE = "baseline"
SIDES: tuple[Literal["mean", "low", "high"], ...] = ("mean", "low", "high")


def parquet(frame: pd.DataFrame) -> bytes:
    """A frame as the service reads it; its index becomes the column `time`.

    Raises:
        ValueError: the index is no times, or there is a `time` beside it.
    """
    if not isinstance(frame.index, pd.DatetimeIndex):
        if "time" not in frame.columns:
            raise ValueError("a frame of telemetry has times as its index, or a column `time`")
        frame = frame.set_index("time")
    buffer = io.BytesIO()
    frame.rename_axis("time").reset_index().to_parquet(buffer, index=False)
    return buffer.getvalue()


def of_arrow(body: bytes) -> pd.DataFrame:
    """An Arrow stream of telemetry."""
    import pyarrow as pa

    with pa.ipc.open_stream(body) as reader:
        frame: pd.DataFrame = reader.read_pandas()
    return frame.set_index("time")


def series(answer: SeriesAnswer) -> pd.DataFrame:
    """Measured rows."""
    return pd.DataFrame(answer["values"], index=times(answer["times"]), dtype=float)


def history(frame: pd.DataFrame) -> dict[str, Any]:
    """A frame of telemetry as the `history` of a question."""
    index = pd.DatetimeIndex(frame.index)
    if index.tz is None:
        raise ValueError("the times have no zone: frame.tz_localize('Europe/Berlin'), say")
    values = {str(name): [None if pd.isna(v) else float(v) for v in column] for name, column in frame.items()}
    return {"times": [time.isoformat() for time in index], "values": values}


def forecast(answer: PredictAnswer) -> pd.DataFrame:
    """The no-move baseline and every scenario, side by side."""
    cases = {BASELINE: answer["baseline"], **{s["name"]: s["cvs"] for s in answer["scenarios"]}}
    return _bands(cases, answer["times"])


def plan(answer: OptimizeAnswer) -> pd.DataFrame:
    """The moves and the forecast under them: columns (MV, "move") and (CV, mean | low | high)."""
    moves: dict[Any, Any] = {(mv, "move"): values for mv, values in answer["moves"].items()}
    cvs = answer["cvs"].items()
    bands: dict[Any, Any] = {(cv, side): band[side] for cv, band in cvs for side in SIDES}
    return _frame({**moves, **bands}, answer["times"], ("tag", "value"))


def responses(answer: StepResponsesAnswer) -> pd.DataFrame:
    """Step responses by seconds after the step: columns (MV, CV, mean | low | high)."""
    found = _bands(answer["responses"], answer["times_s"])
    return found.rename_axis("after_s").rename_axis(columns=("MV", "CV", "value"))


def times(given: list[str]) -> pd.DatetimeIndex:
    """Times of an answer."""
    return pd.DatetimeIndex(pd.to_datetime(given, utc=True, format="ISO8601"), name="time")


def _bands(cases: Mapping[str, Mapping[str, BandAnswer]], index: Any) -> pd.DataFrame:
    columns: dict[Any, Any] = {
        (case, cv, side): band[side] for case, cvs in cases.items() for cv, band in cvs.items() for side in SIDES
    }
    return _frame(columns, index, ("scenario", "CV", "value"))


def _frame(columns: Mapping[Any, Any], index: Any, names: tuple[str, ...]) -> pd.DataFrame:
    index = times(index) if index and isinstance(index[0], str) else pd.Index(index)
    found = pd.DataFrame({k: list(v) for k, v in columns.items()}, index=index, dtype=float)
    found.columns = pd.MultiIndex.from_tuples(list(columns), names=names)
    return found
