"""The health of sources for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LABELS = ("plant", "source")
GAUGES = {
    "connected": "Whether the source has a connection.",
    "lag_s": "Our clock minus the newest time stamp.",
    "skew_s": "How far the source's clock runs ahead of ours.",
    "buffered": "Samples on the collector's disk that the service does not have.",
}
COUNTERS = {
    "received": "Samples received.",
    "refused": "Samples that could not be read, came from the future or belong to no tag.",
    "reconnects": "Lost connections that came back.",
    "gaps": "Times that samples were missing.",
}


class Exposition(Collector):
    """Reads the health at each scrape.

    Args:
        health: answers pairs of a plant and the health of one of its sources, as `Collector.health` has it.
    """

    def __init__(self, health: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]]) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        rows = list(self._health())
        for name, what in GAUGES.items():
            yield self._filled(GaugeMetricFamily(_named(name), what, labels=LABELS), name, rows)
        for name, what in COUNTERS.items():
            yield self._filled(CounterMetricFamily(_named(name), what, labels=LABELS), name, rows)

    @staticmethod
    def _filled(family: Any, name: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Metric:
        for plant, source in rows:
            family.add_metric((plant, source["name"]), float(source[name]))
        metric: Metric = family
        return metric


def _named(field: str) -> str:
    return f"twin_source_{field.removesuffix('_s')}_seconds" if field.endswith("_s") else f"twin_source_{field}"
