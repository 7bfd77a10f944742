"""A new execution that begins at a past step of another one, perhaps with other values; the other one stays as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from cogwork.engine.parts import Parts
from cogwork.errors import EngineError, not_found
from cogwork.executions.options import options_of
from cogwork.executions.record import Execution
from cogwork.executions.store import Request, new_id
from cogwork.store import past
from graphs.forks import fresh, written
from graphs.graph import WorkflowGraph
from graphs.inputs import valid_input
from state.errors import InputRefused
from state.schemas import faults
from state.values import Json

Side: TypeAlias = Literal["before", "after"]
_LEFT = ("idempotency_key", "delay", "deadline", "mode")
"""Options of the first execution that say nothing of another one."""


async def forked(
    parts: Parts,
    name: str,
    at: str,
    side: Side,
    values: Mapping[str, Json],
    input: Mapping[str, Json] | None,
) -> Execution:
    """A new execution, in the queue: what had ended at that point is taken over, what comes later is done anew.

    Raises:
        EngineError: ``execution_not_found``; ``invalid_input``, there is no such step or value, or the value does not fit;
            ``conflict``, nothing is kept of that point.
    """
    execution = await parts.executions.get(name)
    graph = await parts.graphs.of(replace(execution, mode="async"))
    if not isinstance(graph, WorkflowGraph):
        raise EngineError("invalid_input", f"{execution.workflow} is code: it cannot be forked", execution_id=name)
    state = await asyncio.to_thread(_state, parts, execution, at, side)
    changed = _changed(graph, execution, state, at, values, input)
    thread = new_id(execution.workflow)
    async with parts.saver.owners.held(thread):
        await written(graph, {"configurable": {"thread_id": thread}}, changed)
    return await parts.dispatch.start(_request(execution, thread, at, changed["input"]))


def _request(execution: Execution, thread: str, at: str, input: Json) -> Request:
    told = {key: value for key, value in execution.options.items() if key not in _LEFT}
    origin: dict[str, Json] = {"forked_from": execution.id, "forked_at": at}
    options = options_of({**told, "metadata": {**execution.metadata, **origin}, "tags": list(execution.tags)})
    return Request(
        id=thread,
        workflow=execution.workflow,
        workflow_id=execution.workflow_id,
        version=execution.version,
        digest=execution.digest,
        input=input,
        options=options,
        session_id=execution.session_id,
        user_id=execution.user_id,
        origin=execution.origin,
    )


def _state(parts: Parts, execution: Execution, at: str, side: Side) -> Mapping[str, Any]:
    """The state of the past execution at that point."""
    saver: Any = parts.saver
    newest = next(iter(past.states(saver, execution.thread)), None)
    if newest is None:
        told = f"Nothing is kept of execution {execution.id}: it was cleaned up, or has not begun"
        raise EngineError("conflict", told, execution_id=execution.id)
    if at not in newest.get("nodes", {}):
        known = [path for path in newest.get("nodes", {}) if "[" not in path]
        hint = not_found("invalid_input", "step", at, known).message
        raise EngineError(
            "invalid_input", f"{hint} in execution {execution.id}; these ran: {', '.join(known) or 'none'}"
        )
    found = (past.before if side == "before" else past.after)(saver, execution.thread, at)
    if found is None:
        what = f"from before {at}" if side == "before" else f"of the end of {at}, which has not come"
        raise EngineError("conflict", f"Nothing is kept of execution {execution.id} {what}", execution_id=execution.id)
    if (error := found["run"].get("error")) is not None:
        told = (
            f"Execution {execution.id} had failed at {error.get('node') or 'its end'} by then: fork it there, or before"
        )
        raise EngineError("conflict", told, execution_id=execution.id)
    return found


def _changed(
    graph: WorkflowGraph,
    execution: Execution,
    state: Mapping[str, Any],
    at: str,
    values: Mapping[str, Json],
    input: Mapping[str, Json] | None,
) -> dict[str, Any]:
    """The past state as one that goes on, with the other values in place."""
    nodes, results = dict(state.get("nodes", {})), dict(state.get("results", {}))
    for step, value in values.items():
        record = nodes.get(step, {})
        if record.get("status") != "done":
            told = f"At that point {step[:200]} is {record.get('status', 'not begun')}, and has no value to change"
            raise EngineError("invalid_input", told, step=step[:200])
        planned = graph.plan.steps.get(step)
        schema = planned.node.result_schema(graph.services) if planned is not None and planned.node is not None else {}
        if wrong := faults(schema, value):
            raise EngineError("invalid_input", f"The value does not fit {step}: {'; '.join(wrong)}", step=step)
        nodes[step], results[step] = {**record, "set_by": "fork"}, value
    past_run = state["run"]
    return {
        "input": _input(graph, execution, state, input),
        "run": {
            **past_run,
            **fresh(past_run),
            "id": past_run["id"],
            "started_at": datetime.now(UTC).isoformat(),
            "forked_at": at,
        },
        "nodes": nodes,
        "results": results,
        "path": list(state.get("path", ())),
        "messages": list(state.get("messages", ())),
    }


def _input(
    graph: WorkflowGraph, execution: Execution, state: Mapping[str, Any], input: Mapping[str, Json] | None
) -> Json:
    if input is None:
        return state.get("input")
    try:
        return valid_input(graph.plan.spec, dict(input))
    except InputRefused as err:
        raise EngineError("invalid_input", str(err), workflow=execution.workflow) from err
