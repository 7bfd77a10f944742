"""A new execution from a past step of another one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cogwork.errors import EngineError
from cogwork.executions.options import options_of
from cogwork.executions.record import Execution
from cogwork.executions.store import Request, new_id
from cogwork.store import past

if TYPE_CHECKING:
    from cogwork.engine.parts import Parts
    from graphs.graph import WorkflowGraph

Side: TypeAlias = Literal["before", "after"]
_OWN: Final = frozenset({"idempotency_key", "deadline", "delay"})
"""Options that were meant for the first execution alone."""


async def forked(parts: Parts, name: str, at: str, side: Side) -> Execution:
    """See ``ExecutionVerbs.fork_execution``."""
    from graphs.graph import WorkflowGraph

    execution = await parts.executions.get(name)
    graph: Any = await parts.graphs.of(replace(execution, mode="async"))
    if not isinstance(graph, WorkflowGraph):
        raise EngineError("invalid_input", f"{execution.workflow} is code: its executions cannot be forked")
    state = await asyncio.to_thread(_state, parts, execution, at, side)
    made = _request(parts, execution, state)
    await _written(graph, str(made.id), _values(parts, state, at))
    return await parts.dispatch.start(made)


def _state(parts: Parts, execution: Execution, at: str, side: Side) -> Mapping[str, Any]:
    """The state that the new execution begins with.

    Raises:
        EngineError: ``invalid_input``; there is none, or none that goes on.
    """
    config: Any = {"configurable": {"thread_id": execution.thread, "checkpoint_ns": ""}}
    saved = parts.saver.get_tuple(config)
    now: Mapping[str, Any] = (saved.checkpoint.get("channel_values") or {}) if saved is not None else {}
    if (now.get("run") or {}).get("id") != execution.run or not execution.run:
        raise EngineError("invalid_input", f"Nothing is kept of execution {execution.id} that could be forked")
    nodes = now.get("nodes") or {}
    if at not in nodes:
        ran = ", ".join([path for path in nodes if "[" not in path][:20]) or "none"
        message = f"{at[:200]!r} has not run in execution {execution.id}: these have: {ran}"
        raise EngineError("invalid_input", message, execution_id=execution.id)
    found = (past.before if side == "before" else past.after)(parts.saver, execution.thread, at)
    if found is None:
        why = "has not ended" if side == "after" else "began earlier than what is kept"
        raise EngineError("invalid_input", f"Execution {execution.id} cannot be forked {side} {at}: it {why}")
    if (error := found["run"].get("error")) is not None:
        where = str(error.get("node") or "another step")
        message = f"Execution {execution.id} had failed at {where} by then: fork it before {where}"
        raise EngineError("invalid_input", message, execution_id=execution.id)
    return found


def _request(parts: Parts, execution: Execution, state: Mapping[str, Any]) -> Request:
    kept = {key: value for key, value in execution.options.items() if key not in _OWN}
    options = options_of({**kept, "mode": "async"} if execution.mode == "sync" else kept)
    about = {**options.metadata, "forked_from": execution.id}
    return Request(
        workflow=execution.workflow,
        input=state.get("input"),
        options=options.model_copy(update={"metadata": about}),
        workflow_id=execution.workflow_id,
        version=execution.version,
        digest=execution.digest,
        session_id=execution.session_id,
        user_id=execution.user_id,
        origin=execution.origin,
        id=new_id(execution.workflow),
    )


def _values(parts: Parts, state: Mapping[str, Any], at: str) -> dict[str, Any]:
    """The past state as one that goes on; what makes a fork of it is up to the graph."""
    from graphs.forks import fresh

    past_run, now = state["run"], parts.executions.now().isoformat()
    kept = {key: state[key] for key in ("input", "nodes", "results", "path", "messages") if key in state}
    return {**kept, "run": {**past_run, **fresh(past_run), "id": past_run["id"], "started_at": now, "forked_at": at}}


async def _written(graph: WorkflowGraph, thread: str, values: Mapping[str, Any]) -> None:
    from graphs.calls import classify
    from graphs.forks import written

    saver, config = graph.checkpointer, {"configurable": {"thread_id": thread}}
    async with saver.owners.held(thread):  # type: ignore[union-attr]
        await written(graph, config, dict(values))  # type: ignore[arg-type]
        await classify(graph, None, config, None)  # type: ignore[arg-type]
