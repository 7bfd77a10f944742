"""The result of an execution, put together from its record, its steps and its checkpoint."""

from __future__ import annotations

import difflib
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from cogwork.engine.parts import Parts
from cogwork.errors import EngineError
from cogwork.executions.listing import Filter, aware
from cogwork.executions.record import Execution
from cogwork.executions.result import ExecutionResult, result_of, step_rows
from cogwork.executions.store import found
from cogwork.records import payloads
from state.values import Json


async def result_for(parts: Parts, name: str) -> ExecutionResult:
    """What the execution has come to.

    Raises:
        EngineError: ``execution_not_found``.
    """

    def look(connection: Connection) -> tuple[Execution, Json, list[Any]]:
        execution = found(connection, name)
        return execution, payloads.found(connection, execution.output), step_rows(connection, name)

    execution, output, rows = await parts.records.reading(look)
    values: dict[str, Any] = {}
    if execution.kept and execution.run:
        config: Any = {"configurable": {"thread_id": execution.thread, "checkpoint_ns": ""}}
        saved = await parts.saver.aget_tuple(config)
        channels = saved.checkpoint.get("channel_values") or {} if saved is not None else {}
        run = channels.get("run")
        if isinstance(run, dict) and run.get("id") == execution.run:
            values = channels
    made = result_of(execution, output, values, rows)
    if not execution.options.get("debug") or not values:
        return made
    calls = await parts.saver.calls.of_run(execution.thread, execution.run)
    return replace(made, calls=tuple(asdict(call) for call in calls.values()))


def filter_of(**given: Any) -> Filter:
    """The filter that a caller means; instants may be ISO 8601.

    Raises:
        EngineError: ``invalid_input``.
    """
    known = [field.name for field in fields(Filter)]
    if unknown := [name for name in given if name not in known]:
        close = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
        raise EngineError("invalid_input", f"Executions cannot be listed by {unknown[0]!r}: {hint}")
    for name in ("since", "until"):
        if given.get(name) is not None:
            given[name] = _instant(name, given[name])
    return Filter(**given)


def _instant(name: str, given: Any) -> datetime:
    if isinstance(given, datetime):
        return aware(given)
    try:
        return aware(datetime.fromisoformat(str(given)))
    except ValueError as err:
        message = f"{name} is {given!r:.60}: it must be an instant such as 2026-11-28T12:00:00Z"
        raise EngineError("invalid_input", message) from err
