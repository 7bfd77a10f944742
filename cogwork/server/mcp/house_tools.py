"""The verbs of batches, and of what the server has and uses, as tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cogwork.server.mcp.arguments import Batch, Nothing, Usage, WhichBatch
from cogwork.server.mcp.door import Answer, Call, Tool
from cogwork.server.mcp.execution_tools import verb
from cogwork.server.mcp.replies import plain, reply
from cogwork.server.mcp.specs import named
from cogwork.workflow_engine import WorkflowEngine
from state.values import Json


async def execute_batch(call: Call) -> Answer:
    """An execution per input."""
    asked = Batch.model_validate(call.arguments)
    options: dict[str, Any] = {"priority": asked.priority} if asked.priority is not None else {}
    options |= {"tags": asked.tags} if asked.tags else {}

    async def start(engine: WorkflowEngine) -> dict[str, Json]:
        source = await named(engine, asked.workflow_name)
        return (await engine.execute_batch(source, asked.inputs, options, name=asked.name)).to_dict()

    return reply(await call.acting.perform("executions.start", asked.workflow_name, start), call.door.rules)


async def check_batch_status(call: Call) -> Answer:
    """How far a batch has come."""
    id = WhichBatch.model_validate(call.arguments).batch_id
    found = await call.acting.perform("executions.read", id, lambda engine: engine.batches.get(id))
    return reply(found.to_dict(), call.door.rules)


async def get_resource_usage(call: Call) -> Answer:
    """What an execution has used, or what the server uses."""
    id = Usage.model_validate(call.arguments).execution_id
    found = await call.acting.perform("executions.read", id or "server", lambda engine: engine.get_resource_usage(id))
    return reply(plain_object(found), call.door.rules)


async def get_capabilities(call: Call) -> Answer:
    """What can be executed here, and how."""
    Nothing.model_validate(call.arguments)
    found = await call.acting.perform("tools.read", "capabilities", lambda engine: engine.get_capabilities())
    return reply(plain_object(found), call.door.rules)


def plain_object(value: Any) -> dict[str, Json]:
    """An object as plain JSON."""
    made: Any = plain(value)
    return dict(made)


def house_tools() -> Iterator[Tool]:
    """All of them."""
    yield verb(
        "execute_batch", "Execute a workflow on many inputs, through the queue.", Batch, execute_batch, destroys=True
    )
    yield verb("check_batch_status", "How far a batch has come.", WhichBatch, check_batch_status, reads=True)
    yield verb(
        "get_resource_usage",
        "Time, tokens, cost and memory that an execution has used; without one, what this server uses.",
        Usage,
        get_resource_usage,
        reads=True,
    )
    yield verb(
        "get_capabilities",
        "What can be executed here and how: modes, kinds of steps, models, tools, queues.",
        Nothing,
        get_capabilities,
        reads=True,
    )
