"""What every worker runs: one pass after the other over the schedules, the triggers that are looked at, and their firings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.records.database import Records
from cogwork.records.tables.schedules import FIRINGS, SCHEDULES, TRIGGERS
from cogwork.schedules.planning import BATCH, plan_due
from cogwork.schedules.ports import Starter
from cogwork.schedules.starting import Starting
from cogwork.schedules.store import utc_now
from cogwork.schedules.triggers import Triggers

KEPT: Final = timedelta(days=30)
"""How long settled firings are kept."""
PRUNED: Final = 500
PRUNE_EVERY: Final = timedelta(minutes=10)


class Clockwork:
    """Fires what is due. Any number of them may tick at the same time, and any of them may die at any point of it.

    It holds nothing that is not in the records. ``triggers`` are looked at as well where they are given.
    """

    def __init__(
        self,
        records: Records,
        start: Starter,
        *,
        triggers: Triggers | None = None,
        now: Callable[[], datetime] = utc_now,
        keep: timedelta = KEPT,
    ) -> None:
        self._records, self._now, self._keep, self._triggers = records, now, keep, triggers
        self._starting = Starting(records, start, now)
        self._prune_at: datetime | None = None

    async def tick(self) -> int:
        """One pass; how many firings it dealt with.

        Raises:
            EngineError: ``database_error``; the next tick goes on where this one was.
        """
        while await self._records.writing(lambda connection: plan_due(connection, self._now())) == BATCH:
            pass
        if self._triggers is not None:
            await self._triggers.poll()
        worked = await self._starting.work_off()
        await self._prune()
        return worked

    async def next_wake(self) -> datetime | None:
        """When the next tick has something to do, if nothing is changed until then; None where it never has."""
        return await self._records.reading(_next_wake)

    async def _prune(self) -> None:
        now = self._now()
        if self._prune_at is not None and now < self._prune_at:
            return
        while await self._records.writing(lambda connection: prune(connection, now - self._keep)) == PRUNED:
            pass
        self._prune_at = now + PRUNE_EVERY


def prune(connection: Connection, before: datetime) -> int:
    """Remove some of the settled firings that were due before that; how many."""
    old = (
        sa.select(FIRINGS.c.id)
        .where(FIRINGS.c.due_at < before, FIRINGS.c.wake_at.is_(None))
        .order_by(FIRINGS.c.due_at)
        .limit(PRUNED)
    )
    ids = connection.execute(old).scalars().all()
    if ids:
        connection.execute(sa.delete(FIRINGS).where(FIRINGS.c.id.in_(ids)))
    return len(ids)


def _next_wake(connection: Connection) -> datetime | None:
    queries = (
        sa.select(sa.func.min(SCHEDULES.c.next_at)),
        sa.select(sa.func.min(TRIGGERS.c.next_at)),
        sa.select(sa.func.min(FIRINGS.c.wake_at)).where(FIRINGS.c.wake_at.is_not(None)),
    )
    found = [at for query in queries if (at := connection.execute(query).scalar()) is not None]
    return min(found, default=None)
