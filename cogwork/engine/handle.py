"""An execution as a caller has it in hand: to be waited for, followed, answered and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cogwork.errors import EngineError

if TYPE_CHECKING:
    from cogwork.engine.execution_verbs import ExecutionVerbs
    from cogwork.executions.history import Told
    from cogwork.executions.record import Execution
    from cogwork.executions.result import ExecutionResult
    from state.values import Json


class Handle(Mapping[str, "Json"]):
    """An execution that was asked for; it reads like its status as a dict, as that was when this was made."""

    def __init__(self, engine: ExecutionVerbs, execution: Execution) -> None:
        self._engine, self.execution = engine, execution
        self._told = execution.to_dict()

    @property
    def id(self) -> str:
        """The execution's id."""
        return self.execution.id

    async def wait(self, seconds: float | None = None) -> ExecutionResult:
        """What it has come to once it has ended or rests, or after so many seconds."""
        await self._engine.parts.dispatch.wait(self.id, seconds)
        return await self._engine.get_execution_result(self.id)

    async def result(self, seconds: float | None = None) -> ExecutionResult:
        """What it has come to, once it has ended or rests.

        Raises:
            EngineError: ``execution_timeout``; it still goes on after so many seconds.
        """
        found = await self.wait(seconds)
        if found.execution.status in ("pending", "running"):
            raise EngineError(
                "execution_timeout",
                f"Execution {self.id} is {found.execution.status} after {seconds:g} s, and goes on: wait longer, or cancel it",
                execution_id=self.id,
                status=found.execution.status,
            )
        return found

    def events(self, after: int = 0) -> AsyncIterator[Told]:
        """What happens in it, from the beginning (or after that number) to its end."""
        return self._engine.parts.history.follow(self.id, after=after)

    async def resume(self, answers: Any = None) -> Handle:
        """Answer what it asks, or go on with it."""
        return await self._engine.resume_execution(self.id, answers)

    async def cancel(self, reason: str = "", *, undo: bool = False) -> bool:
        """End it."""
        return await self._engine.cancel_execution(self.id, reason, undo=undo)

    def __getitem__(self, key: str) -> Json:
        return self._told[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._told)

    def __len__(self) -> int:
        return len(self._told)

    def __repr__(self) -> str:
        return f"Handle({self.id!r}, {self.execution.status})"
