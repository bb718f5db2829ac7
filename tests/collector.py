"""A stand-in for an OpenTelemetry collector: takes traces by OTLP over HTTP, and keeps them."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What came."""

    def __init__(self) -> None:
        self.url = ""
        self.raw: list[bytes] = []
        self.services: set[str] = set()
        self.spans: list[Span] = []

    def take(self, body: bytes) -> None:
        """What one request brings."""
        self.raw.append(body)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = of_resource.resource.attributes
            self.services |= {one.value.string_value for one in told if one.key == "service.name"}
            for scope in of_resource.scope_spans:
                self.spans += scope.spans


def attributes(span: Span) -> dict[str, Any]:
    """Its attributes as Python has them."""
    return {
        one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes
    }


@contextmanager
def running() -> Iterator[Collector]:
    """One on a port of its own."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_known = (self.path, self.headers["content-type"]) == (
                "/v1/traces",
                "application/x-protobuf",
            )
            if is_known:
                is_zipped = self.headers["content-encoding"] == "gzip"
                collector.take(gzip.decompress(body) if is_zipped else body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if is_known else 404)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            """Nothing: the spans say it all."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield collector
        finally:
            server.shutdown()
            serving.join()
