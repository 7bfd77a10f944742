"""One segment of an execution: from where its checkpoint stands to its next rest or its end."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from cogwork.engine.attempts import Attempt, attempted
from cogwork.engine.foreign import asking, end_of, recorded, run_of
from cogwork.engine.runnable import Graphs, Runnable
from cogwork.engine.talks import Talks
from cogwork.errors import EngineError
from cogwork.executions.record import Execution
from cogwork.executions.recorder import TAKING, Recorder, Stuck, Taking, Watch
from cogwork.executions.settling import Settled
from cogwork.executions.statuses import ENDED, IllegalMove
from cogwork.executions.store import Executions
from cogwork.store.errors import StoreError
from graphs.graph import WorkflowGraph
from graphs.keeping import SHUTDOWN, request
from graphs.locality import refusal, required_labels
from state.bearing import bearing
from state.durable import Durable, Request
from state.errors import AnswerRefused, CogworkError, Fault, InputRefused, NotResumable, Owned, SpecError, Unrecorded
from state.events import Event
from state.values import Json

log = logging.getLogger(__name__)
_FRAMES: Final = 8
MOST_STUCK: Final = 10
"""How many attempts in a row may die at the same checkpoint before the execution fails."""
OWNED_SECONDS: Final = 45.0
"""How long a segment waits for another process to let go of its thread: longer than a frozen one may keep it."""
PAUSE_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 600.0
"""How long a segment is tried again while what is kept cannot be reached."""
GRACE_SECONDS: Final = 15.0
"""How much longer than its time an execution on another instance may take to end there by itself."""


class Segments:
    """Runs segments, in a worker or in the caller's own process; ``worker`` names the former."""

    def __init__(
        self,
        executions: Executions,
        recorder: Recorder,
        graphs: Graphs,
        saver: Durable,
        *,
        worker: str = "",
        most_stuck: int = MOST_STUCK,
        talks: Talks | None = None,
        labels: frozenset[str] | None = None,
    ) -> None:
        self.talks, self.requests, self.owners = talks, saver.requests, saver.owners
        self.executions, self.recorder, self.graphs = executions, recorder, graphs
        self.worker, self.most_stuck, self.labels = worker, most_stuck, labels
        self.at_work: dict[str, Any] = {}
        """The threads that are worked on now, with their savers."""

    async def run(self, name: str, number: int, told: Callable[[Event], None] | None = None) -> str:
        """Drive the segment; what became of it: ``stale`` where it is not the execution's current one, ``elsewhere`` where this
        instance lacks labels that its workflow requires, so that it waits for another worker; else its status.

        Raises:
            EngineError: ``execution_not_found``; ``database_error`` where the records stay away.
        """
        with bearing(execution_id=name):
            return await self._tried(name, number, told)

    async def _tried(self, name: str, number: int, told: Callable[[Event], None] | None) -> str:
        """``run``, again and again while what is kept cannot be reached."""
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        pause = PAUSE_SECONDS
        while True:
            try:
                attempt = await self.executions.records.reading(lambda connection: attempted(connection, name, number))
                execution = attempt.execution
                if execution.segment != number or execution.ended:
                    return "stale"
                outcome = "stale" if execution.status == "paused" else await self._driven(attempt, told)
                if outcome in ("paused", "stale") and (following := await self._left_to_end(name, number)) is not None:
                    return await self.run(name, following, told)
                await self._afterwards(execution, outcome)
                return outcome
            except (StoreError, Unrecorded, EngineError) as err:
                if isinstance(err, EngineError) and err.code != "database_error":
                    raise
                if asyncio.get_running_loop().time() > until:
                    log.error("Execution %s is left as it stands: %s", name, err)
                    raise
                log.warning("Execution %s is taken up again in %.1f s: %s", name, pause, err)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_SECONDS)

    async def _left_to_end(self, name: str, number: int) -> int | None:
        """The segment that ends an execution which has come to rest while somebody asked that it end; None where nobody has."""
        execution = await self.executions.get(name)
        if execution.segment != number or (command := await self.wish(execution)) is None:
            return None
        try:
            return (await self.executions.next_segment(name, command, number=number)).segment
        except IllegalMove:
            return None

    async def wish(self, execution: Execution) -> dict[str, Json] | None:
        """What the next segment of a resting execution begins with where somebody has asked that it end, and its last segment was
        not told of that yet; one that was rests because what follows its end asks a person."""
        if execution.status != "paused":
            return None
        asked = await self.requests.open(execution.thread)
        if asked is None or asked.kind != "cancel":
            return None
        command = await self.executions.command_of(execution.id, execution.segment)
        return ending(asked) if command.get("request") != asked.id else None

    async def _afterwards(self, execution: Execution, outcome: str) -> None:
        """Let the session that the execution belongs to have what it came to."""
        if self.talks is None or execution.session_id is None or outcome not in ENDED:
            return
        with suppress(CogworkError):  # the session may have ended: the execution's result stays what it is
            execution = await self.executions.get(execution.id)
            await self.talks.told(execution, await self.graphs.of(execution))

    async def _driven(self, attempt: Attempt, told: Callable[[Event], None] | None) -> str:
        """Drive the segment; an execution that cannot go on has failed, and says why.

        Raises:
            StoreError, EngineError: what is kept cannot be reached; it may be in a moment.
        """
        execution = attempt.execution
        try:
            if execution.deadline is not None and execution.deadline <= self.executions.now() and not execution.run:
                return await self._failed(execution, _timeout(execution, "its deadline passed before it began"))
            graph = await self.graphs.of(execution)
            if missing := self._lacking(graph):
                return await self._left_to_others(execution, missing)
            return await self._owning(attempt, graph, told)
        except IllegalMove as err:
            return str(err.details.get("status"))
        except (StoreError, Unrecorded):
            raise
        except (SpecError, InputRefused, AnswerRefused, NotResumable, EngineError) as err:
            if isinstance(err, EngineError) and err.code == "database_error":
                raise
            fault = Fault("invalid_input", str(err), origin="workflow")
        except Stuck as err:
            fault = Fault("internal", str(err), origin="workflow")
        except Fault as err:
            fault = err
        except Exception as err:  # a fault of ours, or of the code of a workflow: the others go on
            # Its message may hold what the run works with: it is kept with the execution, and not in a log.
            log.error("Execution %s failed: %s at %s", execution.id, type(err).__name__, _frames(err))
            fault = Fault("internal", f"{type(err).__name__}: {err}", origin="workflow")
        return await self._failed(execution, fault.record(node=""))

    def _lacking(self, graph: Runnable) -> list[str]:
        """The labels that the graph requires of this instance, and that it lacks."""
        found = getattr(graph, "graph", None) or graph
        if self.labels is None or not isinstance(found, WorkflowGraph):
            return []
        return sorted(required_labels(found.plan) - self.labels)

    async def _left_to_others(self, execution: Execution, missing: list[str]) -> str:
        """Leave the execution pending, with the reason; whoever tells the queue of lost ones lets another worker look."""
        if execution.mode == "sync":
            told = refusal(execution.workflow, missing)
            raise Fault("permission_denied", told, origin="workflow", details={"labels": [*missing]})
        await self.executions.waits(execution, f"labels: {', '.join(missing)}")
        return "elsewhere"

    async def _owning(self, attempt: Attempt, graph: Runnable, told: Callable[[Event], None] | None) -> str:
        """Drive the segment once its thread is free: a process that has died or is frozen may keep it for a while."""
        patience = asyncio.get_running_loop().time() + OWNED_SECONDS
        while True:
            try:
                return await self._once(attempt, graph, told)
            except Owned:
                if asyncio.get_running_loop().time() > patience:
                    return "owned elsewhere"
            await asyncio.sleep(PAUSE_SECONDS)

    async def _once(self, attempt: Attempt, graph: Runnable, told: Callable[[Event], None] | None) -> str:
        execution = attempt.execution
        snapshot = await graph.aget_state(self.config(attempt))
        config = self.config(attempt, snapshot)
        if (end := end_of(graph, snapshot)) is not None:
            return await self._noted(execution, graph, snapshot, end, config)
        if _unbegun(snapshot) and (asked := _asked(attempt.command) or await self.requests.open(execution.thread)):
            if asked.kind == "cancel":
                return await self._over(attempt, asked)
        input, more = await self._given(attempt, snapshot, graph)
        self.at_work[execution.thread] = graph.checkpointer
        tokens = told is not None or bool(execution.options.get("streaming") or execution.options.get("trace"))
        try:
            async with AsyncExitStack() as stack:
                for onlooker in self.recorder.onlookers:
                    stack.enter_context(onlooker.within(execution))
                await stack.enter_async_context(self._limited(attempt, graph))
                async for event in self._events(execution, graph, input, config, tokens=tokens, **more):
                    if told is not None:
                        told(event)
        finally:
            self.at_work.pop(execution.thread, None)
        return await self.executions.status_of(execution.id)

    def _events(
        self, execution: Execution, graph: Runnable, input: Any, config: RunnableConfig, **options: Any
    ) -> AsyncIterator[Event]:
        """What happens in the call; a graph of ours tells the recorder by itself."""
        events = graph.aevents(input, config, **options)
        if isinstance(graph, WorkflowGraph):
            return events
        about = {"workflow": execution.workflow, "digest": execution.digest}
        return recorded(events, self.recorder, execution.thread, about, config, graph)

    async def _noted(
        self, execution: Execution, graph: Runnable, snapshot: Any, end: Settled, config: RunnableConfig
    ) -> str:
        """Note an end that is in the checkpoint: whoever brought it about has died before it could."""
        about = {"id": execution.run, **run_of(snapshot), "workflow": execution.workflow, "ended": True}
        async with graph.checkpointer.owners.held(execution.thread):
            witness = await self.recorder.began(
                execution.thread, about, input=None, steps={}, configurable=config["configurable"]
            )
            if isinstance(witness, Watch):
                await witness.settled(end)
        return await self.executions.status_of(execution.id)

    def config(self, attempt: Attempt, snapshot: Any = None) -> RunnableConfig:
        """What the execution's graph is called with."""
        standing = (snapshot.config or {}).get("configurable", {}) if snapshot is not None else {}
        taking = Taking(
            execution=attempt.execution.id,
            segment=attempt.number,
            worker=self.worker or ("caller" if attempt.execution.mode == "remote" else ""),
            checkpoint=str(standing.get("checkpoint_id") or ""),
            most_stuck=self.most_stuck,
        )
        return {"configurable": {"thread_id": attempt.execution.thread, TAKING: taking}}

    # -- what the segment begins with ------------------------------------------------------------------------

    async def _given(self, attempt: Attempt, snapshot: Any, graph: Runnable) -> tuple[Any, dict[str, Any]]:
        """The input of the call, and what is given beside it."""
        execution, command = attempt.execution, attempt.command
        more: dict[str, Any] = {"context": attempt.context}
        if _unbegun(snapshot):
            return (attempt.input if not execution.run else await self.executions.input_of(execution)), more
        if (asked := _asked(command)) is not None:
            await graph.checkpointer.requests.make(execution.thread, asked)
        answers = command.get("answers") or {}
        if answers:  # Those that a process had given before it died are not given again.
            open_ = await asking(graph, snapshot, self.config(attempt), set(answers))
            answers = {path: answer for path, answer in answers.items() if path in open_}
        return (Command(resume=answers) if answers else None), more

    # -- limits ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _limited(self, attempt: Attempt, graph: Runnable) -> AsyncIterator[None]:
        """Let the run fail when its working time is used up or its deadline passes."""
        left = self._left(attempt)
        if left is None:
            yield
            return
        watch = asyncio.create_task(self._expiring(attempt.execution, graph, *left))
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    def _left(self, attempt: Attempt) -> tuple[float, str] | None:
        """Seconds that are left, and why there are no more."""
        execution, ends = attempt.execution, list[tuple[float, str]]()
        if (timeout := execution.options.get("timeout")) is not None:
            ends.append((float(timeout) - attempt.worked, f"it has worked for {float(timeout):g} s"))
        if execution.deadline is not None:
            left = (execution.deadline - self.executions.now()).total_seconds()
            ends.append((left, f"its deadline, {execution.deadline.isoformat()}, has passed"))
        grace = GRACE_SECONDS if execution.mode == "remote" else 0.0  # the instance minds them too
        return min(((left + grace, why) for left, why in ends), default=None)

    async def _expiring(self, execution: Execution, graph: Runnable, seconds: float, reason: str) -> None:
        await asyncio.sleep(max(0.0, seconds))
        await graph.checkpointer.requests.make(execution.thread, _expiry(reason))

    async def _failed(self, execution: Execution, error: Mapping[str, Json]) -> str:
        """The execution has failed without its graph."""
        with suppress(IllegalMove):
            why, number = str(error.get("class")), execution.segment
            among = ("pending", "running")
            await self.executions.move(
                execution.id, "failed", among=among, number=number, reason=why, error=dict(error)
            )
            return "failed"
        return await self.executions.status_of(execution.id)

    async def _over(self, attempt: Attempt, asked: Request) -> str:
        """The execution has been cancelled, or its time is up, before its first checkpoint: nothing of it has run."""
        execution, timed_out = attempt.execution, asked.fault == "timeout"
        what = Fault("timeout" if timed_out else "cancelled", asked.reason or "it was cancelled", origin="workflow")
        reason, among = ("timeout" if timed_out else ""), ("pending", "running")
        async with self.owners.held(execution.thread):
            with suppress(IllegalMove):
                await self.executions.move(
                    execution.id,
                    "failed" if timed_out else "cancelled",
                    among=among,
                    number=attempt.number,
                    reason=reason,
                    error=what.record(node=""),
                )
            if (left := await self.requests.open(execution.thread)) is not None:
                await self.requests.close(execution.thread, left)
        return (await self.executions.get(execution.id)).status

    # -- stopping --------------------------------------------------------------------------------------------

    async def hand_on(self) -> None:
        """Ask all runs that are worked on to rest at once, so that another worker goes on with them."""
        for thread, saver in list(self.at_work.items()):
            await saver.requests.make(thread, request("pause", SHUTDOWN))


def _unbegun(snapshot: Any) -> bool:
    """Whether nothing of the run has happened yet."""
    return snapshot.created_at is None or "__start__" in snapshot.next


def ending(asked: Request) -> dict[str, Json]:
    """What a segment begins with that goes on only to do what is asked."""
    kind = "expire" if asked.fault == "timeout" else "cancel"
    return {"kind": kind, "undo": asked.undo, "reason": asked.reason, "request": asked.id}


def _asked(command: Mapping[str, Json]) -> Request | None:
    """What a segment asks of its run, where it goes on only to end it."""
    reason = str(command.get("reason") or "")
    match command.get("kind"):
        case "cancel":
            asked = request("cancel", reason, undo=bool(command.get("undo")))
        case "expire":
            asked = _expiry(reason or "its time is up")
        case _:
            return None
    return replace(asked, id=str(command["request"])) if "request" in command else asked


def _expiry(reason: str) -> Request:
    return request("cancel", reason, undo=True, fault="timeout")


def _timeout(execution: Execution, reason: str) -> dict[str, Json]:
    return Fault("timeout", reason, origin="workflow", details={"execution_id": execution.id}).record(node="")


def _frames(error: BaseException) -> str:
    """Where an error came from: file and line, the innermost first."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES:])
    return " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
