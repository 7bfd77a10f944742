"""The llm node: ask a model, for text or for a value that fits a schema."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from nodes.answers import Answer
from nodes.base import CallingNode, Outcome, Slot, StepCall
from nodes.profile import Approval, Budget
from nodes.reuse import Reuse
from nodes.structured import ask, take_turn
from nodes.telling import FOR_THE_ANSWER, History, Question, Room
from state.errors import Fault
from state.services import CallContext, Effect, PromptFile, RenderedPrompt, Services
from state.usage import billed
from state.values import Json, Schema

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

SETTINGS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "max_tokens", "stop")
"""The fields that say how the model is asked."""
_PROMPT_NAME = re.compile(r"[\w./-]+(@[\w.-]+)?")


class LlmNode(CallingNode):
    """Ask a model; the value is its text, or the structured output where ``output`` gives a schema."""

    type: Literal["llm"] = "llm"
    prompt: str = Field(description="One word names a prompt file; anything else is the prompt itself.")
    system: str | None = Field(None, description="What the model is told before; a prompt file may bring its own.")
    with_: dict[str, Json] = Field(
        default_factory=dict, alias="with", description="The prompt's variables; texts may hold {{ references }}."
    )
    output: Schema | None = Field(None, description="Schema of the structured output; text without it.")
    model: str | None = Field(None, description="provider:model; the mode's model without it.")
    agent: str | None = Field(None, description="An agent of this workflow: its model and instructions.")
    tools: list[str] = Field(
        default_factory=list, description="Tools that the model may call, by name or pattern such as git.*."
    )
    approve: dict[str, Approval] = Field(
        default_factory=dict,
        description="By tool or pattern: allow, ask (a person) or deny its call; without one, writes are asked about.",
    )
    budget: Budget = Field(default_factory=Budget, description="What the conversation with tools may use.")
    stop_after: list[str] = Field(
        default_factory=list, description="Tools whose first successful call ends it, its result being the value."
    )
    handoffs: bool = Field(True, description="Whether its agent may hand its work over to others.")
    mode: Literal["planning", "coding", "information", "debugging", "generic"] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1, description="Of the likeliest tokens, those of this share together.")
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, description="For answers that repeat, as far as the endpoint can.")
    max_tokens: int | None = Field(None, ge=1)
    stop: list[str] = Field(default_factory=list)
    history: bool | History = Field(False, description="See the thread's messages, and add this exchange to them.")

    @property
    def prompt_file(self) -> str | None:
        """The prompt file's name; None for inline text."""
        return self.prompt if _PROMPT_NAME.fullmatch(self.prompt) else None

    def slots(self) -> Iterator[Slot]:
        """The variables, and the inline texts that may use them by name."""
        yield Slot(pointer="/with", source=self.with_)
        local = frozenset(self.with_)
        if self.prompt_file is None:
            yield Slot(pointer="/prompt", source=self.prompt, local=local)
        if self.system is not None:
            yield Slot(pointer="/system", source=self.system, local=local)

    def result_schema(self, services: Services) -> Schema:
        """The output schema, else text."""
        return self.output if self.output is not None else {"type": "string"}

    def effect_of(self, services: Services) -> Effect:
        """A model call is a read that costs."""
        return "read"

    async def run(self, call: StepCall) -> Outcome:
        """One question to the model, tokens streamed on the way; an answer that was given before is taken as it was."""
        agent = call.agents.get(self.agent) if self.agent else None
        question = self.question(call, agent.instructions if agent else "")
        model, target = await self.found(call, self.model or (agent.model if agent else None))
        told = await question.told(call, self.room(call, target, self.output))
        answer = await self.answered(call, model, target, told.messages, self.output)
        value = answer.value if self.output is not None else answer.text
        return Outcome(
            value=value,
            usage={} if call.cached else answer.usage,
            messages=(told.question, _assistant(answer)) if question.joins else (),
            cached=call.cached,
            model=target,
            prompt=told.about,
            truncated=answer.truncated,
        )

    async def found(self, call: StepCall, name: str | None) -> tuple[BaseChatModel, str]:
        """The model of that name, else the mode's, with the node's settings; and what it is called."""
        find, mode = call.services.models.find, self.mode or call.mode
        # The first call imports a vendor's library, which takes long enough to hold up every other run of the event loop.
        model = await asyncio.to_thread(find, name, mode=mode, settings=self._settings())
        return model, name or _name_of(model)

    async def answered(
        self,
        call: StepCall,
        model: BaseChatModel,
        target: str,
        asked: Sequence[BaseMessage],
        schema: Schema | None,
        tools: Sequence[dict[str, Json]] | None = None,
    ) -> Answer:
        """The whole asking, its round of repair included, as one call; with ``tools``, even none, a turn that may call them."""
        told = recorded_messages(asked)
        about = {
            "model": [target, type(model).__name__, _name_of(model), model._identifying_params],
            "messages": told,
            "output": schema,
            "settings": self._settings(),
            **({"tools": list(tools)} if tools is not None else {}),
        }

        async def do(context: CallContext) -> Json:
            price = call.services.models.price(target)
            try:
                if tools is not None:
                    answer = await take_turn(model, asked, tools, schema, config=call.config)
                else:
                    answer = await ask(model, asked, schema, config=call.config)
            except Fault as fault:
                if isinstance(fault.details, dict) and (usage := fault.details.get("usage")):
                    fault.details["usage"] = billed(usage, target, price)
                raise
            return replace(answer, usage=billed(answer.usage, target, price)).to_dict()

        answer = await call.once(
            target=target,
            effect="read",
            repeatable=True,
            args={"messages": told},
            do=do,
            kind="model",
            reuse=None if self.cache is None else Reuse("llm", about, self.cache),
        )
        return Answer.from_dict(answer)

    def question(self, call: StepCall, instructions: str) -> Question:
        """What the model is to be told; a prompt file's own instructions stand between the agent's and the node's."""
        values = call.value("/with") or {}
        more = _text(call.value("/system", values) or "")
        history = History() if self.history is True else self.history or None
        prompt: PromptFile | RenderedPrompt | None
        if self.prompt_file is None:
            prompt = RenderedPrompt(system="", user=_text(call.value("/prompt", values)))
        else:
            prompt = call.services.prompts.find(self.prompt_file, mode=self.mode or call.mode)
        if prompt is None:
            raise Fault("invalid_input", f"There is no prompt file {self.prompt_file!r}", stage="render")
        return Question(prompt=prompt, values=values, instructions=instructions, more=more, history=history)

    def room(self, call: StepCall, model: str, schema: Schema | None) -> Room:
        """How much the model of that name takes."""
        return Room(
            model=model,
            context_length=call.services.models.context_length(model),
            answer=self.max_tokens or FOR_THE_ANSWER,
            schema=schema,
        )

    def _settings(self) -> dict[str, Json]:
        chosen = {name: getattr(self, name) for name in SETTINGS}
        return {name: value for name, value in chosen.items() if value is not None and value != []}


def recorded_messages(messages: Sequence[BaseMessage]) -> list[Json]:
    """Messages as they are recorded: who says what, with the calls that it wants."""
    return [
        [message.type, message.content, *([calls] if (calls := getattr(message, "tool_calls", None)) else [])]
        for message in messages
    ]


def _assistant(answer: Answer) -> Any:
    """The answer as a message, under the id that its streamed tokens had."""
    from langchain_core.messages import AIMessage

    return AIMessage(answer.text, id=answer.message_id or None)


def _name_of(model: BaseChatModel) -> str:
    """What the model calls itself."""
    return str(
        getattr(model, "full_name", None)
        or getattr(model, "model_name", None)
        or getattr(model, "model", None)
        or type(model).__name__
    )


def _text(value: Json) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
