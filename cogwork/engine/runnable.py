"""What executions need of a graph, whoever made it and wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig

from cogwork.executions.record import Execution
from state.events import Event


class Runnable(Protocol):
    """A graph as executions drive it."""

    checkpointer: Any

    def aevents(
        self, input: Any, config: RunnableConfig | None = None, *, tokens: bool = True, **kwargs: Any
    ) -> AsyncIterator[Event]:
        """The events of one call; the last says how the run ended or where it rests."""

    async def aget_state(self, config: RunnableConfig) -> Any:
        """LangGraph's snapshot of the thread."""


class Graphs(Protocol):
    """Where the graph of an execution comes from."""

    async def of(self, execution: Execution) -> Runnable:
        """Its graph, of the version that it began with, on the checkpoints; what it records goes through ``recorder``.

        Raises:
            CogworkError: there is none, or it cannot be built.
        """
