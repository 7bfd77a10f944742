"""The sections of the settings that the engine is held by: how it works, what it keeps, and for how long."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from nodes.base import seconds

FOREVER: Final = "forever"
_DAY: Final = 86400.0
_LONGEST: Final = 100 * 366 * _DAY
_DAYS: Final = re.compile(r"(\d+(?:\.\d+)?)\s*d")


def period(value: Any) -> float:
    """Seconds, from a number of them or from text such as ``10m``, ``1h30m``, ``90d`` or ``600``; at most 100 years.

    Raises:
        ValueError: it is no duration.
    """
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return period(float(text))
        if days := _DAYS.fullmatch(text):
            return period(float(days[1]) * _DAY)
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LONGEST:
        return float(value)
    elif isinstance(value, int | float):
        raise ValueError("must be a duration of more than zero and at most 100 years")
    return seconds(value)


def lasting(value: Any) -> float | None:
    """``period``, or None for ``forever``.

    Raises:
        ValueError: it is neither.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in (FOREVER, "null", "none")):
        return None
    try:
        return period(value)
    except ValueError as err:
        raise ValueError(f"{err}; or {FOREVER}") from err


Period: TypeAlias = Annotated[float, BeforeValidator(period)]
"""A duration in seconds, written as in workflows: ``30s``, ``10m``, ``1h30m``, ``90d``."""
Lasting: TypeAlias = Annotated[float | None, BeforeValidator(lasting)]
"""A duration for which something is kept; None, written ``forever``, for as long as the database lives."""


class Section(BaseModel):
    """A table of the settings: frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Engine(Section):
    """How workers work."""

    concurrency: int = Field(
        default=100, ge=1, le=10_000, description="How many executions a worker has at work at once."
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="How many worker processes `cogwork worker` starts on this machine."
    )
    poll_seconds: float = Field(
        default=0.1, gt=0, le=60, description="How often an idle worker looks for work, in seconds."
    )


class Rate(Section):
    """So many starts in so much time."""

    limit: int = Field(ge=1, description="How many executions begin at most.")
    period: Period = Field(description="In this time.")


class QueueSection(Section):
    """A queue beside the default one."""

    concurrency: int | None = Field(default=None, ge=1, description="How many of it run at once, over all workers.")
    per_worker: int | None = Field(default=None, ge=1, description="How many of it run at once in each worker.")
    per: Literal["tenant", "workflow"] | None = Field(default=None, description="What the queue is split by.")
    per_concurrency: int | None = Field(
        default=None, ge=1, description="How many run at once in each part; 1 without it."
    )
    rate: Rate | None = Field(default=None, description="How fast executions begin.")
    workflows: list[str] = Field(
        default_factory=list, description="Names or patterns of the workflows that wait here, where they name no queue."
    )


class Retention(Section):
    """How long what has ended is kept; clean-up (`cogwork clean`) takes away what is older."""

    completed: Lasting = Field(default=90 * _DAY, description="Executions that completed, from their end on.")
    failed: Lasting = Field(default=365 * _DAY, description="Executions that failed.")
    cancelled: Lasting = Field(default=90 * _DAY, description="Executions that were cancelled.")
    checkpoints: Lasting = Field(
        default=90 * _DAY,
        description="Checkpoints of ended executions; without them none can be forked or looked into.",
    )
    events: Lasting = Field(default=30 * _DAY, description="Event history of ended executions.")
    payloads: Period = Field(
        default=_DAY,
        ge=6 * 3600,
        description="Inputs, outputs and specs that nothing names any more, from their last use on; at least 6h.",
    )
    sessions: Lasting = Field(
        default=30 * _DAY, description="Sessions with their conversations and messages, from their end or expiry on."
    )
    firings: Lasting = Field(default=90 * _DAY, description="Firings of schedules and triggers.")


class History(Section):
    """How much of a conversation an execution is shown."""

    messages: int = Field(default=50, ge=0, description="The latest messages at most.")
    tokens: int = Field(default=8000, ge=0, description="Their tokens at most; the oldest are left out first.")


class ServerLimits(Section):
    """What a caller may ask of the server."""

    body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, description="The largest body of a request, in bytes.")
    header_bytes: int = Field(default=64 * 1024, ge=4096, description="The largest head of a request, in bytes.")
    head_seconds: Period = Field(default=10.0, description="How long a caller may take to send the head of a request.")
    body_seconds: Period = Field(default=30.0, description="How long it may take to send the body.")
    answer_seconds: Period = Field(
        default=300.0, description="How long an answer may take that is no stream of events."
    )
    stall_seconds: Period = Field(
        default=30.0, description="How long a caller may take nothing of an answer that is ready for it."
    )
    requests: int = Field(default=1200, ge=1, description="Requests per minute of one principal, at most.")
    strangers: int = Field(
        default=60, ge=1, description="Requests per minute that are refused for want of a token, by address."
    )
    connections: int = Field(default=2000, ge=1, description="Connections at once, at most.")
    sessions: int = Field(default=10_000, ge=1, description="Sessions of MCP clients at once, at most.")
    listeners: int = Field(default=500, ge=1, description="Streams of events at once, at most.")


class Tls(Section):
    """The server's certificate, and whose certificates it takes."""

    certificate: Path = Field(description="The server's certificate, PEM, with those between it and the root.")
    key: Path = Field(description="Its private key, PEM.")
    client_authorities: Path | None = Field(
        default=None, description="Who signs the certificates of callers, PEM; with it a caller has to show one."
    )
    clients: dict[str, str] = Field(
        default_factory=dict,
        description="The roles of callers by what their certificate says, such as {CN=ops: operator}.",
    )

    @field_validator("clients")
    @classmethod
    def _rules(cls, clients: dict[str, str]) -> dict[str, str]:
        from cogwork.identity.certificates import checked

        return checked(clients)


class Server(Section):
    """The server that `cogwork serve` starts."""

    host: str = Field(default="127.0.0.1", description="The address that it listens on.")
    port: int = Field(default=4020, ge=0, le=65535, description="The port; 0 for any that is free.")
    auth: Literal["tokens", "none"] = Field(
        default="tokens",
        description="`none` lets everybody do everything, and is refused on other addresses than loopback.",
    )
    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="The names under which it is called, beside loopback; `*.example.org` for all below one.",
    )
    allowed_origins: list[str] = Field(
        default_factory=list,
        description="Web pages of other origins that may call it, such as https://ops.example.org; none without it.",
    )
    worker: bool = Field(default=True, description="Whether executions run in the server's process too.")
    allow_generated_writes: bool = Field(
        default=False,
        description="Whether workflows that a caller hands in may write before anybody has reviewed them.",
    )
    limits: ServerLimits = Field(default_factory=ServerLimits, description="What a caller may ask of it: a table.")
    tls: Tls | None = Field(default=None, description="TLS, and certificates of callers: a table.")
