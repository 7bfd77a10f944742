"""Graphs whose work is done by another instance: the same interface as those that run here."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig

from cogwork.engine.isolated import Standing
from cogwork.executions.record import Execution
from cogwork.executions.store import Executions
from cogwork.remote import rows
from cogwork.remote.instances import Instances
from cogwork.remote.mirror import LAST, Mirror
from cogwork.remote.sections import RemoteSection
from graphs.keeping import kept_by, void_pause
from state.durable import Request
from state.events import Event


class RemoteGraph:
    """The workflow of an execution of the mode ``remote``, as whoever drives its stretches sees it."""

    def __init__(
        self, execution: Execution, executions: Executions, saver: Any, instances: Instances, section: RemoteSection
    ) -> None:
        self.execution, self.checkpointer = execution, saver
        self._executions, self._instances, self._section = executions, instances, section

    async def aevents(
        self, input: Any, config: RunnableConfig | None = None, *, tokens: bool = True, **kwargs: Any
    ) -> AsyncIterator[Event]:
        """The events that the execution has elsewhere; its input and answers are read from the records.

        Raises:
            Owned: somebody else mirrors it.
        """
        name, kept = self.execution.id, kept_by(self.checkpointer)
        thread = self.execution.thread

        async def asked() -> Request | None:
            return await kept.requests.open(thread)

        async with kept.owners.held(thread):
            await void_pause(kept, thread)
            row, number = await self._executions.records.reading(
                lambda connection: ((row := rows.found(connection, name)), rows.last_number(connection, row))
            )
            begun = bool(self.execution.run)
            yield Event(kind="run.resumed" if begun else "run.started", run=row.key, at=self._now())
            mirror = Mirror(
                execution=self.execution,
                row=row,
                command=await self._executions.command_of(name, self.execution.segment),
                executions=self._executions,
                instances=self._instances,
                section=self._section,
                asked=asked,
                _number=number,
            )
            async for event in mirror.events():
                if event.kind in LAST:
                    await self._closed(kept, await asked(), ended=event.kind != "run.paused")
                yield event

    async def aget_state(self, config: RunnableConfig) -> Any:
        """Whether an instance may have begun it: there is no checkpoint here."""
        name = self.execution.id
        row = await self._executions.records.reading(lambda connection: rows.found(connection, name))
        # Each attempt counts as having come further: what does not get on is noticed by the silence of the instance.
        place: Mapping[str, Any] = {"configurable": {"checkpoint_id": secrets.token_hex(8)}}
        return Standing(created_at=None if row.state == "new" and not row.moves else self._now(), config=place)

    async def _closed(self, kept: Any, left: Request | None, *, ended: bool) -> None:
        """Close the request that has been heeded, or is void: one to end stays until the execution has."""
        if left is not None and (ended or left.kind == "pause"):
            await kept.requests.close(self.execution.thread, left)

    def _now(self) -> str:
        return self._executions.now().isoformat()
