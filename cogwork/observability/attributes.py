"""The attributes of spans: those of OpenTelemetry's conventions for generative AI, and our own beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from state.services import MadeCall
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.record import Execution

# Written out, since the conventions' own package keeps them among what may go: a test holds them to it.
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_WORKFLOW_NAME: Final = "gen_ai.workflow.name"
ERROR: Final = "error.type"
METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
ANSWER: Final = "http.response.status_code"
STATUS: Final = "cogwork.status"
ATTEMPT: Final = "cogwork.attempt"
FALLBACK: Final = "cogwork.fallback"
SEGMENT: Final = "cogwork.execution.segment"
WORKER: Final = "cogwork.worker"
WAITED: Final = "cogwork.execution.waited_seconds"
MOST_CHARACTERS: Final = 8_000
"""The longest content of a span."""
_CHAT: Final = "chat"
_TOOL: Final = "execute_tool"
_WORKFLOW: Final = "invoke_workflow"


def operation(kind: str) -> str:
    """The conventions' name of what is done."""
    return _CHAT if kind == "model" else _TOOL


def provider(target: str) -> str:
    """Who a model is of, by its name ``provider:model``."""
    return target.partition(":")[0] or target


def model(target: str) -> str:
    """The model's name without its provider."""
    return target.partition(":")[2] or target


def title(made: MadeCall) -> str:
    """The name of a call's span."""
    return f"{operation(made.kind)} {model(made.target) if made.kind == 'model' else made.target}"


def of_execution(execution: Execution) -> dict[str, Json]:
    """What is told of an execution."""
    return {
        GEN_AI_OPERATION_NAME: _WORKFLOW,
        GEN_AI_WORKFLOW_NAME: execution.workflow,
        GEN_AI_CONVERSATION_ID: execution.session_id,
        "cogwork.execution.id": execution.id,
        "cogwork.run.id": execution.run,
        "cogwork.execution.mode": execution.mode,
        "cogwork.execution.origin": execution.origin,
        "cogwork.workflow.id": execution.workflow_id,
        "cogwork.workflow.version": execution.version,
        "cogwork.tenant": execution.tenant,
    }


def of_step(path: str, facts: Mapping[str, str]) -> dict[str, Json]:
    """What is told of a step before it ends."""
    return {
        "cogwork.step": path,
        "cogwork.step.kind": facts.get("kind"),
        GEN_AI_TOOL_NAME: facts.get("tool"),
        GEN_AI_AGENT_NAME: facts.get("agent"),
    }


def of_end(status: str, data: Mapping[str, Json]) -> dict[str, Json]:
    """What is told of a step's end."""
    return {
        STATUS: status,
        "cogwork.attempts": data.get("attempts"),
        FALLBACK: data.get("fallback"),
        "cogwork.cached": data.get("cached"),
        **of_usage(data.get("usage") or {}),
    }


def of_usage(usage: Mapping[str, Json]) -> dict[str, Json]:
    """Tokens, and their cost where it is known."""
    return {
        GEN_AI_USAGE_INPUT_TOKENS: usage.get("input_tokens"),
        GEN_AI_USAGE_OUTPUT_TOKENS: usage.get("output_tokens"),
        GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.get("cached_input_tokens"),
        GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.get("reasoning_tokens"),
        "cogwork.cost_usd": usage.get("cost_usd"),
    }


def of_call(made: MadeCall) -> dict[str, Json]:
    """What is told of a call before it is made."""
    told: dict[str, Json] = {
        GEN_AI_OPERATION_NAME: operation(made.kind),
        "cogwork.step": made.step,
        ATTEMPT: made.attempt,
    }
    if made.kind == "model":
        named = {GEN_AI_PROVIDER_NAME: provider(made.target), GEN_AI_REQUEST_MODEL: model(made.target)}
        return {**told, **named}
    named = {GEN_AI_TOOL_NAME: made.target, GEN_AI_TOOL_TYPE: "function"}
    return {**told, **named, GEN_AI_TOOL_CALL_ID: made.key}


def of_arguments(made: MadeCall) -> dict[str, Json]:
    """What is told of what a call is given, where content may be told."""
    if made.kind == "model":
        messages = made.args.get("messages") if isinstance(made.args, Mapping) else made.args
        return {GEN_AI_INPUT_MESSAGES: _text(messages)}
    return {GEN_AI_TOOL_CALL_ARGUMENTS: _text(made.args)}


def of_result(made: MadeCall, result: Json, *, content: bool) -> dict[str, Json]:
    """What is told of a call's result."""
    if made.kind == "model":
        known: Mapping[str, Any] = result if isinstance(result, Mapping) else {}
        told = {GEN_AI_RESPONSE_MODEL: known.get("model"), **of_usage(known.get("usage") or {})}
        return {**told, **({GEN_AI_OUTPUT_MESSAGES: _text(known.get("text"))} if content else {})}
    return {GEN_AI_TOOL_CALL_RESULT: _text(result)} if content else {}


def _text(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"


def of_figure(kind: str, target: str, fault: str) -> dict[str, Json]:
    """The attributes of a figure about calls."""
    told: dict[str, Json] = {GEN_AI_OPERATION_NAME: operation(kind), **({ERROR: fault} if fault else {})}
    if kind == "model":
        return {**told, GEN_AI_PROVIDER_NAME: provider(target), GEN_AI_REQUEST_MODEL: model(target)}
    return {**told, GEN_AI_TOOL_NAME: target}
