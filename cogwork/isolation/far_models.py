"""The models as an isolated execution has them: its worker asks them, and sends on what they say as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, messages_to_dict
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from cogwork.isolation.faults import Beyond
from cogwork.isolation.line import Line
from state.services import Price
from state.values import Json

OFFERED: Final = "offered_tools"
"""The name under which a model is bound to the tools that it is offered, on the way to the worker."""


class FarModel(BaseChatModel):
    """A model that the worker asks."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    line: Line
    asked_for: dict[str, Any]
    full_name: str

    @property
    def _llm_type(self) -> str:
        return "isolated"

    def bind_tools(self, tools: Sequence[Any], **more: Any) -> Any:
        """The model, offered these functions as OpenAI describes them."""
        return self.bind(**{OFFERED: [dict(tool) for tool in tools]}, **more)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        parts = self.line.ask("ask_model", **self._question(messages, stop, kwargs))
        whole = _joined(parts)
        return ChatResult(generations=[ChatGeneration(message=whole)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        parts = [part async for part in self.line.stream("stream_model", **self._question(messages, stop, kwargs))]
        return ChatResult(generations=[ChatGeneration(message=_joined(parts))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for part in self.line.stream("stream_model", **self._question(messages, stop, kwargs)):
            yield ChatGenerationChunk(message=AIMessageChunk(**part))

    def _question(self, messages: list[BaseMessage], stop: list[str] | None, bound: dict[str, Any]) -> dict[str, Any]:
        offered = bound.pop(OFFERED, None)
        more = bound if stop is None else {**bound, "stop": stop}
        return {**self.asked_for, "messages": messages_to_dict(messages), "offered": offered, "bound": more}


def _joined(parts: Sequence[Mapping[str, Any]]) -> AIMessageChunk:
    """The whole answer of its parts.

    Raises:
        Beyond: there are none.
    """
    if not parts:
        raise Beyond("The model answered nothing")
    first, *rest = (AIMessageChunk(**part) for part in parts)
    for chunk in rest:
        first = first + chunk
    return first


class FarModels:
    """The models that the worker allows."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def find(
        self, name: str | None, *, mode: str | None = None, settings: Mapping[str, Json] | None = None
    ) -> BaseChatModel:
        """The model of that name.

        Raises:
            Fault: ``invalid_input`` where the name is unknown or not allowed.
        """
        asked_for = {"name": name, "mode": mode, "settings": dict(settings or {})}
        return FarModel(line=self._line, asked_for=asked_for, full_name=self._line.ask("find_model", **asked_for))

    def context_length(self, name: str) -> int | None:
        """How many tokens it takes."""
        told: int | None = self._line.ask("context_length", name=name)
        return told

    def price(self, name: str) -> Price | None:
        """What it costs."""
        told = self._line.ask("price", name=name)
        return None if told is None else Price(*told)

    def fallbacks(self, mode: str | None) -> Sequence[str]:
        """The models that serve in its stead."""
        return list(self._line.ask("fallbacks", mode=mode))

    def problem(self, name: str) -> str | None:
        """Why ``find`` would refuse that name."""
        told: str | None = self._line.ask("model_problem", name=name)
        return told
