"""Why a step of an execution came to what it came to, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cogwork.errors import not_found

if TYPE_CHECKING:
    from cogwork.workflow_engine import WorkflowEngine


async def explained(engine: WorkflowEngine, name: str, step: str | None) -> dict[str, Any]:
    """The record of a step (or of the execution) with lines for people.

    Raises:
        EngineError: ``execution_not_found``; ``not_found``, there is no such step.
    """
    parts = engine.parts
    execution = await parts.executions.get(name)
    told: dict[str, Any] = {"execution_id": name, "step": step, "status": execution.status, "lines": []}
    values = await _values(engine, execution.thread) if execution.kept else {}
    records: Mapping[str, Any] = values.get("nodes") or {}
    if step is not None:
        record = records.get(step) or await _row(engine, name, step)
        told |= {"status": record.get("status"), "cause": record.get("cause"), "error": record.get("error")}
    else:
        told["error"] = dict(execution.error) if execution.error is not None else None
    told["lines"] = await _lines(engine, execution, values, step) if records else []
    return told


async def _values(engine: WorkflowEngine, thread: str) -> Mapping[str, Any]:
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    saved = await engine.parts.saver.aget_tuple(config)
    return (saved.checkpoint.get("channel_values") or {}) if saved is not None else {}


async def _row(engine: WorkflowEngine, name: str, step: str) -> Mapping[str, Any]:
    result = await engine.get_execution_result(name)
    found = {str(each["path"]): each for each in result.steps}
    if step not in found:
        raise not_found("not_found", "step", step, found)
    return found[step]


async def _lines(engine: WorkflowEngine, execution: Any, values: Mapping[str, Any], step: str | None) -> list[str]:
    from dataclasses import replace

    from cogwork.cli.why import Case
    from cogwork.store.runs import RunSummary
    from graphs.graph import WorkflowGraph

    graph = await engine.parts.graphs.of(replace(execution, mode="async"))
    if not isinstance(graph, WorkflowGraph):
        return []
    calls = await engine.parts.saver.calls.of_run(execution.thread, execution.run)
    status: Any = "unfinished" if execution.status == "pending" else execution.status
    summary = RunSummary(
        thread=execution.id,
        run=execution.run,
        workflow=execution.workflow,
        status=status,
        started=execution.created_at.isoformat(),
        reason=execution.reason,
        questions=tuple(dict(each) for each in execution.questions),
        error=execution.error,
        values=values,
    )
    case = Case(graph.plan, values, summary=summary, calls=calls, services=graph.services)
    return case.of_run() if step is None else case.explanation(step)
