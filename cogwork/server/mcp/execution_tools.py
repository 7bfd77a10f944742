"""The verbs of executions as tools: execute, check, answer, pause, cancel, list, results, batches, use of resources."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import mcp_types as types

from cogwork.errors import EngineError
from cogwork.server.mcp.arguments import (
    Arguments,
    Cancel,
    ExecuteGenerated,
    ExecuteWorkflow,
    ListExecutions,
    Pause,
    Resume,
    Running,
    Which,
)
from cogwork.server.mcp.asking import waited_for
from cogwork.server.mcp.door import Answer, Call, Tool
from cogwork.server.mcp.offers import result_schema
from cogwork.server.mcp.options import options_of
from cogwork.server.mcp.pursuing import Pursuit
from cogwork.server.mcp.replies import plain, reply, result_uri, told_of
from cogwork.server.mcp.specs import admitted, given, named
from cogwork.server.sources import refuse_paths
from state.values import Json


def verb(
    name: str,
    description: str,
    takes: type[Arguments],
    call: Callable[[Call], Awaitable[Answer]],
    *,
    reads: bool = False,
    destroys: bool = False,
    repeats: bool = False,
    output: dict[str, Any] | None = None,
) -> Tool:
    """A verb as a tool."""
    hints = types.ToolAnnotations(
        read_only_hint=reads,
        destructive_hint=destroys,
        idempotent_hint=reads or repeats,
        open_world_hint=not reads,
    )
    schema = takes.schema_shown()
    tool = types.Tool(name=name, description=description, input_schema=schema, output_schema=output, annotations=hints)
    return Tool(tool, call)


# -- executing -----------------------------------------------------------------------------------------------


async def execute_workflow(call: Call) -> Answer:
    """Execute a workflow of the library or the folders."""
    asked = ExecuteWorkflow.model_validate(call.arguments)
    source = await call.acting.perform("workflows.read", asked.workflow_name, lambda e: named(e, asked.workflow_name))
    return await _executed(call, source, asked)


async def execute_generated_workflow(call: Call) -> Answer:
    """Execute a workflow that is handed in, once it has been checked."""
    asked = ExecuteGenerated.model_validate(call.arguments)
    if asked.workflow is None:
        raise EngineError(
            "invalid_input",
            "There is no generator here: give the workflow itself as workflow (YAML, or an object); "
            "validate_workflow tells what is wrong with one",
        )
    workflow = given(asked.workflow)
    writes = call.door.rules.allow_generated_writes
    sound = await call.acting.perform(
        "executions.start", workflow.spec.name, lambda engine: admitted(engine, workflow, writes=writes)
    )
    return await _executed(call, sound, asked)


async def _executed(call: Call, source: Any, asked: Running) -> Answer:
    patience = _patience(asked, call.door.rules.patience)
    refuse_paths(asked.config_override)
    options = options_of(asked)

    async def begin() -> Pursuit:
        return await Pursuit.begun(call, source, asked.input_data, options, asked.when_cancelled)

    if patience > 0 or call.params.request_state is not None:
        return await waited_for(call, begin, patience=patience or call.door.rules.patience)
    return await told_of(call, (await begin()).id)


def _patience(asked: Running, usual: float) -> float:
    if asked.wait is not None:
        return min(asked.wait, usual)
    return usual if asked.execution_mode == "sync" else 0.0


# -- looking -------------------------------------------------------------------------------------------------


async def check_execution_status(call: Call) -> Answer:
    """How an execution stands."""
    asked = Which.model_validate(call.arguments)
    return await told_of(call, asked.execution_id, error_if_failed=False)


async def get_execution_result(call: Call) -> Answer:
    """What an execution has come to, with its steps."""
    asked = Which.model_validate(call.arguments)
    id, rules = asked.execution_id, call.door.rules
    found = await call.acting.perform("executions.read", id, lambda engine: engine.get_execution_result(id))
    told: Any = plain(found.to_dict())
    result = reply(told, rules)
    if len(getattr(result.content[0], "text", "")) <= rules.max_text and _bytes(told) <= rules.max_output:
        return result
    about = {"execution_id": id, "status": told["status"], "resource": result_uri(id)}
    short = reply(about, rules)
    short.content.append(types.ResourceLink(uri=result_uri(id), name=f"result of {id}", mime_type="application/json"))
    return short


def _bytes(value: Json) -> int:
    return len(json.dumps(value, ensure_ascii=False))


async def list_executions(call: Call) -> Answer:
    """A page of executions, the latest first."""
    asked = ListExecutions.model_validate(call.arguments)
    more = {"session_id": asked.session_id} if asked.session_id else {}
    page = await call.acting.perform(
        "executions.read",
        "executions",
        lambda engine: engine.list_executions(
            asked.workflow_name,
            asked.status,
            asked.since,
            asked.until,
            limit=asked.limit,
            cursor=asked.cursor,
            tags=asked.tags,
            **more,
        ),
    )
    return reply(page, call.door.rules)


# -- moving --------------------------------------------------------------------------------------------------


async def resume_execution(call: Call) -> Answer:
    """Go on with an execution, with answers where it asks."""
    asked = Resume.model_validate(call.arguments)
    if call.params.request_state is None and asked.wait <= 0:
        pursuit = Pursuit(call, asked.execution_id, given_up=asked.when_cancelled)
        await pursuit.resumed(asked.answers)
        return await told_of(call, pursuit.id, error_if_failed=False)

    async def begin() -> Pursuit:
        pursuit = Pursuit(call, asked.execution_id, given_up=asked.when_cancelled)
        await pursuit.resumed(asked.answers)
        return pursuit

    return await waited_for(call, begin, patience=min(asked.wait, call.door.rules.patience))


async def pause_execution(call: Call) -> Answer:
    """Let an execution rest."""
    asked = Pause.model_validate(call.arguments)
    id = asked.execution_id
    done = await call.acting.perform("executions.move", id, lambda e: e.pause_execution(id, asked.reason))
    return await _moved(call, id, "paused", done)


async def cancel_execution(call: Call) -> Answer:
    """End an execution in order."""
    asked = Cancel.model_validate(call.arguments)
    id = asked.execution_id
    done = await call.acting.perform(
        "executions.move", id, lambda e: e.cancel_execution(id, asked.reason, undo=asked.undo)
    )
    return await _moved(call, id, "cancelled", done)


async def _moved(call: Call, id: str, what: str, done: bool) -> Answer:
    execution = await call.acting.perform("executions.read", id, lambda e: e.get_execution_status(id))
    said = "as was asked" if done else f"it is {execution['status']} already and cannot be {what}"
    return reply({"execution_id": id, what: done, "status": execution["status"], "message": said}, call.door.rules)


async def clean_up_execution(call: Call) -> Answer:
    """Take away what an execution that has ended holds beside its record."""
    id = Which.model_validate(call.arguments).execution_id
    done = await call.acting.perform("executions.clean", id, lambda engine: engine.clean_up_execution(id))
    return reply({"execution_id": id, "cleaned_up": done}, call.door.rules)


def execution_tools() -> Iterator[Tool]:
    """All of them."""
    stands = result_schema({})
    stands["properties"]["progress"] = {"type": "string", "description": "A sentence, such as Processing step 3 of 5."}
    stands["properties"]["steps"] = {"type": "object", "description": "done, total, percent and the current ones."}
    yield verb(
        "execute_workflow",
        "Execute a workflow by name with its input. sync waits for the end; async and isolated return an execution_id to ask "
        "check_execution_status about. One that asks a person asks yours where your client can, and else rests: resume_execution "
        "answers it.",
        ExecuteWorkflow,
        execute_workflow,
        destroys=True,
        output=stands,
    )
    yield verb(
        "execute_generated_workflow",
        "Check a workflow that you hand in as YAML or as an object, and execute it. One that would change something outside is "
        "refused unless the server allows it.",
        ExecuteGenerated,
        execute_generated_workflow,
        destroys=True,
        output=stands,
    )
    yield verb(
        "check_execution_status",
        "How an execution stands: its status (timeout where that is why it failed), the steps done and at work, its questions, "
        "and its result once it has completed.",
        Which,
        check_execution_status,
        reads=True,
        output=stands,
    )
    yield verb(
        "get_execution_result",
        "What an execution has come to, in full: output, results of its steps, errors, warnings, figures.",
        Which,
        get_execution_result,
        reads=True,
    )
    yield verb(
        "list_executions", "Executions, the latest first, page by page.", ListExecutions, list_executions, reads=True
    )
    yield verb(
        "resume_execution",
        "Go on with an execution that rests; answers are by the step that asks. An answer that does not fit is refused with the "
        "reason, and the question stays open.",
        Resume,
        resume_execution,
        output=stands,
    )
    yield verb(
        "pause_execution",
        "Let an execution rest; resume_execution goes on with it.",
        Pause,
        pause_execution,
        repeats=True,
    )
    yield verb(
        "cancel_execution",
        "End an execution in order; undo takes back what its steps have done, where they say how.",
        Cancel,
        cancel_execution,
        destroys=True,
        repeats=True,
    )
    yield verb(
        "clean_up_execution",
        "Take away what an execution that has ended holds beside its record.",
        Which,
        clean_up_execution,
        destroys=True,
        repeats=True,
    )
