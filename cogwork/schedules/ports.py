"""What schedules and triggers need of the engine: to start executions, to see which are open, to cancel them."""

from __future__ import annotations

from typing import Any, Protocol

from state.values import Json


class Starter(Protocol):
    """The engine, as schedules and triggers see it; one instance serves all workers of a process."""

    async def start(
        self,
        workflow: str,
        version: str,
        input: Json,
        options: dict[str, Any],
        *,
        idempotency_key: str,
        origin: str,
    ) -> str:
        """Start an execution, or find the one that was started under this key; its id. ``version`` is a number, a label or empty.

        Raises:
            EngineError: ``invalid_input`` and the like, for which nothing was started.
        """

    async def open_of(self, origin: str) -> list[str]:
        """The executions of that origin that have not ended."""

    async def cancel(self, execution_id: str) -> None:
        """Have the execution cancelled; one that has ended is left as it is."""
