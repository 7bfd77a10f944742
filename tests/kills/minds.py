"""The model of the runs that are killed: its prompt holds its plan, so it says the same in every process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from state.errors import Fault
from state.values import Json

PLAN = "Plan: "
"""What stands before the plan in a prompt: a list of turns, each a list of (function, arguments)."""


class Planned(BaseChatModel):
    """Calls, turn by turn, what its prompt says, then answers with how many calls it has seen the results of."""

    @property
    def _llm_type(self) -> str:
        return "planned"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        """It knows which functions there are."""
        return self.bind(tools=tools)

    def _generate(self, messages: list[BaseMessage], *given: Any, **more: Any) -> ChatResult:
        raise NotImplementedError("it is only streamed")

    async def _astream(
        self, messages: list[BaseMessage], *given: Any, **more: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = next(message.text for message in messages if isinstance(message, HumanMessage))
        plan = json.loads(asked.partition(PLAN)[2])
        turn = sum(isinstance(message, AIMessage) for message in messages)
        wanted = plan[turn] if turn < len(plan) else []
        pieces: Any = [
            {"type": "tool_call_chunk", "index": i, "id": f"c{turn}-{i}", "name": name, "args": json.dumps(args)}
            for i, (name, args) in enumerate(wanted)
        ]
        said = "" if pieces else f"saw {sum(message.type == 'tool' for message in messages)}"
        about = {"finish_reason": "tool_calls" if pieces else "stop"}
        yield ChatGenerationChunk(
            message=AIMessageChunk(content=said, tool_call_chunks=pieces, response_metadata=about)
        )


class Minds:
    """The only model that there is."""

    def find(
        self, name: str | None, *, mode: str | None = None, settings: Mapping[str, Json] | None = None
    ) -> BaseChatModel:
        """The model, whatever it is called.

        Raises:
            Fault: another one is asked for.
        """
        if name not in (None, "planned"):
            raise Fault("invalid_input", f"There is no model {name!r}", origin="model")
        return Planned()

    def context_length(self, name: str) -> int | None:
        """Nobody has said how much it takes."""
        return None

    def fallbacks(self, mode: str | None) -> tuple[str, ...]:
        """No mode has any."""
        return ()

    def price(self, name: str) -> None:
        """It costs nothing."""
        return None

    def problem(self, name: str) -> str | None:
        """Every other name is refused."""
        return None if name == "planned" else f"There is no model {name!r}"
