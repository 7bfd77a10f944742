"""Figures in the text that Prometheus reads; the only file that imports its library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from cogwork.observability.catalogue import METRICS, Metric
from cogwork.observability.readings import breakers, looked_up

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.engine.parts import Parts
    from cogwork.observability.figures import Figures
    from cogwork.observability.readings import Values
    from cogwork.workflow_engine import WorkflowEngine

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def prometheus_text(engine: WorkflowEngine) -> bytes:
    """What ``/metrics`` answers: what this process has counted, and what the records and queues say, some seconds old at most.

    Where the records cannot be read, the rest is told with ``cogwork_records_up 0``; nothing is raised.
    """
    return await exposition(engine.app, engine.parts)


async def exposition(app: App, parts: Parts) -> bytes:
    """``prometheus_text`` for whoever has no engine, such as a worker."""
    telemetry = app.telemetry
    values = {**await telemetry.readings.of(lambda: looked_up(parts)), **breakers(app.health())}
    registry = CollectorRegistry()
    registry.register(_Collected(telemetry.figures, values))
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return bytes(generate_latest(registry))


class _Collected:
    """What was counted and looked up, as the library wants it."""

    def __init__(self, figures: Figures, values: Values) -> None:
        self._amounts, self._spreads, self._values = figures.amounts(), figures.spreads(), values

    def describe(self) -> list[Family]:
        """Nothing: what is collected tells of itself."""
        return []

    def collect(self) -> Iterator[Family]:
        """A family for each metric that has a name at Prometheus."""
        for metric in METRICS:
            if metric.kind == "histogram":
                yield self._histogram(metric)
                continue
            made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = made(metric.name, metric.about, labels=metric.labels)
            amounts: Mapping[tuple[str, ...], float] = self._amounts.get(metric) or self._values.get(metric) or {}
            for labels, amount in amounts.items():
                family.add_metric(labels, amount)
            yield family

    def _histogram(self, metric: Metric) -> Family:
        family = HistogramMetricFamily(metric.name, metric.about, labels=metric.labels)
        for labels, (counts, total) in self._spreads.get(metric, {}).items():
            below, buckets = 0, []
            for bound, count in zip((*map(str, metric.buckets), "+Inf"), counts, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric(labels, buckets, total)
        return family
