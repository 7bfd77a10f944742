"""One stretch of an execution that another instance works on: its events as they come, and what is asked of it passed on.

How it stands there is asked for, never inferred from an event: events may be lost, come twice or lie, and change nothing but the
history.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from cogwork.executions.record import Execution
from cogwork.executions.store import Executions
from cogwork.remote import ends, rows
from cogwork.remote.answers import RemoteStatus
from cogwork.remote.giving import LONGEST_PAUSE, PAUSE, Giving, Lost
from cogwork.remote.instance import Instance, Refused
from cogwork.remote.instances import Instances
from cogwork.remote.rows import Remote
from cogwork.remote.sections import RemoteSection
from graphs.keeping import SHUTDOWN
from state.durable import Request
from state.errors import Fault
from state.events import Event
from state.values import Json

LAST: Final = frozenset({"run.completed", "run.failed", "run.cancelled", "run.paused"})
POLL: Final = 0.1
QUIET: Final = 0.3
"""How long, in seconds, the stream of a resting execution is read until nothing more is expected."""
WAITING: Final = 256


@dataclass(slots=True, kw_only=True)
class Mirror:
    """One stretch; ``command`` is what it begins with, ``asked`` what somebody asks of the execution now."""

    execution: Execution
    row: Remote
    command: Mapping[str, Json]
    executions: Executions
    instances: Instances
    section: RemoteSection
    asked: Callable[[], Awaitable[Request | None]]
    _coming: asyncio.Queue[Event | BaseException] = field(default_factory=lambda: asyncio.Queue(WAITING))
    _number: int = 0
    _count: int = 0
    _rests: bool = False
    """Whether the last event that was read tells of a rest or an end."""
    _silent_since: float | None = None
    _pause: float = PAUSE
    _resumed: bool = False
    _wish: Request | None = None
    """The last request that the instance has been told of."""

    async def events(self) -> AsyncIterator[Event]:
        """The events of the stretch; the last says how it ended or where it rests."""
        tasks = [asyncio.create_task(self._told(work)) for work in (self._mirrored, self._heeding)]
        try:
            while True:
                item = await self._coming.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if item.kind in LAST:
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _told(self, work: Callable[[], Awaitable[Event]]) -> None:
        """Do the work, and tell its last event or its failure."""
        try:
            await self._coming.put(await work())
        except Exception as error:
            await self._coming.put(error)

    # -- the work ------------------------------------------------------------------------------------------------

    async def _mirrored(self) -> Event:
        if (end := await self._decided()) is not None:
            return end
        while True:
            try:
                if self.row.state != "begun" and (end := await self._given()) is not None:
                    return end
                status = await self._instance.status(self.row.remote_id)
                self._silent_since = None
                if (end := await self._judged(status)) is not None:
                    return end
            except (Fault, Refused, Lost) as trouble:
                if (end := await self._unheard(trouble)) is not None:
                    return end

    async def _given(self, avoid: frozenset[str] = frozenset()) -> Event | None:
        giving = Giving(
            execution=self.execution,
            row=self.row,
            executions=self.executions,
            instances=self.instances,
            section=self.section,
            asked=self.asked,
            avoid=avoid,
        )
        try:
            return await giving.done()
        finally:
            self.row = giving.row
            self._number = self.row.number

    async def _judged(self, status: RemoteStatus) -> Event | None:
        """The end or rest that the execution has come to; None where it goes on, after some of its events."""
        if status.ended:
            await self._caught_up(status)
            return await self._ended(status)
        if status.status == "paused" and not await self._goes_on(status):
            await self._caught_up(status)
            await self._note(number=self._number, segment=status.segment)
            return ends.resting(self.row, status)
        before = self._number
        with suppress(Fault, Refused):  # how it stands is asked for next
            await self._followed()
        self._pause = PAUSE if self._number > before else min(2 * self._pause, LONGEST_PAUSE)
        await asyncio.sleep(self._pause)
        return None

    async def _goes_on(self, status: RemoteStatus) -> bool:
        """Whether a resting execution is about to go on: with what this stretch begins with, or to its end.

        Raises:
            Fault, Refused: its instance cannot be told.
        """
        if status.segment != self.row.segment:
            return False
        wish = await self.asked()
        if wish is not None and wish.kind == "cancel":
            return await self._passed_on(wish)
        if self._resumed or self.command.get("kind") != "go_on":
            return False
        answers = self.command.get("answers")
        try:
            await self._instance.move(self.row.remote_id, "resume", {"answers": answers} if answers else {})
        except Refused as no:
            if no.status not in (400, 409, 422):
                raise
            self._resumed = True
            return no.status == 409
        return True

    async def _ended(self, status: RemoteStatus) -> Event:
        output: Json = None
        if status.status == "completed":
            output = (await self._instance.result(self.row.remote_id)).output.primary_result
        await self._note(number=self._number, segment=status.segment)
        return ends.ended(self.row, status, output, await self.asked())

    # -- events --------------------------------------------------------------------------------------------------

    async def _followed(self) -> None:
        """Take over events until one tells of a rest or an end, or the stream does.

        Raises:
            Fault, Refused: the stream cannot be had, or breaks off.
        """
        stream = self._instance.events(self.row.remote_id, run=self.row.key, after=self._number, move=self.row.moves)
        async for number, event in stream:
            self._number, self._rests = number, event is not None and event.kind in LAST
            if self._rests:
                return
            if event is not None and event.kind.startswith("step.") and self._count < self.section.events:
                self._count += 1
                await self._coming.put(event)

    async def _caught_up(self, status: RemoteStatus) -> None:
        """Take over what has happened up to the rest or end that the execution has come to, as far as it is told soon."""
        while not self._rests or status.status == "paused":
            before = self._number
            with suppress(Fault, Refused, TimeoutError):
                async with asyncio.timeout(QUIET if status.status == "paused" else self._instance.section.timeout):
                    await self._followed()
            if self._number == before:
                return
            if self._rests and status.ended:
                return

    # -- what is asked of it -------------------------------------------------------------------------------------

    async def _heeding(self) -> Event:
        """Pass on what somebody asks of the execution; its last event where whoever mirrors it is to stop."""
        while True:
            await asyncio.sleep(POLL)
            wish = await self.asked()
            if wish is None or wish == self._wish:
                continue
            if wish.kind == "pause" and wish.reason == SHUTDOWN:
                return ends.handed_on(self.row)
            if self.row.state == "begun":
                with suppress(Fault, Refused):
                    await self._passed_on(wish)

    async def _passed_on(self, wish: Request) -> bool:
        """Tell the instance of a request, once.

        Raises:
            Fault, Refused: it cannot be told now.
        """
        if wish == self._wish:
            return True
        body: dict[str, Json] = {"reason": wish.reason[:1_000]}
        if wish.kind == "cancel":
            body["undo"] = wish.undo
        try:
            await self._instance.move(self.row.remote_id, wish.kind, body)
        except Refused as no:
            if no.status not in (404, 409):  # it rests or has ended already
                raise
        self._wish = wish
        return True

    # -- silence -------------------------------------------------------------------------------------------------

    async def _unheard(self, trouble: Exception) -> Event | None:
        """Wait a moment for an instance that does not answer as it should; the last event, where that was the last one."""
        now = asyncio.get_running_loop().time()
        if isinstance(trouble, Refused) and trouble.status == 404:
            return ends.forgotten(self.row, trouble)
        self._silent_since = self._silent_since or now
        if not isinstance(trouble, Lost) and now - self._silent_since < self.section.lost_after:
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return None
        cause = trouble.trouble if isinstance(trouble, Lost) else trouble
        wish = await self.asked()
        if wish is not None and wish.kind == "cancel":
            told = f"The instance {self.row.instance} does not answer, and it may still run there"
            return ends.given_up(self.row, wish, told, instance=self.row.instance, execution_id=self.row.remote_id)
        if self._movable and (end := await self._moved()) is None:
            return None
        return ends.in_doubt(self.row, cause, self.section.lost_after) if not self._movable else end

    @property
    def _movable(self) -> bool:
        """Whether the execution may begin again on another instance without being asked for."""
        chosen = self.section.restart
        free = self.execution.options.get("target") is None and len(self._others) > 0
        return free and (chosen == "always" or (chosen == "reads" and not self.row.writes))

    @property
    def _others(self) -> list[str]:
        wanted = {*self.row.labels, *(self.execution.options.get("labels") or ())}
        return [name for name in self.instances.having(wanted) if name != self.row.instance]

    async def _moved(self) -> Event | None:
        """Let the execution begin again on another instance; None once one has begun it."""
        left, self._silent_since = self.row.instance, None
        await self._note(instance="", state="new", remote_id="", number=0, segment=0, moves=self.row.moves + 1)
        self._number, self._rests = 0, False
        return await self._given(frozenset({left}))

    async def _decided(self) -> Event | None:
        """Do what a person has decided about a doubt, if this stretch begins with that; an end, where it was to give up."""
        answers = self.command.get("answers") or {}
        decision = answers.get(ends.place(self.row)) if isinstance(answers, Mapping) else None
        if self.command.get("kind") == "go_on" and isinstance(answers, Mapping):
            self._resumed = any(str(at).startswith("instance:") for at in answers)
        match decision.get("decision") if isinstance(decision, Mapping) else None:
            case "elsewhere":
                try:
                    return await self._moved()
                except Lost as lost:
                    return ends.in_doubt(self.row, lost.trouble, self.section.lost_after)
            case "give_up":
                with suppress(Fault, Refused, KeyError):
                    if self.row.state == "begun":
                        await self._instance.move(self.row.remote_id, "cancel", {"reason": "it was given up"})
                return ends.abandoned(self.row)
            case _:
                return None

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _instance(self) -> Instance:
        """The instance that has begun it.

        Raises:
            Fault: ``unavailable``; the settings name it no more.
        """
        found = self.instances.get(self.row.instance)
        if found is None:
            raise Fault("unavailable", f"The settings name no instance {self.row.instance} any more", origin="tool")
        return found

    async def _note(self, **changes: Any) -> None:
        now = self.executions.now()
        self.row = await self.executions.records.writing(
            lambda connection: rows.changed(connection, self.execution.id, now, **changes)
        )
