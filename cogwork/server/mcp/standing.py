"""How an execution stands, in the documents' words and in ours: its progress, its questions, and the call that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.executions.record import Execution
from cogwork.executions.result import step_rows
from cogwork.executions.store import found
from cogwork.records.tables.executions import EVENTS
from cogwork.workflow_engine import WorkflowEngine
from graphs.analysis.plan import Plan
from graphs.graph import WorkflowGraph
from state.errors import CogworkError
from state.values import Json

_SETTLED: Final = frozenset({"done", "skipped", "failed", "cancelled"})
_STATUSES: Final = {
    "step.started": "running",
    "step.finished": "done",
    "step.skipped": "skipped",
    "step.failed": "failed",
    "step.cancelled": "cancelled",
}
NAMED: Final = 20
"""How many of the steps that are at work are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How far the steps of a workflow have come; those of loops and used workflows count as one. ``total`` is None where nobody
    knows."""

    done: int
    total: int | None
    current: tuple[str, ...]

    @property
    def percent(self) -> int | None:
        """Of a hundred."""
        return None if self.total is None else round(100 * self.done / self.total) if self.total else 100

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return {"done": self.done, "total": self.total, "percent": self.percent, "current": list(self.current)}


async def standing(engine: WorkflowEngine, name: str) -> dict[str, Json]:
    """How the execution stands, as plain JSON.

    Raises:
        EngineError: ``execution_not_found``.
    """

    def look(connection: Connection) -> tuple[Execution, list[Mapping[str, Any]]]:
        execution = found(connection, name)
        rows = step_rows(connection, name)
        # While it goes on only its history tells of steps; their rows are written when it rests.
        return execution, rows if execution.ended or execution.status == "paused" else _from_history(connection, name)

    execution, rows = await engine.parts.records.reading(look)
    plan = await plan_of(engine, execution)
    return told(execution, steps_of(execution, plan, rows), engine.parts.executions.now())


def _from_history(connection: Connection, name: str) -> list[Mapping[str, Any]]:
    """Each step as its last event has it, in the order in which they began."""
    query = sa.select(EVENTS.c.step, EVENTS.c.kind, EVENTS.c.at).where(
        EVENTS.c.execution_id == name, EVENTS.c.kind.in_(_STATUSES)
    )
    steps: dict[str, dict[str, Any]] = {}
    for step, kind, at in connection.execute(query.order_by(EVENTS.c.seq)):
        row = steps.setdefault(step, {"path": step, "started_at": at})
        row["status"] = _STATUSES[kind]
    return list(steps.values())


async def plan_of(engine: WorkflowEngine, execution: Execution) -> Plan | None:
    """The plan of the workflow that the execution began with; None for code, or where it cannot be built any more."""
    try:
        graph: Any = await engine.parts.graphs.of(execution)
    except CogworkError:
        return None
    graph = getattr(graph, "graph", None) or graph
    return graph.plan if isinstance(graph, WorkflowGraph) else None


def top(plan: Plan) -> frozenset[str]:
    """The steps of the workflow itself."""
    return frozenset(plan.scopes[""].names.values())


def steps_of(execution: Execution, plan: Plan | None, rows: Sequence[Mapping[str, Any]]) -> Steps:
    """How far they have come."""
    mine = top(plan) if plan is not None else frozenset(row["path"] for row in rows)
    own = [row for row in rows if row["path"] in mine]
    done = sum(1 for row in own if row["status"] in _SETTLED)
    working = [str(row["path"]) for row in rows if row["status"] not in _SETTLED and row["started_at"] is not None]
    leaves = [
        path
        for path in working
        if not any(each.startswith(f"{path}.") or each.startswith(f"{path}[") for each in working)
    ]
    total = len(mine) if plan is not None else None
    if execution.status == "completed":
        return Steps(done=done, total=done if total is None else total, current=())
    return Steps(done=done, total=total, current=() if execution.ended else tuple(leaves[:NAMED]))


def status_of(execution: Execution) -> str:
    """The status; ``timeout`` where that is why it failed."""
    error = execution.error or {}
    out_of_time = execution.reason == "timeout" or (error.get("class") == "timeout" and not error.get("node"))
    return "timeout" if execution.status == "failed" and out_of_time else execution.status


def told(execution: Execution, steps: Steps, now: datetime) -> dict[str, Json]:
    """How it stands, as plain JSON: the documents' fields, then ours. Instants are seconds since 1970 where the documents say
    so, else ISO 8601."""
    began, ended = execution.started_at, execution.ended_at or now
    about = execution.to_dict()
    stands: dict[str, Json] = {
        "execution_id": execution.id,
        "status": status_of(execution),
        "reason": execution.reason or None,
        "workflow_name": execution.workflow,
        "workflow_id": execution.workflow_id,
        "version": execution.version,
        "execution_mode": execution.mode,
        "start_time": began.astimezone(UTC).timestamp() if began is not None else None,
        "elapsed_time": round((ended - began).total_seconds(), 3) if began is not None else 0.0,
        "progress": _sentence(execution, steps),
        "steps": steps.to_dict(),
        "questions": about["questions"],
        "error": about["error"],
        "created_at": about["created_at"],
        "started_at": about["started_at"],
        "ended_at": about["ended_at"],
        "tags": about["tags"],
        "metadata": about["metadata"],
        "usage": about["usage"],
        **following(execution),
    }
    return {name: value for name, value in stands.items() if name != "error" or value is not None}


def following(execution: Execution) -> dict[str, Json]:
    """The call that goes on with it, where it rests or goes on."""
    if execution.status == "paused":
        answers: dict[str, Json] = {
            str(q.get("at")): f"<answer by this form: {q.get('form')}>" for q in execution.questions
        }
        given: dict[str, Json] = {"answers": answers} if answers else {}
        return {"next": {"tool": "resume_execution", "arguments": {"execution_id": execution.id, **given}}}
    if execution.ended:
        return {}
    return {"next": {"tool": "check_execution_status", "arguments": {"execution_id": execution.id}}}


def _sentence(execution: Execution, steps: Steps) -> str:
    if execution.ended:
        return f"{execution.status} after {steps.done} of {steps.total} steps" if steps.total else execution.status
    if execution.status == "paused":
        asked = ", ".join(str(question.get("at")) for question in execution.questions)
        return f"Waiting for an answer at {asked}" if asked else f"Paused: {execution.reason}"
    if execution.started_at is None:
        return "Waiting to begin"
    if steps.total is None:
        return f"{steps.done} steps done"
    return f"Processing step {min(steps.done + 1, steps.total)} of {steps.total}"
