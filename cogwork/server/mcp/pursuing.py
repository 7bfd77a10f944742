"""An execution that a call waits for: begun, followed with progress, answered, and let rest where the call is given up."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio
from mcp.shared.exceptions import MCPDeprecationWarning

from cogwork.errors import EngineError
from cogwork.executions.record import Execution
from cogwork.executions.statuses import ENDED
from cogwork.server.mcp.standing import plan_of, top
from state.errors import CogworkError
from state.events import Event

if TYPE_CHECKING:
    from cogwork.identity.roles import Verb
    from cogwork.server.mcp.door import Call
    from cogwork.workflow_engine import WorkflowEngine

GivenUp: TypeAlias = Literal["pause", "cancel", "go_on"]
"""What becomes of an execution whose call the client has cancelled while it waited."""
_SETTLES: Final = frozenset({"step.finished", "step.skipped", "step.failed", "step.cancelled"})
_TOLD: Final = frozenset({*_SETTLES, "step.progress", "step.retry", "step.fallback", "item.finished", "step.handoff"})
_WARNS: Final = frozenset({"step.retry", "step.fallback", "step.failed"})
_SECONDS: Final = 0.1
"""The least between two tellings of what happens within a step."""
_LOOK: Final = 0.02
_REASON: Final = "the client gave up the call that waited for it"


def rests(status: str) -> bool:
    """Whether nothing more is waited for."""
    return status in ENDED or status == "paused"


class Pursuit:
    """One execution in the eyes of one call; ``work`` is what runs it in this process, where that is so."""

    def __init__(self, call: Call, id: str, work: asyncio.Task[Any] | None = None, given_up: GivenUp = "pause") -> None:
        self.call, self.id, self._work, self.given_up = call, id, work, given_up
        self._seen = 0
        self._progress: Progress | None = None

    # -- beginning -----------------------------------------------------------------------------------------

    @classmethod
    async def begun(
        cls, call: Call, source: Any, input: Mapping[str, Any], options: Mapping[str, Any], given_up: GivenUp = "pause"
    ) -> Pursuit:
        """The execution that is asked for, as soon as it is recorded.

        Raises:
            EngineError, SpecError: as ``WorkflowEngine.execute_workflow``.
        """

        async def start(engine: WorkflowEngine) -> Pursuit:
            recorded: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            def note(execution: Execution) -> None:
                if not recorded.done():
                    recorded.set_result(execution.id)

            asked = engine.execute_workflow(source, input, dict(options), begun=note)
            work = call.door.own(asked)
            try:
                await _either(work, recorded)
            except asyncio.CancelledError:
                call.door.own(cls._never_waited_for(call, work, recorded, given_up))
                raise
            if recorded.done():
                return cls(call, recorded.result(), work, given_up)
            recorded.cancel()
            return cls(call, (await work).id, None, given_up)

        target = source if isinstance(source, str) else "a workflow that was given"
        return await call.acting.perform("executions.start", target, start)

    @classmethod
    async def _never_waited_for(
        cls, call: Call, work: asyncio.Task[Any], recorded: asyncio.Future[str], given_up: GivenUp
    ) -> None:
        """Let an execution rest that came to be while its call was being given up."""
        await _either(work, recorded)
        if recorded.done():
            await cls(call, recorded.result(), work, given_up).let_go()
        elif work.done() and not work.cancelled() and work.exception() is None:
            await cls(call, work.result().id, None, given_up).let_go()

    # -- waiting -------------------------------------------------------------------------------------------

    async def settled(self, seconds: float) -> Execution:
        """The execution once it has ended or rests, or as it is after so many seconds; its progress is told meanwhile.

        When the call is given up meanwhile, the execution is let rest, cancelled or left alone, as it was asked for.
        """
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._followed()
        except asyncio.CancelledError:
            if not self.call.door.closing:
                self.call.door.own(self.let_go())
            raise
        return await self.execution()

    async def execution(self) -> Execution:
        """The execution as it is."""
        return await self.call.acting.perform("executions.read", self.id, lambda e: e.parts.executions.get(self.id))

    async def let_go(self) -> None:
        """What is done when nobody waits any more; a rest is asked for and not waited for, so that who resumes it at once is not
        paused again."""
        if self.given_up == "go_on":
            return

        async def stop(engine: WorkflowEngine) -> None:
            if self.given_up == "cancel":
                await engine.cancel_execution(self.id, _REASON)
            else:
                await engine.parts.dispatch.pause(self.id, _REASON, wait=False)

        with suppress(CogworkError):
            await self.call.acting.perform("executions.move", self.id, stop)

    async def _followed(self) -> None:
        watching = asyncio.ensure_future(self._watched())
        waiting: set[asyncio.Future[Any]] = {watching}
        if self._work is not None:
            waiting.add(self._work)
        try:
            while not watching.done():
                ended, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if self._work is not None and self._work in ended:
                    waiting.discard(self._work)
                    self._work.result()
            watching.result()
        finally:
            watching.cancel()

    async def _watched(self) -> None:
        history = await self.call.acting.perform("executions.read", self.id, _history)
        if self._progress is None:
            self._progress = await self._beginning()
        async for each in history.follow(self.id, after=self._seen, ended=rests):
            self._seen = each.seq
            await self._progress.tell(each.event)

    async def _beginning(self) -> Progress:
        async def plan(engine: WorkflowEngine) -> frozenset[str] | None:
            found = await plan_of(engine, await engine.parts.executions.get(self.id))
            return top(found) if found is not None else None

        progress = Progress(self.call, await self.call.acting.perform("executions.read", self.id, plan))
        await progress.begin(self.id)
        return progress

    # -- answering -----------------------------------------------------------------------------------------

    async def resumed(self, answers: Any = None) -> None:
        """Go on with it, with the answers to what it asks; returns as soon as it does.

        Raises:
            AnswerRefused, EngineError: as ``WorkflowEngine.resume_execution``.
        """

        async def resume(engine: WorkflowEngine) -> None:
            before = (await engine.parts.executions.get(self.id)).segment
            self._work = work = self.call.door.own(engine.resume_execution(self.id, answers))
            while not work.done():
                await asyncio.wait({work}, timeout=_LOOK)
                if (await engine.parts.executions.get(self.id)).segment > before:
                    return
            work.result()

        verb: Verb = "executions.move" if answers is None else "executions.answer"
        try:
            await self.call.acting.perform(verb, self.id, resume)
        except (CogworkError, EngineError):
            self._work = None
            raise


async def _either(*waited: asyncio.Future[Any]) -> None:
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)


async def _history(engine: WorkflowEngine) -> Any:
    return engine.parts.history


class Progress:
    """What a client is told while it waits: a number that only grows, and a sentence.

    The number counts the workflow's own steps that are settled; what happens within them moves it by less than one.
    """

    def __init__(self, call: Call, steps: frozenset[str] | None) -> None:
        self._call, self._steps = call, steps
        self._done = self._within = 0
        self._settled: set[str] = set()
        self._last = 0.0

    @property
    def _total(self) -> float | None:
        return float(len(self._steps)) if self._steps else None

    async def begin(self, id: str) -> None:
        """Tell that it has begun, and under which id it can be found."""
        await self._send(0.0, f"Execution {id} has begun")

    async def tell(self, event: Event) -> None:
        """Tell of an event, where it moves anything."""
        if event.kind in _WARNS:
            await self._warn(event)
        if event.kind not in _TOLD:
            return
        of = f" of {len(self._steps)}" if self._steps else ""
        if event.kind in _SETTLES and (self._steps is None or event.step in self._steps):
            if event.step in self._settled:
                return
            self._settled.add(event.step)
            self._done, self._within = self._done + 1, 0
            await self._send(float(self._done), f"{event.step} is {event.kind[5:]} ({self._done}{of})")
            return
        now = anyio.current_time()
        if now - self._last >= _SECONDS:
            self._within += 1
            said = event.data.get("message") or event.kind[5:]
            await self._send(self._done + self._within / (self._within + 1.0), f"{event.step}: {str(said)[:200]}")

    async def _warn(self, event: Event) -> None:
        """Tell what went wrong within the execution as a message of the log, where the client wants such."""
        ctx = self._call.ctx
        if self._call.door.heeds(ctx, "warning"):
            data = {"step": event.step, "event": event.kind, **event.data}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MCPDeprecationWarning)  # clients of earlier protocols still want it
                await ctx.session.send_log_message("warning", data, "cogwork", ctx.request_id)

    async def _send(self, progress: float, message: str) -> None:
        self._last = anyio.current_time()
        await self._call.ctx.session.report_progress(progress, self._total, message)
