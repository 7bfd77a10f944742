"""What an execution has come to as the result of a call: for programs by its schema, for models as text, never too large."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import mcp_types as types

from cogwork.server.mcp.refusals import text_of
from cogwork.server.mcp.standing import standing
from state.values import Json

if TYPE_CHECKING:
    from cogwork.server.mcp.door import Call, Rules
    from cogwork.workflow_engine import WorkflowEngine

SCHEME: Final = "cogwork://"


def reply(value: Mapping[str, Json], rules: Rules, *, error: bool = False) -> types.CallToolResult:
    """The value as a result; the text for the model is shortened where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > rules.max_text:
        text = f"{text[: rules.max_text]}… ({len(text)} characters in all; the structured content is whole)"
    return types.CallToolResult(content=[text_of(text)], structured_content=dict(value), is_error=error)


async def told_of(call: Call, id: str, *, error_if_failed: bool = True) -> types.CallToolResult:
    """How an execution stands, with its output once it has one."""

    async def look(engine: WorkflowEngine) -> dict[str, Json]:
        about = await standing(engine, id)
        if about["status"] == "completed":
            output = (await engine.get_execution_result(id)).output
            about |= given(output, id, call.door.rules)
        return about

    about = await call.acting.perform("executions.read", id, look)
    failed = about["status"] in ("failed", "timeout", "cancelled")
    result = reply(about, call.door.rules, error=failed and error_if_failed)
    if "resource" in about:
        link = types.ResourceLink(uri=str(about["resource"]), name=f"result of {id}", mime_type="application/json")
        result.content.append(link)
    return result


def given(output: Json, id: str, rules: Rules) -> dict[str, Json]:
    """The output, or where it is: one that is too large for a result is a resource."""
    if len(json.dumps(output, ensure_ascii=False)) > rules.max_output:
        return {"resource": result_uri(id)}
    return {"output": output, "result": output}


def execution_uri(id: str) -> str:
    """The address of an execution."""
    return f"{SCHEME}executions/{id}"


def result_uri(id: str) -> str:
    """The address of what an execution has come to."""
    return f"{execution_uri(id)}/result"


def plain(value: Any) -> Json:
    """A value that is JSON but for instants and the like."""
    made: Json = json.loads(json.dumps(value, default=str))
    return made
