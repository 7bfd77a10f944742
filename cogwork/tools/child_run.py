"""The run within a call of a workflow: begun once under the call's key, gone on with after a crash, stopped with the call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from langchain_core.runnables import RunnableConfig

from graphs.calls import ENDED
from graphs.graph import DEPTH, WorkflowGraph
from state.durable import Durable
from state.errors import AnswerRefused, Asked, Fault, InputRefused, NotResumable, Owned
from state.events import Event
from state.services import CallContext, Fate, Within
from state.values import Json

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from cogwork.records.bundles import Bundles

ATTEMPT: Final = "cogwork_attempt"
"""The metadata of the run's checkpoints that tells which attempt of the call last worked on it."""
PARENT: Final = "cogwork_parent"
"""The metadata that tells which run, and which step of it, made the call."""
PARENT_RUN: Final = "__cogwork_parent_run"
"""The ``configurable`` key of the run that made the call, for whoever keeps a record of runs; not persisted."""
_USED: Final = ("input_tokens", "output_tokens", "total_tokens", "cost_usd")


class Built(Protocol):
    """Makes the workflow's graph on a saver."""

    def __call__(self, checkpointer: Any, digest: str | None = None) -> WorkflowGraph:
        """The graph; with a digest that of the version whose digest it is."""


@dataclass(slots=True, kw_only=True)
class ChildRun:
    """A run of the workflow ``tool`` for one call of it; its thread follows from the call's key.

    Where the run that makes the call is kept, this one is kept by the same saver; else only for as long as the call takes.
    """

    tool: str
    built: Built
    depth: int
    specs: Callable[[], Bundles]
    context: CallContext
    done: int = field(default=0, init=False)

    @property
    def thread(self) -> str:
        """The id of its thread."""
        mark = hashlib.sha256(self.context.idempotency_key.encode()).hexdigest()[:16]
        return f"within-{mark}-{self.tool.partition('.')[2]}"

    @property
    def within(self) -> Within:
        """The run that makes the call; without one, nobody's."""
        return self.context.within or Within()

    @property
    def kept(self) -> bool:
        """Whether the run outlives the call."""
        return self.within.checkpointer is not None

    @property
    def config(self) -> RunnableConfig:
        """What its graph is called with."""
        told = {ATTEMPT: self.context.attempt, PARENT: f"{self.context.run}:{self.context.step}"}
        own = {DEPTH: self.depth, PARENT_RUN: self.context.run}
        return {"configurable": {"thread_id": self.thread, **own}, "metadata": told}

    async def result(self, args: dict[str, Json]) -> Json:
        """The output of the run, begun with ``args`` where it has not begun yet.

        Raises:
            Fault, Asked: see ``WorkflowTool.call``.
        """
        graph = self.built(self._saver())
        graph.observer = self.within.observer
        standing = await graph.aget_state(self.config)
        about = standing.values.get("run") or {} if "__start__" not in standing.next else {}
        last_attempt = (standing.metadata or {}).get(ATTEMPT, self.context.attempt)  # a person's, where there is none
        if about.get("status") in ENDED and last_attempt == self.context.attempt:
            return self._ended(about, standing.values)
        if not about or about["status"] in ENDED:
            await self._note(graph)
            last = await self._driven(graph, args)
        else:
            if about.get("digest") != graph.digest:
                graph = self.built(graph.checkpointer, about["digest"])
                standing = await graph.aget_state(self.config)
            last = await self._gone_on(graph, standing)
        state = await graph.aget_state(self.config)
        if last.kind == "run.paused":
            raise self._asked(state)
        return self._ended(state.values["run"], state.values)

    def _saver(self) -> Any:
        if self.kept:
            return self.within.checkpointer
        from langgraph.checkpoint.memory import InMemorySaver

        return InMemorySaver()

    async def _note(self, graph: WorkflowGraph) -> None:
        """Keep the spec, so that a changed file does not keep the run from going on."""
        if isinstance(self.within.checkpointer, Durable):
            await asyncio.to_thread(self.specs().keep, graph)

    # -- running -------------------------------------------------------------------------------------------

    async def _gone_on(self, graph: WorkflowGraph, standing: StateSnapshot) -> Event:
        """Go on with a run that an earlier call has begun, with what people have answered since."""
        from langgraph.types import Command

        answers = self.context.answers
        given = {i.id: answers[name]["answer"] for i in standing.interrupts if (name := _id(i)) in answers}
        if not given:
            return await self._driven(graph, None)
        try:
            return await self._driven(graph, Command(resume=given))
        except Fault as refused:
            if not isinstance(refused.__cause__, AnswerRefused):
                raise
            return await self._driven(graph, None)  # it came too late: the run goes on as it does without one

    async def _driven(self, graph: WorkflowGraph, input: Any) -> Event:
        """The last event of one stretch of the run; where this call is cut off, the run is stopped first.

        Raises:
            Fault: the run cannot be begun or gone on with.
        """
        running = asyncio.create_task(self._stretch(graph, input))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if not running.done():
                await self._stopped(graph, running)
            raise
        except (InputRefused, AnswerRefused) as err:
            raise Fault("invalid_input", f"{self.tool}: {err}", origin="tool", details=self._whose()) from err
        except Owned as err:
            raise Fault("unavailable", f"{self.tool}: {err}", origin="tool", details=self._whose()) from err
        except NotResumable as err:
            raise Fault("refused", f"{self.tool}: {err}", origin="tool", details=self._whose()) from err

    async def _stretch(self, graph: WorkflowGraph, input: Any) -> Event:
        last: Event | None = None
        async for event in graph.aevents(input, self.config, tokens=False, context=dict(self.within.context)):
            last = event
            self._tell(event)
        assert last is not None, "a run ends with an event"
        return last

    def _tell(self, event: Event) -> None:
        if event.kind in ("run.started", "run.resumed"):
            self.context.progress(self.done, None, f"run {event.run} on thread {self.thread}")
        elif event.kind in ("step.finished", "step.failed"):
            self.done += event.kind == "step.finished"
            self.context.progress(self.done, None, f"{event.step} {event.kind.partition('.')[2]}")

    async def _stopped(self, graph: WorkflowGraph, running: asyncio.Task[Event]) -> None:
        """Let the run rest or end, as the run that it is within does; nothing of it goes on when this returns.

        Cut off again, it stops at once, unless the run that it is within is now to end rather than rest.
        """
        fate, stopping = self.within.fate(), None
        try:
            while True:
                stopping = asyncio.create_task(self._stop(graph, running, fate))
                try:
                    return await asyncio.shield(stopping)
                except asyncio.CancelledError:
                    first, fate = fate, self.within.fate()
                    if first != "rest" or fate == "rest":
                        raise
                    stopping.cancel()
                    await asyncio.wait((stopping,))
        finally:
            tasks = [task for task in (stopping, running) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()

    async def _stop(self, graph: WorkflowGraph, running: asyncio.Task[Event], fate: Fate) -> None:
        try:
            if fate != "rest":
                await graph.acancel(self.config, undo=fate == "undo", reason=f"{self.context.step} was given up")
            elif self.kept:
                await graph.apause(self.config, "the run that it is within rests")
            else:
                return
        except NotResumable:
            return  # it had not begun, or has just come to an end
        await asyncio.wait((running,))

    # -- ends ----------------------------------------------------------------------------------------------

    def _ended(self, about: Mapping[str, Any], values: Mapping[str, Any]) -> Json:
        """The output of the run that has ended; what it used counts as the call's.

        Raises:
            Fault: it failed or was cancelled.
        """
        self.context.spend(used(values))
        if about["status"] == "completed":
            return values.get("output")
        error: dict[str, Json] = about.get("error") or {}
        where = f" at {error['node']}" if error.get("node") else ""
        how = "failed" if about["status"] == "failed" else "was cancelled"
        raise Fault(
            error.get("class", "internal"),
            f"{self.tool} {how}{where}: {error.get('message')}",
            origin="tool",
            retry_after=error.get("retry_after"),
            details={**self._whose(), "run": about.get("id"), "error": error},
        )

    def _whose(self) -> dict[str, Json]:
        return {"workflow": self.tool.partition(".")[2], "thread": self.thread}

    def _asked(self, state: StateSnapshot) -> Asked:
        """What the run asks, as a question of the call: the first of several."""
        if not state.interrupts:
            rev = state.values.get("run", {}).get("rev")
            told = f"{self.tool} was paused (thread {self.thread}). Go on with it?"
            return Asked(f"paused#{rev}", told, {"type": "object", "properties": {}})
        first = min(state.interrupts, key=lambda each: str(each.value.get("at")))
        question = first.value
        show = question.get("show")
        shown = show if isinstance(show, dict) else {} if show is None else {"shown": show}
        return Asked(
            _id(first),
            str(question["ask"]),
            question["form"],
            show={**shown, "asked_by": f"{self.thread}: {question['at']}"},
        )


def used(values: Mapping[str, Any]) -> dict[str, Json]:
    """What all steps of a run have used, by the state that it is in: tokens and USD."""
    sums: dict[str, Json] = {}
    for record in values.get("nodes", {}).values():
        usage = record.get("usage") or {}
        for name in _USED:
            if isinstance(usage.get(name), int | float):
                sums[name] = sums.get(name, 0) + usage[name]
    return sums


def _id(interrupt: Any) -> str:
    return f"{interrupt.value.get('at')}#{interrupt.id}"
