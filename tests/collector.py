"""A collector of OpenTelemetry for tests: takes OTLP over HTTP on the loopback, and keeps what was sent as plain trees."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class SentSpan:
    """A span as it was sent; ids are hexadecimal."""

    name: str
    trace: str
    id: str
    parent: str
    begun: int
    ended: int
    failed: bool
    told: dict[str, Any]
    resource: dict[str, Any]


@dataclass(slots=True)
class Collector:
    """What was sent to ``address``."""

    address: str = ""
    raw: bytes = b""
    spans: list[SentSpan] = field(default_factory=list)
    points: list[tuple[str, dict[str, Any], float]] = field(default_factory=list)
    """The metrics' points: name, attributes, and value; a histogram's is its count."""

    def take(self, path: str, body: bytes) -> None:
        """Keep one request."""
        self.raw += body
        if path == "/v1/traces":
            for one in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = _plain(one.resource.attributes)
                self.spans += [_span(each, resource) for scope in one.scope_spans for each in scope.spans]
        elif path == "/v1/metrics":
            for one in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in one.scope_metrics:
                    for metric in scope.metrics:
                        self.points += _points(metric)

    def named(self, name: str) -> list[SentSpan]:
        """The spans whose name begins like that."""
        return [span for span in self.spans if span.name.startswith(name)]

    def one(self, name: str) -> SentSpan:
        """The only span of that name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def tree(self, root: str = "") -> dict[str, Any]:
        """The names of the spans below the span of that id, or below those whose parents were not sent: each with its own."""
        known = {span.id for span in self.spans}
        below = [span for span in self.spans if span.parent == root or (not root and span.parent not in known)]
        return {span.name: self.tree(span.id) for span in sorted(below, key=lambda span: (span.begun, span.name))}

    def last(self, name: str, **matching: Any) -> float:
        """The latest value of a metric's point with these attributes."""
        wanted = {key.replace("__", "."): value for key, value in matching.items()}
        return [value for known, told, value in self.points if known == name and wanted.items() <= told.items()][-1]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens within the block."""
    collector, lock = Collector(), threading.Lock()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                collector.take(
                    self.path, gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    collector.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _span(span: Any, resource: dict[str, Any]) -> SentSpan:
    return SentSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        begun=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        failed=span.status.code == 2,
        told=_plain(span.attributes),
        resource=resource,
    )


def _points(metric: Any) -> list[tuple[str, dict[str, Any], float]]:
    if metric.WhichOneof("data") == "histogram":
        return [(metric.name, _plain(each.attributes), float(each.count)) for each in metric.histogram.data_points]
    return [(metric.name, _plain(each.attributes), each.as_double or each.as_int) for each in metric.sum.data_points]


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
