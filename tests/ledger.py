"""Rows of executions, steps and stretches for tests of figures, with everything that a row must have filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cogwork.records import Records
from cogwork.records.tables.executions import EXECUTIONS, SEGMENTS, STEPS

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def ago(**parts: float) -> datetime:
    """An instant before ``NOW``."""
    return NOW - timedelta(**parts)


@dataclass(slots=True)
class Ledger:
    """Rows that are gathered and then written at once."""

    executions: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=list)

    def execution(
        self,
        status: str = "completed",
        workflow: str = "greet",
        created: datetime | None = None,
        seconds: float | None = 1.0,
        **more: Any,
    ) -> str:
        """An execution that started as it was created; one that has ended took so many seconds. Its id."""
        at = created or ago(hours=1)
        name = str(more.pop("id", f"exec-{len(self.executions):05}"))
        over = status in ("completed", "failed", "cancelled")
        ended = at + timedelta(seconds=seconds) if over and seconds is not None else None
        row = {
            "id": name,
            "thread": name,
            "workflow": workflow,
            "workflow_id": None,
            "version": None,
            "status": status,
            "reason": "",
            "mode": "async",
            "priority": 5,
            "options": {},
            "metadata": {},
            "error": None,
            "worker": "",
            "created_at": at,
            "started_at": at if seconds is not None else None,
            "ended_at": ended,
            "updated_at": at,
        }
        self.executions.append(row | more)
        return name

    def step(
        self,
        execution: str,
        path: str = "ask",
        *,
        start: datetime | None = None,
        seconds: float | None = 1.0,
        **more: Any,
    ) -> None:
        """A step that is done, of the execution of that id."""
        begun = start or ago(hours=1)
        row = {
            "execution_id": execution,
            "path": path,
            "node": path.split("[")[0],
            "kind": "tool",
            "status": "done",
            "workflow": "greet",
            "workflow_id": None,
            "version": None,
            "tool": None,
            "model": None,
            "agent": None,
            "started_at": begun if seconds is not None else None,
            "ended_at": begun + timedelta(seconds=seconds or 0),
            "seconds": seconds,
            "attempts": 1,
            "input_tokens": 0,
            "output_tokens": 0,
            "cost_usd": 0.0,
            "error_class": None,
        }
        self.steps.append(row | more)

    def segment(
        self, execution: str, number: int, queued: datetime, ended: datetime | None, outcome: str = "paused (human)"
    ) -> None:
        """A stretch of an execution."""
        row = {"execution_id": execution, "number": number, "command": {}, "queued_at": queued}
        self.segments.append(row | {"started_at": queued, "ended_at": ended, "outcome": outcome})

    def write(self, records: Records) -> None:
        """Put all rows in place of those that are there."""
        tables: Iterable[tuple[sa.Table, list[dict[str, Any]]]] = (
            (EXECUTIONS, self.executions),
            (STEPS, self.steps),
            (SEGMENTS, self.segments),
        )

        def replace(connection: sa.Connection) -> None:
            for table, rows in tables:
                connection.execute(sa.delete(table))
                if rows:
                    connection.execute(sa.insert(table), rows)

        records.write(replace)


def fault(name: str = "timeout", message: str = "too late") -> Mapping[str, Any]:
    """The error of a failed execution, as records hold it."""
    return {"class": name, "origin": "step", "stage": "call", "message": message, "details": {"class": "other"}}
