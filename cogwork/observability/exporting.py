"""OpenTelemetry's SDK as it is set up here: the only file that imports it, and only where a collector is configured."""

from __future__ import annotations

import atexit
import platform
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Tracer

from cogwork.observability import attributes as names
from cogwork.observability import catalogue
from cogwork.observability.catalogue import Metric
from cogwork.observability.places import Place
from cogwork.observability.stretches import context_of

_CHOSEN: Final[ContextVar[Place | None]] = ContextVar("cogwork_chosen_place", default=None)
CLOSE_SECONDS: Final = 3.0
_OPENING: Final = threading.Lock()


class _Ids(RandomIdGenerator):
    """Random ids, except for a span whose place is known before it is made."""

    def generate_span_id(self) -> int:
        chosen = _CHOSEN.get()
        return chosen.span if chosen is not None else super().generate_span_id()

    def generate_trace_id(self) -> int:
        chosen = _CHOSEN.get()
        return chosen.trace if chosen is not None else super().generate_trace_id()


class Tracing:
    """Spans on their way to the collector."""

    def __init__(self, address: str, resource: Resource, ratio: float) -> None:
        self._ratio, self._address, self._resource = TraceIdRatioBased(ratio), address, resource
        self._made: tuple[TracerProvider, Tracer] | None = None

    def _tracer(self) -> Tracer:
        """What makes spans: opened when it is first needed, and once more after it was closed."""
        with _OPENING:
            if self._made is None:
                made = TracerProvider(
                    sampler=ParentBased(self._ratio),
                    resource=self._resource,
                    id_generator=_Ids(),
                    shutdown_on_exit=False,
                )
                made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(_address(self._address, "traces"))))
                self._made = made, made.get_tracer("cogwork", version("cogwork"))
                atexit.register(self.close)
                _known_to_others(made)
            return self._made[1]

    def sampled(self, trace_id: int) -> bool:
        """Whether a trace that begins here is kept; the same in every process."""
        return bool(self._ratio.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE)

    def begun(
        self,
        name: str,
        above: Place | None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        place: Place | None = None,
        at: int | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Span:
        """A span that begins now, or ``at`` (nanoseconds); at a ``place`` of its own, else at one that is made up."""
        token = _CHOSEN.set(place)
        try:
            return self._tracer().start_span(name, context_of(above), kind, attributes, start_time=at)
        finally:
            _CHOSEN.reset(token)

    def close(self) -> None:
        """Send what has ended, and let go; returns within seconds, also where nobody takes it."""
        with _OPENING:
            made, self._made = self._made, None
        if made is not None:
            atexit.unregister(self.close)
            _within_seconds(made[0].shutdown)


class Metering:
    """Metrics on their way to the collector."""

    def __init__(self, address: str, resource: Resource, seconds: float) -> None:
        self._address, self._resource, self._seconds = address, resource, seconds
        self._provider: MeterProvider | None = None
        self._made: dict[Metric, Any] = {}

    def figure(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        """Count it there as well."""
        if metric.otel:
            instrument = self._made.get(metric) or self._instrument(metric)
            record = instrument.record if metric.kind == "histogram" else instrument.add
            record(value, _attributes(metric, labels))

    def _instrument(self, metric: Metric) -> Any:
        with _OPENING:
            if self._provider is None:
                exporter = OTLPMetricExporter(_address(self._address, "metrics"))
                reader = PeriodicExportingMetricReader(exporter, export_interval_millis=self._seconds * 1000)
                self._provider = MeterProvider([reader], resource=self._resource, shutdown_on_exit=False)
                atexit.register(self.close)
            meter = self._provider.get_meter("cogwork", version("cogwork"))
        if metric.kind == "histogram":
            made: Any = meter.create_histogram(
                metric.otel, metric.unit, metric.about, explicit_bucket_boundaries_advisory=metric.buckets
            )
        else:
            made = meter.create_counter(metric.otel, metric.unit, metric.about)
        return self._made.setdefault(metric, made)

    def close(self) -> None:
        """Send the figures as they stand, and let go; returns within seconds, also where nobody takes them."""
        with _OPENING:
            provider, self._provider, self._made = self._provider, None, {}
        if provider is not None:
            atexit.unregister(self.close)
            _within_seconds(provider.shutdown)


def _within_seconds(work: Callable[[], object]) -> None:
    """Do it, and wait for it no longer than for so long."""
    thread = threading.Thread(target=work, name="cogwork-telemetry", daemon=True)
    thread.start()
    thread.join(CLOSE_SECONDS)


def resource(environment: Mapping[str, str]) -> Resource:
    """What the figures and spans are of; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES outrank what is said here."""
    mine: dict[str, Any] = {"service.version": version("cogwork"), "host.name": platform.node()}
    if "service.name=" not in environment.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        mine["service.name"] = environment.get("OTEL_SERVICE_NAME") or "cogwork"
    return Resource.create(mine)


def _address(address: str, what: str) -> str | None:
    """Where one signal goes: below the address, or, where that is empty, wherever the SDK's own variables say."""
    return f"{address.rstrip('/')}/v1/{what}" if address else None


def _known_to_others(provider: TracerProvider) -> None:
    """Let other libraries, such as that of MCP, put their spans beside ours, unless the program traces by itself."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, Any]:
    told = dict(zip(metric.attributes, labels, strict=True))
    if metric is catalogue.CALLS:
        kind, target, fault = labels
        return names.of_figure(kind, target, fault)
    if metric is catalogue.TOKEN_USAGE:
        return {**names.of_figure("model", labels[0], ""), "gen_ai.token.type": labels[1]}
    return told
