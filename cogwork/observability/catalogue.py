"""Every metric that there is: its name at Prometheus and at OpenTelemetry, what it counts, and by what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""Bounds of the buckets of durations."""
TOKENS: Final = (16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; ``name`` is that of Prometheus, without the ``_total`` of counters, ``otel`` that of OpenTelemetry, empty where
    it is not sent; ``attributes`` are OpenTelemetry's names of the ``labels``."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    about: str
    labels: tuple[str, ...] = ()
    otel: str = ""
    unit: str = "1"
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its series at Prometheus."""
        if self.kind == "counter":
            return (f"{self.name}_total",)
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def _counter(name: str, about: str, labels: tuple[str, ...], otel: str, unit: str = "1") -> Metric:
    return Metric(name, "counter", about, labels, otel, unit, tuple(f"cogwork.{label}" for label in labels))


STARTED: Final = _counter(
    "cogwork_executions_started",
    "Executions that this process was the first to take up.",
    ("workflow",),
    "cogwork.executions.started",
)
ENDED: Final = _counter(
    "cogwork_executions_ended",
    "Executions that ended in this process, by how.",
    ("workflow", "status"),
    "cogwork.executions.ended",
)
DURATION: Final = Metric(
    "cogwork_execution_duration_seconds",
    "histogram",
    "From the beginning of an execution to its end, rests among it.",
    ("workflow", "status"),
    "cogwork.execution.duration",
    "s",
    ("gen_ai.workflow.name", "cogwork.status"),
    SECONDS,
)
STEPS: Final = _counter(
    "cogwork_steps_ended",
    "Steps that settled in this process, by kind and how.",
    ("kind", "status"),
    "cogwork.steps.ended",
)
RETRIES: Final = _counter(
    "cogwork_step_retries",
    "Attempts of steps that failed and were followed by another, by the class of the fault.",
    ("fault",),
    "cogwork.steps.retries",
)
CALLS: Final = Metric(
    "cogwork_call_duration_seconds",
    "histogram",
    "Calls of tools and models; fault is empty where they succeeded.",
    ("kind", "target", "fault"),
    "gen_ai.client.operation.duration",
    "s",
    ("gen_ai.operation.name", "cogwork.target", "error.type"),
    SECONDS,
)
TOKENS_USED: Final = _counter(
    "cogwork_tokens", "Tokens that models read and wrote.", ("model", "direction"), "cogwork.tokens", unit="{token}"
)
TOKEN_USAGE: Final = Metric(
    "",
    "histogram",
    "Tokens of each call of a model.",
    ("model", "direction"),
    "gen_ai.client.token.usage",
    "{token}",
    ("gen_ai.request.model", "gen_ai.token.type"),
    TOKENS,
)
"""For OpenTelemetry only: at Prometheus the totals suffice."""
COST: Final = _counter(
    "cogwork_cost_usd", "What models cost, where their price is known.", ("model",), "cogwork.cost", unit="USD"
)
REQUESTS: Final = _counter(
    "cogwork_http_requests",
    "Requests to the server, by route and the class of the answer's status.",
    ("method", "route", "status"),
    "cogwork.http.requests",
)
LATENCY: Final = Metric(
    "cogwork_http_request_duration_seconds",
    "histogram",
    "From a request to the beginning of its answer.",
    ("method", "route"),
    "http.server.request.duration",
    "s",
    ("http.request.method", "http.route"),
    SECONDS[:10],
)
UNDER_WAY: Final = Metric("cogwork_http_requests_under_way", "gauge", "Requests that are being answered.")
COUNTED: Final = (STARTED, ENDED, DURATION, STEPS, RETRIES, CALLS, TOKENS_USED, COST, REQUESTS, LATENCY, UNDER_WAY)
"""What a process counts by itself."""

OPEN: Final = Metric("cogwork_executions_open", "gauge", "Executions that have not ended, by status.", ("status",))
RESTING: Final = Metric("cogwork_executions_paused", "gauge", "Executions that rest, by why.", ("reason",))
WAITING: Final = Metric("cogwork_queue_length", "gauge", "Executions that wait in a queue for a worker.", ("queue",))
RUNNING: Final = Metric(
    "cogwork_queue_running", "gauge", "Executions of a queue that workers have at work.", ("queue",)
)
OLDEST: Final = Metric(
    "cogwork_queue_oldest_seconds", "gauge", "How long the first of them has been waiting.", ("queue",), unit="s"
)
WORKERS: Final = Metric("cogwork_workers", "gauge", "Workers that are put down, by how they stand.", ("state",))
PLACES: Final = Metric("cogwork_worker_places", "gauge", "How many executions the live workers take at once.")
BUSY: Final = Metric("cogwork_worker_places_busy", "gauge", "How many of those places are taken.")
BREAKER: Final = Metric(
    "cogwork_breaker_open", "gauge", "1 where a service is left alone, 0.5 where it is tried again.", ("service",)
)
RECORDS: Final = Metric("cogwork_records_up", "gauge", "1 where the records could be read, else 0.")
INFO: Final = Metric("cogwork_build_info", "gauge", "1, with what is running.", ("version", "python"))
LOOKED_UP: Final = (OPEN, RESTING, WAITING, RUNNING, OLDEST, WORKERS, PLACES, BUSY, BREAKER, RECORDS, INFO)
"""What is looked up in the records and queues, the same at every process."""
METRICS: Final = (*COUNTED, *LOOKED_UP)
NAMES: Final = frozenset(name for metric in METRICS for name in metric.names)
"""Every name that can be asked for at Prometheus."""
