"""Clean-up: one short transaction after the other, each of them whole, so that a sweep may break off anywhere and begin anew.

Rows go before the checkpoints of their threads; which threads have some left is written down in the same transaction, and the
next sweep begins with them. Nothing of an open execution is touched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

import sqlalchemy as sa

from cogwork.records import bundles
from cogwork.records.database import Records
from cogwork.retention import executions, payloads, sessions
from cogwork.retention.planning import Plan
from cogwork.retention.report import Report
from state.durable import Durable
from state.errors import Owned

BATCH: Final = 200
"""Executions, sessions and the like that one transaction takes away."""
ROWS: Final = 2000
"""Events, steps and messages that one transaction takes away."""


class Checkpoints(Protocol):
    """Where the checkpoints of threads are; one that is ``Durable`` says who works on which."""

    async def adelete_thread(self, thread_id: str) -> None:
        """Take away all that is kept of a thread."""


async def sweep(
    records: Records,
    saver: Checkpoints | None,
    plan: Plan,
    *,
    batch: int = BATCH,
    rows: int = ROWS,
    stop: Callable[[], bool] = lambda: False,
) -> Report:
    """Take away what the plan says; ``stop`` is asked between two transactions.

    Without a ``saver``, the checkpoints are left to the next sweep that has one.

    Raises:
        EngineError: ``database_error``; what had been taken away by then stays away.
    """
    work, report = _Sweep(records, saver, plan, batch, rows), Report()
    async for counts in work.all():
        report = report.plus(counts)
        if stop():
            return replace(report, finished=False)
    return report


async def due(records: Records, plan: Plan) -> Report:
    """What ``sweep`` would take away now; payloads that are named until then by what goes are not counted."""

    def counted(connection: Any) -> Mapping[str, int]:
        return {
            **executions.counted(connection, plan),
            **payloads.counted(connection, plan.payloads),
            **sessions.counted(connection, plan.sessions, plan.firings),
        }

    return Report().plus(await records.reading(counted))


@dataclass(frozen=True, slots=True)
class _Sweep:
    records: Records
    saver: Checkpoints | None
    plan: Plan
    batch: int
    rows: int

    async def all(self) -> AsyncIterator[Mapping[str, int]]:
        """What each transaction took away."""
        parts = (
            self._checkpoints,
            self._executions,
            self._forgotten,
            self._checkpoints,
            self._events,
            self._batches,
            self._sessions,
            self._firings,
            self._bundles,
            self._payloads,
        )
        for part in parts:
            async for counts in part():
                yield counts

    async def _executions(self) -> AsyncIterator[Mapping[str, int]]:
        which, belonging = executions.expired(self.plan), ("events", "steps", "segments")
        async for ids in self._each(which):
            async for counts in self._draining(partial(executions.belonging, which=which, ids=ids, tables=belonging)):
                yield counts
            yield await self.records.writing(partial(executions.take_away, plan=self.plan, ids=ids))

    async def _forgotten(self) -> AsyncIterator[Mapping[str, int]]:
        async for ids in self._each(executions.without_checkpoints(self.plan)):
            yield await self.records.writing(partial(executions.forget_checkpoints, plan=self.plan, ids=ids))

    async def _events(self) -> AsyncIterator[Mapping[str, int]]:
        which = executions.without_events(self.plan)
        async for ids in self._each(which):
            async for counts in self._draining(partial(executions.belonging, which=which, ids=ids, tables=("events",))):
                yield counts

    async def _each(self, which: sa.ColumnElement[bool]) -> AsyncIterator[list[str]]:
        after: executions.Key | None = None
        while True:
            look = partial(executions.next_ids, which=which, after=after, limit=self.batch)
            ids, after = await self.records.reading(look)
            if not ids:
                return
            yield ids

    async def _draining(self, take: Callable[..., Mapping[str, int]]) -> AsyncIterator[Mapping[str, int]]:
        while any((counts := await self.records.writing(partial(take, limit=self.rows))).values()):
            yield counts

    async def _checkpoints(self) -> AsyncIterator[Mapping[str, int]]:
        if self.saver is None:
            return
        for fact, threads in (await self.records.reading(executions.left_threads)).items():
            left, gone = [], 0
            for thread in threads:
                try:
                    gone += await self._cleared(thread, self.saver)
                except Owned:
                    left.append(thread)
            await self.records.writing(partial(executions.settle, fact=fact, left=left))
            yield {"threads": gone, "busy": len(left)}

    async def _cleared(self, thread: str, saver: Checkpoints) -> bool:
        """Whether the thread's checkpoints were taken away: not where an execution has need of them again."""
        async with AsyncExitStack() as stack:
            if isinstance(saver, Durable):
                await stack.enter_async_context(saver.owners.held(thread))
            if await self.records.reading(partial(executions.still_used, thread=thread)):
                return False
            await saver.adelete_thread(thread)
            return True

    async def _batches(self) -> AsyncIterator[Mapping[str, int]]:
        if before := min(self.plan.executions.values(), default=None):
            take = partial(executions.empty_batches, before=before)
            while (counts := await self.records.writing(partial(take, limit=self.batch)))["batches"]:
                yield counts

    async def _sessions(self) -> AsyncIterator[Mapping[str, int]]:
        if (before := self.plan.sessions) is None:
            return
        while ids := await self.records.writing(partial(sessions.close, before=before, limit=self.batch)):
            async for counts in self._draining(partial(sessions.some_messages, ids=ids)):
                yield counts
            yield (counts := await self.records.writing(partial(sessions.take_away, before=before, ids=ids)))
            if not counts["sessions"]:
                return

    async def _firings(self) -> AsyncIterator[Mapping[str, int]]:
        if (before := self.plan.firings) is None:
            return
        after: str | None = ""
        while after is not None:
            take = partial(sessions.take_firings, before=before, after=after, limit=self.rows)
            counts, after = await self.records.writing(take)
            yield counts

    async def _bundles(self) -> AsyncIterator[Mapping[str, int]]:
        while await self.records.writing(partial(bundles.take_away, before=self.plan.payloads)):
            yield {}

    async def _payloads(self) -> AsyncIterator[Mapping[str, int]]:
        before, after = self.plan.payloads, None
        while True:
            look = partial(payloads.next_digests, before=before, after=after, limit=self.rows)
            digests, after = await self.records.reading(look)
            if not digests:
                return
            yield await self.records.writing(partial(payloads.take_away, before=before, digests=digests))
