"""What a model is told: instructions, the conversation so far and the question, within the tokens that it can take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from nodes.base import Part, StepCall
from prompts.conversation import Turn, entries, merged, size, trimmed
from prompts.tokens import PER_MESSAGE, PER_REPLY, Counter, counter
from state.errors import Fault
from state.services import PromptFile, RenderedPrompt, Shortened
from state.values import Json, Schema

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage, HumanMessage

FOR_THE_ANSWER: Final = 1024
"""Tokens that are kept for an answer whose ``max_tokens`` nobody has said."""


class History(Part):
    """Which conversation a model sees, and how much of it."""

    from_: Literal["thread", "context"] = Field(
        "thread",
        alias="from",
        description="The history that the run's context holds, with the thread's messages after it; or it alone.",
    )
    max_messages: int | None = Field(None, ge=0, le=100_000, description="The latest so many messages.")
    max_tokens: int | None = Field(None, ge=0, le=100_000_000, description="The latest with at most so many tokens.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much a model takes: ``model`` by its name, ``context_length`` in tokens (None where nobody has said).

    ``answer`` tokens are kept for the answer, ``schema`` is what it is asked to fit.
    """

    model: str = ""
    context_length: int | None = None
    answer: int = FOR_THE_ANSWER
    schema: Schema | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The messages for a model; ``about`` says of which prompt they are and what was left out, as plain JSON."""

    messages: list[BaseMessage]
    question: HumanMessage
    about: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is to be told, before it is known whether there is room for it.

    ``prompt`` is a prompt file with its ``values``, or the prompt itself; ``instructions`` stand before what it says.
    """

    prompt: PromptFile | RenderedPrompt
    values: Mapping[str, Json] = field(default_factory=dict)
    instructions: str = ""
    more: str = ""
    """What is told after the prompt's own instructions."""
    history: History | None = None

    @property
    def joins(self) -> bool:
        """Whether the exchange is to join the thread's messages."""
        return self.history is not None and self.history.from_ == "thread"

    async def told(self, call: StepCall, room: Room) -> Told:
        """The messages.

        Raises:
            Fault: ``invalid_input`` for values or a history that do not fit, or a prompt that is too long, saying by how much.
        """
        try:
            if self._bounded(room):
                return await asyncio.to_thread(self._told, call, room)  # a tokenizer may have to be loaded first
            return self._told(call, room)
        except Fault as fault:
            fault.stage = "render"
            raise

    def filled(self, call: StepCall, room: Room) -> tuple[RenderedPrompt, str]:
        """The prompt itself with its variables filled in, and what is told after its own instructions.

        Raises:
            Fault: ``invalid_input`` for values that do not fit.
        """
        try:
            return self._rendered(call, room), self.more
        except Fault as fault:
            fault.stage = "render"
            raise

    def _bounded(self, room: Room) -> bool:
        """Whether anything has to be counted."""
        if room.context_length is not None or (self.history is not None and self.history.max_tokens is not None):
            return True
        if isinstance(self.prompt, RenderedPrompt):
            return False
        cuts = [each.cut for each in self.prompt.variables if each.cut is not None]
        return self.prompt.budget is not None or any(cut.most is not None for cut in cuts)

    def _told(self, call: StepCall, room: Room) -> Told:
        counting = counter(room.model if self._bounded(room) else "")
        before, dropped = self._before(call, counting)
        prompt = self._rendered(call, room)
        left = [dropped] if dropped is not None else []
        about: dict[str, Json] = {}
        if room.context_length is not None:
            free = max(room.context_length - room.answer - self._fixed(room, counting), 0)
            before, more = self._made_room(before, prompt, free, counting)
            left += [more] if more is not None else []
            spent = sum(size(turn, counting.count) for turn in before)
            if _tokens(prompt, counting) > free - spent:
                prompt = self._shortened(call, room, free - spent, counting)
            counted = room.context_length - room.answer - free + spent + _tokens(prompt, counting)
            about = {"tokens": counted, "exact": counting.exact}
        left += prompt.shortened
        named = {"name": prompt.name, "version": prompt.version} if prompt.name else {}
        said = {"shortened": [each.to_dict() for each in left]} if left else {}
        return self._messages(prompt, before, {**named, **about, **said})

    def _before(self, call: StepCall, counting: Counter) -> tuple[list[Turn], Shortened | None]:
        """The conversation so far, within its own bounds."""
        if self.history is None:
            return [], None
        own = _turns(call.messages) if self.history.from_ == "thread" else []
        turns = merged([*entries(call.context.get("history")), *own])
        return trimmed(
            turns,
            counting.count,
            max_messages=self.history.max_messages,
            max_tokens=self.history.max_tokens,
        )

    def _made_room(
        self, before: list[Turn], prompt: RenderedPrompt, free: int, counting: Counter
    ) -> tuple[list[Turn], Shortened | None]:
        """The conversation without its oldest messages, where it and the prompt are more than the model takes."""
        rest = max(free - _tokens(prompt, counting), 0)
        if sum(size(turn, counting.count) for turn in before) <= rest:
            return before, None
        return trimmed(before, counting.count, max_tokens=rest)

    def _rendered(self, call: StepCall, room: Room) -> RenderedPrompt:
        if isinstance(self.prompt, RenderedPrompt):
            return self.prompt
        return self.prompt.render(self.values, context=call.context, model=room.model)

    def _shortened(self, call: StepCall, room: Room, tokens: int, counting: Counter) -> RenderedPrompt:
        """The prompt within so many tokens.

        Raises:
            Fault: it cannot be made to fit.
        """
        try:
            if not isinstance(self.prompt, RenderedPrompt):
                return self.prompt.render(self.values, context=call.context, tokens=max(tokens, 0), model=room.model)
            has = _tokens(self.prompt, counting)
            about = "" if counting.exact else f" ({counting.method})"
            raise Fault(
                "invalid_input",
                f"The prompt has {has:,} tokens{about}, {has - tokens:,} more than fit",
                details={"tokens": has, "limit": tokens, "over": has - tokens, "method": counting.method},
            )
        except Fault as fault:
            takes = (
                f"The model {room.model!r} takes {room.context_length:,} tokens, {room.answer:,} of them for its answer"
            )
            raise Fault("invalid_input", f"{fault.message}. {takes}.", details=fault.details) from fault

    def _fixed(self, room: Room, counting: Counter) -> int:
        """The tokens of what is told beside the prompt and the conversation."""
        told = (self.instructions, self.more, json.dumps(room.schema, ensure_ascii=False) if room.schema else "")
        return sum(counting.count(text) for text in told if text) + 2 * PER_MESSAGE + PER_REPLY

    def _messages(self, prompt: RenderedPrompt, before: Sequence[Turn], about: dict[str, Json]) -> Told:
        from langchain_core.messages import HumanMessage, SystemMessage

        system = "\n\n".join(text for text in (self.instructions, prompt.system, self.more) if text)
        question = HumanMessage(prompt.user)
        first = [SystemMessage(system)] if system else []
        return Told(messages=[*first, *map(_message, before), question], question=question, about=about)


def _tokens(prompt: RenderedPrompt, counting: Counter) -> int:
    return counting.count(prompt.system) + counting.count(prompt.user)


def _turns(messages: Sequence[Any]) -> list[Turn]:
    """The thread's messages; instructions in it were others' and are left out."""
    roles: dict[str, Any] = {"human": "user", "ai": "assistant", "tool": "tool"}
    return [
        Turn(
            role=roles[message.type],
            text=str(message.text),
            calls=tuple(str(each["id"]) for each in getattr(message, "tool_calls", None) or ()),
            answers=str(getattr(message, "tool_call_id", None) or ""),
            of=message,
        )
        for message in messages
        if message.type in roles
    ]


def _message(turn: Turn) -> BaseMessage:
    from langchain_core.messages import AIMessage, HumanMessage

    if turn.of is not None:
        found: BaseMessage = turn.of
        return found
    return HumanMessage(turn.text) if turn.role == "user" else AIMessage(turn.text)
