"""What Prometheus scrapes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from api.records.sources import Sources
from connectors.exposition import Exposition

LATENCY_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)


class Metrics:
    """The counters of one service, in a registry of their own."""

    def __init__(self, sources: Sources) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Exposition(sources.all))
        self.requests = Counter(
            "twin_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.latency = Histogram(
            "twin_request_seconds", "Time to answer.", ("method", "route"), buckets=LATENCY_S, registry=self.registry
        )
        self.rows = Counter("twin_ingest_rows", "Rows uploaded.", ("plant", "fate"), registry=self.registry)
        self.solves = Counter("twin_solves", "Answers of optimize.", ("plant", "status"), registry=self.registry)
        self.solve_seconds = Histogram(
            "twin_solve_seconds", "Time of one solve.", ("plant",), buckets=LATENCY_S, registry=self.registry
        )
        self.waiting = Gauge(
            "twin_recommendations_waiting",
            "Recommendations on disk that are not in the database yet.",
            registry=self.registry,
        )
        self.jobs = Gauge("twin_jobs", "Jobs by state.", ("state",), registry=self.registry)
        self.last = Gauge(
            "twin_telemetry_last_time_seconds",
            "Time of the last row uploaded to this process, in Unix time.",
            ("plant",),
            registry=self.registry,
        )
        self.drift = Gauge(
            "twin_drift",
            "Whether the champion fits its plant: 0 stable, 1 watch, 2 train it again, -1 too little telemetry since.",
            ("plant",),
            registry=self.registry,
        )
        self.drift_error = Gauge(
            "twin_drift_error_ratio",
            "Errors of the champion since its training over those of its report.",
            ("plant", "cv"),
            registry=self.registry,
        )
        self.drift_coverage = Gauge(
            "twin_drift_coverage",
            "Share of values since the training inside the champion's 90 % bands.",
            ("plant", "cv"),
            registry=self.registry,
        )
