"""What a run has come to, read from its checkpoint, and written into the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.executions.record import Execution
from cogwork.executions.statuses import ENDED, Status
from cogwork.records.tables.executions import EXECUTIONS, STEPS
from graphs.keeping import SHUTDOWN
from graphs.runtime.frames import OVER, bare
from state.events import EventKind
from state.usage import total
from state.values import Json

Steps = Mapping[str, Mapping[str, str]]
_INSERT = sa.insert(STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How a call of a graph left its run."""

    status: Status
    reason: str = ""
    output: Json = None
    error: Mapping[str, Json] | None = None
    questions: tuple[Json, ...] = ()
    usage: Mapping[str, Json] = field(default_factory=dict)
    ended_at: datetime | None = None
    wake_at: datetime | None = None
    steps: tuple[dict[str, Any], ...] = ()
    resources: Mapping[str, Json] = field(default_factory=dict)
    whole: bool = True
    """Whether ``steps`` are those of the whole run, rather than of this call."""

    @property
    def event(self) -> tuple[EventKind, dict[str, Json]]:
        """The last event of the call."""
        used: dict[str, Json] = {"usage": dict(self.usage)} if self.usage else {}
        match self.status:
            case "completed":
                return "run.completed", {"output": self.output, **used}
            case "failed":
                return "run.failed", {"error": self.error, **used}
            case "cancelled":
                return "run.cancelled", {"error": self.error, **used}
            case _:
                return "run.paused", {"questions": list(self.questions), "reason": self.reason, **used}

    def write(
        self,
        connection: Connection,
        execution: Execution,
        token: str,
        now: datetime,
        output: str | None,
        *,
        fresh: bool = False,
    ) -> bool:
        """Write it into the execution's row, and its steps beside it; whether the execution was still ours.

        ``fresh`` says that nothing is recorded of its steps yet.
        """
        deadlines = [at for at in (self.wake_at, execution.deadline) if at is not None]
        values: dict[str, Any] = {
            "status": self.status,
            "reason": self.reason,
            "error": self.error,
            "questions": list(self.questions) or None,
            "rev": EXECUTIONS.c.rev + 1,
            "updated_at": now,
            "owner": "",
            "wake_at": min(deadlines, default=None),
            **({"usage": dict(self.usage)} if self.usage else {}),
            **({"resources": dict(self.resources)} if self.resources else {}),
        }
        if self.status in ENDED:
            values |= {"ended_at": self.ended_at or now, "wake_at": None, "output": output}
        matching = (EXECUTIONS.c.id == execution.id, EXECUTIONS.c.owner == token)
        if connection.execute(sa.update(EXECUTIONS).where(*matching).values(**values)).rowcount == 0:
            return False
        if self.steps:
            _write_steps(connection, execution, self.steps, whole=self.whole, fresh=fresh)
        return True


def settle(values: Mapping[str, Json], questions: tuple[Json, ...], steps: Steps) -> Settled:
    """What the state of a run says that it has come to."""
    run, nodes = values.get("run") or {}, values.get("nodes") or {}
    status, reason = str(run.get("status")), str(run.get("reason") or "")
    told: dict[str, Any] = {
        "usage": total(nodes.values()),
        "steps": tuple(_step_rows(nodes, steps)),
        "error": run.get("error"),
    }
    if status in ENDED:
        end = _instant(run.get("ended_at"))
        return Settled(status=status, reason=reason, output=values.get("output"), ended_at=end, **told)
    if reason == SHUTDOWN and not questions:
        return Settled(status="pending", reason=SHUTDOWN, **told)
    expiring = [at for question in questions if (at := _instant(question.get("deadline"))) is not None]
    why = reason if reason in ("requested", "budget", "in_doubt", "human") else _asked(questions)
    return Settled(status="paused", reason=why, questions=questions, wake_at=min(expiring, default=None), **told)


def _asked(questions: tuple[Json, ...]) -> str:
    kinds = [str(question.get("kind") or "human") for question in questions]
    if not kinds:
        return "requested"
    return kinds[0] if kinds[0] in ("budget", "in_doubt") else "human"


def _instant(text: Json) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None


# -- steps -----------------------------------------------------------------------------------------------------------


def _step_rows(nodes: Mapping[str, Json], steps: Steps) -> Iterable[dict[str, Any]]:
    for path, record in nodes.items():
        if isinstance(record, Mapping) and record.get("status") in OVER:
            node = bare(path)
            yield step_row(path, node, record, steps.get(node) or {})


def step_row(path: str, node: str, record: Mapping[str, Json], facts: Mapping[str, str]) -> dict[str, Any]:
    """The row of a step that has settled."""
    began, ended = _instant(record.get("started_at")), _instant(record.get("ended_at"))
    usage, error = record.get("usage") or {}, record.get("error")
    cause = record.get("cause")
    return {
        "path": path[:1024],
        "node": node[:255],
        "kind": facts.get("kind") or "frame",
        "status": str(record["status"]),
        "cause": str(cause)[:2000] if cause else None,
        "tool": facts.get("tool"),
        "model": usage.get("model"),
        "agent": facts.get("agent"),
        "started_at": began,
        "ended_at": ended,
        "seconds": (ended - began).total_seconds() if began is not None and ended is not None else None,
        "attempts": int(record.get("attempts") or (1 if began is not None else 0)),
        "input_tokens": int(usage.get("input_tokens") or 0),
        "output_tokens": int(usage.get("output_tokens") or 0),
        "cost_usd": float(usage.get("cost_usd") or 0.0),
        "error_class": str(error.get("class")) if isinstance(error, Mapping) else None,
    }


def _write_steps(
    connection: Connection, execution: Execution, steps: tuple[dict[str, Any], ...], *, whole: bool, fresh: bool
) -> None:
    """Replace what is recorded of the execution's steps, or of some of them."""
    of = {
        "execution_id": execution.id,
        "run": execution.run,
        "workflow": execution.workflow,
        "workflow_id": execution.workflow_id,
        "version": execution.version,
    }
    rows = {step["path"]: {**of, **step} for step in steps}
    if not fresh:
        old = [STEPS.c.execution_id == execution.id, *([] if whole else [STEPS.c.path.in_(rows)])]
        connection.execute(sa.delete(STEPS).where(*old))
    connection.execute(_INSERT, list(rows.values()))
