"""Services for tests: tools, models and prompts that say what they were asked and fail on what nobody foresaw."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr

from prompts.template import PromptTemplate
from state.errors import Fault
from state.services import CallContext, Effect, PromptFile, Services, Variable
from state.values import Json, Schema

ANY_OBJECT: Schema = {"type": "object"}


@dataclass(slots=True, kw_only=True)
class FakeTool:
    """A tool that calls ``fn`` with its arguments, or answers from ``results`` in turn; a Fault among them is raised."""

    args_schema: Schema = field(default_factory=lambda: dict(ANY_OBJECT))
    output_schema: Schema = field(default_factory=dict)
    effect: Effect = "read"
    idempotent: bool = True
    needs_approval: bool = False
    effect_declared: bool = False
    fn: Callable[..., Any] | None = None
    results: list[Any] = field(default_factory=list)
    name: str = ""
    description: str = "A tool for tests."
    calls: list[tuple[dict[str, Json], CallContext]] = field(default_factory=list)

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Any:
        """The next result; fails when there is none."""
        self.calls.append((dict(args), context))
        if self.fn is not None:
            result = self.fn(**args)
            return await result if inspect.isawaitable(result) else result
        if not self.results:
            raise AssertionError(f"the tool {self.name} was called once more than foreseen, with {dict(args)}")
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result


@dataclass(slots=True)
class ScriptedTools:
    """Tools by name."""

    tools: Mapping[str, FakeTool]
    away: str = "away."
    """What the names of tools begin with whose server is out of reach."""

    def find(self, name: str) -> FakeTool | None:
        """The tool of that name, or None."""
        return self.tools.get(name)

    def names(self) -> Iterable[str]:
        """All names, sorted."""
        return sorted(self.tools)

    def matching(self, pattern: str) -> Iterable[str]:
        """The names that a pattern fits."""
        return [name for name in self.names() if fnmatchcase(name, pattern)]

    def problem(self, name: str) -> str | None:
        """That its server is out of reach."""
        return f"MCP server {self.away[:-1]}, connecting: it exited" if name.startswith(self.away) else None

    async def release(self, run: str) -> None:
        """Nothing is held."""


class ScriptedModel(BaseChatModel):
    """A chat model that gives its answers in turn, streamed in two pieces; a Fault among them is raised."""

    answers: list[Any] = Field(default_factory=list)
    _asked: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _offered: list[list[str]] = PrivateAttr(default_factory=list)

    @property
    def offered(self) -> list[list[str]]:
        """The names of the functions that it was offered, each time some were."""
        return self._offered

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        """Note what is offered."""
        self._offered.append([each["function"]["name"] for each in tools])
        return self.bind(tools=tools)

    @property
    def asked(self) -> list[list[BaseMessage]]:
        """The conversations that it was given."""
        return self._asked

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _next(self, messages: list[BaseMessage]) -> Any:
        self._asked.append(messages)
        if not self.answers:
            raise AssertionError(f"the model was asked once more than foreseen: {messages[-1].text!r}")
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, dict) else str(answer)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = self._next(messages)
        message = AIMessage(content=text, response_metadata={"finish_reason": "stop", "model_name": "scripted"})
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        text = self._next(messages)
        if isinstance(text, dict):
            for chunk in _calling(text):
                yield chunk
            return
        half = len(text) // 2
        yield ChatGenerationChunk(message=AIMessageChunk(content=text[:half]))
        about = {"finish_reason": "stop", "model_name": "scripted"}
        yield ChatGenerationChunk(message=AIMessageChunk(content=text[half:], response_metadata=about))


def calls(*wanted: tuple[str, Any], text: str = "", tokens: int = 0) -> dict[str, Any]:
    """An answer of a scripted model that calls functions: pairs of name and arguments, a text being sent as it is."""
    return {"calls": wanted, "text": text, "tokens": tokens}


def _calling(answer: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
    """The chunks of an answer that calls functions, the arguments of each in two pieces."""
    yield ChatGenerationChunk(message=AIMessageChunk(content=answer["text"]))
    for index, (name, args) in enumerate(answer["calls"]):
        text = args if isinstance(args, str) else json.dumps(args)
        for piece in (
            {"name": name, "args": text[:2], "id": f"call-{index}"},
            {"name": None, "args": text[2:], "id": None},
        ):
            part: Any = {**piece, "index": index, "type": "tool_call_chunk"}
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[part]))
    used: Any = {"input_tokens": answer["tokens"], "output_tokens": 0, "total_tokens": answer["tokens"]}
    about = {"finish_reason": "tool_calls", "model_name": "scripted"}
    last = AIMessageChunk(content="", response_metadata=about, usage_metadata=used if answer["tokens"] else None)
    yield ChatGenerationChunk(message=last)


@dataclass(slots=True)
class ScriptedModels:
    """Models by name; the first one serves where no name is given."""

    models: Mapping[str, BaseChatModel]
    wanted: list[tuple[str | None, str | None, dict[str, Json]]] = field(default_factory=list)

    def find(
        self, name: str | None, *, mode: str | None = None, settings: Mapping[str, Json] | None = None
    ) -> BaseChatModel:
        """The model of that name."""
        self.wanted.append((name, mode, dict(settings or {})))
        chosen = name if name is not None else next(iter(self.models), "")
        if (refusal := self.problem(chosen)) is not None:
            raise Fault("invalid_input", refusal, origin="model")
        return self.models[chosen]

    def fallbacks(self, mode: str | None) -> tuple[str, ...]:
        """No mode has any."""
        return ()

    def context_length(self, name: str) -> int | None:
        """Nobody has said how much it takes."""
        return None

    def price(self, name: str) -> tuple[float, float] | None:
        """Nothing is known of its price."""
        return getattr(self, "prices", {}).get(name)

    def problem(self, name: str) -> str | None:
        """Why that name is refused."""
        return None if name in self.models else f"There is no model {name!r}"


@dataclass(slots=True)
class ScriptedPrompts:
    """Prompts by name; ``mode/name`` serves that mode first."""

    prompts: Mapping[str, PromptFile]

    def find(self, name: str, *, mode: str | None = None) -> PromptFile | None:
        """The prompt of that name."""
        return self.prompts.get(f"{mode}/{name}") or self.prompts.get(name)

    def names(self) -> Iterable[str]:
        """All names, sorted."""
        return sorted(self.prompts)


def fake_prompt(name: str, *variables: Variable, user: str = "Do it.") -> PromptTemplate:
    """A prompt that says the same whatever its variables hold."""
    return PromptTemplate(name=name, version="1", variables=variables, user=(user,))


def fake_services(
    tools: Mapping[str, FakeTool] | None = None,
    models: Mapping[str, BaseChatModel | list[Any]] | None = None,
    prompts: Mapping[str, PromptFile] | None = None,
) -> Services:
    """Services made of fakes; a model given as a list of answers becomes a scripted one."""
    tools = dict(tools or {})
    for name, tool in tools.items():
        tool.name = name
    bound = {
        name: ScriptedModel(answers=list(model)) if isinstance(model, list) else model
        for name, model in (models or {}).items()
    }
    return Services(
        tools=ScriptedTools(tools), models=ScriptedModels(bound), prompts=ScriptedPrompts(dict(prompts or {}))
    )


def unconsumed(services: Services) -> Iterator[str]:
    """What was foreseen and never asked for: a test that ends well ends with none of these."""
    assert isinstance(services.tools, ScriptedTools) and isinstance(services.models, ScriptedModels)
    for name, tool in services.tools.tools.items():
        if tool.results:
            yield f"{len(tool.results)} results of the tool {name}"
    for name, model in services.models.models.items():
        if isinstance(model, ScriptedModel) and model.answers:
            yield f"{len(model.answers)} answers of the model {name}"
