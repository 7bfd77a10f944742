"""The llm node: ask a model, for text or for a value that fits a schema."""

from __future__ import annotations

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
from state.errors import Fault
from state.services import CallContext, Effect, RenderedPrompt, Services
from state.usage import billed
from state.values import Json, Schema

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage, HumanMessage

SETTINGS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "max_tokens", "stop")
"""The fields that say how the model is asked."""
_PROMPT_NAME = re.compile(r"[\w./-]+")


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
    history: bool = Field(False, description="See the thread's messages, and add this exchange to them.")

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
        from langchain_core.messages import HumanMessage

        agent = call.agents.get(self.agent) if self.agent else None
        told = self.rendered(call)
        system = "\n\n".join(t for t in (agent.instructions if agent else "", told.system) if t)
        question = HumanMessage(told.user)
        asked = self._asked(system, question, call)
        name = self.model or (agent.model if agent else None)
        answer, model = await self.answered(call, name, asked, self.output)
        value = answer.value if self.output is not None else answer.text
        exchange = (question, _assistant(answer)) if self.history else ()
        usage = {} if call.cached else answer.usage
        return Outcome(
            value=value, usage=usage, messages=exchange, cached=call.cached, model=model, truncated=answer.truncated
        )

    def _asked(self, system: str, question: HumanMessage, call: StepCall) -> list[BaseMessage]:
        """What the model is told: instructions, the thread's messages where they are wanted, the question."""
        from langchain_core.messages import SystemMessage

        before = call.messages if self.history else ()
        return [*([SystemMessage(system)] if system else []), *before, question]

    async def answered(
        self,
        call: StepCall,
        name: str | None,
        asked: Sequence[BaseMessage],
        schema: Schema | None,
        tools: Sequence[dict[str, Json]] = (),
        *,
        turn: bool = False,
    ) -> tuple[Answer, str]:
        """The whole asking, its round of repair included, as one call; with the model that answers."""
        mode, settings = self.mode or call.mode, self._settings()
        model = call.services.models.find(name, mode=mode, settings=settings)
        target = name or _name_of(model)
        told = messages_to_dict(asked)
        about = {
            "model": [target, type(model).__name__, _name_of(model), model._identifying_params],
            "messages": told,
            "output": schema,
            "settings": settings,
            **({"tools": list(tools)} if turn else {}),
        }

        async def do(context: CallContext) -> Json:
            price = call.services.models.price(target)
            try:
                if turn:
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
            reuse=None if self.cache is None else Reuse("llm", about, self.cache),
        )
        return Answer.from_dict(answer), target

    def rendered(self, call: StepCall) -> RenderedPrompt:
        """What the model is told, its variables filled in.

        Raises:
            Fault: ``invalid_input`` where the prompt is missing or cannot be filled in.
        """
        values = call.value("/with") or {}
        system = call.value("/system", values) or ""
        if self.prompt_file is None:
            return RenderedPrompt(system=_text(system), user=_text(call.value("/prompt", values)))
        prompt = call.services.prompts.find(self.prompt_file, mode=self.mode or call.mode)
        if prompt is None:
            raise Fault("invalid_input", f"There is no prompt file {self.prompt_file!r}", stage="render")
        try:
            told = prompt.render(values)
        except Fault as fault:
            fault.stage = "render"
            raise
        return RenderedPrompt(system="\n\n".join(t for t in (told.system, _text(system)) if t), user=told.user)

    def _settings(self) -> dict[str, Json]:
        chosen = {name: getattr(self, name) for name in SETTINGS}
        return {name: value for name, value in chosen.items() if value is not None and value != []}


def messages_to_dict(messages: Sequence[BaseMessage]) -> list[Json]:
    """Messages as they are recorded: who says what, with the calls that it wants."""
    return [
        [message.type, str(message.text), *([calls] if (calls := getattr(message, "tool_calls", None)) else [])]
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
