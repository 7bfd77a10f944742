"""The verbs of executions: start, run, pause, resume, cancel; each moves the record first and tells the queue afterwards.

A crash between the two leaves a pending execution that the queue does not know; ``requeue`` finds those and tells it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import sqlalchemy as sa

from cogwork.engine.answering import addressed
from cogwork.engine.queue import QueueClient, segment_id
from cogwork.engine.segments import Segments, ending
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
        self._looked: tuple[datetime, str] | None = None

    # -- starting --------------------------------------------------------------------------------------------

    async def start(self, asked: Request) -> Execution:
        """Record an execution and put it into the queue; the one of its idempotency key, where that has come before.

        Raises:
            EngineError: ``invalid_input``.
        """
        queue = await asyncio.to_thread(self._queue)
        queue.queues.known(asked.options.queue, asked.workflow)
        execution, new = await self.executions.create(asked)
        if new or (execution.status == "pending" and execution.mode != "sync"):
            await self.enqueue(execution)
        return execution

    async def run(
        self,
        asked: Request,
        told: Callable[[Event], None] | None = None,
        begun: Callable[[Execution], None] | None = None,
    ) -> Execution:
        """Run an execution in this process, to its end or first rest; ``begun`` is told of it as soon as it is recorded.

        Raises:
            EngineError: ``invalid_input``.
        """
        execution, new = await self.executions.create(asked)
        if begun is not None:
            begun(execution)
        return await self._here(execution, told) if new else execution

    async def _here(self, execution: Execution, told: Callable[[Event], None] | None) -> Execution:
        """Run the execution's segment in this process; where the caller goes away before it begins, it can be resumed."""
        try:
            await self.segments.run(execution.id, execution.segment, told)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self._interrupted(execution)))
            raise
        return await self.executions.get(execution.id)

    async def _interrupted(self, execution: Execution) -> None:
        if execution.mode == "sync":
            with suppress(IllegalMove):
                number = execution.segment
                await self.executions.move(
                    execution.id, "paused", among=("pending",), number=number, reason="interrupted"
                )

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
        end = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            execution = await self.executions.get(name)
            if execution.status == "pending":
                with suppress(IllegalMove):
                    return await self._paused_waiting(execution)
                continue
            if execution.status != "running":
                raise IllegalMove(name, execution.status, "paused", "paused")
            await self.saver.requests.make(execution.thread, request("pause", reason))
            execution = await self._settled(name) if wait else await self.executions.get(name)
            # One that its worker handed on meanwhile has not heeded it.
            if execution.status != "pending" or asyncio.get_running_loop().time() > end:
                return execution

    async def _paused_waiting(self, execution: Execution) -> Execution:
        """The execution, paused while it waits in the queue; where somebody had asked that it end, it ends.

        Raises:
            IllegalMove: it does not wait any more.
        """
        await self.executions.move(
            execution.id, "paused", among=("pending",), number=execution.segment, reason="requested"
        )
        await self._withdrawn(execution)
        return await self.heeded(execution.id)

    async def heeded(self, name: str) -> Execution:
        """The execution; where it rests although somebody has asked that it end, it goes on to do so."""
        execution = await self.executions.get(name)
        if (command := await self.segments.wish(execution)) is None:
            return execution
        with suppress(IllegalMove):
            await self._go_on(execution, command)
        return await self.executions.get(name)

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
        while True:
            execution = await self.executions.get(name)
            if execution.status != "paused":
                raise IllegalMove(name, execution.status, "running", "resumed")
            command = await self._command(execution, self._answering(execution, answers))
            try:
                return await self._go_on(execution, command, told=told, here=here)
            except IllegalMove as err:
                # It may rest again, and ask something else: then the answers are looked at anew.
                if err.details.get("status") != "paused":
                    raise

    def _answering(self, execution: Execution, answers: Any) -> dict[str, Json]:
        """What the segment begins with that is given these answers."""
        taken = addressed(execution, answers, self.executions.now()) if answers is not None else {}
        if not taken and execution.questions and not self._expired(execution):
            asks = ", ".join(str(question.get("at")) for question in execution.questions)
            message = f"Execution {execution.id} waits for an answer at {asks}: give it"
            raise EngineError("invalid_input", message, execution_id=execution.id)
        return {"kind": "go_on", **({"answers": taken} if taken else {})}

    def _expired(self, execution: Execution) -> bool:
        return execution.wake_at is not None and execution.wake_at <= self.executions.now()

    async def _command(self, execution: Execution, command: dict[str, Json]) -> dict[str, Json]:
        """The command, or that of the segment before where nobody has begun that yet: it was paused while it waited."""
        return await self.executions.unbegun(execution.id, execution.segment) or command

    async def _go_on(
        self,
        rests: Execution,
        command: Mapping[str, Json],
        *,
        told: Callable[[Event], None] | None = None,
        here: bool = False,
    ) -> Execution:
        execution = await self.executions.next_segment(rests.id, command, number=rests.segment)
        if here:
            return await self._here(execution, told)
        await self.enqueue(execution)
        return execution

    async def expire(self, execution: Execution, reason: str) -> Execution:
        """Go on with an execution whose time is up: of a question, or with a ``reason`` of its own, so that it fails.

        Raises:
            IllegalMove: it is not paused any more.
        """
        command: dict[str, Json] = {"kind": "expire", "reason": reason} if reason else {"kind": "go_on"}
        return await self._go_on(execution, command)

    async def hand_on(self, name: str, number: int) -> None:
        """Queue the segment after ``number`` of an execution that its worker has let go of; where it is not there any more, it
        stays as it is."""
        with suppress(IllegalMove):
            await self.enqueue(await self.executions.next_segment(name, None, among=("pending",), number=number))

    async def take_over(self, execution: Execution, owner: str) -> None:
        """Queue the next segment of an execution whose worker, which held ``owner``, has died.

        Raises:
            IllegalMove: somebody has taken it over, or it has come to an end.
        """
        number = execution.segment
        await self.enqueue(
            await self.executions.next_segment(execution.id, None, among=("running",), number=number, owner=owner)
        )

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
        asked = request("cancel", reason, undo=undo)
        while True:
            execution = await self.executions.get(name)
            if execution.ended:
                raise IllegalMove(name, execution.status, "cancelled", "cancelled")
            if not execution.run:
                ended = await self._never_begun(execution, reason)
                if ended is not None:
                    return ended
                execution = await self.executions.get(name)
            if execution.status in ("pending", "running"):
                await self.saver.requests.make(execution.thread, asked)
                # It may have come to rest before that could be heeded; whoever lets it rest later sees it.
                await self.heeded(name)
                break
            with suppress(IllegalMove):  # Somebody has resumed it, or it has ended: look again.
                await self._go_on(execution, ending(asked), here=here)
                break
        return await self._settled(name, ended=True) if wait else await self.executions.get(name)

    async def _never_begun(self, execution: Execution, reason: str) -> Execution | None:
        """The execution, cancelled before it began; None where it has begun meanwhile, or was begun before."""
        if execution.run:
            return None
        told = {"class": "cancelled", "message": reason or "the execution was cancelled before it began", "node": ""}
        try:
            ended = await self.executions.move(
                execution.id,
                "cancelled",
                among=("pending", "paused"),
                number=execution.segment,
                verb="cancelled",
                error=told,
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
        place = sa.tuple_(EXECUTIONS.c.created_at, EXECUTIONS.c.id)
        matching = [EXECUTIONS.c.status == "pending", EXECUTIONS.c.updated_at < before, EXECUTIONS.c.mode != "sync"]
        if self._looked is not None:  # However many wait, all are looked at in turn.
            after = sa.tuple_(sa.literal(self._looked[0], EXECUTIONS.c.created_at.type), sa.literal(self._looked[1]))
            matching.append(place > after)
        query = sa.select(EXECUTIONS).where(*matching).order_by(EXECUTIONS.c.created_at, EXECUTIONS.c.id).limit(limit)
        rows = await self.executions.records.reading(lambda c: c.execute(query).mappings().all())
        waiting = [execution_of(row) for row in rows]
        self._looked = (waiting[-1].created_at, waiting[-1].id) if len(waiting) == limit else None
        return await self._told_again(queue, waiting) if waiting else 0

    async def _told_again(self, queue: QueueClient, waiting: Sequence[Execution]) -> int:
        known = await queue.standing([segment_id(each.id, each.segment) for each in waiting])
        lost = [each for each in waiting if segment_id(each.id, each.segment) not in known]
        for each in lost:
            await self.enqueue(each)
        # Segments that have ended in the queue, though the execution is pending again: their successor was never queued.
        for each in waiting:
            if known.get(segment_id(each.id, each.segment)) in ("SUCCESS", "ERROR", "CANCELLED"):
                await self.hand_on(each.id, each.segment)
        return len(lost)
