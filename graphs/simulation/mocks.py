"""Tools and models that do nothing: they have the names and schemas of the real ones, and ask the world for results."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableConfig

from graphs.runtime.calling import STEP_METADATA
from nodes.structured import SCHEMA
from state.services import CallContext, Effect, NoSecrets, Price, Services, Tool
from state.values import Json, Schema

CHARACTERS_PER_TOKEN = 4
"""The estimate of tokens: so many characters of a prompt or an answer are one."""


def tokens_of(text: str) -> int:
    """The estimated number of tokens of a text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call that a step made: of a tool with its arguments, or of a model with its prompt."""

    path: str
    kind: str
    name: str
    given: Json
    schema: Schema
    attempt: int = 1
    key: str = ""
    max_tokens: int | None = None
    offers: tuple[Mapping[str, Json], ...] = ()
    """The functions that the model may call, as it is told of them."""


class World(Protocol):
    """What stands behind the mocks during one run."""

    async def result(self, asked: Asked) -> Json:
        """The result of a call.

        Raises:
            Fault: the call fails.
        """


@dataclass(slots=True)
class Front:
    """The world of the run that goes on just now."""

    world: World | None = None

    async def result(self, asked: Asked) -> Json:
        """What the present world gives."""
        if self.world is None:
            raise RuntimeError("a mock was called outside of a simulation")
        return await self.world.result(asked)


@dataclass(frozen=True, slots=True)
class MockTool:
    """A tool as it looks from outside."""

    front: Front
    name: str
    description: str
    args_schema: Schema
    output_schema: Schema
    effect: Effect
    idempotent: bool
    needs_approval: bool = False

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Json:
        """What the world gives."""
        asked = Asked(
            path=context.step,
            kind="tool",
            name=self.name,
            given=dict(args),
            schema=self.output_schema,
            attempt=context.attempt,
            key=context.idempotency_key,
        )
        return await self.front.result(asked)


@dataclass(slots=True)
class MockTools:
    """The mocks of some tools, which are never called."""

    front: Front
    real: Any
    made: dict[str, MockTool | None] = field(default_factory=dict)

    def find(self, name: str) -> Tool | None:
        """The mock of the tool of that name, or None."""
        if name not in self.made:
            tool: Tool | None = self.real.find(name)
            self.made[name] = None if tool is None else _mocked(self.front, tool)
        return self.made[name]

    def names(self) -> Iterable[str]:
        """All names."""
        return self.real.names()  # type: ignore[no-any-return]

    def matching(self, pattern: str) -> Iterable[str]:
        """The names that a pattern fits."""
        return self.real.matching(pattern)  # type: ignore[no-any-return]

    def problem(self, name: str) -> str | None:
        """What the real tools know of a name that they do not find."""
        return self.real.problem(name)  # type: ignore[no-any-return]

    async def release(self, run: str) -> None:
        """Mocks hold nothing."""


def _mocked(front: Front, tool: Tool) -> MockTool:
    return MockTool(
        front,
        tool.name,
        tool.description,
        tool.args_schema,
        tool.output_schema,
        tool.effect,
        tool.idempotent,
        bool(getattr(tool, "needs_approval", False)),
    )


class MockModel(BaseChatModel):
    """A model whose answers the world gives; its usage is the estimate."""

    front: Any
    name: str = "default"
    max_tokens: int | None = None

    @property
    def _llm_type(self) -> str:
        return "simulated"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """The model with tools that it may call."""
        return self.bind(tools=tools, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("simulated models are only streamed")

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """The answer in one piece; which step asks stands in the config, which models are not told further in."""
        wanted = kwargs.get("response_format") or {}
        messages = self._convert_input(input).to_messages()
        prompt = "\n\n".join(str(message.text) for message in messages)
        in_words = next((m.additional_kwargs[SCHEMA] for m in messages if SCHEMA in m.additional_kwargs), None)
        asked = Asked(
            path=str(((config or {}).get("metadata") or {}).get(STEP_METADATA, "")),
            kind="llm",
            name=self.name,
            given=prompt,
            schema=wanted.get("json_schema", {}).get("schema") or in_words or {"type": "string"},
            max_tokens=self.max_tokens,
            offers=tuple(each["function"] for each in kwargs.get("tools") or ()),
        )
        value = await self.front.result(asked)
        if isinstance(value, CallsMade):
            yield _calling(value, self.name)
            return
        plain = not wanted and in_words is None and isinstance(value, str)
        text = value if plain else json.dumps(value, ensure_ascii=False)
        told, said = tokens_of(prompt), tokens_of(text)
        yield AIMessageChunk(
            content=text,
            response_metadata={"finish_reason": "stop", "model_name": self.name},
            usage_metadata={"input_tokens": told, "output_tokens": said, "total_tokens": told + said},
            chunk_position="last",
        )


@dataclass(frozen=True, slots=True)
class CallsMade:
    """Instead of an answer: the functions that a simulated model calls, by name, with their arguments."""

    calls: tuple[tuple[str, Json], ...]


def _calling(made: CallsMade, name: str) -> AIMessageChunk:
    pieces: list[Any] = [
        {"type": "tool_call_chunk", "index": index, "id": f"call-{index}", "name": function, "args": json.dumps(args)}
        for index, (function, args) in enumerate(made.calls)
    ]
    about = {"finish_reason": "tool_calls", "model_name": name}
    return AIMessageChunk(content="", tool_call_chunks=pieces, response_metadata=about, chunk_position="last")


@dataclass(slots=True)
class MockModels:
    """Mocks of the models, by the names that the settings allow."""

    front: Front
    real: Any

    def find(
        self, name: str | None, *, mode: str | None = None, settings: Mapping[str, Json] | None = None
    ) -> BaseChatModel:
        """A mock of the model of that name; ``default`` stands for the one that the settings choose."""
        limit = (settings or {}).get("max_tokens")
        return MockModel(front=self.front, name=name or "default", max_tokens=limit)

    def fallbacks(self, mode: str | None) -> Sequence[str]:
        """The models that would serve when a step's own has failed for good."""
        asked = getattr(self.real, "fallbacks", None)
        return asked(mode) if asked is not None else ()

    def context_length(self, name: str) -> int | None:
        """What is known of the real one."""
        return self.real.context_length(name)  # type: ignore[no-any-return]

    def price(self, name: str) -> Price | None:
        """What the settings say that the model costs."""
        asked = getattr(self.real, "price", None)
        return asked(name) if asked is not None else None

    def problem(self, name: str) -> str | None:
        """Why the name would be refused."""
        return self.real.problem(name)  # type: ignore[no-any-return]


class References(NoSecrets):
    """Secrets that nobody looks up: their references are passed on as they are."""

    def resolve(self, value: Json) -> Json:
        """The value, references and all."""
        return value


def mocked(services: Services) -> tuple[Services, Front]:
    """Services in which nothing is real but the prompts, and the front behind which their worlds stand; secrets stay references."""
    front = Front()
    tools, models = MockTools(front, services.tools), MockModels(front, services.models)
    return Services(
        tools=tools, models=models, prompts=services.prompts, finder=services.finder, secrets=References()
    ), front
