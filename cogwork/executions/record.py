"""An execution as it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cogwork.executions.options import Mode
from cogwork.executions.statuses import ENDED, Status
from state.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution: a run of a workflow on a thread, from the request to its end. Times are in UTC.

    ``reason`` says why it is paused or why it failed where that is no step's fault; ``segment`` counts the stretches between
    rests; ``rev`` the moves of its status; ``questions`` is what people are asked; ``wake_at`` when the first of them expires.
    """

    id: str
    thread: str
    run: str
    workflow: str
    workflow_id: str | None
    version: int | None
    digest: str
    status: Status
    reason: str
    rev: int
    mode: Mode
    priority: int
    tenant: str
    session_id: str | None
    user_id: str | None
    idempotency_key: str | None
    parent_id: str | None
    batch_id: str | None
    origin: str
    segment: int
    worker: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    not_before: datetime | None = None
    deadline: datetime | None = None
    wake_at: datetime | None = None
    input: str | None = None
    output: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)
    error: Mapping[str, Json] | None = None
    questions: tuple[Mapping[str, Json], ...] = ()
    usage: Mapping[str, Json] = field(default_factory=dict)
    resources: Mapping[str, Json] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    kept: bool = True

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """From its beginning to its end; None before that."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    def to_dict(self) -> dict[str, Json]:
        """What a caller is told of it, as plain JSON; the output is told with its result."""
        return {
            "execution_id": self.id,
            "workflow": self.workflow,
            "workflow_id": self.workflow_id,
            "version": self.version,
            "status": self.status,
            "reason": self.reason or None,
            "mode": self.mode,
            "priority": self.priority,
            "thread": self.thread,
            "run": self.run or None,
            "created_at": self.created_at.isoformat(),
            "started_at": _iso(self.started_at),
            "ended_at": _iso(self.ended_at),
            "duration": self.seconds,
            "not_before": _iso(self.not_before),
            "deadline": _iso(self.deadline),
            "questions": [dict(question) for question in self.questions],
            "error": dict(self.error) if self.error is not None else None,
            "usage": dict(self.usage) or None,
            "tags": list(self.tags),
            "metadata": dict(self.metadata),
            "session_id": self.session_id,
            "user_id": self.user_id,
            "tenant": self.tenant or None,
            "parent_id": self.parent_id,
            "batch_id": self.batch_id,
            "origin": self.origin or None,
            "worker": self.worker or None,
            "segment": self.segment,
        }


_LEFT_OUT = frozenset({"owner", "request", "tag"})
_OBJECTS = ("options", "metadata", "usage", "resources")


def execution_of(row: Mapping[Any, Any], tags: tuple[str, ...] = ()) -> Execution:
    """The execution of a row."""
    fields = {name: value for name, value in row.items() if name not in _LEFT_OUT}
    filled = {name: fields.get(name) or {} for name in _OBJECTS}
    return Execution(**{**fields, **filled, "questions": tuple(fields.get("questions") or ()), "tags": tags})


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
