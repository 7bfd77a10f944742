"""Results of executions in each status, with fixed ids and times, for the tests of responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cogwork.executions.record import Execution
from cogwork.executions.result import ExecutionResult, result_of
from state.values import Json

NOON: Final = datetime(2026, 11, 28, 12, tzinfo=UTC)
QUESTION: Final[dict[str, Json]] = {
    "run": "f3c9",
    "kind": "human",
    "at": "approve",
    "ask": "Send the report to 40 people?",
    "show": {"recipients": 40},
    "form": {"type": "object", "properties": {"go": {"enum": ["yes", "no"]}}, "required": ["go"]},
}
REPORT: Final = """# Retries

A call is made **again** where that may help:

1. wait
2. try

| class | again |
|:------|:-----:|
| timeout | yes |

```python
print("1 < 2")
```
"""


def execution(status: str = "completed", **fields: Any) -> Execution:
    """An execution of the workflow ``report`` that took a second and a half."""
    ended = NOON + timedelta(seconds=1.5) if status in ("completed", "failed", "cancelled") else None
    usual: dict[str, Any] = {
        "id": "report-0f1e2d",
        "thread": "report-0f1e2d",
        "run": "f3c9",
        "workflow": "report",
        "workflow_id": "wf-1",
        "version": 3,
        "digest": "d",
        "status": status,
        "reason": "",
        "rev": 1,
        "mode": "async",
        "priority": 10,
        "tenant": "",
        "session_id": None,
        "user_id": None,
        "idempotency_key": None,
        "parent_id": None,
        "batch_id": None,
        "origin": "python",
        "segment": 1,
        "worker": "w",
        "created_at": NOON,
        "updated_at": NOON,
        "started_at": NOON,
        "ended_at": ended,
    }
    return Execution(**{**usual, **fields})


def fault(fault_class: str, message: str, **more: Json) -> dict[str, Json]:
    """The record of a failure at the step ``fetch``."""
    usual: dict[str, Json] = {"origin": "tool", "stage": "call", "severity": "error", "pointer": "/nodes/fetch"}
    known: dict[str, Json] = {"node": "fetch", "recoverable": True, "retry_after": None, "details": None}
    return {"class": fault_class, "message": message, **usual, **known, **more}


def result(output: Json = None, *, steps: dict[str, Json] | None = None, **fields: Any) -> ExecutionResult:
    """The result of an execution with this output; ``steps`` are results of tool steps by path."""
    rows = [_row(path) for path in steps or {}]
    return result_of(execution(**fields), output, {"results": steps or {}}, rows)


def _row(path: str) -> dict[str, Any]:
    begun = {"started_at": NOON, "ended_at": NOON + timedelta(seconds=1), "seconds": 1.0, "attempts": 1}
    named = {"path": path, "node": path, "kind": "tool", "status": "done", "cause": None, "tool": "t", "model": None}
    return {**named, **begun, "agent": None, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0}


def each_status() -> dict[str, ExecutionResult]:
    """One result for each status that a response can have."""
    return {
        "completed": result(REPORT),
        "failed": result(status="failed", reason="unavailable", error=fault("unavailable", "503 from the service")),
        "timeout": result(status="failed", reason="timeout", error=fault("timeout", "took longer than 2 s")),
        "paused": result(status="paused", reason="human", questions=(QUESTION,)),
        "resting": result(status="paused", reason="requested"),
        "cancelled": result(
            {"draft": "half of it"},
            status="cancelled",
            reason="cancelled",
            error=fault("cancelled", "not needed any more", origin="workflow", node="", recoverable=False),
        ),
        "running": result(status="running"),
    }
