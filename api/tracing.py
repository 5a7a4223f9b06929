"""Traces over OTLP/HTTP by setting: a span a request, and one a training job; nothing is loaded where it is not set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI

from api.settings import Settings
from twin.errors import TwinError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

NAME = "plant-twin"
QUIET = "healthz,readyz,metrics"  # asked every few seconds by what watches the service


class Tracing:
    """Where spans go; without an endpoint nowhere."""

    def __init__(self, settings: Settings) -> None:
        """Raises:
        TwinError: an endpoint is set, and the extra that sends to it is not installed.
        """
        self._provider = _provider(settings.otlp_endpoint) if settings.otlp_endpoint else None

    def install(self, app: FastAPI) -> None:
        """Have every request of the application traced; neither bodies nor headers are told."""
        if self._provider is not None:
            from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

            FastAPIInstrumentor.instrument_app(
                app, tracer_provider=self._provider, excluded_urls=QUIET, exclude_spans=["receive", "send"]
            )

    @contextmanager
    def span(self, name: str, **attributes: str | int) -> Iterator[None]:
        """Trace what happens inside; an exception is noted and goes on."""
        if self._provider is None:
            yield
            return
        with self._provider.get_tracer(NAME).start_as_current_span(name, attributes=attributes):
            yield

    def flush(self) -> None:
        """Send what waits, for a few seconds at most."""
        if self._provider is not None:
            self._provider.force_flush(3_000)

    def close(self) -> None:
        """Send what waits, and end."""
        if self._provider is not None:
            self._provider.shutdown()


def _provider(endpoint: str) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TwinError(f"TWIN_OTLP_ENDPOINT needs the extra `telemetry` ({error.name} is missing)") from None
    resource = Resource.create({"service.name": NAME, "service.version": version(NAME)})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=2_000))
    return provider
