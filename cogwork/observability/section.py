"""The settings of traces, metrics and logs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cogwork.sections import Section


class Observability(Section):
    """What is told to those who watch."""

    otlp_endpoint: str | None = Field(
        default=None,
        description="Address of an OpenTelemetry collector, such as http://collector:4318; without it "
        "OTEL_EXPORTER_OTLP_ENDPOINT counts, and without that nothing is sent.",
    )
    traces: bool = Field(default=True, description="Whether spans are sent there.")
    metrics: bool = Field(default=True, description="Whether metrics are sent there.")
    sample_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Which part of the executions is traced that belong to no caller's trace."
    )
    capture_content: bool = Field(
        default=False,
        description="Whether spans carry arguments, messages and results; without secrets, but with all else.",
    )
    metrics_seconds: float = Field(default=60.0, ge=0.1, description="How often metrics are sent, in seconds.")
    metrics_host: str = Field(default="127.0.0.1", description="Where a worker listens for Prometheus.")
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="The port there; without it a worker does not listen."
    )
    workflow_labels: int = Field(
        default=100, ge=1, le=10_000, description="How many workflows metrics tell apart; further ones are `other`."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="How log lines are written.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="From which level on they are."
    )
