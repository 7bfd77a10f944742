"""Any LangGraph graph, run as executions run workflows: owned, stopped and asked in the same way, with the same events."""

from __future__ import annotations

import asyncio
import difflib
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.constants import END
from langgraph.types import Command, StateSnapshot

from cogwork.library.code_run import Ended, Story, driven
from cogwork.library.code_steps import is_step, output_of, questions_of, unseen
from cogwork.library.results import RunResult
from graphs import stopping
from graphs.keeping import POLL, SHUTDOWN, kept_by, owned_name, request, void_pause
from state.durable import Durable
from state.errors import Fault, InputRefused, NotResumable
from state.events import Event
from state.values import Json

RUN: Final = "cogwork_run"
STATUS: Final = "cogwork_status"
REASON: Final = "cogwork_reason"
"""Metadata of checkpoints: the run that wrote them, and how it ended where that was not by itself."""
RECURSION_LIMIT: Final = 1000
HISTORY: Final = 10_000
"""How many checkpoints are looked through for what a run has done before."""


class CodeGraph:
    """A graph that is not ours, on a checkpointer: run it by ``aevents``, from which executions see what they see of
    workflows. A run that failed or was cancelled is over; its steps are in the thread's history.

    ``graph`` is a ``StateGraph`` or a compiled graph; ``now`` and ``clock`` are its clocks.
    """

    def __init__(
        self,
        graph: Any,
        *,
        name: str,
        digest: str,
        checkpointer: Any = None,
        recursion_limit: int = RECURSION_LIMIT,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if checkpointer:
            kept_by(checkpointer)  # noted on the saver before LangGraph copies it, so that all graphs on it share it
        compile_ = getattr(graph, "add_node", None) and getattr(graph, "compile", None)
        self.graph: Any = (
            compile_(checkpointer=checkpointer, name=name)
            if compile_
            else graph.copy(update={"checkpointer": checkpointer or graph.checkpointer, "name": name})
        )
        self.name, self.digest = name, digest
        self.checkpointer = self.graph.checkpointer
        self._limit, self._now, self._clock = recursion_limit, now, clock

    @property
    def input_schema(self) -> dict[str, Json]:
        """JSON Schema of the input; any object where the graph's state is of a type that has none."""
        from pydantic.errors import PydanticUserError

        try:
            schema: dict[str, Json] = self.graph.get_input_jsonschema()
        except PydanticUserError:  # such as typing.TypedDict before Python 3.12
            return {"type": "object"}
        return schema

    # -- running -------------------------------------------------------------------------------------------

    async def aevents(
        self, input: Any, config: RunnableConfig, *, tokens: bool = False, context: Any = None
    ) -> AsyncGenerator[Event]:
        """What happens in the run; the last event says how it ended or where it rests.

        ``input`` is the graph's for a new run, ``Command(resume=…)`` with answers by path (or the one answer) for one that
        asks, None for one that was cut off or paused.

        Raises:
            InputRefused: the input is no mapping, or has fields that the graph does not know.
            NotResumable: the thread holds another run, or none; or nothing is asked.
            Owned: somebody else works on the thread.
        """
        story = Story(self._now, self._clock)
        async with aclosing(self._told(story, input, config, tokens=tokens, context=context)) as events:
            async for event in events:
                yield event

    async def arun(self, input: Any, config: RunnableConfig, *, context: Any = None) -> RunResult:
        """Run until the end or the next rest; what came of it, with the output of each step.

        Raises:
            InputRefused, NotResumable, Owned: see ``aevents``.
        """
        story, last, first = Story(self._now, self._clock), None, self._now()
        async with aclosing(self._told(story, input, config, tokens=False, context=context)) as events:
            async for event in events:
                last = event
        ended = self._now()
        return RunResult.from_story(self.name, story, last, first, ended)

    async def _told(
        self, story: Story, input: Any, config: RunnableConfig, *, tokens: bool, context: Any
    ) -> AsyncGenerator[Event]:
        config = _with_limit(config, self._limit)
        kept, thread, name = self._kept(config)
        async with kept.owners.held(name):
            await void_pause(kept, thread)
            snapshot = await self.graph.aget_state(config)
            given, fresh = await self._understood(story, input, config, snapshot)
            config = {**config, "metadata": {**config.get("metadata", {}), RUN: story.run}}
            left = await kept.requests.open(thread)
            if left is not None and fresh:
                await kept.requests.close(thread, left)  # it was made for the run before this one
            yield story.event("run.started" if fresh else "run.resumed", workflow=self.name)
            modes = ["tasks", *(["messages"] if tokens else [])]
            options = {"context": context} if context is not None and self.graph.context_schema is not None else {}
            stream = driven(self.graph, given, config, modes, kept, thread, options)
            async with aclosing(stream):
                async for item in stream:
                    if isinstance(item, Ended):
                        yield await self._ending(story, item, config, kept, thread)
                        return
                    for event in story.told(item):
                        yield event

    async def _ending(self, story: Story, ended: Ended, config: RunnableConfig, kept: Durable, thread: str) -> Event:
        """The last event, once what it says is in the checkpoint."""
        if ended.request is not None:
            await kept.requests.close(thread, ended.request)
        if ended.error is not None:
            await self._mark(config, "failed", str(ended.error.get("message", "")))
            return story.event("run.failed", error=ended.error)
        if ended.cancelled:
            reason = ended.request.reason if ended.request is not None else ""
            if ended.request is not None and ended.request.fault == "timeout":
                await self._mark(config, "failed", reason)
                return story.event("run.failed", error=Fault("timeout", reason, origin="workflow").record(node=""))
            await self._mark(config, "cancelled", reason)
            return story.event("run.cancelled", error=cancelled(reason))
        snapshot = await self.graph.aget_state(_latest(config))
        if not snapshot.tasks:
            try:
                output = output_of(self.graph.output_channels, snapshot.values)
            except Fault as fault:
                await self._mark(config, "failed", str(fault))
                return story.event("run.failed", error=fault.record(node=""))
            return story.event("run.completed", output=output)
        questions = [asked for _, asked in questions_of(snapshot, await self._before(config, story.run)).values()]
        handed_on = ended.request is not None and ended.request.reason == SHUTDOWN
        reason = "human" if questions else SHUTDOWN if handed_on else "requested"
        return story.event("run.paused", questions=questions, reason=reason)

    async def _mark(self, config: RunnableConfig, status: str, reason: str) -> None:
        """Write down that the run is over; nothing of it goes on."""
        metadata = {**config.get("metadata", {}), STATUS: status, REASON: reason[:1000]}
        await self.graph.aupdate_state({**_latest(config), "metadata": metadata}, None, as_node=END)

    # -- what a call means ---------------------------------------------------------------------------------

    async def _understood(
        self, story: Story, input: Any, config: RunnableConfig, snapshot: StateSnapshot
    ) -> tuple[Any, bool]:
        """What LangGraph is given, and whether a new run begins."""
        thread = config["configurable"]["thread_id"]
        begun, over = snapshot.created_at is not None, not snapshot.tasks
        only_begun = begun and not any(is_step(task.name) for task in snapshot.tasks) and not over
        if not isinstance(input, Command) and input is not None:
            self._refuse_unfit(input)
            if begun and not over and not only_begun:
                raise NotResumable(
                    f"The run on thread {thread!r} is not finished: resume it with None or an answer, or use another thread"
                )
            story.begin(uuid.uuid4().hex)
            return input, True
        if not begun or over:
            what = "has ended" if begun else "has not begun"
            raise NotResumable(f"The run on thread {thread!r} {what}: give an input for a new one")
        run = str((snapshot.metadata or {}).get(RUN) or uuid.uuid4().hex)
        before = await self._before(config, run)
        story.resume(run, before, snapshot)
        if input is None:
            return None, False
        return self._answered(input, questions_of(snapshot, before), thread), False

    def _answered(self, command: Command[Any], asked: Mapping[str, tuple[str, Json]], thread: str) -> Command[Any]:
        """The command with the answers addressed to their interrupts.

        Raises:
            NotResumable: nothing is asked, or it is not clear what the answer is for.
        """
        if command.update or command.goto or command.graph:
            raise NotResumable("A Command may only answer: Command(resume=…)")
        if not asked:
            raise NotResumable(f"The run on thread {thread!r} asks nothing: None goes on with it")
        given, ids = command.resume, {id: path for path, (id, _) in asked.items()}
        if isinstance(given, dict) and given and all(key in asked for key in given):
            return Command(resume={asked[path][0]: answer for path, answer in given.items()})
        if isinstance(given, dict) and given and all(key in ids for key in given):
            return Command(resume=dict(given))
        if len(asked) == 1:
            return Command(resume={next(iter(ids)): given})
        raise NotResumable(f"Several questions are open ({', '.join(sorted(asked))}): give {{step: answer}}")

    def _refuse_unfit(self, input: Any) -> None:
        if not isinstance(input, Mapping):
            raise InputRefused(self.name, [f"it must be an object, not {type(input).__name__}"])
        if "properties" not in (schema := self.input_schema):
            return
        fields = schema["properties"]
        faults = []
        for key in unseen(fields, input):
            close = difflib.get_close_matches(key, fields, 1)
            hint = f", did you mean {close[0]}?" if close else f"; there are {', '.join(fields)}"
            faults.append(f"/{key}: there is no such field{hint}")
        if faults:
            raise InputRefused(self.name, faults)

    async def _before(self, config: RunnableConfig, run: str) -> Counter[str]:
        """How often each node was begun in the run before the newest checkpoint."""
        counts: Counter[str] = Counter()
        newest = True
        async for snapshot in self.graph.aget_state_history(_latest(config), limit=HISTORY):
            if (snapshot.metadata or {}).get(RUN) != run:
                break
            if not newest:
                counts.update(task.name for task in snapshot.tasks if is_step(task.name))
            newest = False
        return counts

    # -- looking and stopping ------------------------------------------------------------------------------

    async def aget_state(self, config: RunnableConfig) -> StateSnapshot:
        """LangGraph's snapshot of the thread. A run is over where it has ``created_at`` and no ``tasks``, whatever ``next``."""
        snapshot: StateSnapshot = await self.graph.aget_state(config)
        return snapshot

    async def aquestions(self, config: RunnableConfig) -> list[dict[str, Json]]:
        """What the run on the thread asks people."""
        snapshot = await self.graph.aget_state(config)
        run = str((snapshot.metadata or {}).get(RUN, ""))
        return [asked for _, asked in questions_of(snapshot, await self._before(config, run)).values()]

    async def apause(self, config: RunnableConfig, reason: str = "") -> None:
        """Ask the run to rest; returns when it does, once the nodes at work have ended.

        Raises:
            NotResumable: nobody works on it.
        """
        await stopping.pause(cast(Any, self), config, reason)

    async def acancel(self, config: RunnableConfig, *, undo: bool = False, reason: str = "") -> Any:
        """Cancel the run on the thread; its values once it has ended. Nodes at work are cut off.

        Raises:
            NotResumable: the thread holds no run that goes on; or ``undo``, of which code knows nothing.
        """
        kept, thread, name = self._kept(config)
        snapshot = await self.graph.aget_state(config)
        if snapshot.created_at is None or not snapshot.tasks:
            raise NotResumable(f"Thread {thread!r} holds no run that goes on: there is nothing to cancel")
        if undo:
            raise NotResumable(f"{self.name} is code and cannot take its steps back: cancel it without undo")
        made = request("cancel", reason)
        await kept.requests.make(thread, made)
        while await kept.requests.open(thread) is not None:
            if await asyncio.to_thread(kept.owners.alive, name):
                await asyncio.sleep(POLL)
                continue
            async with kept.owners.held(name):
                snapshot = await self.graph.aget_state(config)
                if snapshot.tasks:
                    run = (snapshot.metadata or {}).get(RUN, "")
                    metadata = {**config.get("metadata", {}), RUN: run}
                    await self._mark({**config, "metadata": metadata}, "cancelled", reason)
                await kept.requests.close(thread, made)
                break
        return (await self.graph.aget_state(config)).values

    def _kept(self, config: RunnableConfig) -> tuple[Durable, str, str]:
        configurable = config.get("configurable", {})
        if not self.checkpointer or "thread_id" not in configurable:
            raise NotResumable(f"{self.name} runs on a checkpointer, under a thread_id in configurable")
        return kept_by(self.checkpointer), str(configurable["thread_id"]), owned_name(configurable)


def status_of(snapshot: StateSnapshot) -> str:
    """How a run stands by its checkpoint: empty where none has begun, else unfinished, completed, failed or cancelled."""
    if snapshot.created_at is None:
        return ""
    if snapshot.tasks:
        return "unfinished"
    return str((snapshot.metadata or {}).get(STATUS) or "completed")


def cancelled(reason: str) -> dict[str, Json]:
    """The error of a cancelled run, as data."""
    from state.errors import Fault

    return Fault("cancelled", reason or "the run was cancelled", origin="workflow").record(node="")


def _with_limit(config: RunnableConfig, limit: int) -> RunnableConfig:
    configurable = {k: v for k, v in config.get("configurable", {}).items() if k != "checkpoint_id"}
    return {"recursion_limit": limit, **config, "configurable": configurable}


def _latest(config: RunnableConfig) -> RunnableConfig:
    return {**config, "configurable": {k: v for k, v in config["configurable"].items() if k != "checkpoint_id"}}
