"""Twins held against the telemetry since their training: backtests, and the watch over the champions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pandas as pd
import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.metrics import Metrics
from api.records.catalog import CHAMPION, Catalog
from api.records.registry import Registry
from twin.artifact import Twin
from twin.comparison import backtest
from twin.drift import drift
from twin.dynamics.offset_free import ROWS
from twin.errors import QuestionError, TwinError
from twin.exclusions import learnt_from
from twin.store import Store
from twin.telemetry import Telemetry

log = structlog.get_logger()

FIRST_S = 300.0  # after the start
EVERY_S = 3600.0
MOST_ROWS = 200_000  # the last ones are read where there are more
CHALLENGER = "challenger"
LEVEL = {"unknown": -1.0, "stable": 0.0, "watch": 1.0, "retrain": 2.0}
KEPT = 64


class Drifts:
    """Judges twins by rows they were not trained on, and every hour the champion of each plant."""

    def __init__(self, catalog: Catalog, store: Store, registry: Registry, metrics: Metrics) -> None:
        self._catalog = catalog
        self._store = store
        self._registry = registry
        self._metrics = metrics
        self._guard = threading.Lock()
        self._kept: dict[tuple[object, ...], dict[str, Any]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drifts", daemon=True)

    def start(self) -> None:
        """Begin to watch the champions."""
        self._thread.start()

    def stop(self) -> None:
        """End, when the twin in hand is done."""
        self._stop.set()
        self._thread.join()

    def drift(self, slug: str, name: str, start: pd.Timestamp | None, end: pd.Timestamp | None) -> dict[str, Any]:
        """Whether a twin is to be trained again, by the rows since its training.

        Raises:
            QuestionError: the span asked begins before its training telemetry ends.
        """
        twin = self._registry.get(slug, name)
        table = self._store.plant(slug)
        key = (twin.id, table.version, start, end)
        with self._guard:
            found = self._kept.get(key)
        if found is None:
            begin = self._begin([twin], start)
            found = {"plant": slug, **drift(twin, self._rows(slug, twin, begin, end), begin)}
            with self._guard:
                while len(self._kept) >= KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[key] = found
        return found

    def backtest(
        self,
        slug: str,
        name: str,
        against: Sequence[str] | None,
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
        coverage: float,
    ) -> dict[str, Any]:
        """A twin, and those it is held against, on rows that none of them was trained on.

        Args:
            against: ids or aliases; by default the champion and the challenger, where there are any.

        Raises:
            QuestionError: the span asked begins before the training telemetry of one of them ends.
            TelemetryError: too few rows.
        """
        aliases = self._catalog.aliases(slug)
        others = [alias for alias in (CHAMPION, CHALLENGER) if alias in aliases] if against is None else against
        twins = {twin.id: twin for twin in (self._registry.get(slug, one) for one in (name, *others))}
        begin = self._begin(list(twins.values()), start)
        found = backtest([(t, self._rows(slug, t, begin, end)) for t in twins.values()], begin, coverage)
        for twin in twins.values():
            found["twins"][twin.id] |= {
                "aliases": [alias for alias, named in aliases.items() if named == twin.id],
                "trained_until": twin.card["data"]["end"],
            }
        return {"plant": slug, "twin": next(iter(twins)), **found}

    def look(self) -> None:
        """Judge every champion, now, for Prometheus; one that cannot be judged does not keep the others from it."""
        for slug, twin_id in self._catalog.champions():
            if self._stop.is_set():
                return
            try:
                self._tell(slug, self.drift(slug, twin_id, None, None))
            except TwinError as error:
                log.warning("drift not judged", plant=slug, twin=twin_id, error=error.detail)

    def _tell(self, slug: str, found: dict[str, Any]) -> None:
        self._metrics.drift.labels(slug).set(LEVEL[found["status"]])
        for tag, cv in found["cvs"].items():
            if cv["ratio"]["mean"] is not None:
                self._metrics.drift_error.labels(slug, tag).set(cv["ratio"]["mean"])
                self._metrics.drift_coverage.labels(slug, tag).set(cv["coverage"]["since"]["mean"])

    def _begin(self, twins: Sequence[Twin], start: pd.Timestamp | None) -> pd.Timestamp:
        """The first row that is forecast: after every training."""
        trained = max(pd.Timestamp(twin.card["data"]["end"]) for twin in twins)
        if start is not None and start <= trained:
            raise QuestionError.at(("start",), f"there was training on rows up to {trained.isoformat()}: begin later")
        return start or trained + pd.Timedelta(seconds=twins[0].plant.sample_period_s)

    def _rows(self, slug: str, twin: Twin, begin: pd.Timestamp, end: pd.Timestamp | None) -> Telemetry:
        """The rows from `begin` on with the history before it; the last `MOST_ROWS` where there are more."""
        table, period = self._store.plant(slug), pd.Timedelta(seconds=twin.plant.sample_period_s)
        first = begin - (twin.history + ROWS) * period
        last = end or (table.span or (None, None))[1]
        if last is not None:
            first = max(first, last - MOST_ROWS * period)
        rows = Telemetry.from_frame(twin.plant, table.read(first, end, twin.plant.names))
        # What was not to be learnt from is not held against the twin either.
        return learnt_from(rows, twin.card["data"].get("excluded", []))[0]

    def _run(self) -> None:
        wait = FIRST_S
        while not self._stop.wait(wait):
            try:
                self.look()
            except SQLAlchemyError as error:  # the database is away: next time
                log.warning("drift not judged", error=str(error))
            wait = EVERY_S
