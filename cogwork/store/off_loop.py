"""The async methods of a saver that only run its sync ones off the event loop, whatever the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

T = TypeVar("T")


class OffLoop:
    """A saver of which ``_apart`` runs a call on a thread of its own."""

    async def _apart(self, call: Callable[[], T]) -> T:
        raise NotImplementedError

    if TYPE_CHECKING:

        def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None: ...
        def delete_thread(self, thread_id: str) -> None: ...
        def delete_for_runs(self, run_ids: Sequence[str]) -> None: ...
        def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None: ...
        def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None: ...

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """``get_tuple``, off the event loop."""
        return await self._apart(lambda: self.get_tuple(config))

    async def adelete_thread(self, thread_id: str) -> None:
        """``delete_thread``, off the event loop."""
        await self._apart(lambda: self.delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """``delete_for_runs``, off the event loop."""
        await self._apart(lambda: self.delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """``copy_thread``, off the event loop."""
        await self._apart(lambda: self.copy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """``prune``, off the event loop."""
        await self._apart(lambda: self.prune(thread_ids, strategy=strategy))
