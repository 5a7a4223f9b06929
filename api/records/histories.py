"""The rows that a question starts from: those of the request, or the store's last ones, kept per version."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime

import numpy as np
import pandas as pd

from api.http.schemas import History
from twin.artifact import Twin
from twin.dynamics.offset_free import ROWS
from twin.errors import HistoryError, Problem, QuestionError
from twin.plant import Plant
from twin.store import Store
from twin.telemetry import Telemetry
from twin.trust import HINDCAST

MARGIN = 2  # so many times the rows that an answer uses are read: jitter and holes leave enough
KEPT = 256
RARE_ROWS = 20_000  # at most: so far back the last value of a rarely measured CV is looked for


class Histories:
    """Reads histories for predict and optimize."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], Telemetry] = OrderedDict()

    def of(
        self, slug: str, twin: Twin, at: datetime | None, history: History | None, version: int | None = None
    ) -> tuple[Telemetry, int | None]:
        """The rows up to `at`, of the request where it brings some, and the version of the telemetry read: by default
        what there is now."""
        if history is None:
            return self._stored(slug, twin, at, self._store.plant(slug).version if version is None else version)
        return given(twin.plant, history, at), None

    def _stored(self, slug: str, twin: Twin, at: datetime | None, version: int) -> tuple[Telemetry, int]:
        key = (slug, version, at, twin.id, twin.plant)
        with self._guard:
            found = self._kept.get(key)
        if found is None:
            found = self._read(slug, twin, at, version)
            with self._guard:
                self._kept[key] = found
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return found, version

    def _read(self, slug: str, twin: Twin, at: datetime | None, version: int) -> Telemetry:
        table, plant = self._store.plant(slug), twin.plant
        rows = MARGIN * (twin.min_history_rows + max(HINDCAST, twin.horizon))
        if twin.slow is not None:
            rows = max(rows, twin.stride * (twin.slow.min_history_rows + max(HINDCAST, twin.slow.horizon, ROWS)))
        rows = max(rows, min(int(twin.seen.absent.max(initial=0)) + twin.min_history_rows, RARE_ROWS))
        if at is None:
            frame = table.last_rows(rows, plant.sample_period_s, tags=plant.names, as_of=version)
        else:
            end = pd.Timestamp(at)
            frame = table.read(end - rows * pd.Timedelta(seconds=plant.sample_period_s), end, plant.names, version)
        return Telemetry.from_frame(plant, frame)


def given(plant: Plant, history: History, at: datetime | None = None) -> Telemetry:
    """The rows of a request, those measured later than `at` left out.

    On the grid the last one may lie up to half a period later than `at`.

    Raises:
        QuestionError: an unknown tag, or a series of another length than the times.
        HistoryError: times that do not increase.
    """
    n = len(history.times)
    for tag, values in history.values.items():
        plant.tag(tag)
        if len(values) != n:
            loc = ("history", "values", tag)
            raise QuestionError(f"{'.'.join(loc)}: {len(values)} values for {n} times", [Problem(loc, "wrong length")])
    index = pd.DatetimeIndex(pd.to_datetime(history.times, utc=True), name="time")
    if not index.is_monotonic_increasing or index.has_duplicates:
        raise HistoryError.at(("history", "times"), "must increase from row to row")
    columns = {tag: np.array(values, np.float64) for tag, values in history.values.items()}
    frame = pd.DataFrame(columns, index=index)
    return Telemetry.from_frame(plant, frame if at is None else frame.loc[: pd.Timestamp(at)])
