"""The verbs of executions: start, run, pause, resume, cancel; each moves the record first and tells the queue afterwards.

A crash between the two leaves a pending execution that the queue does not know; ``requeue`` finds those and tells it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import sqlalchemy as sa

from cogwork.engine.answering import addressed
from cogwork.engine.queue import QueueClient, segment_id
from cogwork.engine.segments import Segments
from cogwork.errors import EngineError
from cogwork.executions.record import Execution, execution_of
from cogwork.executions.statuses import IllegalMove
from cogwork.executions.store import Executions, Request
from cogwork.records.tables.executions import EXECUTIONS
from graphs.keeping import request
from state.durable import Requests
from state.events import Event
from state.values import Json

LOOK_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 30.0
LOST_SECONDS: Final = 5.0
"""How long an execution may be pending before the queue is asked whether it knows it."""


class Saver(Protocol):
    """The checkpoints, for what is asked of runs."""

    @property
    def requests(self) -> Requests:
        """The open requests."""


class Dispatch:
    """Starts executions and moves them. ``queue`` opens the queue's client when it is first needed."""

    def __init__(
        self,
        executions: Executions,
        segments: Segments,
        saver: Saver,
        queue: Callable[[], QueueClient],
    ) -> None:
        self.executions, self.segments, self.saver, self._queue = executions, segments, saver, queue

    # -- starting --------------------------------------------------------------------------------------------

    async def start(self, asked: Request) -> Execution:
        """Record an execution and put it into the queue; the one of its idempotency key, where that has come before.

        Raises:
            EngineError: ``invalid_input``.
        """
        queue = await asyncio.to_thread(self._queue)
        queue.queues.known(asked.options.queue, asked.workflow)
        execution, new = await self.executions.create(asked)
        if new or execution.status == "pending":
            await self.enqueue(execution)
        return execution

    async def run(self, asked: Request, told: Callable[[Event], None] | None = None) -> Execution:
        """Run an execution in this process, to its end or first rest.

        Raises:
            EngineError: ``invalid_input``.
        """
        execution, new = await self.executions.create(asked)
        if new:
            await self.segments.run(execution.id, 1, told)
        return await self.executions.get(execution.id)

    async def enqueue(self, execution: Execution) -> None:
        """Let a worker run the execution's current segment."""
        queue = await asyncio.to_thread(self._queue)
        name = queue.queues.known(execution.options.get("queue"), execution.workflow)
        delay = 0.0
        if execution.not_before is not None and execution.segment == 1:
            delay = (execution.not_before - self.executions.now()).total_seconds()
        await queue.enqueue(
            execution.id,
            execution.segment,
            priority=execution.priority,
            queue=name,
            delay=delay,
            partition=queue.queues.partition(name, execution.tenant, execution.workflow),
        )

    # -- pausing ---------------------------------------------------------------------------------------------

    async def pause(self, name: str, reason: str = "", *, wait: bool = True) -> Execution:
        """Let an execution rest; with ``wait`` it does when this returns, unless a write takes longer than half a minute.

        Raises:
            IllegalMove: it rests already, or has ended.
            EngineError: ``execution_not_found``.
        """
        execution = await self.executions.get(name)
        if execution.status == "pending":
            try:
                paused = await self.executions.move(
                    name, "paused", among=("pending",), verb="paused", reason="requested"
                )
            except IllegalMove:
                execution = await self.executions.get(name)
            else:
                await self._withdrawn(execution)
                return paused
        if execution.status != "running":
            raise IllegalMove(name, execution.status, "paused", "paused")
        await self.saver.requests.make(execution.thread, request("pause", reason))
        return await self._settled(name) if wait else await self.executions.get(name)

    # -- resuming --------------------------------------------------------------------------------------------

    async def resume(
        self, name: str, answers: Any = None, *, told: Callable[[Event], None] | None = None, here: bool = False
    ) -> Execution:
        """Go on with a paused execution: in the queue, or ``here``, where this returns at its next rest.

        ``answers`` are by the step that asks, or the one answer to the one question.

        Raises:
            AnswerRefused: an answer that does not fit its form, or comes too late; nothing has changed.
            EngineError: ``invalid_input`` for answers to what nobody asks.
            IllegalMove: it is not paused.
        """
        execution = await self.executions.get(name)
        if execution.status != "paused":
            raise IllegalMove(name, execution.status, "running", "resumed")
        taken = addressed(execution, answers, self.executions.now()) if answers is not None else {}
        if not taken and execution.questions and not self._expired(execution):
            asks = ", ".join(str(question.get("at")) for question in execution.questions)
            raise EngineError(
                "invalid_input", f"Execution {name} waits for an answer at {asks}: give it", execution_id=name
            )
        command = await self._command(execution, {"kind": "go_on", **({"answers": taken} if taken else {})})
        return await self._go_on(name, command, told=told, here=here)

    def _expired(self, execution: Execution) -> bool:
        return execution.wake_at is not None and execution.wake_at <= self.executions.now()

    async def _command(self, execution: Execution, command: dict[str, Json]) -> dict[str, Json]:
        """The command, or that of the segment before where the execution has not begun yet."""
        return command if execution.run else await self.executions.command_of(execution.id, 1)

    async def _go_on(
        self, name: str, command: Mapping[str, Json], *, told: Callable[[Event], None] | None = None, here: bool = False
    ) -> Execution:
        execution = await self.executions.next_segment(name, command)
        if not here:
            await self.enqueue(execution)
            return execution
        await self.segments.run(name, execution.segment, told)
        return await self.executions.get(name)

    async def expire(self, execution: Execution, reason: str) -> Execution:
        """Go on with an execution whose time is up: of a question, or with a ``reason`` of its own, so that it fails.

        Raises:
            IllegalMove: it is not paused any more.
        """
        command: dict[str, Json] = {"kind": "expire", "reason": reason} if reason else {"kind": "go_on"}
        return await self._go_on(execution.id, command)

    async def hand_on(self, name: str) -> None:
        """Queue the next segment of an execution that its worker has let go of."""
        now = self.executions.now()

        def next_one(connection: Any) -> Execution | None:
            return _handed_on(connection, name, now)

        execution = await self.executions.records.writing(next_one)
        if execution is not None:
            await self.enqueue(execution)

    # -- cancelling ------------------------------------------------------------------------------------------

    async def cancel(
        self, name: str, reason: str = "", *, undo: bool = False, wait: bool = False, here: bool = False
    ) -> Execution:
        """End an execution; what has begun ends in order: ``on_failure``, with ``undo`` its finished steps, ``finally``.

        With ``wait`` it has ended when this returns, unless what follows takes longer than half a minute or asks a person.

        Raises:
            IllegalMove: it has ended.
            EngineError: ``execution_not_found``.
        """
        execution = await self.executions.get(name)
        if execution.ended:
            raise IllegalMove(name, execution.status, "cancelled", "cancelled")
        if not execution.run or execution.status == "pending":
            ended = await self._never_begun(execution, reason)
            if ended is not None:
                return ended
            execution = await self.executions.get(name)
        if execution.status == "paused":
            command = {"kind": "cancel", "undo": undo, "reason": reason}
            execution = await self._go_on(name, command, here=here)
        else:
            await self.saver.requests.make(execution.thread, request("cancel", reason, undo=undo))
        return await self._settled(name, ended=True) if wait else await self.executions.get(name)

    async def _never_begun(self, execution: Execution, reason: str) -> Execution | None:
        """The execution, cancelled before it began; None where it has begun meanwhile, or was begun before."""
        if execution.run:
            return None
        told = {"class": "cancelled", "message": reason or "the execution was cancelled before it began", "node": ""}
        try:
            ended = await self.executions.move(
                execution.id, "cancelled", among=("pending", "paused"), verb="cancelled", error=told
            )
        except IllegalMove:
            return None
        await self._withdrawn(execution)
        return ended

    async def _withdrawn(self, execution: Execution) -> None:
        if execution.mode != "sync":
            queue = await asyncio.to_thread(self._queue)
            await queue.withdraw(execution.id, execution.segment)

    # -- waiting ---------------------------------------------------------------------------------------------

    async def wait(self, name: str, seconds: float | None = None) -> Execution:
        """The execution once it has ended or rests, or after so many seconds as it is then."""
        end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        while True:
            execution = await self.executions.get(name)
            if execution.status not in ("pending", "running"):
                return execution
            if end is not None and asyncio.get_running_loop().time() >= end:
                return execution
            await asyncio.sleep(LOOK_SECONDS)

    async def _settled(self, name: str, *, ended: bool = False) -> Execution:
        end = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            execution = await self.executions.get(name)
            goes_on = execution.status in (("running", "pending") if ended else ("running",))
            if not goes_on or asyncio.get_running_loop().time() > end:
                return execution
            await asyncio.sleep(LOOK_SECONDS)

    # -- mending ---------------------------------------------------------------------------------------------

    async def requeue(self, limit: int = 200) -> int:
        """Tell the queue of executions that are pending and that it does not know; how many."""
        queue = await asyncio.to_thread(self._queue)
        before = self.executions.now() - timedelta(seconds=LOST_SECONDS)
        query = (
            sa.select(EXECUTIONS)
            .where(EXECUTIONS.c.status == "pending", EXECUTIONS.c.updated_at < before, EXECUTIONS.c.mode != "sync")
            .order_by(EXECUTIONS.c.updated_at)
            .limit(limit)
        )
        rows = await self.executions.records.reading(lambda c: c.execute(query).mappings().all())
        waiting = [execution_of(row) for row in rows]
        return await self._told_again(queue, waiting) if waiting else 0

    async def _told_again(self, queue: QueueClient, waiting: Sequence[Execution]) -> int:
        known = await queue.standing([segment_id(each.id, each.segment) for each in waiting])
        lost = [each for each in waiting if segment_id(each.id, each.segment) not in known]
        for each in lost:
            await self.enqueue(each)
        # Segments that have ended in the queue, though the execution is pending again: their successor was never queued.
        for each in waiting:
            if known.get(segment_id(each.id, each.segment)) in ("SUCCESS", "ERROR", "CANCELLED"):
                await self.hand_on(each.id)
        return len(lost)


def _handed_on(connection: Any, name: str, now: datetime) -> Execution | None:
    from cogwork.executions.store import found, queue_segment

    matching = (EXECUTIONS.c.id == name, EXECUTIONS.c.status == "pending")
    execution = found(connection, name)
    number = execution.segment + 1
    done = connection.execute(
        sa.update(EXECUTIONS)
        .where(*matching, EXECUTIONS.c.segment == execution.segment)
        .values(segment=number, updated_at=now)
    )
    if done.rowcount == 0:
        return None
    queue_segment(connection, name, number, {"kind": "go_on"}, now)
    return found(connection, name)
