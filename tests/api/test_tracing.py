"""Traces: an OTLP/HTTP receiver that the test starts gets a span for each request, and no secret in it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from api.settings import Settings
from api.tracing import Tracing
from twin.plants.quadruple_tank import QuadrupleTank

pytest.importorskip("opentelemetry.sdk", reason="the extra `telemetry` is not installed: traces were not tested")

KEY = "the-key-of-the-traces"


class Receiver:
    """Keeps the bodies that are posted to it."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        kept = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append((self.path, gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def spans(self) -> dict[str, dict[str, object]]:
        """Name → attributes of every span that came."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        found = {}
        for path, body in self.bodies:
            assert path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        values = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
                        found[span.name] = values | {"status": span.status.code}
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever)
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def test_requests_are_traced_without_secrets(receiver: Receiver, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, admin_key=KEY, workers=0, log_level="error", otlp_endpoint=receiver.url)
    app = create_app(settings)
    app.state.service.keys.bootstrap(settings)
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        assert client.put("/v1/plants/tank", json=QuadrupleTank.plant.to_json()).status_code == 201
        assert client.get("/v1/plants/nowhere").status_code == 404
        assert client.get("/healthz").status_code == 200
    spans = receiver.spans()
    assert set(spans) == {"PUT /v1/plants/{plant}", "GET /v1/plants/{plant}"}
    assert spans["PUT /v1/plants/{plant}"]["http.status_code"] == 201
    assert spans["GET /v1/plants/{plant}"]["http.status_code"] == 404
    assert not any(KEY.encode() in body for _, body in receiver.bodies)


def test_a_job_is_a_span_that_notes_its_failure(
    receiver: Receiver, until: Callable[[Callable[[], bool], float], None]
) -> None:
    tracing = Tracing(Settings(otlp_endpoint=receiver.url))

    def fail() -> None:
        with tracing.span("train", plant="tank", attempt=2):
            raise ValueError("too few rows")

    with pytest.raises(ValueError, match="too few rows"):
        fail()
    tracing.close()
    [(name, span)] = receiver.spans().items()
    assert (name, span["plant"], span["attempt"], span["status"]) == ("train", "tank", 2, 2)


def test_without_an_endpoint_nothing_is_traced() -> None:
    tracing = Tracing(Settings())
    with tracing.span("train", plant="tank"):
        pass
    tracing.close()
