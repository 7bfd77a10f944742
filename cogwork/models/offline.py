"""The model that is always there: it answers with what the conversation itself holds, and says that it does."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from cogwork.models.answers import Answers
from cogwork.models.coding import code, wants_code
from cogwork.models.filling import fill
from cogwork.models.material import read
from nodes.structured import SCHEMA
from state.values import Json, Schema

NAMES: Final = ("offline", "offline:extract")
NOTICE: Final = "(extracted offline; no language model was used)"
_LARGE: Final = 20_000
"""A conversation of more characters is read beside the event loop, which it would hold up."""
_PIECE = re.compile(r"\s*\S+\s*")
_WRITES = re.compile(
    r"\b(?:write|implement|code|program)\b.*\b(?:function|class|script|code|program|method)\b",
    re.IGNORECASE | re.DOTALL,
)


class OfflineModel(BaseChatModel):
    """Answers by extraction: it ranks the sentences, records and code of the conversation and returns the best.

    It takes OpenAI's ``response_format`` for values by JSON Schema. The same conversation always gets the same answer. Token
    counts are estimates (four characters each), and ``response_metadata`` says so.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None

    @property
    def full_name(self) -> str:
        """The name that specs use."""
        return "offline"

    @property
    def _llm_type(self) -> str:
        return "offline"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model itself: it never calls a tool."""
        return self.bind()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text, finish = self._said(messages, stop, kwargs)
        message = AIMessage(text, usage_metadata=_usage(messages, text), response_metadata=_about(finish))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield from self._chunks(messages, stop, kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        large = sum(len(message.text) for message in messages) > _LARGE
        chunks = await asyncio.to_thread(lambda: [*self._chunks(messages, stop, kwargs)]) if large else None
        for chunk in self._chunks(messages, stop, kwargs) if chunks is None else chunks:
            yield chunk

    def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> Iterator[ChatGenerationChunk]:
        text, finish = self._said(messages, stop, kwargs)
        for piece in _PIECE.findall(text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        last = AIMessageChunk(content="", usage_metadata=_usage(messages, text))
        yield ChatGenerationChunk(message=last, generation_info=_about(finish))

    def _said(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> tuple[str, str]:
        """The answer's text and why it ends; a value by schema is never cut."""
        schema = _schema(kwargs.get("response_format"))
        if schema is None:
            schema = next((m.additional_kwargs[SCHEMA] for m in messages if SCHEMA in m.additional_kwargs), None)
        if schema is not None:
            return json.dumps(fill(schema, read(messages)), ensure_ascii=False), "stop"
        text = _free(messages)
        for mark in stop or self.stop or ():
            text = text.partition(mark)[0] if mark else text
        most = kwargs.get("max_tokens") or self.max_tokens
        if most is not None and _tokens(text) > most:
            return text[: most * 4], "length"
        return text, "stop"


def _free(messages: list[BaseMessage]) -> str:
    material = read(messages)
    if _WRITES.search(material.asked) or (material.bare and wants_code(material)):
        return f"```python\n{code(material).rstrip()}\n```\n\n{NOTICE}"
    return f"{Answers(material).text()}\n\n{NOTICE}"


def _schema(wanted: Json) -> Schema | None:
    """The schema of a ``response_format``; any object for plain JSON mode."""
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") == "json_schema":
        schema = wanted.get("json_schema", {}).get("schema")
        return schema if isinstance(schema, dict) else {}
    if wanted.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    return None


def _tokens(text: str) -> int:
    return -(-len(text) // 4)


def _usage(messages: Sequence[BaseMessage], text: str) -> UsageMetadata:
    asked = sum(_tokens(str(message.text)) for message in messages)
    said = _tokens(text)
    return UsageMetadata(input_tokens=asked, output_tokens=said, total_tokens=asked + said)


def _about(finish: str) -> dict[str, Any]:
    return {"finish_reason": finish, "model_name": "offline", "model_provider": "offline", "usage_is_estimated": True}
