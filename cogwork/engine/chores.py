"""What workers do beside running segments; each may be done by several at once, and one of them has an effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from cogwork.engine.parts import Parts
from cogwork.engine.queue import segment_id
from cogwork.engine.worker import Chore
from cogwork.executions.record import Execution, execution_of
from cogwork.executions.statuses import IllegalMove
from cogwork.records.tables.executions import EXECUTIONS
from state.errors import Fault

AT_ONCE: Final = 100
UNBORN_SECONDS: Final = 60.0
"""How long an execution may be about to run in a caller's process: longer than that waits for another one to let go of it."""
LOST_SECONDS: Final = 10.0
"""How long an execution counts as running although nobody works on it: one may just be letting go of it."""


def chores(parts: Parts, *, sweep: Callable[[], Any] | None = None) -> list[Chore]:
    """The chores of a worker; ``sweep`` takes away what has been kept long enough."""
    found = [
        Chore(name="wake", seconds=1.0, do=lambda: wake(parts)),
        Chore(name="orphans", seconds=5.0, do=lambda: orphans(parts)),
        Chore(name="tidy", seconds=600.0, do=lambda: tidy(parts)),
    ]
    if parts.house.instances:
        from cogwork.remote.looking import look

        found.append(Chore(name="remote", seconds=parts.house.settings.remote.look, do=lambda: look(parts)))
    return [*found, Chore(name="sweep", seconds=3600.0, do=sweep)] if sweep is not None else found


async def wake(parts: Parts) -> int:
    """Let executions go on whose questions or deadlines have expired; how many."""
    now = parts.executions.now()
    # One that has begun and waits in the queue is ended by whoever takes it up: here it would only stand in the way of others.
    unbegun = sa.and_(EXECUTIONS.c.status == "pending", EXECUTIONS.c.run == "")
    query = (
        sa.select(EXECUTIONS)
        .where(EXECUTIONS.c.wake_at <= now, sa.or_(EXECUTIONS.c.status == "paused", unbegun))
        .order_by(EXECUTIONS.c.wake_at)
        .limit(AT_ONCE)
    )
    rows = await parts.records.reading(lambda c: c.execute(query).mappings().all())
    for row in rows:
        with suppress(IllegalMove):  # Somebody else has woken it, or answered.
            await _woken(parts, execution_of(row))
    return len(rows)


async def _woken(parts: Parts, execution: Execution) -> None:
    late = execution.deadline is not None and execution.deadline <= parts.executions.now()
    if late and not execution.run:
        error = Fault("timeout", "its deadline passed before it began", origin="workflow").record(node="")
        among = ("pending", "paused")
        await parts.executions.move(execution.id, "failed", among=among, reason="timeout", error=error)
    elif execution.status == "paused":
        await parts.dispatch.expire(execution, "its deadline has passed" if late else "")


async def orphans(parts: Parts) -> int:
    """Note executions that count as running although whoever worked on them has died; how many.

    Those of the queue go on in another worker; those that ran, or were about to run, in a caller's process rest as interrupted.
    """
    now = parts.executions.now()
    lost, unborn = now - timedelta(seconds=LOST_SECONDS), now - timedelta(seconds=UNBORN_SECONDS)
    here = sa.and_(EXECUTIONS.c.status == "pending", EXECUTIONS.c.mode == "sync", EXECUTIONS.c.updated_at < unborn)
    running = sa.and_(EXECUTIONS.c.status == "running", EXECUTIONS.c.updated_at < lost)
    query = sa.select(EXECUTIONS).where(sa.or_(running, here)).order_by(EXECUTIONS.c.updated_at).limit(AT_ONCE)
    rows = await parts.records.reading(lambda c: c.execute(query).mappings().all())
    left = [row for row in rows if not await asyncio.to_thread(parts.saver.owners.alive, row["thread"])]
    if not left:
        return 0
    queue = await asyncio.to_thread(parts.queue)
    known = await queue.standing([segment_id(row["id"], row["segment"]) for row in left])
    count = 0
    for row in left:
        if known.get(segment_id(row["id"], row["segment"])) in ("ENQUEUED", "PENDING", "DELAYED"):
            continue  # The queue takes it up again by itself.
        with suppress(IllegalMove):
            await _left(parts, execution_of(row), row["owner"])
            count += 1
    return count


async def _left(parts: Parts, execution: Execution, owner: str) -> None:
    """Nobody works on the execution any more, and nobody will by itself.

    Raises:
        IllegalMove: somebody does.
    """
    if execution.mode != "sync":
        await parts.dispatch.take_over(execution, owner)
        return
    command = await parts.executions.command_of(execution.id, execution.segment)
    if execution.status == "pending" and command.get("kind") in ("cancel", "expire"):
        await parts.dispatch.enqueue(execution)
        return
    among, number = (execution.status,), execution.segment
    await parts.executions.move(execution.id, "paused", among=among, number=number, reason="interrupted", owner=owner)
    await parts.dispatch.heeded(execution.id)


async def tidy(parts: Parts) -> int:
    """Remove segments from the queue's own tables that have ended long ago; how many."""
    queue = await asyncio.to_thread(parts.queue)
    return await queue.tidy()
