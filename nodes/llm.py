"""The llm node: ask a model, for text or for a value that fits a schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from nodes.base import CallingNode, Outcome, Slot, StepCall
from nodes.reuse import Reuse
from nodes.structured import Answer, ask
from nodes.telling import FOR_THE_ANSWER, History, Question, Room, context_length
from state.errors import Fault
from state.services import CallContext, Effect, PromptFile, RenderedPrompt, Services
from state.values import Json, Schema

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

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
    tools: list[str] = Field(default_factory=list, description="Tools that the model may call.")
    mode: Literal["planning", "coding", "information", "debugging", "generic"] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
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
        name = self.model or (agent.model if agent else None)
        question = self._question(call, agent.instructions if agent else "")
        model = call.services.models.find(name, mode=self.mode or call.mode, settings=self._settings())
        target = name or _name_of(model)
        told = await question.told(call, self._room(call, target))
        answer = await self._answer(call, target, model, told.messages)
        value = answer.value if self.output is not None else answer.text
        kept = question.history is not None and question.history.from_ == "thread"
        return Outcome(
            value=value,
            usage={} if call.cached else answer.usage,
            messages=(told.question, _assistant(answer)) if kept else (),
            cached=call.cached,
            model=target,
            prompt=told.about,
        )

    async def _answer(self, call: StepCall, target: str, model: BaseChatModel, asked: Sequence[BaseMessage]) -> Answer:
        """The whole asking, its round of repair included, as one call."""
        about = {
            "model": [target, type(model).__name__, _name_of(model)],
            "messages": [[message.type, message.content] for message in asked],
            "output": self.output,
            "settings": self._settings(),
        }

        async def do(context: CallContext) -> Json:
            return (await ask(model, asked, self.output, config=call.config)).to_dict()

        answer = await call.once(
            target=target,
            effect="read",
            repeatable=True,
            args={"messages": [[message.type, str(message.text)] for message in asked]},
            do=do,
            reuse=None if self.cache is None else Reuse("llm", about, self.cache),
        )
        return Answer.from_dict(answer)

    def _question(self, call: StepCall, instructions: str) -> Question:
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

    def _room(self, call: StepCall, model: str) -> Room:
        """How much the model of that name takes."""
        return Room(
            model=model,
            context_length=context_length(call.services.models, model),
            answer=self.max_tokens or FOR_THE_ANSWER,
            schema=self.output,
        )

    def _settings(self) -> dict[str, Json]:
        chosen = {"temperature": self.temperature, "max_tokens": self.max_tokens, "stop": self.stop or None}
        return {name: value for name, value in chosen.items() if value is not None}


def _assistant(answer: Answer) -> Any:
    """The answer as a message, under the id that its streamed tokens had."""
    from langchain_core.messages import AIMessage

    return AIMessage(answer.text, id=answer.message_id or None)


def _name_of(model: BaseChatModel) -> str:
    """What the model calls itself."""
    return str(getattr(model, "model_name", None) or getattr(model, "model", None) or type(model).__name__)


def _text(value: Json) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
