"""Works off recorded firings: decides about overlaps, starts executions, tries again; whoever dies, another one goes on.

A firing goes ``planned`` → ``starting`` → ``fired``. Whether it may start is decided in the first step only, so that a firing whose
execution was started just before a crash is never taken for one that overlaps itself; the start is repeated under the same key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.database import Records
from cogwork.records.tables.schedules import FIRINGS
from cogwork.schedules.ports import Starter
from cogwork.schedules.rows import MAX_DETAIL, Firing, Outcome, firing_by_id, firing_of

LEASE: Final = timedelta(seconds=60)
"""How long a firing is left to who has taken it; then another one takes it."""
QUEUE_POLL: Final = timedelta(seconds=5)
ATTEMPTS: Final = 6
BATCH: Final = 100
_FOR_GOOD: Final = frozenset(
    {"invalid_input", "workflow_not_found", "version_not_found", "permission_denied", "agent_not_found", "illegal_move"}
)
_LOG: Final = logging.getLogger(__name__)


class Starting:
    """Starts what is due among the firings of the records."""

    def __init__(self, records: Records, start: Starter, now: Callable[[], datetime]) -> None:
        self._records, self._start, self._now = records, start, now

    async def work_off(self) -> int:
        """Deal with each firing that is due; how many."""
        worked = 0
        tried: set[tuple[str, int]] = set()
        while True:
            found = await self._records.reading(lambda connection: _due(connection, self._now()))
            fresh = [row for row in found if (row["id"], row["attempt"]) not in tried]
            if not fresh:
                return worked
            for row in fresh:
                tried.add((row["id"], row["attempt"]))
                worked += await self._take(row)

    async def work(self, firing_id: str) -> Firing:
        """Deal with one firing now, whoever comes before it; the firing."""
        row = await self._records.reading(lambda connection: firing_by_id(connection, firing_id))
        if row is not None and row["wake_at"] is not None:
            await self._take(row)
        found = await self._records.reading(lambda connection: firing_by_id(connection, firing_id))
        if found is None:
            raise EngineError("database_error", f"The firing {firing_id} is gone")
        return firing_of(found)

    async def _take(self, row: Mapping[str, Any]) -> bool:
        """Take the firing and deal with it; False where another one has it."""
        taken = await self._change(row, attempt=row["attempt"] + 1, wake_at=self._now() + LEASE)
        if not taken:
            return False
        mine = {**row, "attempt": row["attempt"] + 1}
        if mine["attempt"] > ATTEMPTS:
            await self._settle(mine, "failed", detail=f"given up after {ATTEMPTS} attempts: {row['detail']}")
            return True
        try:
            await self._deal(mine)
        except (
            Exception
        ) as err:  # Whatever the engine raises, the other firings go on; the reason is kept with this one.
            await self._failed(mine, err)
        return True

    async def _deal(self, row: dict[str, Any]) -> None:
        request = row["request"]
        origin, overlap = request["origin"], request["overlap"]
        if row["outcome"] == "planned":
            if overlap in ("skip", "queue") and (opened := await self._start.open_of(origin)):
                await self._held_up(row, overlap, opened[0])
                return
            if not await self._change(row, outcome="starting"):
                return
            row["outcome"] = "starting"
        execution = await self._start.start(
            request["workflow"],
            request["version"],
            request["input"],
            request["options"],
            idempotency_key=row["id"],
            origin=origin,
        )
        if overlap == "cancel_previous":
            if not await self._change(row, wake_at=self._now() + LEASE):
                return  # Taken over meanwhile: what is open now may be later than this firing.
            for other in await self._start.open_of(origin):
                if other != execution:
                    await self._start.cancel(other)
        await self._settle(row, "fired", execution_id=execution)

    async def _held_up(self, row: Mapping[str, Any], overlap: str, by: str) -> None:
        if overlap == "skip":
            await self._settle(row, "skipped_overlap", detail=f"the execution {by} is still open")
        else:
            await self._change(row, wake_at=self._now() + QUEUE_POLL, attempt=0, detail=f"waits for the execution {by}")

    async def _failed(self, row: Mapping[str, Any], err: Exception) -> None:
        told = f"{err.code}: {err}" if isinstance(err, EngineError) else f"{type(err).__name__}: {err}"
        told = told.replace("\0", "\ufffd")[:MAX_DETAIL]
        if (isinstance(err, EngineError) and err.code in _FOR_GOOD) or row["attempt"] >= ATTEMPTS:
            await self._settle(row, "failed", detail=told)
            return
        _LOG.warning("A firing could not be started and is tried again", extra={"firing": row["id"], "reason": told})
        await self._change(row, wake_at=self._now() + timedelta(seconds=2 * 4 ** (row["attempt"] - 1)), detail=told)

    async def _settle(self, row: Mapping[str, Any], outcome: Outcome, **changes: Any) -> None:
        await self._change(row, outcome=outcome, wake_at=None, request=None, **{"detail": "", **changes})

    async def _change(self, row: Mapping[str, Any], **changes: Any) -> bool:
        """Change the firing if it is still as ``row`` says."""
        unchanged = (
            FIRINGS.c.id == row["id"],
            FIRINGS.c.attempt == row["attempt"],
            FIRINGS.c.outcome == row["outcome"],
        )
        update = sa.update(FIRINGS).where(*unchanged, FIRINGS.c.wake_at.is_not(None)).values(**changes)
        return await self._records.writing(lambda connection: connection.execute(update).rowcount == 1)


def _due(connection: Connection, now: datetime) -> list[Mapping[str, Any]]:
    """The firings that are to be dealt with now, the earliest first; ordered ones only where none of their source is before."""
    earlier = FIRINGS.alias()
    before = (
        sa.exists()
        .where(earlier.c.source_id == FIRINGS.c.source_id, earlier.c.wake_at.is_not(None))
        .where(
            sa.or_(
                earlier.c.due_at < FIRINGS.c.due_at,
                sa.and_(earlier.c.due_at == FIRINGS.c.due_at, earlier.c.id < FIRINGS.c.id),
            )
        )
    )
    query = (
        sa.select(FIRINGS)
        .where(FIRINGS.c.wake_at <= now, sa.or_(FIRINGS.c.ordered.is_(False), ~before))
        .order_by(FIRINGS.c.due_at, FIRINGS.c.id)
        .limit(BATCH)
    )
    return [dict(row) for row in connection.execute(query).mappings()]
