"""One question to a chat model: its text, or a value that fits a schema, or a typed fault; never half an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from nodes.answers import SHOWN, Answer, OnToken, Pieces, no_constant
from nodes.model_faults import fault_of
from state.errors import Fault
from state.schemas import faults as schema_faults
from state.usage import added
from state.values import Json, Schema, UnfitValue, normalise

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig

_FORM_NAMES: Final = ("response_format", "output_config", "output_format", "json_schema")
"""What an endpoint that cannot answer by schema complains about."""
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


SCHEMA: Final = "schema"
"""The key under which a message that tells a schema in words has it as data, for models that are none."""


async def ask(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    schema: Schema | None = None,
    *,
    on_token: OnToken | None = None,
    config: RunnableConfig | None = None,
) -> Answer:
    """The model's answer, streamed; with ``schema`` a value that fits it, after at most one round of repair.

    Pass ``config`` on from the step, so that LangGraph's ``messages`` stream sees the tokens.

    Raises:
        Fault: of origin ``model``: ``unavailable`` for a stream that was cut, ``invalid_output`` for an empty, overlong or
            ill-fitting answer, ``refused``, and the provider's failures by class.
    """
    if schema is None:
        answer = await _stream(model, messages, on_token, config)
        return replace(answer, value=answer.text)
    try:
        return await _value(_bound(model, schema), messages, schema, on_token, config)
    except Fault as fault:
        if fault.fault_class != "invalid_input" or not any(name in fault.message for name in _FORM_NAMES):
            raise
    return await _value(model, [*messages, _instruction(schema)], schema, on_token, config)


async def take_turn(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    tools: Sequence[Mapping[str, Json]],
    schema: Schema | None = None,
    *,
    config: RunnableConfig | None = None,
) -> Answer:
    """One turn of a model that may call tools: its calls, or its answer, which fits ``schema`` where one is given.

    ``tools`` are functions as OpenAI describes them. The schema is told in words, since not every endpoint takes tools and a
    response format together; an answer that does not fit has the round of repair that ``ask`` has, in which no tool is offered.

    Raises:
        Fault: as ``ask`` does.
    """
    told = messages if schema is None else [*messages, _instruction(schema, and_tools=bool(tools))]
    bound = model.bind_tools([dict(tool) for tool in tools]) if tools else model
    answer = await _stream(bound, told, None, config)
    if answer.calls:
        return answer
    if schema is None:
        return replace(answer, value=answer.text)
    value, found = _parsed(answer, schema)
    if not found:
        return replace(answer, value=value)
    second = await ask(model, [*told, *_objection(answer.text, found)], schema, config=config)
    return replace(second, usage=added(answer.usage, second.usage), repaired=True)


async def _value(
    model: Runnable[LanguageModelInput, Any],
    messages: Sequence[BaseMessage],
    schema: Schema,
    on_token: OnToken | None,
    config: RunnableConfig | None,
) -> Answer:
    """The answer that fits ``schema``; its faults are shown to the model once."""
    first = await _stream(model, messages, on_token, config)
    value, found = _parsed(first, schema)
    if not found:
        return replace(first, value=value)
    again = [*messages, *_objection(first.text, found)]
    second = await _stream(model, again, on_token, config)
    value, found = _parsed(second, schema)
    if found:
        raise Fault(
            "invalid_output",
            f"The model's answer does not fit its schema, also after one repair: {found[0]}",
            origin="model",
            details={"faults": list(found), "answer": second.text[:SHOWN], "usage": added(first.usage, second.usage)},
        )
    return replace(second, value=value, usage=added(first.usage, second.usage), repaired=True)


def _bound(model: BaseChatModel, schema: Schema) -> Runnable[LanguageModelInput, Any]:
    """The model asked for JSON by schema; every provider of ours understands this form."""
    wanted = {"name": "answer", "schema": schema, "strict": False}
    return model.bind(response_format={"type": "json_schema", "json_schema": wanted})


def _instruction(schema: Schema, *, and_tools: bool = False) -> BaseMessage:
    """The schema in words, for an endpoint that does not know ``response_format``, or not beside tools."""
    from langchain_core.messages import HumanMessage

    text = json.dumps(schema, ensure_ascii=False)
    when = "Once you need no more tools, answer" if and_tools else "Answer"
    told = f"{when} with one JSON value and nothing else. It must fit this JSON Schema:\n{text}"
    return HumanMessage(told, additional_kwargs={SCHEMA: schema})


def _objection(answer: str, found: Sequence[str]) -> list[BaseMessage]:
    from langchain_core.messages import AIMessage, HumanMessage

    listed = "\n".join(f"- {fault}" for fault in found)
    return [
        AIMessage(answer[:SHOWN]),
        HumanMessage(
            f"That answer does not fit. Its faults:\n{listed}\n\nAnswer again, with the corrected JSON value and nothing else.",
            additional_kwargs={"repair": True},
        ),
    ]


def _parsed(answer: Answer, schema: Schema) -> tuple[Json, list[str]]:
    """The value in the text and where it does not fit ``schema``."""
    if answer.truncated:
        raise Fault(
            "invalid_output",
            "The model's answer ended at its token limit before the JSON was complete; raise max_tokens or ask for less",
            origin="model",
            details={"faults": ["cut at the token limit"], "answer": answer.text[:SHOWN], "usage": answer.usage},
        )
    try:
        value = normalise(json.loads(_unfenced(answer.text), parse_constant=no_constant))
    except (ValueError, RecursionError) as error:
        reason = error.reason if isinstance(error, UnfitValue) else str(error)
        return None, [f"the top: the answer is not JSON: {reason}"]
    return value, schema_faults(schema, value)


def _unfenced(text: str) -> str:
    """The text, or what stands in its only fenced block."""
    text = text.strip()
    if text[:1] in "{[" or "```" not in text:
        return text
    blocks: list[str] = _FENCE.findall(text)
    return blocks[0] if len(blocks) == 1 else text


async def _stream(
    model: Runnable[LanguageModelInput, Any],
    messages: Sequence[BaseMessage],
    on_token: OnToken | None,
    config: RunnableConfig | None,
) -> Answer:
    """One whole answer as text; ``value`` is left None."""
    pieces = Pieces(on_token)
    try:
        async with aclosing(model.astream(list(messages), config)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                pieces.take(chunk)
    except Exception as error:
        raise fault_of(error) from error
    return pieces.answer()
