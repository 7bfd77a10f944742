"""The conversation of a model with its tools: what was said and done so far, and how the next turn is told of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from prompts.tokens import PER_MESSAGE, counter
from state.services import Tools
from state.values import Json

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

MAX_SHOWN: Final = 40_000
"""How many characters of one tool's result the model is shown; the whole result is kept with the run."""
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One turn that called tools: the text beside the calls, the calls, and what each came to, in their order.

    A call is ``{id, name, function, args …}``; a result is ``{value}``, ``{error}`` (a failure as data) or ``{said}`` (what a
    person answered in the tool's place).
    """

    text: str
    calls: tuple[dict[str, Json], ...]
    results: tuple[dict[str, Json], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What the active agent knows. ``agent`` is its name, empty where the step itself asks.

    ``told``   what the step, or the agent before, asks of it
    ``system`` what the step says to whoever works on it
    ``past``   the agents that have worked before, in order
    ``turns``  how many turns there have been, those of agents before among them; ``calls`` how many tool calls
    """

    agent: str
    system: str
    told: str
    exchanges: tuple[Exchange, ...] = ()
    past: tuple[str, ...] = ()
    turns: int = 0
    calls: int = 0
    last: bool = False
    """Whether the next turn is the last: no tools are offered any more."""

    def after(self, exchange: Exchange) -> Conversation:
        """The conversation with one more turn that called tools."""
        return replace(
            self,
            exchanges=(*self.exchanges, exchange),
            turns=self.turns + 1,
            calls=self.calls + len(exchange.calls),
        )

    def handed_to(self, agent: str, told: str) -> Conversation:
        """The conversation of the agent that takes over: it knows what it is told, not what was said before."""
        return replace(self, agent=agent, told=told, exchanges=(), past=(*self.past, self.agent), turns=self.turns + 1)

    def found(self, searching: str) -> list[str]:
        """The names of tools that calls of the tool ``searching`` have found."""
        names: dict[str, None] = {}
        for exchange in self.exchanges:
            for call, result in zip(exchange.calls, exchange.results, strict=True):
                if call.get("tool") == searching and isinstance(result.get("value"), list):
                    names.update((str(each["name"]), None) for each in result["value"])
        return list(names)

    def exchanged(self) -> list[BaseMessage]:
        """The turns so far as the model is told them, each call answered by what it came to."""
        from langchain_core.messages import AIMessage, ToolMessage

        told: list[BaseMessage] = []
        for exchange in self.exchanges:
            wanted = [
                {"type": "tool_call", "id": call["id"], "name": call["function"], "args": call.get("args") or {}}
                for call in exchange.calls
            ]
            told.append(AIMessage(exchange.text, tool_calls=wanted))
            for call, result in zip(exchange.calls, exchange.results, strict=True):
                status = "error" if "error" in result else "success"
                told.append(ToolMessage(shown(result), tool_call_id=call["id"], name=call["function"], status=status))
        return told

    def tokens(self, model: str) -> int:
        """How many tokens the turns so far take, for a model of that name."""
        counting = counter(model)
        texts = [exchange.text + json.dumps(exchange.calls, ensure_ascii=False) for exchange in self.exchanges]
        texts += [shown(result) for exchange in self.exchanges for result in exchange.results]
        return sum(counting.count(text) + PER_MESSAGE for text in texts)


def shown(result: Mapping[str, Json]) -> str:
    """What the model reads of a result: text as it is, else JSON; cut with a visible mark where it is long."""
    if "error" in result:
        text = f"The call failed ({result['error']['class']}): {result['error']['message']}"
    else:
        value = result["said"] if "said" in result else result.get("value")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= MAX_SHOWN:
        return text
    return f"{text[:MAX_SHOWN]}\n[cut here: {len(text) - MAX_SHOWN:,} more characters]"


def offered(patterns: Iterable[str], tools: Tools) -> list[str]:
    """The names of the tools that names or patterns such as ``git.*`` mean, each once, in the order of the patterns."""
    found: dict[str, None] = {}
    for pattern in patterns:
        found.update(dict.fromkeys(tools.matching(pattern) if is_pattern(pattern) else [pattern]))
    return list(found)


def is_pattern(name: str) -> bool:
    """Whether a name in a list of tools stands for several."""
    return any(mark in name for mark in "*?[")


def function_names(names: Iterable[str]) -> dict[str, str]:
    """Function name to tool name: models take letters, digits, ``_`` and ``-``, at most 64 of them; no two are alike."""
    made: dict[str, str] = {}
    for name in names:
        plain = _UNFIT.sub("_", name)
        if len(plain) > _LONGEST or plain in made:
            mark = hashlib.sha256(name.encode()).hexdigest()[:8]
            plain = f"{plain[: _LONGEST - 9]}_{mark}"
        made[plain] = name
    return made
