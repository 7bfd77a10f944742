"""How the earlier part of a conversation is summed up: by a model, or without one by an extract."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from cogwork.sessions.records import Message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MAX_SHOWN: Final = 4_000
"""Characters of one message that a model is shown to sum it up."""
MAX_LINE: Final = 160
"""Characters of one message in an extract."""
GAP: Final = "…"
_SENTENCE: Final = re.compile(r"(?<=[.!?。！？])\s|\n")
_TOKENS_PER_WORD: Final = 1.5


class Summarise(Protocol):
    """Sums up; ``by`` names how."""

    by: str

    async def __call__(self, before: str, messages: Sequence[Message], tokens: int, count: Callable[[str], int]) -> str:
        """One text that takes the place of ``before`` and the messages, of about so many tokens.

        Raises:
            Fault: it cannot be had now.
        """


class Extract:
    """No model: the first sentence of each message with who said it, the oldest lines left out where there is no room.

    The same messages give the same text, and it holds nothing that was not said; it may well miss what mattered.
    """

    by = "extract"

    async def __call__(self, before: str, messages: Sequence[Message], tokens: int, count: Callable[[str], int]) -> str:
        """The extract."""
        lines = [line for line in before.split("\n") if line.strip() and line != GAP]
        dropped = before.startswith(GAP)
        lines += [f"{message.role}: {_first(message.content)}" for message in messages if message.content.strip()]
        while lines and count("\n".join([*([GAP] if dropped else []), *lines])) > tokens:
            lines, dropped = lines[1 + len(lines) // 16 :], True
        return "\n".join([*([GAP] if dropped and lines else []), *lines])


EXTRACT: Final = Extract()


class ByModel:
    """A summary by a chat model, told by the prompt ``session/summary``; what was said reaches it as data.

    ``prompt`` is a rendered prompt's source (``PromptTemplate``), ``name`` the model's, for counting.
    """

    def __init__(self, model: BaseChatModel, prompt: Any, name: str = "") -> None:
        self._model, self._prompt, self._name = model, prompt, name
        self.by = f"model {name}".strip()[:64]

    async def __call__(self, before: str, messages: Sequence[Message], tokens: int, count: Callable[[str], int]) -> str:
        """The model's summary.

        Raises:
            Fault: the model failed.
        """
        from langchain_core.messages import HumanMessage, SystemMessage

        from nodes.structured import ask

        shown = [{"role": message.role, "content": message.content[:MAX_SHOWN]} for message in messages]
        words = max(20, int(tokens / _TOKENS_PER_WORD))
        told = self._prompt.render(
            {"before": [before] if before else [], "messages": shown, "words": words}, model=self._name
        )
        answer = await ask(self._model, [SystemMessage(told.system), HumanMessage(told.user)])
        return answer.text.strip()


def _first(text: str) -> str:
    sentence = " ".join(_SENTENCE.split(text.strip(), maxsplit=1)[0].split())
    return sentence if len(sentence) <= MAX_LINE else f"{sentence[: MAX_LINE - 1].rstrip()}…"
